"""Devices without a browser: msal's device code flow, with a person who types the code elsewhere."""

import threading

from pages import Pages
from runner import expect, test
from world import *


@test
def a_device_gets_a_token_for_ada_while_it_polls():
    app = public(NATIVE)
    flow = app.initiate_device_flow(scopes=[ORDERS_SCOPE])
    assert flow["user_code"] in flow["message"] and flow["verification_uri"] in flow["message"], flow["message"]
    assert "verification_uri_complete" not in flow, "no link with the code filled in"
    answers = []
    device = threading.Thread(target=lambda: answers.append(app.acquire_token_by_device_flow(flow)))
    device.start()
    Pages().approve_device(flow["verification_uri"], flow["user_code"], ADA)
    device.join(timeout=60)
    answer = succeeded(answers[0])
    token = claims(answer["access_token"])
    expect((token["oid"], token["azp"], token["azpacr"]), (ADA["oid"], NATIVE["app_id"], "0"), "who and by what")
    silent = succeeded(app.acquire_token_silent([ORDERS_SCOPE], app.get_accounts()[0], force_refresh=True))
    expect(claims(silent["access_token"])["oid"], ADA["oid"], "user after refresh")


@test
def a_device_whose_person_declines_is_told_so():
    app = public(NATIVE)
    flow = app.initiate_device_flow(scopes=[ORDERS_SCOPE])
    Pages().approve_device(flow["verification_uri"], flow["user_code"], ADA, action="cancel")
    expect(app.acquire_token_by_device_flow(flow)["error"], "authorization_declined", "error")


@test
def a_confidential_client_is_no_device():
    answer = public(WEB).initiate_device_flow(scopes=[ORDERS_SCOPE])
    expect((answer["error"], answer["error_codes"]), ("invalid_client", [7000218]), "refusal")
