#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The golden vectors pass, and the program that says so would notice if one did not.

usage: test_golden.py PROGRAM      Prints TAP."""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lint")]

from tap import Tap  # noqa: E402

GOLDEN, OWN = HERE / "golden_vectors.json", HERE / "own_vectors.json"


def run(program, *args):
    r = subprocess.run([program, *args], capture_output=True, text=True, timeout=300)
    lines = r.stdout.splitlines()
    return r.returncode, lines[-1] if lines else r.stderr, lines[:-1]


def run_list(program, vectors):
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp, "vectors.json")
        path.write_text(vectors if isinstance(vectors, str) else json.dumps(vectors))
        return run(program, path)


def changed(value):
    """Another value of the same kind."""
    if value is None:
        return "x"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, dict):
        return {**value, "added": "x"}
    return [*value, "x"]


def leaves(value, path=()):
    """The paths of all that is not an object, and of the object itself."""
    yield path
    if isinstance(value, dict):
        for k in value:
            yield from leaves(value[k], (*path, k))


def mutate(vector, path):
    v = copy.deepcopy(vector)
    o = v
    for k in path[:-1]:
        o = o[k]
    o[path[-1]] = changed(o[path[-1]])
    return v


# What of a vector is expected, by type.
EXPECTED = {"publish": ["topic", "payload", "payload_raw", "qos", "retain"], "subscribe": ["topic", "qos"],
            "parse": ["expected"], "match": ["expected"], "connect": ["expected"], "presign": ["expected"]}


def mutations(v):
    for name in EXPECTED.get(v["type"], []):
        for path in leaves(v[name], (name,)):
            if name == "payload_raw" and v["payload"] is not None:
                continue  # text behind JSON makes it malformed, which says little
            yield mutate(v, path)
    if v["type"] == "publish" and v["payload"] is not None:
        for k in v["payload"]:
            m = copy.deepcopy(v)
            del m["payload"][k]
            yield m
    if v["type"] in ("publish", "subscribe"):
        yield {**v, "type": "error", "topic": "", "payload": None, "error": {"exception": "ValueError", "message": "x"}}
        yield {**v, "qos": str(v["qos"])}
    if v["type"] == "publish":
        yield {**v, "retain": 0}
        yield {**v, "payload_raw": [v["payload_raw"]]}
    if v["type"] == "presign":
        yield {**v, "expected": {**v["expected"], "signature": v["expected"]["signature"][:-1]}}
    if v["type"] == "error":
        for message in ("x", v["error"]["message"] + "x", None, [v["error"]["message"]]):
            yield {**v, "error": {**v["error"], "message": message}}
        for topic in (0, False, {}):
            yield {**v, "topic": topic}
        yield {**v, "error": {"exception": "KeyboardInterrupt", "message": "x"}}
        yield {**v, "error": None}
        yield {**v, "topic": "$aws/things/myThing/jobs/get"}
        yield {**v, "payload": {}}
        yield {**v, "type": "publish", "topic": "$aws/things/myThing/jobs/get", "payload": {}, "qos": 0, "retain": False, "error": None}
    yield {**v, "type": "unheard-of"}


def check_file(program, path):
    vectors = json.loads(path.read_text())
    code, last, failed = run(program, path)
    problems = failed if (code, last) == (0, f"{len(vectors)} passed, 0 failed") else [f"exit {code}: {last}", *failed[:20]]
    return problems


def check_mutations(program, path):
    """Every mutation of every vector fails, and each by itself: one run for all of them."""
    mutants = [m for v in json.loads(path.read_text()) for m in mutations(v)]
    code, last, failed = run_list(program, mutants)
    if (code, last) == (1, f"0 passed, {len(mutants)} failed"):
        return []
    named = {int(line.split("(element ")[1].split(")")[0]) for line in failed if "(element " in line}
    return [f"exit {code}: {last}"] + [f"passes: {json.dumps(m)}" for i, m in enumerate(mutants) if i not in named][:20]


def main():
    program = sys.argv[1]
    tap = Tap()
    code, last, _ = run(program)
    n = len(json.loads(GOLDEN.read_text()))
    tap.check("all golden vectors pass, without arguments", [] if (code, last) == (0, f"{n} passed, 0 failed") else [last])
    tap.check("our own vectors pass", check_file(program, OWN))
    tap.check("any other expectation of a golden vector fails", check_mutations(program, GOLDEN))
    some = json.loads(GOLDEN.read_text())[0]
    for what, text, expected in (
            ("what is no array", "{}", (2, None)), ("an empty array passes", "[]", (0, "0 passed, 0 failed")),
            ("a malformed element hides no other", f"[{json.dumps(some)}, {{\"id\": }}, 7, {json.dumps(some)}]",
             (1, "2 passed, 2 failed")),
            ("an unknown argument fails", json.dumps([{**some, "args": {**some["args"], "colour": 1}}]), (1, "0 passed, 1 failed"))):
        code, last, _ = run_list(program, text)
        good = code == expected[0] and (expected[1] is None or last == expected[1])
        tap.check(what, [] if good else [f"exit {code}: {last}"])
    code, _, _ = run(program, "/nonexistent/file")
    tap.check("a missing file is no success", [] if code == 2 else [f"exit {code}"])
    tap.done()


if __name__ == "__main__":
    main()
