"""The v1.0 endpoints with adal, the library of their time; and On-Behalf-Of in its v1.0 form, which adal for Python never had."""

import time
from urllib.parse import urlencode

import requests
from adal import AdalError, AuthenticationContext
from cryptography.hazmat.primitives import hashes

from pages import Pages
from runner import expect, test
from world import *

ORDERS_RESOURCE, BILLING_RESOURCE = ORDERS["identifier_uri"], BILLING["identifier_uri"]
REDIRECT_URI = WEB["redirect_uris"][0]


def _context(authority=AUTHORITY):
    """Certificates are checked as always; only Microsoft's list of hosts is not asked about this one."""
    return AuthenticationContext(authority, validate_authority=False)


def _code(resource):
    parameters = {"client_id": WEB["app_id"], "response_type": "code", "redirect_uri": REDIRECT_URI, "resource": resource}
    answer = Pages().sign_in(f"{AUTHORITY}/oauth2/authorize?{urlencode(parameters)}", REDIRECT_URI, ADA)
    expect(answer["iss"], f"{AUTHORITY}/", "issuer of the v1.0 metadata")
    return answer["code"]


def _of_ada(answer, audience, client, how):
    token = claims(answer["accessToken"])
    expect((token["oid"], token["aud"]), (ADA["oid"], audience["app_id"]), "user and audience")
    expect((token["azp"], token["azpacr"]), (client["app_id"], how), "client")
    expect((answer["userId"], answer["tenantId"], answer["oid"]), (ADA["upn"], TENANT["id"], ADA["oid"]), "from the ID token")
    return token


def _refused(call, error, code):
    try:
        call()
    except AdalError as refusal:
        answer = refusal.error_response
        expect((answer["error"], answer["error_codes"]), (error, [code]), "refusal")
    else:
        raise AssertionError("a token came where a refusal was due")


@test
def adal_gets_a_token_by_secret_and_the_second_from_its_cache():
    context = _context()
    answer = context.acquire_token_with_client_credentials(BILLING_RESOURCE, DAEMON["app_id"], DAEMON["client_secret"])
    expect((answer["resource"], answer["tokenType"]), (BILLING_RESOURCE, "Bearer"), "resource and type")
    token = claims(answer["accessToken"])
    expect((token["azp"], token["azpacr"], token["idtyp"]), (DAEMON["app_id"], "1", "app"), "client")
    expect(token["roles"], DAEMON["app_roles_at"][BILLING_RESOURCE], "roles")
    assert "refreshToken" not in answer
    again = context.acquire_token_with_client_credentials(BILLING_RESOURCE, DAEMON["app_id"], "not asked for")
    expect(again["accessToken"], answer["accessToken"], "the second token")


@test
def adal_gets_a_token_by_certificate_with_and_without_its_chain():
    text, certificate = pem(DAEMON)
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex()
    for chain in (None, text[text.index("-----BEGIN CERTIFICATE") :]):
        answer = _context().acquire_token_with_client_certificate(
            BILLING_RESOURCE, DAEMON["app_id"], text, thumbprint, public_certificate=chain
        )
        expect(claims(answer["accessToken"])["azpacr"], "2", "how the client proved itself")


@test
def adal_redeems_a_code_and_refreshes_to_another_resource():
    # She consents at the newer endpoint; what she gave is the same at both.
    sign_in(confidential(WEB), ADA, [BILLING_READ], REDIRECT_URI)
    context = _context()
    first = context.acquire_token_with_authorization_code(
        _code(ORDERS_RESOURCE), REDIRECT_URI, ORDERS_RESOURCE, WEB["app_id"], WEB["client_secret"]
    )
    expect(_of_ada(first, ORDERS, WEB, "1")["scp"], "access_as_user", "scp")
    assert first["isMRRT"], "a refresh token for every resource"
    second = context.acquire_token_with_refresh_token(
        first["refreshToken"], WEB["app_id"], BILLING_RESOURCE, WEB["client_secret"]
    )
    _of_ada(second, BILLING, WEB, "1")


@test
def adal_signs_a_device_in_and_renews_from_its_cache():
    sign_in(public(NATIVE), ADA, [BILLING_READ], "http://localhost:53684")
    context = _context(f"{HOST}/{TENANT['domain']}")
    begun = context.acquire_user_code(ORDERS_RESOURCE, NATIVE["app_id"], language="de-DE")
    assert begun["user_code"] in begun["message"] and begun["message"].startswith("Öffnen"), begun["message"]
    Pages().approve_device(begun["verification_url"], begun["user_code"], ADA)
    _of_ada(context.acquire_token_with_device_code(ORDERS_RESOURCE, begun, NATIVE["app_id"]), ORDERS, NATIVE, "0")
    silent = context.acquire_token(BILLING_RESOURCE, ADA["upn"], NATIVE["app_id"])
    _of_ada(silent, BILLING, NATIVE, "0")


@test
def adal_says_why_it_was_refused():
    context = _context()
    _refused(
        lambda: context.acquire_token_with_client_credentials(BILLING_RESOURCE, DAEMON["app_id"], "not the secret"),
        "invalid_client",
        7000215,
    )
    _refused(
        lambda: context.acquire_token_with_client_credentials(
            "https://nobody.example", DAEMON["app_id"], DAEMON["client_secret"]
        ),
        "invalid_resource",
        500011,
    )
    _refused(
        lambda: context.acquire_token_with_refresh_token(
            "not a token", WEB["app_id"], ORDERS_RESOURCE, WEB["client_secret"]
        ),
        "invalid_grant",
        9002313,
    )


@test
def orders_calls_billing_for_ada_in_the_form_of_the_older_endpoint():
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "requested_token_use": "on_behalf_of",
        "assertion": token_for_orders(),
        "client_id": ORDERS["app_id"],
        "client_secret": ORDERS["client_secret"],
        "resource": BILLING_RESOURCE,
        "scope": "openid",
    }
    asked = int(time.time())
    answer = requests.post(f"{AUTHORITY}/oauth2/token", data=form, timeout=20).json()
    numbers = ("expires_in", "ext_expires_in", "expires_on", "not_before")
    names = {*numbers, "token_type", "scope", "resource", "access_token", "refresh_token", "id_token"}
    expect(set(answer), names, "members")
    assert all(isinstance(answer[name], str) and answer[name].isdigit() for name in numbers), "numbers are texts"
    token = claims(answer["access_token"])
    expect((answer["token_type"], answer["resource"]), ("Bearer", BILLING_RESOURCE), "type and resource")
    expect(answer["scope"], token["scp"], "short names, without the resource")
    expect((int(answer["expires_on"]), int(answer["not_before"])), (token["exp"], token["nbf"]), "its dates")
    expect(int(answer["expires_in"]), token["exp"] - token["iat"], "its life")
    assert asked - 5 <= int(answer["not_before"]) <= time.time() + 5, "now"
    expect((token["oid"], token["azp"], token["aud"]), (ADA["oid"], ORDERS["app_id"], BILLING["app_id"]), "for her")
    expect(claims(answer["id_token"])["ver"], "1.0", "version of the ID token")
    # The middle tier renews what it was given, and nobody else does.
    renewed = _context().acquire_token_with_refresh_token(
        answer["refresh_token"], ORDERS["app_id"], BILLING_RESOURCE, ORDERS["client_secret"]
    )
    _of_ada(renewed, BILLING, ORDERS, "1")
    _refused(
        lambda: _context().acquire_token_with_refresh_token(
            answer["refresh_token"], WEB["app_id"], BILLING_RESOURCE, WEB["client_secret"]
        ),
        "invalid_grant",
        9002313,
    )
