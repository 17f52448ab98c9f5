"""The demo's gateway: transparent, on behalf of the user, and before a service that knows passwords only."""

import functools
import json
import os
import subprocess

import requests

from pages import Pages
from runner import expect, test
from world import *

_GATEWAY = ENV["gateway"]
_SCOPE = _GATEWAY["identifier_uri"] + "/access_as_user"
_KEY = "Ocp-Apim-Subscription-Key"


@functools.cache
def for_gateway(name):
    return sign_in(confidential(WEB), ENV["users"][name], [_SCOPE], WEB["redirect_uris"][0])["access_token"]


def call(path, token=None, method="GET", **headers):
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return requests.request(method, _GATEWAY["url"] + path, headers=headers, timeout=30)


def refused(answer, status, reason, check):
    told = answer.json()
    expect([answer.status_code, told["statusCode"], told.get("reason"), told["check"]], [status, status, reason, check], answer.text)
    assert told["decision_id"] and told["message"], told


@test
def a_token_for_orders_goes_through_and_orders_checks_it_again():
    answer = call("/orders", token_for_orders())
    expect(answer.status_code, 200, answer.text)
    expect(answer.json()["invoices"]["claims"]["azp"], ORDERS["app_id"], "Orders exchanged it itself")
    refused(call("/orders", for_gateway("ada")), 401, "TokenAudienceNotAllowed", "token.audience")


@test
def a_token_for_the_gateway_becomes_one_for_billing_that_is_still_the_users():
    answer = call("/invoices", for_gateway("ada"))
    expect(answer.status_code, 200, answer.text)
    seen = answer.json()["claims"]
    expect([seen["oid"], seen["azp"], seen["aud"]], [ADA["oid"], _GATEWAY["app_id"], BILLING["app_id"]], "what Billing sees")
    refused(call("/invoices", token_for_orders()), 401, "TokenAudienceNotAllowed", "token.audience")
    refused(call("/invoices"), 401, "TokenNotPresent", "token.present")
    # What Billing refuses is Billing's word.
    bob = call("/invoices", for_gateway("bob"))
    expect([bob.status_code, bob.json()["checks"][0]["id"]], [403, "role.sufficient"], bob.text)


@test
def a_key_opens_the_service_that_knows_passwords_and_reaches_it_never():
    answer = call("/ledger/entries", **{_KEY: _GATEWAY["subscription_key"], "X-MS-CLIENT-PRINCIPAL": "forged", "X_User": "grace"})
    expect(answer.status_code, 200, answer.text)
    expect(answer.json()["user"], "gateway", "by its password")
    fields = [name.lower() for name in answer.json()["fields"]]
    assert "authorization" in fields and not {_KEY.lower(), "x-ms-client-principal", "x_user"} & set(fields), fields
    refused(call("/ledger/entries"), 401, "SubscriptionKeyNotFound", "subscription.key_present")
    refused(call("/ledger/entries", **{_KEY: "0" * 43}), 401, "SubscriptionKeyInvalid", "subscription.key_valid")
    in_query = requests.get(f"{_GATEWAY['url']}/ledger/entries?subscription-key={_GATEWAY['subscription_key']}", timeout=30)
    expect(in_query.status_code, 200, in_query.text)
    refused(call("/nothing"), 404, "OperationNotFound", "gateway.operation")
    refused(call("/ledger/entries", method="POST"), 404, "OperationNotFound", "gateway.operation")


@test
def who_watches_sees_the_refusal_with_the_id_that_its_caller_got():
    command = [os.environ["DEPUTIZE"], "gateway", "trace", _GATEWAY["configuration"], "--json", "--refused", "--count", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        try:
            ids = []
            # It may begin to watch at any moment: until then nothing is told to anybody.
            while watcher.poll() is None and len(ids) < 200:
                ids.append(call("/orders", for_gateway("ada")).json()["decision_id"])
            told = json.loads(watcher.communicate(timeout=30)[0])
        finally:
            watcher.kill()
    assert told["decision_id"] in ids, told
    step = next(step for step in told["steps"] if step["policy"] == "validate_jwt")
    failed = [check["id"] for check in step["checks"] if check["outcome"] == "fail"]
    expect([step["passed"], failed], [False, ["token.audience"]], json.dumps(told))
    assert for_gateway("ada")[:40] not in json.dumps(told), "no token is told"
