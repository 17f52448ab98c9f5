"""Conditional access in the middle of the chain, with unmodified msal: the claims of a refused exchange go back to the
user's sign-in, the user shows a second factor, and the exchange succeeds."""

import json

from pages import Device, Pages
from runner import expect, test
from world import *

_device = Device()
_REDIRECT = WEB["redirect_uris"][0]
_PAYSLIPS = ENV["step_up"]["scope"]


def _sign_in(app, pages, claims_challenge=None):
    flow = app.initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri=_REDIRECT, claims_challenge=claims_challenge)
    return succeeded(app.acquire_token_by_auth_code_flow(flow, pages.sign_in(flow["auth_uri"], _REDIRECT, BOB)))


@test
def the_claims_of_a_refused_exchange_lead_through_a_second_factor_to_a_token():
    web, orders, pages = confidential(WEB), confidential(ORDERS), Pages(_device)
    weak = _sign_in(web, pages)["access_token"]
    answer = orders.acquire_token_on_behalf_of(weak, [_PAYSLIPS])
    refused(answer, "interaction_required", 50079, suberror="basic_action")
    assert json.loads(answer["claims"])["access_token"]["polids"]["essential"] is True, answer["claims"]
    strong = _sign_in(web, pages, answer["claims"])
    expect(pages.seen, ["sign-in", "enrol", "recovery codes"], "the pages: the password once")
    token = succeeded(orders.acquire_token_on_behalf_of(strong["access_token"], [_PAYSLIPS]))
    expect(claims(token["access_token"])["oid"], BOB["oid"], "user")
    # Another application object: msal keeps a refusal for a minute.
    again = confidential(ORDERS).acquire_token_on_behalf_of(weak, [_PAYSLIPS])
    refused(again, "interaction_required", 50076, suberror="basic_action")
    # What was proved stays with the refresh token too.
    silent = web.acquire_token_silent_with_error([ORDERS_SCOPE], web.get_accounts()[0], force_refresh=True)
    succeeded(orders.acquire_token_on_behalf_of(succeeded(silent)["access_token"], [_PAYSLIPS]))


@test
def the_older_functions_of_msal_carry_the_claims_too():
    web, orders, pages = confidential(WEB), confidential(ORDERS), Pages(_device)
    weak = _sign_in(web, pages)["access_token"]
    challenge = orders.acquire_token_on_behalf_of(weak, [_PAYSLIPS])["claims"]
    url = web.get_authorization_request_url([ORDERS_SCOPE], redirect_uri=_REDIRECT, claims_challenge=challenge)
    code = pages.sign_in(url, _REDIRECT, BOB)["code"]
    expect(pages.seen, ["sign-in", "verify"], "the pages")
    strong = web.acquire_token_by_authorization_code(
        code, [ORDERS_SCOPE], redirect_uri=_REDIRECT, claims_challenge=challenge
    )
    succeeded(orders.acquire_token_on_behalf_of(succeeded(strong)["access_token"], [_PAYSLIPS]))
