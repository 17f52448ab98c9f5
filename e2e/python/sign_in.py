"""Signing users in with msal: the authorization code flow, the pages, and silent refresh."""

import msal
import requests

from pages import Pages, Refused
from runner import expect, test
from world import *


@test
def the_web_client_signs_ada_in_by_the_code_flow_with_nonce_and_pkce():
    app = confidential(WEB)
    answer = sign_in(app, ADA, [ORDERS_SCOPE], WEB["redirect_uris"][0])
    token = claims(answer["access_token"])
    expect(token["aud"], ORDERS["app_id"], "aud")
    expect((token["oid"], token["tid"]), (ADA["oid"], TENANT["id"]), "user")
    expect((token["azp"], token["azpacr"]), (WEB["app_id"], "1"), "client")
    expect(token["scp"], "access_as_user", "scp")
    expect((token["idtyp"], token["ver"]), ("user", "2.0"), "kind and version")
    expect(token["iss"], f"{AUTHORITY}/v2.0", "iss")
    identity = answer["id_token_claims"]
    expect((identity["aud"], identity["oid"]), (WEB["app_id"], ADA["oid"]), "ID token")
    assert "azp" not in identity and "idtyp" not in identity, "an ID token must not look like an access token"
    assert identity["sub"] != token["sub"], "sub is pairwise: another audience sees another subject"
    account = app.get_accounts()[0]
    expect(account["home_account_id"], f"{ADA['oid']}.{TENANT['id']}", "account from client_info")
    expect(account["username"], ADA["upn"], "username")


@test
def the_native_client_signs_in_without_a_secret_on_a_loopback_port():
    app = public(NATIVE)
    answer = sign_in(app, ADA, [ORDERS_SCOPE], "http://localhost:53682")
    token = claims(answer["access_token"])
    expect((token["azp"], token["azpacr"]), (NATIVE["app_id"], "0"), "client")
    silent = succeeded(app.acquire_token_silent([ORDERS_SCOPE], app.get_accounts()[0], force_refresh=True))
    expect(claims(silent["access_token"])["oid"], ADA["oid"], "user after refresh")


@test
def the_answer_may_arrive_as_a_posted_form():
    answer = sign_in(confidential(WEB), ADA, [ORDERS_SCOPE], WEB["redirect_uris"][0], response_mode="form_post")
    expect(claims(answer["access_token"])["oid"], ADA["oid"], "user")


@test
def one_session_serves_a_second_client_without_a_second_password():
    pages = Pages()
    for app, redirect_uri in ((confidential(WEB), WEB["redirect_uris"][0]), (public(NATIVE), "http://localhost:53683")):
        flow = app.initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri=redirect_uri)
        succeeded(app.acquire_token_by_auth_code_flow(flow, pages.sign_in(flow["auth_uri"], redirect_uri, ADA)))
    expect(pages.seen.count("sign-in"), 1, "passwords asked for")


@test
def a_silent_refresh_serves_another_resource():
    app = confidential(WEB)
    sign_in(app, ADA, [ORDERS_SCOPE, BILLING_READ], WEB["redirect_uris"][0], redeem=[ORDERS_SCOPE])
    account = app.get_accounts()[0]
    billing = succeeded(app.acquire_token_silent_with_error([BILLING_READ], account))
    expect((claims(billing["access_token"])["aud"], billing["token_source"]), (BILLING["app_id"], "identity_provider"), "refreshed")
    again = succeeded(app.acquire_token_silent_with_error([ORDERS_SCOPE], account))
    expect(again["token_source"], "cache", "the first resource's token")


@test
def the_tenant_answers_under_its_domain_and_as_an_oidc_authority():
    by_domain = confidential(WEB, authority=f"{HOST}/{TENANT['domain']}")
    sign_in(by_domain, ADA, [ORDERS_SCOPE], WEB["redirect_uris"][0])
    as_oidc = msal.ConfidentialClientApplication(
        WEB["app_id"], client_credential=WEB["client_secret"], oidc_authority=f"{AUTHORITY}/v2.0"
    )
    sign_in(as_oidc, ADA, [ORDERS_SCOPE], WEB["redirect_uris"][0])


@test
def msal_may_ask_our_own_instance_discovery():
    app = msal.ConfidentialClientApplication(
        DAEMON["app_id"],
        client_credential=DAEMON["client_secret"],
        authority=AUTHORITY,
        instance_discovery=f"{HOST}/common/discovery/instance",
    )
    succeeded(app.acquire_token_for_client([BILLING["identifier_uri"] + "/.default"]))


@test
def a_wrong_password_is_asked_again_and_says_nothing_about_the_user():
    said = []
    for user in ({**ADA, "password": "not hers"}, {"upn": "nobody@" + TENANT["domain"], "password": "not hers"}):
        app = confidential(WEB)
        flow = app.initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri=WEB["redirect_uris"][0])
        try:
            Pages().sign_in(flow["auth_uri"], WEB["redirect_uris"][0], user)
        except AssertionError as page:
            said.append(str(page).replace(user["upn"], ""))
        except Refused as page:
            said.append(page.text.replace(user["upn"], ""))
        else:
            raise AssertionError("a wrong password was taken")
    expect(said[0], said[1], "a known and an unknown user")


@test
def a_redirect_uri_that_is_not_registered_is_an_error_page_and_no_redirect():
    app = confidential(WEB)
    flow = app.initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri="https://attacker.example/callback")
    response = requests.get(flow["auth_uri"], allow_redirects=False, timeout=20)
    expect(response.status_code, 400, "status")
    assert "50011" in response.text and "Location" not in response.headers


@test
def a_code_is_good_once():
    app = confidential(WEB)
    flow = app.initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri=WEB["redirect_uris"][0])
    answer = Pages().sign_in(flow["auth_uri"], WEB["redirect_uris"][0], ADA)
    succeeded(app.acquire_token_by_auth_code_flow(flow, answer))
    second = confidential(WEB).acquire_token_by_auth_code_flow(flow, answer)
    refused(second, "invalid_grant", 54005)


@test
def a_code_needs_the_verifier_it_was_asked_with():
    app = confidential(WEB)
    flow = app.initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri=WEB["redirect_uris"][0])
    answer = Pages().sign_in(flow["auth_uri"], WEB["redirect_uris"][0], ADA)
    flow["code_verifier"] = "a" * 43
    refused(app.acquire_token_by_auth_code_flow(flow, answer), "invalid_grant", 501481)
