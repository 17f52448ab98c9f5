"""The end-to-end suite of the gateway: unmodified msal before it, our authority, a fake Entra ID and services behind it, and Envoy in its
place.

    deputize demo --gateway --data FOLDER --env FILE &
    REQUESTS_CA_BUNDLE=<ca_file of FILE> DEPUTIZE_DEMO_ENV=FILE DEPUTIZE_DATA=FOLDER DEPUTIZE=<the program> \
        python e2e/python/gateway.py [WORD...]

`cargo xtask test --only e2e-gateway` does all of this.
"""

import importlib
import sys
import warnings

from runner import run

warnings.filterwarnings("ignore", message="response_mode='form_post' is recommended")

for chapter in ("edge", "entra", "proxied"):
    importlib.import_module(chapter)

sys.exit(run("e2e-gateway", sys.argv[1:]))
