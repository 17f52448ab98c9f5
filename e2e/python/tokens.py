"""Prints Ada's access tokens for one scope, a line each: one sign-in through the pages, then silent refreshes.

    python e2e/python/tokens.py SCOPE COUNT
"""

import sys

from world import *

scope, count = sys.argv[1], int(sys.argv[2])
app = confidential(WEB)
print(sign_in(app, ADA, [scope], WEB["redirect_uris"][0])["access_token"])
for _ in range(count - 1):
    print(succeeded(app.acquire_token_silent([scope], app.get_accounts()[0], force_refresh=True))["access_token"])
