"""A browser without JavaScript: it follows redirects, keeps cookies, and fills in the forms it is shown."""

import base64
import hmac
import re
import struct
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests


class Refused(Exception):
    """A page that is no form the driver knows: mostly an error page. `text` is what a reader sees."""

    def __init__(self, status, text):
        super().__init__(f"page with status {status}: {text}")
        self.status, self.text = status, text


@dataclass
class Form:
    action: str
    method: str
    fields: dict = field(default_factory=dict)
    names: set = field(default_factory=set)
    buttons: list = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms, self.text, self._open, self._silent = [], [], False, 0

    def handle_starttag(self, tag, attrs):
        at = {name: value or "" for name, value in attrs}
        if tag in ("script", "style"):
            self._silent += 1
        if tag == "form":
            self.forms.append(Form(at.get("action", ""), at.get("method", "get").lower()))
            self._open = True
        elif tag in ("input", "button") and self._open and at.get("name"):
            form = self.forms[-1]
            form.names.add(at["name"])
            kind = at.get("type", "submit" if tag == "button" else "text")
            if kind == "submit":
                form.buttons.append((at["name"], at.get("value", "")))
            elif kind not in ("checkbox", "radio") or "checked" in at:
                form.fields[at["name"]] = at.get("value", "")

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._silent -= 1
        if tag == "form":
            self._open = False

    def handle_data(self, data):
        if not self._silent and data.strip():
            self.text.append(data.strip())


class Device:
    """An authenticator app (RFC 6238). A code works once, so the next one is shown where the present one was used."""

    def __init__(self):
        self._secret, self._step = None, 0

    def scan(self, html):
        self._secret = base64.b32decode(re.search(r"[?]secret=([A-Z2-7]+)&", html).group(1))

    def code(self):
        self._step = max(int(time.time() // 30), self._step + 1)
        tag = hmac.digest(self._secret, struct.pack(">Q", self._step), "sha1")
        at = tag[-1] & 15
        return f"{(struct.unpack('>I', tag[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


class Pages:
    """One browser: its cookies live as long as it does, so that a second sign-in finds the session."""

    def __init__(self, device=None):
        self.session = requests.Session()
        self.seen = []
        self.device = device

    def sign_in(self, url, redirect_uri, user, consent="accept"):
        """Walks from the authorize URL to the client's redirect URI and returns the parameters that arrive there."""
        request = requests.Request("GET", url)
        for _ in range(12):
            response = self.session.send(
                self.session.prepare_request(request), allow_redirects=False, timeout=20, **self._settings(request.url)
            )
            if response.is_redirect:
                url = urljoin(response.url, response.headers["Location"])
                if _arrived(url, redirect_uri):
                    return dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
                request = requests.Request("GET", url)
                continue
            page = _Reader()
            page.feed(response.text)
            page.html = response.text
            form = next((it for it in page.forms if it.names), None)
            if response.status_code != 200 or form is None:
                raise Refused(response.status_code, " ".join(page.text))
            url = urljoin(response.url, form.action)
            if _arrived(url, redirect_uri):  # response_mode=form_post
                return form.fields
            request = self._filled(form, url, user, consent, page)
        raise Refused(0, "the pages go in a circle: " + ", ".join(self.seen))

    def approve_device(self, url, code, user, action="continue"):
        """Types a device's code and decides about the device."""
        request, decided = requests.Request("GET", url), False
        for _ in range(12):
            response = self.session.send(self.session.prepare_request(request), timeout=20, **self._settings(request.url))
            page = _Reader()
            page.feed(response.text)
            form = next((it for it in page.forms if it.names), None)
            if decided:
                return " ".join(page.text)
            if response.status_code != 200 or form is None:
                raise Refused(response.status_code, " ".join(page.text))
            url = urljoin(response.url, form.action)
            if "user_code" in form.names:
                fields = form.fields | {"user_code": code}
                request = requests.Request("POST", url, data=fields, headers={"Origin": _origin(url)})
            elif "own" in form.names:
                fields, decided = form.fields | {"own": "true", "action": action}, True
                request = requests.Request("POST", url, data=fields, headers={"Origin": _origin(url)})
            else:
                request = self._filled(form, url, user, "accept", page)
        raise Refused(0, "the pages go in a circle")

    def _filled(self, form, url, user, consent, page):
        fields = dict(form.fields)
        if "password" in form.names:
            assert "sign-in" not in self.seen, f"the password was not taken: {' '.join(page.text)}"
            self.seen.append("sign-in")
            fields |= {"username": user["upn"], "password": user["password"]}
        elif fields.get("step") == "continue":
            self.seen.append("recovery codes")
        elif "step" in fields:
            self.seen.append(fields["step"])
            assert self.seen.count(fields["step"]) < 3, f"the code was not taken: {' '.join(page.text)}"
            if fields["step"] == "enrol":
                self.device.scan(page.html)
            fields["code"] = self.device.code()
        elif ("action", consent) in form.buttons:
            self.seen.append("consent")
            fields["action"] = consent
        else:
            raise Refused(200, " ".join(page.text))
        return requests.Request("POST", url, data=fields, headers={"Origin": _origin(url)})

    def _settings(self, url):
        return self.session.merge_environment_settings(url, {}, None, None, None)


def _arrived(url, redirect_uri):
    return url.split("?")[0].split("#")[0].rstrip("/") == redirect_uri.rstrip("/")


def _origin(url):
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
