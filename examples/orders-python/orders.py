"""Orders in Python, without any SDK: the same API as `examples/orders`. Tokens are the business of the sidecar beside it."""

import base64, http.server, json, os, re, ssl

import requests

ADDRESS = re.compile(r"/orders(?:/([A-Za-z0-9-]+)/(approve|pay))?")


class Orders(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = ADDRESS.fullmatch(self.path)
        order, action = found.groups() if found else (None, None)
        if not found or (self.command == "POST") != bool(action):
            return self.answer(404, {"title": "there is nothing here"})
        # The sidecar checks the user's token, which is for Orders alone, and calls Billing with one of the same user for Billing.
        url = f"{os.environ['SIDECAR']}/call/{action or 'read'}/invoices" + (f"/{order}/{action}" if order else "")
        user = self.headers.get("Authorization", "")
        try:
            billing = requests.request(self.command, url, headers={"Authorization": user}, timeout=30)
            body = billing.json()
        except requests.RequestException:
            return self.answer(503, {"title": "the sidecar or Billing cannot be reached"})
        if billing.ok and not order:
            said = json.loads(base64.urlsafe_b64decode(user.split(".")[1] + "=="))  # it holds, so this is who asks
            body = {"orders": [{"id": "ORD-1", "for": said["oid"], "item": "a ream of paper"}], "invoices": body}
        # A refusal is made for our own caller: what has to change, and what the user has to show.
        self.answer(billing.status_code, body, billing.raw.headers.getlist("WWW-Authenticate"))

    do_POST = do_GET

    def answer(self, status, body, challenges=()):
        self.send_response(status)
        for challenge in challenges:
            self.send_header("WWW-Authenticate", challenge)
        text = json.dumps(body).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Orders)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["CERTIFICATE"], os.environ["PRIVATE_KEY"])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("Orders serves", flush=True)
    server.serve_forever()
