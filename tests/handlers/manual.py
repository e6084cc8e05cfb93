# SPDX-License-Identifier: Apache-2.0
"""The displays of iot-jobs-handlers(7), as a reader would copy them from the screen."""

import re

import rig

PAGE = rig.ROOT / "man/iot-jobs-handlers.7"

# What the tests run, and where: all there is.
TESTED = {
    "test_manual.py": {("handler", "set-interval.sh"), ("commands", "set-interval.sh"), ("handler", "update-firmware.sh"),
                       ("handler", "set-options"), ("handler", "wait-for-file.c"), ("commands", "wait-for-file"),
                       ("snippet", "first-argument"), ("snippet", "check"), ("snippet", "list"), ("snippet", "once"),
                       ("snippet", "lock")},
    "test_handlers.py": {("document", "set-interval"), ("document", "steps"), ("document", "download"), ("document", "set-options"),
                         ("document", "wait-for-file"), ("config", "directories"), ("config", "device-client")},
}


def unescape(line):
    """mdoc source → what is shown, for what this page uses; anything else is an error."""
    shown = line.replace("\\e", "\0").replace("\\&", "")
    if "\\" in shown or re.match(r"[.']", line):
        raise ValueError(f"{PAGE.name}: cannot take out {line!r}")
    return shown.replace("\0", "\\")


def displays():
    """[(kind, name, text)] of every display; ones without an "example:" line have the kind None."""
    found, marker, body = [], (None, None), None
    for line in PAGE.read_text().splitlines():
        if body is not None:
            if line == ".Ed":
                found.append((*marker, "\n".join(body) + "\n"))
                marker, body = (None, None), None
            else:
                body.append(unescape(line))
        elif line.startswith(".Bd"):
            body = []
        elif m := re.fullmatch(r'\.\\" example: (\S+) (\S+)', line):
            marker = m.groups()
        else:
            marker = (None, None)
    return found


def example(kind, name):
    if not any((kind, name) in t for t in TESTED.values()):
        raise KeyError(f"{kind} {name} is not in manual.TESTED")
    [text] = [t for k, n, t in displays() if (k, n) == (kind, name)]
    return text
