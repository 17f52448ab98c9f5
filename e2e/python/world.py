"""What the demo declared about itself, and the clients made from it as a user of msal would make them."""

import base64
import functools
import json
import os
import re

import msal
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from pages import Pages

with open(os.environ["DEPUTIZE_DEMO_ENV"], encoding="utf-8") as file:
    ENV = json.load(file)

HOST = ENV["authority_host"]
AUTHORITY = ENV["authority"]
TENANT = ENV["tenant"]
ADA, BOB = ENV["users"]["ada"], ENV["users"]["bob"]
ORDERS, BILLING = ENV["apis"]["orders"], ENV["apis"]["billing"]
WEB, NATIVE, DAEMON = ENV["clients"]["web"], ENV["clients"]["native"], ENV["clients"]["daemon"]

ORDERS_SCOPE = ORDERS["identifier_uri"] + "/access_as_user"
BILLING_READ = BILLING["identifier_uri"] + "/Invoices.Read"


def claims(token):
    """The claims of a token, unverified: verifying is another suite's work."""
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def header(token):
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))


def confidential(app, credential=None, authority=AUTHORITY, **more):
    """A confidential client; by its secret unless another credential is given."""
    return msal.ConfidentialClientApplication(
        app["app_id"],
        authority=authority,
        client_credential=credential or app["client_secret"],
        instance_discovery=False,
        **more,
    )


def public(app):
    return msal.PublicClientApplication(app["app_id"], authority=AUTHORITY, instance_discovery=False)


def pem(app):
    """The text of an application's PEM file (key and certificate) and the certificate in it."""
    with open(app["certificate_file"], encoding="ascii") as file:
        text = file.read()
    return text, x509.load_pem_x509_certificate(text[text.index("-----BEGIN CERTIFICATE") :].encode())


def by_sha1_thumbprint(app):
    """The older form: msal signs RS256 and names the certificate by `x5t`."""
    text, certificate = pem(app)
    return {"private_key": text, "thumbprint": certificate.fingerprint(hashes.SHA1()).hex()}


def by_certificate(app):
    """The newer form: msal signs PS256 and names the certificate by `x5t#S256`, with the chain in `x5c`."""
    text, _ = pem(app)
    return {"private_key": text, "public_certificate": text[text.index("-----BEGIN CERTIFICATE") :]}


def sign_in(app, user, scopes, redirect_uri, redeem=None, **authorize):
    """The authorization code flow of msal through the demo's pages, without JavaScript. msal checks state and nonce."""
    flow = app.initiate_auth_code_flow(scopes, redirect_uri=redirect_uri, **authorize)
    answer = Pages().sign_in(flow["auth_uri"], redirect_uri, user)
    return succeeded(app.acquire_token_by_auth_code_flow(flow, answer, scopes=redeem or scopes))


def signed_in(app, pages, claims_challenge=None):
    """As a user of msal signs in, with what a challenge asks for."""
    back = WEB["redirect_uris"][0]
    flow = app.initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri=back, claims_challenge=claims_challenge)
    return succeeded(app.acquire_token_by_auth_code_flow(flow, pages.sign_in(flow["auth_uri"], back, ADA)))


def challenged(refusal):
    """The claims that a 401 asks for, as Microsoft's clients read them."""
    claims = re.search(r'error="insufficient_claims", claims="([^"]+)"', refusal.headers["WWW-Authenticate"])[1]
    return base64.b64decode(claims).decode()


@functools.cache
def token_for_orders(name="ada"):
    """A user's token for the Orders API, obtained by the web client; one sign-in per user for the whole suite."""
    answer = sign_in(confidential(WEB), ENV["users"][name], [ORDERS_SCOPE], WEB["redirect_uris"][0])
    return answer["access_token"]


@functools.cache
def app_only_token(resource):
    return succeeded(confidential(DAEMON).acquire_token_for_client([resource + "/.default"]))["access_token"]


def succeeded(answer):
    shown = {key: value for key, value in answer.items() if "token" not in key}
    assert "access_token" in answer, f"no token came: {shown}"
    return answer


def refused(answer, error, code, suberror=None):
    """Checks the whole of Entra's error form, and returns it."""
    assert "access_token" not in answer, "a token came where a refusal was due"
    assert answer["error"] == error, answer
    assert code in answer["error_codes"], answer
    assert answer.get("suberror") == suberror, answer
    description = answer["error_description"]
    assert description.startswith(f"AADSTS{code}: "), description
    for part in ("\r\nTrace ID: ", "\r\nCorrelation ID: ", "\r\nTimestamp: "):
        assert part in description, description
    for member in ("timestamp", "trace_id", "correlation_id", "error_uri"):
        assert answer[member], answer
    return answer
