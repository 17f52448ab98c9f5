"""The main job: Orders calls Billing on behalf of the user, with msal; and every refusal that a caller can bring about."""

import base64
import json

from runner import Skip, expect, test
from world import *


def _orders(credential=None, **more):
    return confidential(ORDERS, credential, **more)


def _check(answer, how):
    token = claims(answer["access_token"])
    expect((token["oid"], token["tid"]), (ADA["oid"], TENANT["id"]), "user")
    expect(token["aud"], BILLING["app_id"], "aud")
    expect((token["azp"], token["azpacr"]), (ORDERS["app_id"], how), "client")
    expect(token["scp"], "Invoices.Read", "scp")
    expect(token["roles"], ["Invoices.Reader"], "the user's roles")
    assert token["sub"] != claims(token_for_orders())["sub"], "sub is pairwise for the downstream"
    return token


@test
def orders_calls_billing_for_ada_by_its_secret():
    answer = succeeded(_orders().acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ]))
    _check(answer, "1")
    assert answer["id_token_claims"]["oid"] == ADA["oid"], "msal asks for openid, so an ID token comes too"


@test
def orders_calls_billing_for_ada_by_its_certificate_in_the_older_form():
    app = _orders(by_sha1_thumbprint(ORDERS))
    _check(succeeded(app.acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ])), "2")


@test
def orders_calls_billing_for_ada_by_its_certificate_in_the_newer_form():
    app = _orders(by_certificate(ORDERS))
    _check(succeeded(app.acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ])), "2")


@test
def an_exchange_may_carry_the_claims_of_a_challenge():
    revoked_before = int(claims(token_for_orders())["iat"]) - 60
    challenge = json.dumps({"access_token": {"nbf": {"essential": True, "value": str(revoked_before)}}})
    answer = _orders(client_capabilities=["cp1"]).acquire_token_on_behalf_of(
        token_for_orders(), [BILLING_READ], claims_challenge=challenge
    )
    token = _check(succeeded(answer), "1")
    assert token["nbf"] >= revoked_before, "no older than the challenge asks for"
    unknown = json.dumps({"access_token": {"acrs": {"essential": True, "value": "c98"}}})
    answer = _orders().acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ], claims_challenge=unknown)
    assert answer["error"] == "interaction_required", answer


@test
def default_brings_all_that_was_consented():
    answer = _orders().acquire_token_on_behalf_of(token_for_orders(), [BILLING["identifier_uri"] + "/.default"])
    token = claims(succeeded(answer)["access_token"])
    assert "Invoices.Read" in token["scp"].split() and "Invoices.Approve" not in token["scp"].split(), token["scp"]


@test
def the_exchanged_token_lives_as_long_as_policy_allows():
    token = claims(succeeded(_orders().acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ]))["access_token"])
    assert 3600 <= token["exp"] - token["iat"] <= 5400, "between 60 and 90 minutes, drawn at random"


@test
def the_tenant_of_the_assertion_counts_where_the_authority_is_an_alias():
    app = _orders(authority=f"{HOST}/organizations")
    _check(succeeded(app.acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ])), "1")


@test
def bob_gets_a_token_without_the_role_he_does_not_have():
    answer = succeeded(_orders().acquire_token_on_behalf_of(token_for_orders("bob"), [BILLING_READ]))
    token = claims(answer["access_token"])
    expect(token["oid"], BOB["oid"], "user")
    assert not token.get("roles"), token


@test
def a_scope_nobody_consented_to_is_refused_and_names_the_edge():
    wanted = ENV["unconsented"]["scope"]
    answer = _orders().acquire_token_on_behalf_of(token_for_orders(), [wanted])
    refused(answer, "invalid_grant", 65001, suberror="consent_required")
    assert answer["deputize_hint"], "the hint says which grant is missing"
    assert "Invoices.Approve" in str(answer["deputize_hint"]), answer["deputize_hint"]


@test
def an_app_only_token_is_no_assertion():
    answer = _orders().acquire_token_on_behalf_of(app_only_token(ORDERS["identifier_uri"]), [BILLING_READ])
    refused(answer, "unauthorized_client", 7000114)


@test
def an_id_token_is_no_assertion():
    web = confidential(WEB)
    identity = sign_in(web, ADA, [ORDERS_SCOPE], WEB["redirect_uris"][0])["id_token"]
    refused(web.acquire_token_on_behalf_of(identity, [BILLING_READ]), "invalid_grant", 240002)


@test
def a_token_for_another_api_is_no_assertion_and_the_error_says_what_was_expected():
    billing = succeeded(_orders().acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ]))["access_token"]
    answer = refused(_orders().acquire_token_on_behalf_of(billing, [BILLING_READ]), "invalid_grant", 500131)
    assert ORDERS["app_id"] in answer["error_description"] + str(answer["deputize_hint"]), answer


@test
def a_tampered_token_is_no_assertion():
    head, body, signature = token_for_orders().split(".")
    flipped = signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:]
    answer = _orders().acquire_token_on_behalf_of(f"{head}.{body}.{flipped}", [BILLING_READ])
    refused(answer, "invalid_grant", 50013)


@test
def claims_rewritten_by_the_holder_are_no_assertion():
    head, body, signature = token_for_orders().split(".")
    forged = {**claims(token_for_orders()), "oid": BOB["oid"], "exp": 4102444800}
    body = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    refused(_orders().acquire_token_on_behalf_of(f"{head}.{body}.{signature}", [BILLING_READ]), "invalid_grant", 50013)


@test
def garbage_is_no_assertion():
    refused(_orders().acquire_token_on_behalf_of("garbage", [BILLING_READ]), "invalid_request", 50027)


@test
def a_public_client_has_no_part_in_it():
    app = confidential(NATIVE, "a secret it cannot have")
    refused(app.acquire_token_on_behalf_of(token_for_orders(), [BILLING_READ]), "invalid_client", 700025)


@test
def two_resources_at_once_are_refused():
    scopes = [BILLING_READ, ORDERS_SCOPE]
    refused(_orders().acquire_token_on_behalf_of(token_for_orders(), scopes), "invalid_scope", 700022)


@test
def a_policy_of_the_downstream_comes_back_with_claims():
    step_up = ENV.get("step_up")
    if not step_up:
        raise Skip("the demo declares no `step_up`")
    app = confidential(ENV["apis"][step_up["client"]])
    answer = app.acquire_token_on_behalf_of(token_for_orders(), [step_up["scope"]])
    refused(answer, "interaction_required", 50079, suberror="basic_action")
    assert "access_token" in json.loads(answer["claims"]), answer["claims"]
