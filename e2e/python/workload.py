"""Programs without a secret of their own, with azure-identity: another issuer's tokens, a certificate that is registered
nowhere, and managed identities as App Service and as a virtual machine's metadata service."""

import base64
import contextlib
import functools
import http.server
import json
import os
import ssl
import tempfile
import threading
import time
from urllib.parse import urlsplit

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    CredentialUnavailableError,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from runner import expect, test
from world import *

SETTINGS = {"authority": HOST, "disable_instance_discovery": True}
EXPORT = BILLING["identifier_uri"] + "/.default"
ISSUER, IDENTITIES = ENV["issuer"], ENV["managed_identity"]


def _encoded(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class Issuer:
    """An OpenID Connect issuer as small as they come: a discovery document, a key set, and tokens."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = self.key.public_key().public_numbers()
        number = lambda it: _encoded(it.to_bytes((it.bit_length() + 7) // 8, "big"))
        documents = {
            "/.well-known/openid-configuration": {"issuer": ISSUER["url"], "jwks_uri": ISSUER["url"] + "/keys"},
            "/keys": {"keys": [{"kty": "RSA", "kid": "one", "n": number(numbers.n), "e": number(numbers.e)}]},
        }

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                document = documents.get(self.path)
                self.send_response(200 if document else 404)
                body = json.dumps(document).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", urlsplit(ISSUER["url"]).port), Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(ISSUER["certificate_file"], ISSUER["key_file"])
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def token(self, **changes):
        now = int(time.time())
        body = {"iss": ISSUER["url"], "sub": ISSUER["subject"], "aud": [ISSUER["audience"]], "iat": now, "exp": now + 3600}
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "one"}, body | changes))
        return signed + "." + _encoded(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))


issuer = functools.cache(Issuer)


def _check(token, app_id):
    token = claims(token)
    expect((token["azp"], token["azpacr"], token["idtyp"]), (app_id, "2", "app"), "client")
    expect(token["roles"], ["Invoices.Export"], "roles")
    return token


@test
def a_workload_identity_is_proved_by_a_token_file():
    with tempfile.NamedTemporaryFile("w", suffix=".jwt") as file:
        file.write(issuer().token())
        file.flush()
        credential = WorkloadIdentityCredential(
            tenant_id=TENANT["id"], client_id=DAEMON["app_id"], token_file_path=file.name, **SETTINGS
        )
        _check(credential.get_token(EXPORT).token, DAEMON["app_id"])


@test
def a_client_assertion_of_another_issuer_is_called_for_when_it_is_needed():
    credential = ClientAssertionCredential(TENANT["id"], DAEMON["app_id"], lambda: issuer().token(), **SETTINGS)
    _check(credential.get_token(EXPORT).token, DAEMON["app_id"])


@test
def msal_calls_for_another_issuers_token_when_it_is_needed():
    called = []

    def assertion():
        called.append(issuer().token())
        return called[-1]

    app = confidential(DAEMON, {"client_assertion": assertion})
    _check(succeeded(app.acquire_token_for_client([EXPORT]))["access_token"], DAEMON["app_id"])
    expect(len(called), 1, "calls")


@test
def a_token_of_another_subject_audience_or_issuer_is_refused_by_its_code():
    for changes, code in (
        ({"sub": "another workload"}, 700213),
        ({"aud": "https://elsewhere.example"}, 700212),
        ({"iss": "https://elsewhere.example"}, 700211),
        ({"exp": int(time.time()) - 600}, 700024),
    ):
        credential = ClientAssertionCredential(
            TENANT["id"], DAEMON["app_id"], lambda changes=changes: issuer().token(**changes), **SETTINGS
        )
        try:
            credential.get_token(EXPORT)
        except ClientAuthenticationError as error:
            assert f"AADSTS{code}: " in str(error), error
        else:
            raise AssertionError(f"a token came for {changes}")


@test
def a_certificate_that_is_registered_nowhere_serves_with_its_chain():
    send = lambda chain: CertificateCredential(
        TENANT["id"], DAEMON["app_id"], DAEMON["chain_file"], send_certificate_chain=chain, **SETTINGS
    ).get_token(EXPORT)
    _check(send(True).token, DAEMON["app_id"])
    try:
        send(False)
    except ClientAuthenticationError as error:
        assert "AADSTS7000274: " in str(error), error
    else:
        raise AssertionError("a token came without the chain")


@contextlib.contextmanager
def _environment(**variables):
    """The variables of one kind of host, and of no other."""
    kinds = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST", "AZURE_CLIENT_ID")
    before = {name: os.environ.pop(name, None) for name in kinds}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _site():
    return _environment(IDENTITY_ENDPOINT=IDENTITIES["endpoint"], IDENTITY_HEADER=IDENTITIES["header"])


def _machine():
    return _environment(AZURE_POD_IDENTITY_AUTHORITY_HOST=IDENTITIES["imds"])


def _as(identity, **named):
    token = _check(ManagedIdentityCredential(**named).get_token(EXPORT).token, identity["client_id"])
    expect((token["oid"], token["xms_mirid"]), (identity["object_id"], identity["resource_id"]), "identity")


@test
def a_site_has_its_own_managed_identity_and_those_that_are_assigned():
    user = IDENTITIES["user"]
    with _site():
        _as(IDENTITIES["system"])
        _as(user, client_id=user["client_id"])
        _as(user, identity_config={"object_id": user["object_id"]})
        _as(user, identity_config={"resource_id": user["resource_id"]})


@test
def a_machine_has_its_own_managed_identity_and_those_that_are_assigned():
    user = IDENTITIES["user"]
    with _machine():
        _as(IDENTITIES["system"])
        _as(user, client_id=user["client_id"])
        _as(user, identity_config={"object_id": user["object_id"]})


@test
def an_identity_that_the_host_does_not_have_gets_nothing():
    for host in (_site, _machine):
        with host():
            try:
                ManagedIdentityCredential(client_id=DAEMON["app_id"]).get_token(EXPORT)
            except (ClientAuthenticationError, CredentialUnavailableError) as error:
                assert "no such identity" in str(error), error
            else:
                raise AssertionError("a token came for an identity of nobody here")


@test
def a_program_that_does_not_know_the_sites_header_gets_nothing():
    with _environment(IDENTITY_ENDPOINT=IDENTITIES["endpoint"], IDENTITY_HEADER="a guess"):
        try:
            ManagedIdentityCredential().get_token(EXPORT)
        except (ClientAuthenticationError, CredentialUnavailableError):
            pass
        else:
            raise AssertionError("a token came for a guess")
