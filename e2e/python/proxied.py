"""Envoy before a service, unmodified, and set up as the guide says: it asks the gateway, over HTTP and over gRPC."""

import contextlib
import http.server
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

import requests

from runner import expect, test
from world import *

_GUIDE = pathlib.Path(__file__).parents[2] / "docs/guides/gateway.md"
_GATEWAY = """
log = "error"
authorizer = "127.0.0.1:{grpc}"
envoy_authorizer = "127.0.0.1:{http}"
listen = "127.0.0.1:{unused}"
trusted_certificates = "{ca_file}"
[[issuer]]
name = "contoso"
issuer = "{authority}/v2.0"
tenants = ["{tenant}"]
[[upstream]]
name = "orders"
url = "{service}"
[[api]]
name = "orders"
path = "/orders"
upstream = "orders"
[api.onward.basic]
username = "gateway"
password = {{ env = "GATEWAY_SECRET" }}
[api.policies.validate_jwt]
issuers = ["contoso"]
audiences = ["{client_id}"]
[[api.policies.set_header]]
name = "X-Caller"
claim = "oid"
[api.policies.cors]
allowed_origins = ["https://shop.example"]
[[api.operation]]
name = "all"
method = "*"
path = "/*"
"""
_GRPC = """
- name: envoy.filters.http.ext_authz
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
    transport_api_version: V3
    encode_raw_headers: true
    grpc_service: { envoy_grpc: { cluster_name: deputize }, timeout: 5s }
"""
_ENVOY = """
static_resources:
  listeners:
  - name: edge
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: edge
          use_remote_address: true
          route_config:
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [ {{ match: {{ prefix: / }}, route: {{ cluster: orders }} }} ] }}
          http_filters:
{filter}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
{clusters}
"""
_CLUSTER = """
  - name: {name}
    load_assignment:
      cluster_name: {name}
      endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ]
"""
_HTTP2 = """
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
"""


class _Service(http.server.BaseHTTPRequestHandler):
    """Keeps the fields of what it is sent, and how long its body was."""

    protocol_version = "HTTP/1.1"
    seen = None

    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        self.seen.append((self.path, [(name.lower(), value) for name, value in self.headers.items()], self.rfile.read(length)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_OPTIONS = do_GET

    def log_message(self, *_):
        pass


def _free():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _of_the_guide():
    text = _GUIDE.read_text(encoding="utf-8")
    return next(block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if "http_service" in block)


@contextlib.contextmanager
def _running(command, port, **environment):
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert process.poll() is None and time.monotonic() < until, f"{command[0]} does not serve"
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def _envoy(authorization, over):
    """What the service saw, and where Envoy is, with this filter before it."""
    handler = type("Service", (_Service,), {"seen": []})
    ports = {name: _free() for name in ("grpc", "http", "unused", "edge")}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = _GATEWAY.format(
            **ports,
            ca_file=ENV["ca_file"],
            authority=AUTHORITY,
            tenant=TENANT["id"],
            client_id=ORDERS["app_id"],
            service=f"http://127.0.0.1:{server.server_port}",
        )
        clusters = _CLUSTER.format(name="orders", port=server.server_port)
        clusters += _CLUSTER.format(name="deputize", port=ports[over]) + (_HTTP2 if over == "grpc" else "")
        indented = "".join(f"          {line}\n" for line in authorization.strip().splitlines())
        envoy = _ENVOY.format(port=ports["edge"], filter=indented, clusters=clusters)
        (folder / "gateway.toml").write_text(gateway, encoding="utf-8")
        (folder / "envoy.yaml").write_text(envoy, encoding="utf-8")
        gateway = [os.environ["DEPUTIZE"], "gateway", folder / "gateway.toml"]
        stack.enter_context(_running(gateway, ports[over], GATEWAY_SECRET="open sesame"))
        program = [pathlib.Path(sys.executable).with_name("envoy"), "-c", folder / "envoy.yaml"]
        program += ["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"]
        stack.enter_context(_running(program, ports["edge"]))
        yield handler.seen, f"http://127.0.0.1:{ports['edge']}"


def _only(seen):
    (path, fields, body) = seen.pop()
    assert not seen, seen
    return path, fields, body


def _asks(authorization, over):
    bearer = {"Authorization": f"Bearer {token_for_orders()}"}
    with _envoy(authorization, over) as (seen, edge):
        refused = requests.get(f"{edge}/orders", timeout=30)
        expect([refused.status_code, refused.json()["check"], seen], [401, "token.present", []], refused.text)
        assert refused.headers["WWW-Authenticate"].startswith("Bearer"), refused.headers
        forged = {"X-MS-CLIENT-PRINCIPAL": "forged", "X_User": "grace", "X-Region": "eu"}
        answer = requests.post(f"{edge}/orders/7?a=b", data=b"a body", headers=bearer | forged, timeout=30)
        expect(answer.status_code, 200, answer.text)
        path, fields, body = _only(seen)
        expect([path, body], ["/orders/7?a=b", b"a body"], "forwarded by Envoy as it came")
        expect([value for name, value in fields if name in ("authorization", "x-region")], ["eu", "Basic Z2F0ZXdheTpvcGVuIHNlc2FtZQ=="], fields)
        expect([value for name, value in fields if name == "x-caller"], [ADA["oid"]], "set by the gateway")
        assert not {"x-ms-client-principal", "x_user", "x-deputize-request"} & {name for name, _ in fields}, fields
        # A path in another spelling, and one that is nobody's.
        for target, status in (("/orders/a%2fb", 400), ("/elsewhere", 404)):
            expect(requests.get(edge + target, headers=bearer, timeout=30).status_code, status, target)
        preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
        answer = requests.options(f"{edge}/orders", headers=preflight, timeout=30)
        assert answer.ok and answer.headers["Access-Control-Allow-Origin"] == "https://shop.example", answer.headers
        expect(seen, [], "nothing of it reached the service")
        answer = requests.get(f"{edge}/orders", headers=bearer | {"Origin": "https://shop.example"}, timeout=30)
        expect([answer.status_code, answer.headers.get("Access-Control-Allow-Origin")], [200, "https://shop.example"], answer.headers)
        _only(seen)
        # Chunks have no length.
        answer = requests.post(f"{edge}/orders", data=iter([b"a ", b"body"]), headers=bearer, timeout=30)
        expect(answer.status_code, 200, answer.text)
        seen.clear()
        yield seen, edge, bearer


@test
def envoy_that_asks_over_http_as_the_guide_says_forwards_what_the_gateway_would():
    for seen, edge, bearer in _asks(_of_the_guide(), "http"):
        for hostile in ({"X-Caller": "grace"}, {"x-deputize-request": "127.0.0.1  http    9"}):
            answer = requests.get(f"{edge}/orders", headers=bearer | hostile, timeout=30)
            expect([answer.status_code, answer.json()["check"], seen], [400, "gateway.request", []], answer.text)


@test
def envoy_that_does_not_tell_the_gateway_everything_forwards_nothing():
    told = _of_the_guide()
    bearer = {"Authorization": f"Bearer {token_for_orders()}"}
    for wrong in (
        re.sub(r"    allowed_headers: .*\n", "", told),
        told.replace('{ safe_regex: { regex: ".*" } }', "{ exact: x-request-id }, { prefix: x-forwarded- }, { exact: accept }"),
        told.replace("      server_uri:", "      path_prefix: /orders\n      server_uri:"),
        re.sub(r"      authorization_request:\n(        .*\n)+", "", told),
        told.replace("%REQUEST_HEADERS_BYTES%", "0"),
        told.replace("    http_service:", "    with_request_body: { max_request_bytes: 1024 }\n    http_service:"),
    ):
        assert wrong != told, "it is changed"
        with _envoy(wrong, "http") as (seen, edge):
            answer = requests.post(f"{edge}/orders", headers=bearer | {"X-User": "grace"}, data=b"x", timeout=30)
            expect([answer.status_code, answer.json()["check"], seen], [400, "gateway.request", []], wrong)


@test
def envoy_that_asks_over_grpc_as_the_guide_says_forwards_what_the_gateway_would():
    for seen, edge, bearer in _asks(_GRPC, "grpc"):
        answer = requests.get(f"{edge}/orders", headers=bearer | {"X-Caller": "grace"}, timeout=30)
        expect([answer.status_code, [value for name, value in _only(seen)[1] if name == "x-caller"]], [200, [ADA["oid"]]], "overwritten")
