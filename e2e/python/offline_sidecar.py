"""A sidecar in a private namespace: it asks Microsoft's address, and the local authority answers.

    deputize run --sidecar --estate e2e/python/offline.toml -- python e2e/python/offline_sidecar.py
"""

import base64
import json
import os
import sys

import requests
from azure.identity import ManagedIdentityCredential

from runner import expect, run, test

_PROVIDER = {"identity_provider": "entra_id"}


def _post(endpoint, **fields):
    return requests.post(os.environ[endpoint], json={**_PROVIDER, **fields}, timeout=30).json()


@test
def a_sidecar_inside_gets_and_judges_tokens_of_microsofts_address():
    token = _post("NAIS_TOKEN_ENDPOINT", target="api://billing/.default")["access_token"]
    body = token.split(".")[1]
    seen = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    issuer = f"https://login.microsoftonline.com/{os.environ['AZURE_TENANT_ID']}/v2.0"
    expect([seen["iss"], seen["azp"], seen["roles"]], [issuer, os.environ["AZURE_CLIENT_ID"], ["Invoices.Export"]], "claims")
    answer = _post("NAIS_TOKEN_INTROSPECTION_ENDPOINT", token=token)
    expect(answer, {"active": False, "error": "invalid token: InvalidAudience"}, "it is for Billing")


@test
def a_program_inside_gets_the_sidecars_identity_as_on_azure():
    token = ManagedIdentityCredential().get_token("api://billing/.default").token
    body = token.split(".")[1]
    seen = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    expect([seen["azp"], seen["roles"]], [os.environ["AZURE_CLIENT_ID"], ["Invoices.Export"]], "claims")


sys.exit(run("e2e-offline sidecar", sys.argv[1:]))
