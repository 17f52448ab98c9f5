"""The end-to-end suite of the sidecar: applications in Python with plain HTTP, against `deputize demo --sidecar`, and a provider
that misbehaves.

    deputize demo --sidecar --data FOLDER --env FILE &
    REQUESTS_CA_BUNDLE=<ca_file of FILE> DEPUTIZE_DEMO_ENV=FILE DEPUTIZE_DATA=FOLDER DEPUTIZE=<the program> \
        python e2e/python/sidecar.py [WORD...]

`cargo xtask test --only e2e-sidecar` does all of this.
"""

import importlib
import sys
import warnings

from runner import run

warnings.filterwarnings("ignore", message="response_mode='form_post' is recommended")

for chapter in ("beside", "onward", "environment", "faults", "pod"):
    importlib.import_module(chapter)

sys.exit(run("e2e-sidecar", sys.argv[1:]))
