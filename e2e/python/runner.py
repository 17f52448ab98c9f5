"""Collects tests, runs them in the order they were written, and prints a line for each."""

import time
import traceback

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
            print(f"pass  {sentence} ({1000 * (time.monotonic() - began):.0f} ms)", flush=True)
    print(f"{suite}: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


def expect(actual, wanted, what):
    """Fails with both values unless they are equal."""
    assert actual == wanted, f"{what}: {actual!r}, wanted {wanted!r}"
