"""An unmodified program on a machine without Microsoft: msal and azure-identity with their default authority and their default
instance discovery, started by `deputize run`. First what must succeed, then documented misconfigurations, each with its
documented AADSTS code.

    deputize run --estate e2e/python/offline.toml --data FOLDER -- python e2e/python/offline.py [WORD...]

`cargo xtask test --only e2e-offline` does it, and sets what is needed: DEPUTIZE and DEPUTIZE_DATA name the program and that
folder, OFFLINE_* hold the estate's secrets. With `--later` and `--outside` it does what can be done only then and there.
"""

import base64
import datetime
import functools
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
import warnings

import msal
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential, OnBehalfOfCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import runner
from pages import Pages
from runner import expect, run, test

warnings.filterwarnings("ignore", message="response_mode='form_post' is recommended")
logging.getLogger("azure").setLevel(logging.CRITICAL)

# What the program is configured with: its tenant, as msal wants it, and no other address.
TENANT = "0ff11e00-0000-4000-8000-000000000001"
AUTHORITY = f"https://login.microsoftonline.com/{TENANT}"
TOKEN = f"{AUTHORITY}/oauth2/v2.0/token"

ORDERS, BILLING = "0ff11e00-0000-4000-8000-0000000000a1", "0ff11e00-0000-4000-8000-0000000000a2"
WEB, NATIVE = "0ff11e00-0000-4000-8000-0000000000c1", "0ff11e00-0000-4000-8000-0000000000c2"
DAEMON, RETIRED = "0ff11e00-0000-4000-8000-0000000000c3", "0ff11e00-0000-4000-8000-0000000000c4"
MACHINE, WORKER = "0ff11e00-0000-4000-8000-0000000000e1", "0ff11e00-0000-4000-8000-0000000000e2"
SECRET = {
    app: os.environ[f"OFFLINE_{name}"]
    for app, name in ((ORDERS, "ORDERS"), (WEB, "WEB"), (DAEMON, "DAEMON"), (RETIRED, "RETIRED"))
}
ADA = {"upn": "ada@contoso.example", "password": "a long password of Ada"}
CARL = {"upn": "carl@contoso.example", "password": "a long password of Carl"}
CALLBACK = "http://localhost:8400/callback"
ORDERS_SCOPE, BILLING_READ, EXPORT = "api://orders/access_as_user", "api://billing/Invoices.Read", "api://billing/.default"
OBO = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "requested_token_use": "on_behalf_of"}


def confidential(app, secret=None, authority=AUTHORITY):
    return msal.ConfidentialClientApplication(app, authority=authority, client_credential=secret or SECRET[app])


def claims(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def succeeded(answer):
    assert "access_token" in answer, {key: value for key, value in answer.items() if "token" not in key}
    return answer


def sign_in(app=WEB, user=ADA, redirect_uri=CALLBACK, scopes=(ORDERS_SCOPE,)):
    client = confidential(app)
    flow = client.initiate_auth_code_flow(list(scopes), redirect_uri=redirect_uri)
    answer = Pages().sign_in(flow["auth_uri"], redirect_uri, user)
    return succeeded(client.acquire_token_by_auth_code_flow(flow, answer, scopes=list(scopes)))


@functools.cache
def user_token(name="ada"):
    return sign_in(user={"ada": ADA, "carl": CARL}[name])["access_token"]


def on_behalf_of(assertion, scopes=(BILLING_READ,), app=ORDERS, secret=None):
    return confidential(app, secret).acquire_token_on_behalf_of(assertion, list(scopes))


def app_only(scopes=(EXPORT,), app=DAEMON, secret=None, authority=AUTHORITY):
    return confidential(app, secret, authority).acquire_token_for_client(list(scopes))


def post(url=TOKEN, **form):
    """A request that no library of Microsoft's would make."""
    answer = requests.post(url, data=form, timeout=20)
    return {**answer.json(), "status": answer.status_code}


def code_flow():
    """A code and its verifier, obtained and not yet redeemed."""
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(_sha256(verifier.encode())).rstrip(b"=").decode()
    query = {
        "client_id": WEB, "response_type": "code", "redirect_uri": CALLBACK, "scope": ORDERS_SCOPE,
        "code_challenge": challenge, "code_challenge_method": "S256",
    }
    url = requests.Request("GET", f"{AUTHORITY}/oauth2/v2.0/authorize", params=query).prepare().url
    code = Pages().sign_in(url, CALLBACK, ADA)["code"]
    return {
        "grant_type": "authorization_code", "client_id": WEB, "client_secret": SECRET[WEB], "redirect_uri": CALLBACK,
        "code": code, "code_verifier": verifier,
    }


def _sha256(data):
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize()


# ---- What must succeed -----------------------------------------------------------------------------------------------


@test
def sign_in_hosts_are_here_and_nothing_else_can_be_reached():
    expect(socket.gethostbyname("login.microsoftonline.com"), "127.64.0.1", "login.microsoftonline.com")
    for host in ("graph.microsoft.com", "1.1.1.1"):
        try:
            socket.create_connection((host, 443), timeout=5).close()
        except OSError:
            continue
        raise AssertionError(f"{host} was reached")


@test
def azure_identity_gets_an_app_only_token_naming_nothing_but_its_tenant():
    token = claims(ClientSecretCredential(TENANT, DAEMON, SECRET[DAEMON]).get_token(EXPORT).token)
    expect((token["azp"], token["roles"], token["idtyp"]), (DAEMON, ["Invoices.Export"], "app"), "token")
    expect(token["iss"], f"{AUTHORITY}/v2.0", "iss")


@test
def msal_gets_an_app_only_token_and_a_version_1_issuer_is_microsofts_own():
    expect(claims(succeeded(app_only())["access_token"])["iss"], f"{AUTHORITY}/v2.0", "iss of v2.0")
    legacy = claims(succeeded(app_only(["api://legacy/.default"]))["access_token"])
    expect((legacy["ver"], legacy["iss"]), ("1.0", f"https://sts.windows.net/{TENANT}/"), "iss of v1.0")


@test
def the_version_1_endpoints_have_microsofts_issuer_too():
    document = requests.get(f"{AUTHORITY}/.well-known/openid-configuration", timeout=20).json()
    expect(document["issuer"], f"https://sts.windows.net/{TENANT}/", "issuer of the metadata")
    answer = post(
        f"{AUTHORITY}/oauth2/token", client_id=DAEMON, client_secret=SECRET[DAEMON], grant_type="client_credentials",
        resource="api://legacy",
    )
    token = claims(succeeded(answer)["access_token"])
    expect((token["iss"], token["appid"]), (f"https://sts.windows.net/{TENANT}/", DAEMON), "token")


@test
def a_user_signs_in_and_the_api_acts_on_her_behalf():
    token = claims(succeeded(on_behalf_of(user_token()))["access_token"])
    expect((token["azp"], token["aud"], token["scp"]), (ORDERS, BILLING, "Invoices.Read"), "token of msal")
    expect(token["oid"], claims(user_token())["oid"], "user")
    credential = OnBehalfOfCredential(TENANT, ORDERS, client_secret=SECRET[ORDERS], user_assertion=user_token())
    expect(claims(credential.get_token(BILLING_READ).token)["oid"], token["oid"], "user, by azure-identity")


@test
def the_machine_has_an_identity_of_its_own_and_another_that_is_named():
    token = claims(ManagedIdentityCredential().get_token(EXPORT).token)
    expect((token["azp"], token["roles"], token["idtyp"]), (MACHINE, ["Invoices.Export"], "app"), "system-assigned")
    token = claims(ManagedIdentityCredential(client_id=WORKER).get_token(EXPORT).token)
    expect(token["azp"], WORKER, "user-assigned, by azure-identity")
    client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=requests.Session())
    expect(claims(succeeded(client.acquire_token_for_client(resource="api://billing"))["access_token"])["azp"], MACHINE, "msal")
    # Nothing is configured at all.
    expect(claims(DefaultAzureCredential().get_token(EXPORT).token)["azp"], MACHINE, "the default credential")


@test
def the_metadata_service_tells_what_is_wrong_as_azures_does():
    address = "http://169.254.169.254/metadata/identity/oauth2/token"
    asked = {"api-version": "2018-02-01", "resource": "api://billing"}
    bare = requests.get(address, params=asked, timeout=20)
    expect((bare.status_code, bare.json()["error"]), (400, "bad_request_102"), "without its header")
    headers = {"Metadata": "true"}
    forwarded = requests.get(address, params=asked, headers={**headers, "X-Forwarded-For": "10.0.0.1"}, timeout=20)
    expect(forwarded.status_code, 400, "through a proxy")
    unknown = requests.get(address, params={**asked, "client_id": DAEMON}, headers=headers, timeout=20)
    expect((unknown.status_code, unknown.json()["error"]), (400, "invalid_request"), "an identity it does not have")
    nowhere = requests.get(address, params={**asked, "resource": "api://nothing-here"}, headers=headers, timeout=20)
    expect((nowhere.status_code, nowhere.json()["error"]), (400, "invalid_resource"), "a resource that does not exist")


@test
def every_alias_of_the_public_cloud_is_trusted_without_asking_elsewhere():
    for host in ("login.windows.net", "login.microsoft.com", "sts.windows.net"):
        succeeded(app_only(authority=f"https://{host}/{TENANT}"))
    succeeded(app_only(authority="https://login.microsoftonline.com/contoso.example"))
    found = requests.get(
        "https://login.microsoftonline.com/common/discovery/instance",
        params={"api-version": "1.1", "authorization_endpoint": "https://login.windows.net/common/oauth2/authorize"},
        timeout=20,
    ).json()
    first = found["metadata"][0]
    expect((first["preferred_network"], first["preferred_cache"]), ("login.microsoftonline.com", "login.windows.net"), "names")


@test
def a_region_is_stood_in_for_too():
    client = msal.ConfidentialClientApplication(
        DAEMON, authority=AUTHORITY, client_credential=SECRET[DAEMON], azure_region="westeurope"
    )
    succeeded(client.acquire_token_for_client([EXPORT]))


# ---- Documented misconfigurations ------------------------------------------------------------------------------------


def misconfigured(error, code, suberror=None):
    """Marks a function whose answer must be that refusal, in Entra's whole form."""

    def mark(function):
        @functools.wraps(function)
        def check():
            answer = function()
            assert "access_token" not in answer, "a token came where a refusal was due"
            expect((answer["error"], answer.get("suberror")), (error, suberror), answer["error_description"])
            assert code in answer["error_codes"], answer
            assert answer["error_description"].startswith(f"AADSTS{code}: "), answer["error_description"]
            assert answer["error_uri"] == f"https://login.microsoftonline.com/error?code={code}", answer["error_uri"]
            for member in ("timestamp", "trace_id", "correlation_id"):
                assert answer[member], answer

        return test(check)

    return mark


@misconfigured("invalid_request", 90002)
def a_tenant_that_does_not_exist():
    elsewhere = "https://login.microsoftonline.com/0ff11e00-0000-4000-8000-00000000dead/oauth2/v2.0/token"
    return post(elsewhere, client_id=DAEMON, client_secret=SECRET[DAEMON], grant_type="client_credentials", scope=EXPORT)


@misconfigured("unauthorized_client", 700016)
def an_application_that_does_not_exist():
    return app_only(app="0ff11e00-0000-4000-8000-00000000dead", secret="any")


@misconfigured("unauthorized_client", 7000112)
def an_application_that_is_disabled():
    return app_only(app=RETIRED)


@misconfigured("invalid_client", 7000215)
def a_wrong_secret():
    return app_only(secret="not the secret")


@misconfigured("invalid_client", 7000215)
def the_id_of_a_secret_instead_of_its_value():
    return app_only(secret="0ff11e00-0000-4000-8000-0000000000d1")


@misconfigured("invalid_client", 7000222)
def an_expired_secret():
    return app_only(secret=os.environ["OFFLINE_OLD_DAEMON"])


@misconfigured("invalid_client", 7000218)
def no_credential():
    return post(client_id=DAEMON, grant_type="client_credentials", scope=EXPORT)


@misconfigured("invalid_request", 90023)
def two_credentials_at_once():
    return post(
        client_id=DAEMON, client_secret=SECRET[DAEMON], grant_type="client_credentials", scope=EXPORT,
        client_assertion="a.b.c", client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    )


@misconfigured("invalid_client", 700025)
def a_public_client_with_a_secret():
    return on_behalf_of(user_token(), app=NATIVE, secret="a secret it cannot have")


@misconfigured("invalid_client", 7000274)
def a_certificate_that_was_never_uploaded():
    client = msal.ConfidentialClientApplication(DAEMON, authority=AUTHORITY, client_credential=_certificate())
    return client.acquire_token_for_client([EXPORT])


def _certificate():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    certificate = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {"private_key": pem, "public_certificate": certificate}


@misconfigured("invalid_scope", 70011)
def a_single_scope_where_only_default_has_a_meaning():
    return app_only([BILLING_READ])


@misconfigured("invalid_scope", 70011)
def two_resources_for_an_app_only_token():
    return app_only([EXPORT, "api://legacy/.default"])


@misconfigured("invalid_scope", 28003)
def no_scope_at_all():
    return post(client_id=DAEMON, client_secret=SECRET[DAEMON], grant_type="client_credentials", scope="")


@misconfigured("invalid_resource", 500011)
def a_resource_that_does_not_exist():
    return app_only(["api://nothing-here/.default"])


@misconfigured("invalid_resource", 50001)
def a_resource_that_is_disabled():
    return app_only(["api://closed/.default"])


@misconfigured("invalid_grant", 501051)
def an_application_that_the_resource_does_not_know():
    return app_only(["api://staff/.default"])


@misconfigured("invalid_request", 901002)
def the_resource_parameter_of_version_1_at_version_2():
    return post(client_id=DAEMON, client_secret=SECRET[DAEMON], grant_type="client_credentials", resource="api://billing")


@misconfigured("invalid_request", 90124)
def an_app_only_token_without_a_tenant():
    return app_only(authority="https://login.microsoftonline.com/organizations")


@misconfigured("unsupported_grant_type", 70003)
def a_grant_that_is_not_offered():
    return post(
        client_id=WEB, client_secret=SECRET[WEB], grant_type="password", username=ADA["upn"], password=ADA["password"],
        scope=ORDERS_SCOPE,
    )


@misconfigured("invalid_request", 900144)
def a_parameter_that_is_missing():
    return post(client_id=ORDERS, client_secret=SECRET[ORDERS], scope=BILLING_READ, **OBO)


@misconfigured("invalid_grant", 65001, "consent_required")
def a_permission_nobody_consented_to():
    return on_behalf_of(user_token(), ["api://billing/Invoices.Approve"])


@misconfigured("invalid_scope", 70011)
def a_scope_the_resource_does_not_have():
    return on_behalf_of(user_token(), ["api://billing/Invoices.Burn"])


@misconfigured("invalid_scope", 700022)
def two_resources_on_behalf_of_a_user():
    return on_behalf_of(user_token(), [BILLING_READ, "api://payroll/Payslips.Read"])


@misconfigured("unauthorized_client", 7000114)
def an_app_only_token_as_assertion():
    return on_behalf_of(succeeded(app_only(["api://orders/.default"]))["access_token"])


@misconfigured("invalid_grant", 500131)
def an_assertion_for_another_api():
    return on_behalf_of(succeeded(on_behalf_of(user_token()))["access_token"])


@misconfigured("invalid_grant", 240002)
def an_id_token_as_assertion():
    return on_behalf_of(sign_in()["id_token"], app=WEB)


@misconfigured("invalid_grant", 50013)
def an_assertion_whose_signature_is_wrong():
    head, body, signature = user_token().split(".")
    return on_behalf_of(f"{head}.{body}.{signature[:20]}{'A' if signature[20] != 'A' else 'B'}{signature[21:]}")


@misconfigured("invalid_request", 50027)
def an_assertion_that_is_no_token():
    return on_behalf_of("garbage")


@misconfigured("invalid_grant", 50105)
def a_user_who_is_not_assigned():
    return on_behalf_of(user_token(), ["api://staff/Staff.Read"])


@misconfigured("interaction_required", 50079, "basic_action")
def a_resource_that_demands_a_second_factor_of_who_has_none():
    answer = on_behalf_of(user_token(), ["api://payroll/Payslips.Read"])
    assert "access_token" in json.loads(answer["claims"]), answer
    return answer


@misconfigured("interaction_required", 50076, "basic_action")
def a_claims_challenge_that_the_sign_in_does_not_meet():
    challenge = json.dumps({"access_token": {"acrs": {"essential": True, "value": "c9"}}})
    client = confidential(ORDERS)
    answer = client.acquire_token_on_behalf_of(user_token(), [BILLING_READ], claims_challenge=challenge)
    expect(json.loads(answer["claims"])["access_token"]["acrs"]["value"], "c9", "the claims to sign in with")
    return answer


@misconfigured("interaction_required", 53003, "message_only")
def a_policy_that_blocks():
    return on_behalf_of(user_token(), ["api://vault/Vault.Read"])


@misconfigured("invalid_grant", 501481)
def a_verifier_that_does_not_match_its_challenge():
    return post(**{**code_flow(), "code_verifier": "w" * 43})


@misconfigured("invalid_grant", 54005)
def a_code_that_is_redeemed_twice():
    form = code_flow()
    succeeded(post(**form))
    return post(**form)


@misconfigured("invalid_grant", 50011)
def a_code_redeemed_with_another_redirect_uri():
    return post(**{**code_flow(), "redirect_uri": "http://localhost:8400/elsewhere"})


@misconfigured("invalid_grant", 9002313)
def a_refresh_token_that_was_never_issued():
    return confidential(WEB).acquire_token_by_refresh_token("garbage", [ORDERS_SCOPE])


@misconfigured("invalid_instance", 50049)
def an_authority_that_is_not_microsofts():
    return requests.get(
        "https://login.microsoftonline.com/common/discovery/instance",
        params={"api-version": "1.1", "authorization_endpoint": "https://login.contoso.example/common/oauth2/authorize"},
        timeout=20,
    ).json()


@test
def a_redirect_uri_that_is_not_registered_is_an_error_page_with_50011():
    flow = confidential(WEB).initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri="https://elsewhere.example/callback")
    answer = requests.get(flow["auth_uri"], allow_redirects=False, timeout=20)
    assert answer.status_code == 400 and "50011" in answer.text and "Location" not in answer.headers, answer.text


@test
def an_application_of_one_tenant_under_common_is_an_error_page_with_50194():
    for alias in ("common", "organizations"):
        client = msal.ConfidentialClientApplication(
            WEB, authority=f"https://login.microsoftonline.com/{alias}", client_credential=SECRET[WEB]
        )
        flow = client.initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri=CALLBACK)
        answer = requests.get(flow["auth_uri"], allow_redirects=False, timeout=20)
        assert answer.status_code == 400 and "AADSTS50194" in answer.text and "Location" not in answer.headers, answer.text


@test
def a_sign_in_without_a_session_and_without_pages_is_login_required():
    flow = confidential(WEB).initiate_auth_code_flow([ORDERS_SCOPE], redirect_uri=CALLBACK, prompt="none")
    answer = Pages().sign_in(flow["auth_uri"], CALLBACK, ADA)
    expect(answer["error"], "login_required", str(answer))
    assert answer["error_description"].startswith("AADSTS50058: "), answer


@test
def azure_identity_tells_its_caller_the_code():
    try:
        ClientSecretCredential(TENANT, DAEMON, "not the secret").get_token(EXPORT)
    except ClientAuthenticationError as error:
        assert "AADSTS7000215" in str(error), error
    else:
        raise AssertionError("a token came where a refusal was due")


@misconfigured("invalid_grant", 50057)
def a_user_who_is_disabled_meanwhile():
    token = user_token("carl")
    succeeded(on_behalf_of(token))
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "offline.toml"), encoding="utf-8") as file:
        estate = file.read()
    changed = estate.replace("accountEnabled = true", "accountEnabled = false")
    assert changed != estate
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(changed)
        file.flush()
        command = [os.environ["DEPUTIZE"], "apply", file.name, "--data", os.environ["DEPUTIZE_DATA"]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 10
    while "access_token" in (answer := on_behalf_of(token)) and time.monotonic() < until:
        time.sleep(0.1)
    return answer


@test
def an_estate_that_was_applied_meanwhile_leaves_the_machine_its_identity():
    expect(claims(ManagedIdentityCredential(client_id=WORKER).get_token("api://legacy/.default").token)["appid"], WORKER, "appid")


# ---- Two hours later, and outside ------------------------------------------------------------------------------------

KEPT = os.path.join(os.environ["DEPUTIZE_DATA"], "ada.token")


def later():
    @misconfigured("invalid_grant", 500133)
    def an_expired_assertion():
        with open(KEPT, encoding="ascii") as file:
            return on_behalf_of(file.read())

    @test
    def managed_identity_is_asked_for_as_on_app_service():
        assert os.environ["IDENTITY_ENDPOINT"] and os.environ["IDENTITY_HEADER"]
        for credential, app in ((ManagedIdentityCredential(), MACHINE), (ManagedIdentityCredential(client_id=WORKER), WORKER)):
            expect(claims(credential.get_token(EXPORT).token)["azp"], app, "azp")
        stranger = requests.get(
            os.environ["IDENTITY_ENDPOINT"],
            params={"api-version": "2019-08-01", "resource": "api://billing"},
            headers={"X-IDENTITY-HEADER": "a guess"},
            timeout=20,
        )
        expect(stranger.status_code, 401, "who does not know the header's value")


def outside():
    """With what `deputize run --outside` prints, and the one setting that no variable says."""

    @test
    def the_printed_variables_lead_azure_identity_to_the_authority():
        credential = ClientSecretCredential(TENANT, DAEMON, SECRET[DAEMON], disable_instance_discovery=True)
        token = claims(credential.get_token(EXPORT).token)
        expect(token["iss"], f"{os.environ['AZURE_AUTHORITY_HOST']}/{TENANT}/v2.0", "iss")

    @test
    def the_printed_variables_give_the_machine_an_identity():
        expect(claims(ManagedIdentityCredential().get_token(EXPORT).token)["azp"], MACHINE, "azp")

    @test
    def the_printed_variables_let_msal_trust_it():
        client = msal.ConfidentialClientApplication(
            DAEMON,
            authority=f"{os.environ['AZURE_AUTHORITY_HOST']}/{TENANT}",
            client_credential=SECRET[DAEMON],
            instance_discovery=False,
        )
        succeeded(client.acquire_token_for_client([EXPORT]))


for option, chapter in (("--later", later), ("--outside", outside)):
    if sys.argv[1:] == [option]:
        runner.forget()
        chapter()
        sys.exit(run(f"e2e-offline {option}", []))

status = run("e2e-offline", sys.argv[1:])
with open(KEPT, "w", encoding="ascii") as file:
    file.write(user_token())
sys.exit(status)
