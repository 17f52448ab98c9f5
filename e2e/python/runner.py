"""Collects tests, runs them in the order they were written, and prints a line for each."""

import json
import pathlib
import time
import traceback

_FLOWS = pathlib.Path(__file__).parent.parent / "flows.json"
_tests = []


class Skip(Exception):
    """The demo does not declare what the test needs."""


def test(function):
    """Marks a test. Its name is a sentence."""
    _tests.append(function)
    return function


def forget():
    """Begins anew: what was marked before is not run."""
    _tests.clear()


def run(suite, words):
    """Runs the chosen tests and returns the exit status."""
    chosen = [it for it in _tests if not words or any(word in it.__name__ for word in words)]
    passed = failed = skipped = 0
    shown = set()
    for function in chosen:
        sentence = function.__name__.replace("_", " ")
        began = time.monotonic()
        try:
            function()
        except Skip as reason:
            skipped += 1
            print(f"skip  {sentence}: {reason}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL  {sentence}", flush=True)
            traceback.print_exc()
        else:
            passed += 1
            shown.add(sentence)
            print(f"pass  {sentence} ({1000 * (time.monotonic() - began):.0f} ms)", flush=True)
    if not words:
        failed += _table(suite, shown)
    print(f"{suite}: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


def _table(suite, shown):
    """Prints the flows of clients that this suite is to show, and counts those that it did not."""
    flows = [it for it in json.loads(_FLOWS.read_text(encoding="utf-8")) if it["suite"] == suite]
    for it in flows:
        print(f"{'shown' if it['test'] in shown else 'NOT SHOWN'}  {it['client']}: {it['flow']}")
    return sum(it["test"] not in shown for it in flows)


def expect(actual, wanted, what):
    """Fails with both values unless they are equal."""
    assert actual == wanted, f"{what}: {actual!r}, wanted {wanted!r}"
