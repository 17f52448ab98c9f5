"""The guides of `docs/guides`: their programs run as they stand there, and what they show of estates is in the demo's."""

import contextlib
import os
import pathlib
import re
import tempfile
import threading

from pages import Pages
from runner import expect, test
from world import *

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def _blocks(guide, language):
    text = (_ROOT / "docs" / "guides" / f"{guide}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@contextlib.contextmanager
def _follow(guide, **given):
    """The programs of a guide, one after another in one interpreter, beside the demo's file."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.abspath(os.environ["DEPUTIZE_DEMO_ENV"]), os.path.join(folder, "demo.json"))
        os.chdir(folder)
        try:
            yield (exec(compile(block, f"{guide}.md", "exec"), given) or given for block in _blocks(guide, "python"))
        finally:
            os.chdir(before)


@test
def the_guide_for_web_applications_signs_ada_in():
    with _follow("web-app") as programs:
        names = next(programs)
        redirect_uri = WEB["redirect_uris"][0]
        names["query"] = Pages().sign_in(names["flow"]["auth_uri"], redirect_uri, ADA)
        expect(next(programs)["user"], ADA["oid"], "user")
        expect(claims(succeeded(next(programs)["again"])["access_token"])["aud"], ORDERS["app_id"], "later")
        expect(list(programs), [], "no more programs")


@test
def the_guide_for_daemons_exports():
    with _follow("daemon") as programs:
        expect(next(programs)["export"].status_code, 200, "the export")
        expect(claims(next(programs)["token"])["azpacr"], "2", "by certificate")
        expect(list(programs), [], "no more programs")


@test
def the_guide_for_middle_tiers_exchanges_and_passes_challenges_on():
    with _follow("middle-tier", inbound=token_for_orders()) as programs:
        expect(next(programs)["invoices"].status_code, 200, "the invoices")
        challenge = next(programs)["challenge"]
        encoded = re.search(r'claims="([A-Za-z0-9+/=]+)"', challenge).group(1)
        assert "access_token" in json.loads(base64.b64decode(encoded)), challenge
        expect(list(programs), [], "no more programs")


@test
def the_guide_for_devices_gets_a_token():
    with _follow("device") as programs:
        names = next(programs)
        person = threading.Thread(
            target=lambda: Pages().approve_device(names["flow"]["verification_uri"], names["flow"]["user_code"], ADA)
        )
        person.start()
        answer = succeeded(next(programs)["answer"])
        person.join()
        expect(claims(answer["access_token"])["oid"], ADA["oid"], "user")
        expect(list(programs), [], "no more programs")


@test
def what_guides_show_of_estates_and_pages_is_what_the_suites_run():
    examples = _ROOT / "examples"
    shown = {
        "toml": [examples / "estate/contoso.toml", examples / "sidecar/sidecar.toml"],
        "js": [_ROOT / "e2e/node/spa/app.js"],
    }
    # The tests of the sidecar and of the gateway read the files of these pages themselves.
    elsewhere = {"any-language", "gateway"}
    guides = sorted(path.stem for path in (_ROOT / "docs" / "guides").glob("*.md") if path.stem not in elsewhere)
    found = []
    for guide in guides:
        for language, files in shown.items():
            for block in _blocks(guide, language):
                found.append(language)
                there = any(block in file.read_text(encoding="utf-8") for file in files)
                assert there, f"{guide}.md shows what is in none of {[file.name for file in files]}:\n{block}"
    assert found.count("js") >= 2 and found.count("toml") >= 6, found
