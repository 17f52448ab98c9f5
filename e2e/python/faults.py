"""A provider that misbehaves, and an application that asks its sidecar all the same: what it hears, and how often the provider was
asked for it."""

import contextlib
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.parse

import requests

from runner import expect, test

_DEPUTIZE, _DEMO = os.environ["DEPUTIZE"], os.environ["DEPUTIZE_DEMO_ENV"]
_GOOD = {"access_token": "a.b.c", "token_type": "Bearer", "expires_in": 3600}
_HTML = "<html><body>Bad Gateway</body></html>"


class _Provider(http.server.BaseHTTPRequestHandler):
    """Does as it is told, and remembers who asked."""

    protocol_version = "HTTP/1.1"
    does = asked = assertions = None

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append(self.path)
        self.assertions.append(form["client_assertion"][0])
        self.does(self)

    def do_GET(self):
        self.asked.append(self.path)
        self.says(200, {"keys": []})

    def says(self, status, body, **headers):
        text = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(body, str) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": len(text), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def _says(status, body, **headers):
    return lambda provider: provider.says(status, body, **headers)


def _closes(provider):
    provider.close_connection = True
    provider.connection.close()


def _breaks_off(provider):
    provider.send_response(200)
    provider.send_header("Content-Length", "100")
    provider.end_headers()
    provider.wfile.write(b'{"access_token":')
    _closes(provider)


@contextlib.contextmanager
def _provider(does):
    handler = type("Told", (_Provider,), {"does": staticmethod(does), "asked": [], "assertions": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield handler, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _sidecar(provider, **more):
    done = subprocess.run([_DEPUTIZE, "env", "Orders", "--demo", _DEMO, "--json"], capture_output=True, text=True, timeout=30)
    told = {
        "AZURE_ENABLED": "true",
        "AZURE_APP_CLIENT_ID": "orders",
        "AZURE_APP_JWK": json.loads(done.stdout)["AZURE_APP_JWK"],
        "AZURE_OPENID_CONFIG_ISSUER": provider,
        "AZURE_OPENID_CONFIG_TOKEN_ENDPOINT": f"{provider}/token",
        "AZURE_OPENID_CONFIG_JWKS_URI": f"{provider}/keys",
        "BIND_ADDRESS": "127.0.0.1:0",
        **more,
    }
    process = subprocess.Popen([_DEPUTIZE, "sidecar"], env=told, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            said = json.loads(line)
            if said["message"] == "the sidecar serves":
                break
        rest = threading.Thread(target=process.stdout.read, daemon=True)
        rest.start()
        yield f"http://{said['listener.address']}/api/v1/token"
    finally:
        process.terminate()
        expect(process.wait(timeout=30), 0, "how the sidecar ended")


def _ask(endpoint, target="api://billing/.default", **more):
    return requests.post(endpoint, json={"identity_provider": "entra_id", "target": target, **more}, timeout=30)


def _hears(does, status, error, described, calls, **more):
    """One case: what the provider does, and what the application hears. A sidecar for each: it leaves alone who fails often."""
    with _provider(does) as (provider, url), _sidecar(url, **more) as endpoint:
        answer = _ask(endpoint)
        expect([answer.status_code, answer.headers["Content-Type"]], [status, "application/json"], answer.text)
        body = answer.json()
        expect(body.get("error"), error, answer.text)
        assert described in body.get("error_description", ""), answer.text
        asked = [path for path in provider.asked if path != "/keys"]
        expect(asked, ["/token"] * calls, "what the provider was asked")
        expect(len(set(provider.assertions)), calls, "an assertion of its own for each try")
        return answer


@test
def errors_of_a_provider_are_heard_as_they_are():
    refusal = {"error": "invalid_grant", "error_description": "no", "error_codes": [50013], "claims": "{}", "x": [1]}
    expect(_hears(_says(400, refusal), 400, "invalid_grant", "no", 1).json(), refusal, "all of it")
    busy = _says(429, {"error": "slow_down", "error_description": "later"}, Retry_After=60)
    expect(_hears(busy, 429, "slow_down", "later", 1).headers["Retry-After"], "60", "when to try again")
    _hears(_says(500, {"error": "server_error", "error_description": "broken"}), 500, "server_error", "broken", 2)
    _hears(_says(503, {"error": "temporarily_unavailable"}), 503, "temporarily_unavailable", "", 2)


@test
def errors_that_are_none_keep_their_status_and_show_nothing_of_themselves():
    unreadable = "identity provider returned an invalid error response"
    answer = _hears(_says(400, _HTML), 400, "server_error", unreadable, 1)
    assert "html" not in answer.text, answer.text
    _hears(_says(502, _HTML), 502, "server_error", unreadable, 2)


@test
def a_provider_that_hangs_or_hangs_up_is_given_up_in_time():
    held = threading.Event()
    began = time.monotonic()
    patience = {"TEXAS_HTTP_READ_TIMEOUT_MILLIS": "300", "TEXAS_HTTP_OVERALL_TIMEOUT_MILLIS": "1000"}
    try:
        answer = _hears(lambda _: held.wait(20), 500, "server_error", "Identity provider request failed: ", 2, **patience)
    finally:
        held.set()
    assert time.monotonic() - began < 15, "the deadline is for all tries"
    assert answer.headers["Retry-After"], answer.headers
    for does in (_closes, _breaks_off):
        answer = _hears(does, 500, "server_error", "Identity provider request failed: ", 2)
        assert "127.0.0.1" not in answer.text, f"no address: {answer.text}"


@test
def no_redirect_is_followed_with_a_credential():
    _hears(_says(302, "", Location="/elsewhere"), 500, "server_error", "", 1)
    _hears(_says(307, "", Location="/elsewhere"), 500, "server_error", "", 1)


@test
def a_success_that_is_none_is_refused_and_not_asked_for_again():
    for body in (
        _HTML,
        "{",
        [],
        {},
        {**_GOOD, "access_token": 17},
        {**_GOOD, "access_token": ""},
        {**_GOOD, "token_type": "mac"},
        {**_GOOD, "expires_in": []},
        {**_GOOD, "expires_in": "soon"},
    ):
        _hears(_says(200, body), 500, "server_error", "", 1)


@test
def what_providers_write_in_their_own_way_is_understood():
    missing = {name: value for name, value in _GOOD.items() if name != "expires_in"}
    for body in ({**_GOOD, "token_type": "bearer"}, {**_GOOD, "expires_in": "3600"}, {**_GOOD, "more": {}}, missing):
        answer = _hears(_says(200, body), 200, None, "", 1)
        told = answer.json()
        expect(list(told), ["access_token", "token_type", "expires_in"], "as Texas says it")
        expect([told["access_token"], told["token_type"]], ["a.b.c", "Bearer"], answer.text)
        assert 0 < told["expires_in"] <= 3600, answer.text


@test
def nothing_else_that_a_provider_sends_reaches_the_application():
    body = {**_GOOD, "refresh_token": "r", "id_token": "i", "scope": "s"}
    assert "refresh_token" not in _hears(_says(200, body), 200, None, "", 1).text


@test
def what_is_held_is_served_while_the_provider_is_down():
    with _provider(_says(200, _GOOD)) as (provider, url), _sidecar(url) as endpoint:
        first = _ask(endpoint)
        provider.does = staticmethod(_closes)
        again, other = _ask(endpoint), _ask(endpoint, "api://other/.default")
        expect([again.json()["access_token"], other.status_code], [first.json()["access_token"], 500], other.text)
        expect(_ask(endpoint, skip_cache=True).status_code, 500, "anew, from who is not there")


@test
def two_hundred_callers_at_once_are_one_request():
    held = threading.Event()

    def slowly(provider):
        held.wait(20)
        provider.says(200, _GOOD)

    with _provider(slowly) as (provider, url), _sidecar(url, TEXAS_HTTP_READ_TIMEOUT_MILLIS="20000", TEXAS_HTTP_OVERALL_TIMEOUT_MILLIS="20000") as endpoint:
        answers = []
        callers = [threading.Thread(target=lambda: answers.append(_ask(endpoint).status_code)) for _ in range(200)]
        for caller in callers:
            caller.start()
        held.set()
        for caller in callers:
            caller.join()
        expect([len(answers), set(answers), len(provider.assertions)], [200, {200}, 1], "answers, and what the provider saw")
