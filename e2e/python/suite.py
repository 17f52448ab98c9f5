"""The end-to-end suite in Python: unmodified msal, azure-identity and adal against `deputize demo`.

    deputize demo --env FILE &
    REQUESTS_CA_BUNDLE=<ca_file of FILE> DEPUTIZE_DEMO_ENV=FILE python e2e/python/suite.py [WORD...]

With words, only the tests whose name has one of them are run. `cargo xtask test --only e2e-python` does all of this.
"""

import importlib
import logging
import sys
import warnings

from runner import run

# msal recommends response_mode=form_post at every sign-in; one test uses it.
warnings.filterwarnings("ignore", message="response_mode='form_post' is recommended")

# A refusal that a test provokes is not news.
logging.getLogger("azure").setLevel(logging.CRITICAL)

for chapter in ("sign_in", "devices", "v1", "app_only", "on_behalf_of", "azure_credentials", "workload", "apis", "guides", "step_up"):
    importlib.import_module(chapter)

sys.exit(run("e2e-python", sys.argv[1:]))
