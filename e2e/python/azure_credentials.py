"""azure-identity, with the two settings a private authority needs and nothing else."""

import base64
import json
import time
import uuid

import jwt
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import CertificateCredential, ClientSecretCredential, OnBehalfOfCredential
from cryptography.hazmat.primitives import hashes

from runner import expect, test
from world import *

SETTINGS = {"authority": HOST, "disable_instance_discovery": True}
EXPORT = BILLING["identifier_uri"] + "/.default"


class Listening(RequestsTransport):
    """The library's own transport, which also notes the grants that it sends."""

    def __init__(self):
        super().__init__()
        self.grants = []

    def send(self, request, **more):
        if isinstance(request.data, dict) and "grant_type" in request.data:
            self.grants.append(request.data["grant_type"])
        return super().send(request, **more)


@test
def azure_identity_gets_a_token_by_secret():
    credential = ClientSecretCredential(TENANT["id"], DAEMON["app_id"], DAEMON["client_secret"], **SETTINGS)
    token = credential.get_token(EXPORT)
    expect(claims(token.token)["roles"], DAEMON["app_roles_at"][BILLING["identifier_uri"]], "roles")
    expect(claims(credential.get_token(EXPORT, enable_cae=True).token)["idtyp"], "app", "with CAE")


@test
def azure_identity_asks_anew_with_claims():
    credential = ClientSecretCredential(TENANT["id"], DAEMON["app_id"], DAEMON["client_secret"], **SETTINGS)
    first = claims(credential.get_token(EXPORT).token)
    challenge = json.dumps({"access_token": {"nbf": {"essential": True, "value": str(first["nbf"])}}})
    for cae in (False, True):
        answer = claims(credential.get_token(EXPORT, claims=challenge, enable_cae=cae).token)
        assert answer["uti"] != first["uti"], "a challenge is not answered from the cache"
        assert answer["nbf"] >= first["nbf"], "no older than the challenge asks for"


@test
def azure_identity_gets_a_token_by_certificate():
    for chain in (False, True):
        credential = CertificateCredential(
            TENANT["id"], DAEMON["app_id"], DAEMON["certificate_file"], send_certificate_chain=chain, **SETTINGS
        )
        expect(claims(credential.get_token(EXPORT).token)["azpacr"], "2", f"x5c sent: {chain}")


@test
def azure_identity_exchanges_once_and_then_uses_the_refresh_token():
    wire = Listening()
    credential = OnBehalfOfCredential(
        TENANT["id"],
        ORDERS["app_id"],
        client_secret=ORDERS["client_secret"],
        user_assertion=token_for_orders(),
        transport=wire,
        **SETTINGS,
    )
    first = credential.get_token(BILLING_READ)
    expect(claims(first.token)["oid"], ADA["oid"], "user")
    expect(credential.get_token(BILLING_READ).token, first.token, "second call, from the cache")
    second = credential.get_token(EXPORT)
    expect((claims(second.token)["oid"], claims(second.token)["azp"]), (ADA["oid"], ORDERS["app_id"]), "user and client")
    expect(wire.grants, ["urn:ietf:params:oauth:grant-type:jwt-bearer", "refresh_token"], "grants sent")


@test
def azure_identity_exchanges_by_certificate():
    with open(ORDERS["certificate_file"], "rb") as file:
        credential = OnBehalfOfCredential(
            TENANT["id"],
            ORDERS["app_id"],
            client_certificate=file.read(),
            user_assertion=token_for_orders(),
            **SETTINGS,
        )
    expect(claims(credential.get_token(BILLING_READ).token)["azpacr"], "2", "azpacr")


@test
def azure_identity_exchanges_by_an_assertion_that_it_calls_for():
    text, certificate = pem(ORDERS)
    called = []

    def assertion():
        now, endpoint = int(time.time()), f"{AUTHORITY}/oauth2/v2.0/token"
        body = {"iss": ORDERS["app_id"], "sub": ORDERS["app_id"], "aud": endpoint, "jti": str(uuid.uuid4())}
        thumbprint = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        called.append(1)
        return jwt.encode(body | {"nbf": now, "exp": now + 300}, text, "PS256", headers={"x5t#S256": thumbprint})

    credential = OnBehalfOfCredential(
        TENANT["id"], ORDERS["app_id"], client_assertion_func=assertion, user_assertion=token_for_orders(), **SETTINGS
    )
    token = claims(credential.get_token(BILLING_READ).token)
    expect((token["oid"], token["azp"], token["azpacr"]), (ADA["oid"], ORDERS["app_id"], "2"), "user and client")
    assert called, "the function was called"


@test
def azure_identity_says_why_the_exchange_was_refused():
    credential = OnBehalfOfCredential(
        TENANT["id"],
        ORDERS["app_id"],
        client_secret=ORDERS["client_secret"],
        user_assertion=token_for_orders(),
        **SETTINGS,
    )
    try:
        credential.get_token(ENV["unconsented"]["scope"])
    except ClientAuthenticationError as error:
        assert "AADSTS65001" in str(error), error
    else:
        raise AssertionError("a token came where a refusal was due")
