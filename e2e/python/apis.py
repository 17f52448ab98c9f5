"""The two APIs: what they answer, and how they refuse."""

import requests

from runner import expect, test
from world import *


def _get(api, path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(api["url"] + path, headers=headers, timeout=20)


def _challenge(response):
    challenge = response.headers.get("WWW-Authenticate", "")
    assert challenge.startswith("Bearer"), challenge
    return challenge


def _invoices(token):
    return succeeded(confidential(ORDERS).acquire_token_on_behalf_of(token, [BILLING_READ]))["access_token"]


@test
def orders_answers_with_adas_own_invoices_from_billing():
    response = _get(ORDERS, "/orders", token_for_orders())
    expect(response.status_code, 200, response.text)
    direct = _get(BILLING, "/invoices", _invoices(token_for_orders()))
    expect(direct.status_code, 200, direct.text)
    assert ADA["oid"] in direct.text and BOB["oid"] not in direct.text, direct.text
    assert direct.json() and str(response.json()), "both answer JSON"


@test
def the_orders_token_forwarded_straight_to_billing_is_refused():
    response = _get(BILLING, "/invoices", token_for_orders())
    expect(response.status_code, 401, response.text)
    assert 'error="invalid_token"' in _challenge(response), response.headers


@test
def bob_who_lacks_the_role_is_forbidden_through_orders_too():
    expect(_get(ORDERS, "/orders", token_for_orders("bob")).status_code, 403, "through Orders")
    direct = _get(BILLING, "/invoices", _invoices(token_for_orders("bob")))
    expect(direct.status_code, 403, "at Billing")
    assert "Invoices.Reader" in direct.text, f"the refusal names the missing role: {direct.text}"


@test
def the_daemon_may_export():
    response = _get(BILLING, "/export", app_only_token(BILLING["identifier_uri"]))
    expect(response.status_code, 200, response.text)
    assert response.headers["Content-Type"].startswith("application/json")


@test
def a_user_may_not_export_and_the_daemon_may_not_read_invoices():
    expect(_get(BILLING, "/export", _invoices(token_for_orders())).status_code, 403, "Ada at /export")
    expect(_get(BILLING, "/invoices", app_only_token(BILLING["identifier_uri"])).status_code, 403, "the daemon at /invoices")


@test
def no_token_is_told_how_to_get_one_and_no_error_code():
    response = _get(ORDERS, "/orders")
    expect(response.status_code, 401, response.text)
    # RFC 6750 section 3.1: a request without credentials gets no error code.
    assert "error=" not in _challenge(response), response.headers


@test
def a_tampered_token_and_garbage_are_refused_by_the_apis():
    head, body, signature = token_for_orders().split(".")
    for token in (f"{head}.{body}.{signature[::-1]}", f"{head}.{body}.", "garbage", head + "." + body):
        response = _get(ORDERS, "/orders", token)
        expect(response.status_code, 401, token[-8:])
        assert 'error="invalid_token"' in _challenge(response), response.headers


@test
def an_id_token_opens_no_api():
    identity = sign_in(confidential(WEB), ADA, [ORDERS_SCOPE], WEB["redirect_uris"][0])["id_token"]
    expect(_get(ORDERS, "/orders", identity).status_code, 401, "an ID token at Orders")
