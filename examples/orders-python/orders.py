"""Orders in Python, without any SDK: the same API as `examples/orders`. Tokens are the business of the sidecar beside it."""

import base64, http.server, json, os, re, ssl

import requests

SCOPES = {None: "Invoices.Read", "approve": "Invoices.Approve", "pay": "Invoices.Pay"}


def sidecar(endpoint, **fields):
    return requests.post(os.environ[endpoint], json={"identity_provider": "entra_id", **fields}, timeout=10)


def billing(user, method, path, scope, **more):
    """Calls Billing for the user, with a token for Billing: theirs is for Orders, and never passed on."""
    answer = sidecar("NAIS_TOKEN_EXCHANGE_ENDPOINT", target=f"api://billing/{scope}", user_token=user, **more)
    said = answer.json()
    if "claims" in said:  # only the user can meet them, and only our caller can ask the user
        return 401, {"title": "the user has to show more", "claims": said["claims"]}
    if not answer.ok:
        code = f"AADSTS{said['error_codes'][0]}" if said.get("error_codes") else said["error"]
        return (403 if answer.status_code < 500 else 503), {**said, "code": code, "hint": said.get("deputize_hint")}
    token = {"Authorization": f"Bearer {said['access_token']}"}
    answer = requests.request(method, os.environ["BILLING_URL"] + path, headers=token, timeout=10)
    wanted = re.search(r'insufficient_claims".*?claims="([^"]+)"', answer.headers.get("WWW-Authenticate", ""))
    if wanted:  # Billing wants more of the user: perhaps they showed it already, and the authority knows
        claims = base64.b64decode(wanted[1]).decode()
        told = 401, {"title": "the user has to show more", "claims": claims}
        return told if more else billing(user, method, path, scope, claims=claims)
    if not answer.ok:
        status = answer.status_code if answer.status_code in (403, 404) else 502
        return status, {"title": "Billing refuses", "billing": answer.json()}
    return 200, answer.json()


def answer(user, method, path):
    """Judges the token that came, and answers with a status and a body."""
    seen = sidecar("NAIS_TOKEN_INTROSPECTION_ENDPOINT", token=user).json()
    if not seen["active"]:
        return 401, {"title": "the token was not accepted", "detail": seen["error"]}
    if "access_as_user" not in seen.get("scp", "").split():
        return 403, {"title": "the token lacks the scope access_as_user"}
    place = re.fullmatch(r"/orders(?:/([A-Za-z0-9-]+)/(approve|pay))?", path)
    if not place or (method == "POST") != bool(place[1]):
        return 404, {"title": "there is nothing here"}
    if place[1]:
        return billing(user, method, f"/invoices/{place[1]}/{place[2]}", SCOPES[place[2]])
    status, body = billing(user, method, "/invoices", SCOPES[None])
    orders = [{"id": "ORD-1", "for": seen["oid"], "item": "a ream of paper"}]
    return status, {"orders": orders, "invoices": body} if status == 200 else body


class Orders(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            user = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, body = answer(user, self.command, self.path)
        except requests.RequestException:
            status, body = 503, {"title": "the sidecar or Billing cannot be reached"}
        self.send_response(status)
        for challenge in challenges(body) if status == 401 else ():
            self.send_header("WWW-Authenticate", f"Bearer {challenge}")
        text = json.dumps(body).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET


def challenges(body):
    """What a 401 asks for, as Microsoft's clients read it, and as RFC 9470 has it."""
    if "claims" in body:
        yield f'error="insufficient_claims", claims="{base64.b64encode(body["claims"].encode()).decode()}"'
        context = json.loads(body["claims"]).get("access_token", {}).get("acrs", {}).get("value")
        if context:
            yield f'error="insufficient_user_authentication", acr_values="{context}"'
    else:
        yield 'error="invalid_token"'


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Orders)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["PRIVATE_KEY"])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("Orders serves", flush=True)
    server.serve_forever()
