"""The further APIs of the sidecar, for applications that have no library: Orders has its calls made, and a challenge of conditional
access travels through them to a client that is unmodified msal."""

import contextlib
import functools
import json
import os
import subprocess

import requests

from beside import DEVICE
from pages import Pages
from runner import expect, test
from world import *

_DEPUTIZE, _DEMO = os.environ["DEPUTIZE"], os.environ["DEPUTIZE_DEMO_ENV"]


@contextlib.contextmanager
def _sidecar(**settings):
    """`deputize sidecar` as Orders, with what `deputize env` prints; where its further APIs are."""
    told = subprocess.run([_DEPUTIZE, "env", "Orders", "--demo", _DEMO, "--json"], capture_output=True, check=True, timeout=60)
    environment = {name: value for name, value in json.loads(told.stdout).items() if not name.startswith("NAIS_")}
    environment |= {"SSL_CERT_FILE": ENV["ca_file"], "BIND_ADDRESS": "127.0.0.1:0"}
    environment |= {f"{api}_BIND_ADDRESS": "127.0.0.1:0" for api in ("ENTRA", "NATIVE")}
    environment |= {
        "DownstreamApis__Billing__BaseUrl": BILLING["url"],
        "DownstreamApis__Billing__Scopes": BILLING["identifier_uri"] + "/.default",
    }
    process = subprocess.Popen([_DEPUTIZE, "sidecar"], env=environment | settings, stdout=subprocess.PIPE, text=True)
    try:
        addresses = {}
        for line in process.stdout:
            said = json.loads(line)
            if said["message"] == "the sidecar serves":
                break
            if "listener.setting" in said:
                addresses[said["listener.setting"].split("_")[0].lower()] = "http://" + said["listener.address"]
        yield addresses
    finally:
        process.terminate()
        expect(process.wait(timeout=60), 0, "how the sidecar ended")
        process.stdout.close()


def _bearer(token):
    return {"Authorization": f"Bearer {token}"}


@functools.cache
def _weak():
    pages = Pages(DEVICE)
    return pages, signed_in(confidential(WEB), pages)["access_token"]


@functools.cache
def _strong(challenge):
    return signed_in(confidential(WEB), _weak()[0], challenge)["access_token"]


@test
def a_challenge_travels_through_a_call_that_the_sidecar_makes():
    with _sidecar() as at:
        call = at["native"] + "/call/Billing"
        invoices = requests.get(call + "/invoices", headers=_bearer(_weak()[1]), timeout=30)
        expect(invoices.status_code, 200, invoices.text)
        expect(invoices.json()["claims"]["oid"], ADA["oid"], "whose")
        path = f"{call}/invoices/{invoices.json()['invoices'][0]['id']}/pay"
        refusal = requests.post(path, headers=_bearer(_weak()[1]), timeout=30)
        expect(refusal.status_code, 401, refusal.text)
        expect(refusal.json()["claims"], challenged(refusal), "as a member, too")
        expect(refusal.json()["error"], "interaction_required", "what the authority said")
        for _ in range(2):
            paid = requests.post(path, headers=_bearer(_strong(challenged(refusal))), timeout=30)
            expect(paid.status_code, 200, paid.text)
        expect(requests.post(path, headers=_bearer(_weak()[1]), timeout=30).status_code, 401, "the older token")


@test
def a_challenge_travels_through_the_api_of_microsofts_sidecar():
    with _sidecar() as at:
        api = at["entra"] + "/DownstreamApi/Billing?optionsOverride.RelativePath=invoices"
        invoices = requests.post(api, headers=_bearer(_weak()[1]), timeout=30).json()
        expect(invoices["statusCode"], 200, invoices)
        invoice = json.loads(invoices["content"])["invoices"][1]["id"]
        pay = f"{api}/{invoice}/pay&optionsOverride.HttpMethod=POST"
        refusal = requests.post(pay, headers=_bearer(_weak()[1]), timeout=30)
        expect([refusal.status_code, refusal.headers["Content-Type"]], [401, "application/problem+json"], refusal.text)
        challenge = challenged(refusal)
        expect(refusal.json()["claims"], challenge, "a field of the problem")
        assert refusal.json()["detail"].startswith("AADSTS"), refusal.text
        strong = _bearer(_strong(challenge))
        expect(requests.post(pay, headers=strong, timeout=30).json()["statusCode"], 200, "paid")

        header = at["entra"] + "/AuthorizationHeader/Billing"
        asked = {"optionsOverride.AcquireTokenOptions.Claims": challenge}
        refusal = requests.get(header, params=asked, headers=_bearer(_weak()[1]), timeout=30)
        expect([refusal.status_code, refusal.json()["claims"]], [401, challenge], refusal.text)
        got = requests.get(header, params=asked, headers=strong, timeout=30).json()
        paid = requests.post(f"{BILLING['url']}/invoices/{invoice}/pay", headers={"Authorization": got["authorizationHeader"]}, timeout=30)
        expect(paid.status_code, 200, paid.text)


@test
def what_came_in_is_validated_and_what_is_for_another_is_refused():
    with _sidecar(AzureAd__Scopes="access_as_user") as at:
        seen = requests.get(at["entra"] + "/Validate", headers=_bearer(token_for_orders()), timeout=30).json()
        expect([seen["protocol"], seen["token"], seen["claims"]], ["Bearer", token_for_orders(), claims(token_for_orders())], "as it is")
        for token in (app_only_token(ORDERS["identifier_uri"]), app_only_token(BILLING["identifier_uri"]), "garbage"):
            for path in ("/Validate", "/AuthorizationHeader/Billing"):
                refusal = requests.get(at["entra"] + path, headers=_bearer(token), timeout=30)
                assert refusal.status_code in (400, 401, 403), refusal.text
                assert "authorizationHeader" not in refusal.text, refusal.text


@test
def a_refusal_that_a_call_meets_names_who_can_mend_it():
    scope = ENV["unconsented"]["scope"]
    with _sidecar(DownstreamApis__Billing__Scopes=scope) as at:
        refusal = requests.get(at["native"] + "/call/Billing/invoices", headers=_bearer(token_for_orders()), timeout=30)
        expect([refusal.status_code, refusal.json()["error_codes"]], [403, [65001]], refusal.text)
        told = requests.post(at["native"] + "/explain", data=refusal.text, timeout=30).json()
        expect([told["allowed"], told["checks"][0]["id"]], [False, "consent.granted"], told)
