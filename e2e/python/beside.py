"""Orders as a Python program without any SDK, with a sidecar beside it: what Billing and the authority say travels through both,
to a client that is unmodified msal."""

import difflib
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import requests

from pages import Device, Pages
from runner import expect, test
from world import *

_BESIDE = ENV["sidecar"]
_REDIRECT = WEB["redirect_uris"][0]
DEVICE = Device()


def _orders(method, path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.request(method, ORDERS["url"] + path, headers=headers, timeout=30)


def exchanged(target, token, **more):
    """As an application asks its sidecar."""
    body = {"identity_provider": "azuread", "target": target, "user_token": token, **more}
    return requests.post(_BESIDE["NAIS_TOKEN_EXCHANGE_ENDPOINT"], json=body, timeout=30)


@test
def an_application_without_any_sdk_answers_with_adas_own_invoices():
    answer = _orders("GET", "/orders", token_for_orders())
    expect(answer.status_code, 200, answer.text)
    seen = answer.json()["invoices"]["claims"]
    expect([seen["oid"], seen["azp"], seen["aud"]], [ADA["oid"], ORDERS["app_id"], BILLING["app_id"]], "what Billing sees")


@test
def a_claims_challenge_travels_from_billing_through_the_sidecar_to_a_client_that_resolves_it():
    web, pages = confidential(WEB), Pages(DEVICE)
    weak = signed_in(web, pages)["access_token"]
    invoice = _orders("GET", "/orders", weak).json()["invoices"]["invoices"][0]["id"]
    refusal = _orders("POST", f"/orders/{invoice}/pay", weak)
    expect(refusal.status_code, 401, refusal.text)
    challenge = challenged(refusal)
    expect(json.loads(challenge)["access_token"]["acrs"]["value"], "c1", "what is wanted")
    strong = signed_in(web, pages, challenge)["access_token"]
    assert "enrol" in pages.seen, f"the second factor was asked for: {pages.seen}"
    paid = _orders("POST", f"/orders/{invoice}/pay", strong)
    expect(paid.status_code, 200, paid.text)
    expect(paid.json()["paid"]["id"], invoice, "paid")
    # And what was got for the stronger token is nobody's who has the weaker one.
    expect(_orders("POST", f"/orders/{invoice}/pay", weak).status_code, 401, "the older token")


@test
def what_the_authority_says_of_a_refusal_is_passed_on_whole():
    for scope in (ENV["step_up"]["scope"], ENV["unconsented"]["scope"]):
        direct = confidential(ORDERS).acquire_token_on_behalf_of(token_for_orders(), [scope])
        passed = exchanged(scope, token_for_orders())
        expect(passed.headers["Content-Type"], "application/json", "as Texas says it")
        told = passed.json()
        expect(list(told)[:2], ["error", "error_description"], "what Texas knows comes first")
        for member in ("error", "suberror", "error_codes", "claims", "deputize_hint"):
            expect(told.get(member), direct.get(member), member)
        assert told["trace_id"] and told["correlation_id"] and told["timestamp"], told


@test
def a_refusal_keeps_its_code_and_its_hint_through_the_application():
    refusal = _orders("POST", "/orders/INV-1/approve", token_for_orders())
    expect([refusal.status_code, refusal.json()["error_codes"]], [403, [65001]], refusal.text)
    expect(refusal.json()["deputize_hint"]["check"], "consent.granted", "the hint")
    bob = _orders("GET", "/orders", token_for_orders("bob"))
    expect([bob.status_code, bob.json()["checks"][0]["id"]], [403, "role.sufficient"], bob.text)


@test
def tokens_that_are_not_for_orders_open_nothing():
    for_billing = exchanged(BILLING_READ, token_for_orders()).json()["access_token"]
    head, body, signature = token_for_orders().split(".")
    # One that says of nobody what they may do is no token for an API, either.
    nobodys = app_only_token(ORDERS["identifier_uri"])
    for token in (for_billing, f"{head}.{body}.{signature[::-1]}", "garbage", None, nobodys):
        expect(_orders("GET", "/orders", token).status_code, 401, str(token)[-8:])


@test
def the_form_of_a_request_makes_no_difference_and_expires_in_counts_down():
    fields = {"identity_provider": "entra_id", "target": BILLING_READ, "user_token": token_for_orders()}
    answers = [
        requests.post(_BESIDE["NAIS_TOKEN_EXCHANGE_ENDPOINT"], timeout=30, **body)
        for body in ({"json": fields}, {"data": fields})
    ]
    tokens = {answer.json()["access_token"] for answer in answers}
    expect(len(tokens), 1, "one token, kept")
    assert 0 < answers[1].json()["expires_in"] <= answers[0].json()["expires_in"], answers[1].text
    introspected = requests.post(
        _BESIDE["NAIS_TOKEN_INTROSPECTION_ENDPOINT"],
        data={"identity_provider": "entra_id", "token": token_for_orders()},
        timeout=30,
    )
    expect(introspected.json()["oid"], ADA["oid"], "introspected")
    body = {"identity_provider": "entra_id", "target": "api://deputize/.default"}
    own = requests.post(_BESIDE["NAIS_TOKEN_ENDPOINT"], json=body, timeout=30)
    expect(claims(own.json()["access_token"])["azp"], ORDERS["app_id"], "its own token")


def _bob(enabled):
    """As an administrator does in another process: the demo's estate, with one line more."""
    estate = pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "estate" / "contoso.toml"
    text = estate.read_text(encoding="utf-8")
    name = 'displayName = "Bob Babbage"'
    assert name in text
    # The files that the estate names are where the demo made them.
    folder = next(pathlib.Path(os.environ["DEPUTIZE_DATA"]).rglob("bob.password")).parent
    with tempfile.NamedTemporaryFile("w", suffix=".toml", dir=folder) as file:
        file.write(text.replace(name, f"{name}\naccountEnabled = {'true' if enabled else 'false'}"))
        file.flush()
        command = [os.environ["DEPUTIZE"], "apply", file.name, "--data", os.environ["DEPUTIZE_DATA"]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    expect(done.returncode, 0, done.stderr)


def _signed_in(person):
    return sign_in(confidential(WEB), person, [ORDERS_SCOPE], _REDIRECT)["access_token"]


def _introspected(token):
    body = {"identity_provider": "entra_id", "token": token}
    return requests.post(_BESIDE["NAIS_TOKEN_INTROSPECTION_ENDPOINT"], json=body, timeout=30).json()


@test
def what_the_sidecar_holds_of_somebody_is_gone_when_they_are_disabled():
    token = _signed_in(BOB)
    held = exchanged(BILLING_READ, token).json()["access_token"]
    expect(exchanged(BILLING_READ, token).json()["access_token"], held, "held")
    assert _introspected(token)["active"]
    _bob(enabled=False)
    deadline = time.monotonic() + 10
    while (said := _introspected(token))["active"] and time.monotonic() < deadline:
        time.sleep(0.01)
    expect(said, {"active": False, "error": "invalid token: RevokedToken"}, "what was seen before")
    refused = exchanged(BILLING_READ, token)
    expect([refused.status_code, refused.json()["error_codes"]], [400, [50057]], "what was held before")
    expect(_orders("GET", "/orders", token).status_code, 401, "at the application")
    _bob(enabled=True)
    # Until the authority has seen it, within a second, its page does not take his password.
    time.sleep(1)
    again = _signed_in(BOB)
    expect(exchanged(BILLING_READ, again).status_code, 200, "he is let in again")
    assert _introspected(again)["active"]
    token_for_orders.cache_clear()


def _told(*options):
    """What the demo tells, line by line."""
    port = next(first for first in range(29_000, 31_000, 10) if all(_is_free(first + it) for it in range(3)))
    command = [os.environ["DEPUTIZE"], "demo", "--once", "--port", str(port), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    expect([done.returncode, done.stderr], [0, ""], done.stdout)
    return done.stdout.replace(f":{port}", ":1").replace(f":{port + 1}", ":2").replace(f":{port + 2}", ":3").splitlines()


def _is_free(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


def _differences(one, other):
    lines = list(difflib.unified_diff(one, other, n=0, lineterm=""))[2:]
    return [[line[1:] for line in lines if line.startswith(sign)] for sign in "-+"]


_IN_RUST = [
    "Orders checks issuer, key, signature, times, audience and scope by itself",
    "3 Orders exchanges it for a token for Billing, on behalf of Ada (On-Behalf-Of)",
]


@test
def the_demo_tells_the_same_story_when_orders_is_a_python_program():
    rust, python = _differences(_told(), _told("--sidecar"))
    expect(len(python), 3, python)
    for line, says in zip(python, ("  sidecar    http://127.0.0.1:", "Orders hands the call", "3 The sidecar exchanges it")):
        assert says in line, line
    # Who does what differs; what happens, and what is refused and why, does not.
    expect([line.strip() for line in rust], _IN_RUST, "what the other Orders has")


@test
def the_demo_tells_the_same_story_of_what_paying_takes():
    expect(_differences(_told("--step-up"), _told("--step-up", "--sidecar")), [[], []], "not a word differs")
