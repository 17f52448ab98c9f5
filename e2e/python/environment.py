"""`deputize env` and `deputize run --sidecar`: an application gets what NAIS and Azure would inject, and needs nothing else."""

import json
import os
import subprocess
import sys
import time

import requests
import yaml

from runner import expect, test
from world import *

_DEPUTIZE, _DATA, _DEMO = os.environ["DEPUTIZE"], os.environ["DEPUTIZE_DATA"], os.environ["DEPUTIZE_DEMO_ENV"]

# The token request of NAIS's guide, as it is written there.
_BY_HAND = """
curl --silent --cacert "$REQUESTS_CA_BUNDLE" "$AZURE_OPENID_CONFIG_TOKEN_ENDPOINT" \
    --header "Content-Type: application/x-www-form-urlencoded" \
    --data-urlencode "assertion=$SUBJECT_TOKEN" \
    --data-urlencode "client_id=$AZURE_APP_CLIENT_ID" \
    --data-urlencode "client_secret=$AZURE_APP_CLIENT_SECRET" \
    --data-urlencode "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer" \
    --data-urlencode "requested_token_use=on_behalf_of" \
    --data-urlencode "scope=api://billing/.default"
"""


def _env(*arguments):
    done = subprocess.run([_DEPUTIZE, "env", *arguments], capture_output=True, text=True, timeout=60)
    expect(done.returncode, 0, done.stderr)
    return done.stdout


def _of_store(app, *arguments):
    return json.loads(_env(app, "--data", _DATA, "--host", HOST, "--json", *arguments))


@test
def the_exchange_that_nais_describes_works_by_hand_with_what_is_printed():
    text = _env("Orders", "--demo", _DEMO)
    environment = {**os.environ, "SUBJECT_TOKEN": token_for_orders()}
    done = subprocess.run(["sh", "-ec", text + _BY_HAND], capture_output=True, text=True, env=environment, timeout=60)
    answer = json.loads(done.stdout)
    expect(answer.get("token_type"), "Bearer", answer)
    assert 0 < answer["expires_in"] <= 24 * 3600, answer["expires_in"]
    expect(claims(answer["access_token"])["oid"], ADA["oid"], "whose")
    bill = requests.get(BILLING["url"] + "/invoices", headers={"Authorization": "Bearer " + answer["access_token"]}, timeout=30)
    expect(bill.status_code, 200, bill.text)


@test
def nothing_is_registered_unless_it_is_asked_for_and_then_it_works_beside_the_older_ones():
    plain = _of_store("api://orders")
    assert not [name for name in plain if "SECRET" in name or "JWK" in name and not name.endswith("JWKS_URI")], plain.keys()
    fresh = _of_store("orders", "--new-secret")
    expect({name: fresh[name] for name in plain}, plain, "the rest is the same")
    expect(fresh["AZURE_APP_CLIENT_SECRET"], fresh["AZURE_CLIENT_SECRET"], "one secret")
    app = {**ORDERS, "client_secret": fresh["AZURE_APP_CLIENT_SECRET"]}
    deadline = time.monotonic() + 10
    # An authority that runs on the folder sees the change within a second.
    while True:
        answer = confidential(app).acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ])
        if "access_token" in answer or time.monotonic() > deadline:
            break
        # Until then the secret is a wrong one, and who is wrong too often has to wait.
        time.sleep(0.5)
    succeeded(answer)
    succeeded(confidential(ORDERS).acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ]))
    expect(json.loads(fresh["AZURE_APP_JWKS"])["keys"], [json.loads(fresh["AZURE_APP_JWK"])], "one key")


@test
def a_shell_kubernetes_and_json_read_the_same_values():
    told = json.loads(_env("Orders", "--demo", _DEMO, "--json"))
    secret = yaml.safe_load(_env("Orders", "--demo", _DEMO, "--k8s"))
    expect([secret["kind"], secret["stringData"]], ["Secret", told], "as a Secret")
    printed = subprocess.run(
        ["sh", "-ec", _env("Orders", "--demo", _DEMO, "--shell") + "\nexec env -0"], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, timeout=60
    )
    evaluated = dict(line.split("=", 1) for line in printed.stdout.split("\0") if line)
    expect({name: evaluated.get(name) for name in told}, told, "in a shell")
    expect(told["NAIS_TOKEN_EXCHANGE_ENDPOINT"], ENV["sidecar"]["NAIS_TOKEN_EXCHANGE_ENDPOINT"], "the sidecar that runs")


@test
def an_application_that_is_not_there_is_told_with_those_that_are():
    done = subprocess.run([_DEPUTIZE, "env", "Nobody", "--data", _DATA], capture_output=True, text=True, timeout=60)
    expect(done.returncode, 1, done.stderr)
    assert "no application is called `Nobody`" in done.stderr and "Orders" in done.stderr, done.stderr


def _run(program, *options):
    """`deputize run --sidecar` of a Python text, with what `deputize env` prints as its environment."""
    told = json.loads(_env("Orders", "--demo", _DEMO, "--json"))
    told = {name: value for name, value in told.items() if not name.startswith("NAIS_")}
    environment = {**os.environ, **told, "SSL_CERT_FILE": ENV["ca_file"], "SUBJECT_TOKEN": token_for_orders()}
    command = [_DEPUTIZE, "run", "--sidecar", *options, "--", sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


_EXCHANGE = """
import os, requests, sys
body = {"identity_provider": "azuread", "target": "api://billing/.default", "user_token": os.environ["SUBJECT_TOKEN"]}
print(requests.post(os.environ["NAIS_TOKEN_EXCHANGE_ENDPOINT"], json=body).json()["access_token"])
body = {"identity_provider": "azuread", "token": os.environ["SUBJECT_TOKEN"]}
print(requests.post(os.environ["NAIS_TOKEN_INTROSPECTION_ENDPOINT"], json=body).json()["active"])
sys.exit(7)
"""


@test
def a_program_that_is_run_with_a_sidecar_finds_it_and_ends_as_it_would():
    done = _run(_EXCHANGE)
    expect(done.returncode, 7, done.stderr)
    token, active = done.stdout.split()
    expect([claims(token)["aud"], claims(token)["oid"], active], [BILLING["app_id"], ADA["oid"], "True"], "its token")


# As a program on App Service: it knows the endpoint, its header, and which certificates to trust, and nothing else.
_ON_AZURE = 'exec env -i IDENTITY_ENDPOINT="$IDENTITY_ENDPOINT" IDENTITY_HEADER="$IDENTITY_HEADER" "$0" -c "$1"'

_CREDENTIALS = {
    "managed identity": "azure.identity.ManagedIdentityCredential()",
    "the same, named": f"azure.identity.ManagedIdentityCredential(client_id={DAEMON['app_id']!r})",
    "what finds out by itself": "azure.identity.DefaultAzureCredential()",
}


def _on_azure(program):
    """`deputize run --sidecar` of a program that knows nothing but where its identity is; the sidecar is the daemon's."""
    environment = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": ENV["ca_file"], "AZURE_ENABLED": "true"}
    environment |= {"AZURE_AUTHORITY_HOST": HOST, "AZURE_TENANT_ID": TENANT["id"]}
    environment |= {"AZURE_CLIENT_ID": DAEMON["app_id"], "AZURE_CLIENT_SECRET": DAEMON["client_secret"]}
    command = [_DEPUTIZE, "run", "--sidecar", "--", "sh", "-c", _ON_AZURE, sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    expect(done.returncode, 0, done.stderr)
    return done.stdout.strip()


def _exports(token):
    """What Billing, whose guard knows nothing of sidecars, answers to it."""
    return requests.get(BILLING["url"] + "/export", headers={"Authorization": f"Bearer {token}"}, timeout=30)


@test
def azure_identity_that_knows_only_its_endpoint_and_its_header_calls_an_api():
    for how, credential in _CREDENTIALS.items():
        token = _on_azure(f"import azure.identity\nprint({credential}.get_token({BILLING['identifier_uri']!r} + '/.default').token)")
        seen = claims(token)
        expect([seen["azp"], seen["idtyp"]], [DAEMON["app_id"], "app"], how)
        answer = _exports(token)
        expect(answer.status_code, 200, f"{how}: {answer.text}")


_RAW = """
import json, os, urllib.error, urllib.parse, urllib.request
def ask(header, **more):
    query = urllib.parse.urlencode({"api-version": "2019-08-01", "resource": RESOURCE, **more})
    request = urllib.request.Request(os.environ["IDENTITY_ENDPOINT"] + "?" + query, headers={"X-IDENTITY-HEADER": header})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)
right = os.environ["IDENTITY_HEADER"]
print(json.dumps([ask(right), ask("wrong"), ask(right, client_id="another"), ask(right, resource="api://nothing-here")]))
"""


@test
def a_program_without_any_library_gets_its_identity_as_other_languages_do():
    right, wrong, another, nothing = json.loads(_on_azure(f"RESOURCE = {BILLING['identifier_uri']!r}\n{_RAW}"))
    status, told = right
    expect(status, 200, told)
    assert int(told["expires_on"]) > time.time() and isinstance(told["expires_on"], str), told["expires_on"]
    expect([told["token_type"], told["resource"], told["client_id"]], ["Bearer", BILLING["identifier_uri"], DAEMON["app_id"]], "members")
    expect(_exports(told["access_token"]).status_code, 200, "at Billing")
    expect([status for status, _ in (wrong, another, nothing)], [401, 400, 400], "refusals")
    assert all("access_token" not in told for _, told in (wrong, another, nothing)), "no token"
    assert "nothing-here" in nothing[1]["message"], nothing


@test
def a_sidecar_that_cannot_start_starts_no_program():
    command = [_DEPUTIZE, "run", "--sidecar", "--", "echo", "started"]
    environment = {"PATH": os.environ["PATH"], "AZURE_ENABLED": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    expect([done.returncode, done.stdout], [125, ""], done.stderr)
    assert "AZURE_APP_CLIENT_ID" in done.stderr, done.stderr
