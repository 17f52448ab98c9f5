"""On behalf of users at the gateway, where the authority wants more: ours, which has a policy, and one that answers as Entra ID does.
The caller is unmodified msal, which resolves what it is told."""

import contextlib
import http.server
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

import requests

from pages import Device, Pages
from runner import expect, test
from world import *

_DEVICE = Device()
_FILE = """
listen = "127.0.0.1:{port}"
trusted_certificates = "{ca_file}"
[[issuer]]
name = "contoso"
issuer = "{authority}/v2.0"
tenants = ["{tenant}"]
[[authority]]
name = "contoso"
token_endpoint = "{token_endpoint}"
issuer = "{authority}/v2.0"
client_id = "{client_id}"
secret = {{ env = "GATEWAY_SECRET" }}
[[upstream]]
name = "payroll"
url = "{service}"
[[api]]
name = "payroll"
path = "/payslips"
upstream = "payroll"
[api.policies.validate_jwt]
issuers = ["contoso"]
audiences = ["{client_id}"]
[api.onward.on_behalf_of]
authority = "contoso"
target = "api://payroll/Payslips.Read"
[[api.operation]]
name = "read"
method = "GET"
path = "/*"
"""


class _Told(http.server.BaseHTTPRequestHandler):
    """A service, and a token endpoint: keeps what it is asked, and answers as it is told."""

    protocol_version = "HTTP/1.1"
    asked = says = None

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append({name: values[0] for name, values in form.items()})
        self._answer(*self.says(self.asked[-1]))

    def do_GET(self):
        self.asked.append(self.headers["Authorization"])
        self._answer(200, {"payslips": ["P-1"]})

    def _answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def _told(says=None):
    handler = type("Told", (_Told,), {"asked": [], "says": staticmethod(says)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield handler.asked, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _gateway(service, token_endpoint):
    """A gateway of this configuration, which acts as the registration Orders."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = _FILE.format(
        port=port,
        ca_file=ENV["ca_file"],
        authority=AUTHORITY,
        tenant=TENANT["id"],
        token_endpoint=token_endpoint,
        client_id=ORDERS["app_id"],
        service=service,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "gateway.toml")
        file.write_text(text, encoding="utf-8")
        environment = {**os.environ, "GATEWAY_SECRET": ORDERS["client_secret"], "RUST_LOG": "error"}
        with subprocess.Popen([os.environ["DEPUTIZE"], "gateway", file], env=environment, stdout=subprocess.DEVNULL) as gateway:
            try:
                until = time.monotonic() + 30
                while True:
                    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                        break
                    assert gateway.poll() is None and time.monotonic() < until, "the gateway does not serve"
                    time.sleep(0.05)
                yield lambda token: requests.get(
                    f"http://127.0.0.1:{port}/payslips", headers={"Authorization": f"Bearer {token}"}, timeout=30
                )
            finally:
                gateway.terminate()


@test
def a_policy_of_our_authority_travels_through_the_gateway_to_a_client_that_resolves_it():
    web, pages = confidential(WEB), Pages(_DEVICE)
    weak = signed_in(web, pages)["access_token"]
    with _told() as (asked, service), _gateway(service, f"{AUTHORITY}/oauth2/v2.0/token") as call:
        refusal = call(weak)
        expect([refusal.status_code, asked], [401, []], refusal.text)
        challenge = challenged(refusal)
        strong = signed_in(web, pages, challenge)["access_token"]
        assert "enrol" in pages.seen, f"the second factor was asked for: {pages.seen}"
        answer = call(strong)
        expect([answer.status_code, answer.json()], [200, {"payslips": ["P-1"]}], answer.text)
        [onward] = asked
        seen = claims(onward.removeprefix("Bearer "))
        expect([seen["oid"], seen["azp"], seen["scp"]], [ADA["oid"], ORDERS["app_id"], "Payslips.Read"], "what Payroll sees")
        # And what was got for the stronger token is nobody's who has the weaker one.
        expect(call(weak).status_code, 401, "the older token")


@test
def what_entra_demands_travels_through_the_gateway_to_a_client_that_resolves_it():
    web, pages = confidential(WEB), Pages(_DEVICE)
    weak = signed_in(web, pages)["access_token"]
    wanted = json.dumps({"access_token": {"acrs": {"essential": True, "value": "c1"}}})

    def entra(form):
        if claims(form["assertion"]).get("acrs"):
            return 200, {"token_type": "Bearer", "scope": "Payslips.Read", "expires_in": 3599, "access_token": "a.strong.one"}
        return 400, {
            "error": "interaction_required",
            "error_description": "AADSTS50076: Due to a configuration change made by your administrator, you must use multi-factor authentication.",
            "error_codes": [50076],
            "timestamp": "2026-11-29 12:00:00Z",
            "trace_id": "t",
            "correlation_id": "c",
            "suberror": "basic_action",
            "claims": wanted,
        }

    with _told(entra) as (forms, endpoint), _told() as (asked, service), _gateway(service, f"{endpoint}/token") as call:
        refusal = call(weak)
        expect([refusal.status_code, asked], [401, []], refusal.text)
        expect(json.loads(challenged(refusal)), json.loads(wanted), "as Entra said it")
        strong = signed_in(web, pages, challenged(refusal))["access_token"]
        answer = call(strong)
        expect([answer.status_code, asked], [200, ["Bearer a.strong.one"]], answer.text)
        usual = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "requested_token_use": "on_behalf_of"}
        for form, assertion in zip(forms, (weak, strong), strict=True):
            expect({name: form[name] for name in usual}, usual, "as Entra documents it")
            expect([form["assertion"], form["scope"]], [assertion, "api://payroll/Payslips.Read"], "whose, and for what")


@test
def consent_that_is_missing_at_entra_is_told_and_nothing_is_forwarded():
    def entra(_form):
        return 400, {
            "error": "invalid_grant",
            "error_description": "AADSTS65001: The user or administrator has not consented to use the application.",
            "error_codes": [65001],
            "suberror": "consent_required",
        }

    with _told(entra) as (forms, endpoint), _told() as (asked, service), _gateway(service, f"{endpoint}/token") as call:
        for _ in range(3):
            refusal = call(token_for_orders())
            expect([refusal.status_code, asked], [403, []], refusal.text)
            assert "interaction_required" in refusal.headers["WWW-Authenticate"], refusal.headers
        expect(len(forms), 1, "it is asked once, and remembered for a moment")
