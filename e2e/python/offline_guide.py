"""The guide for programs offline: what `docs/guides/offline.md` shows, started as it says.

    deputize run -- python e2e/python/offline_guide.py
"""

import base64
import json
import pathlib
import re
import sys

from runner import expect, run, test

_GUIDE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "guides" / "offline.md"


def _claims(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


@test
def the_guides_program_finds_its_tenant_at_microsofts_address():
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", _GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        exec(compile(block, _GUIDE.name, "exec"), names)
    issuer = f"https://login.microsoftonline.com/{names['demo']['tenant']['id']}/v2.0"
    for token in (names["token"], names["machine"]):
        expect((_claims(token)["iss"], _claims(token)["roles"]), (issuer, ["Invoices.Export"]), "issuer and roles")


sys.exit(run("e2e-offline guide", sys.argv[1:]))
