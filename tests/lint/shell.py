#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""shellcheck over every shell script of the project, sample handlers included.

usage: shell.py SOURCE_ROOT"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import sources
from tap import Tap

# What is run, and what is only read by a shell.
SHELL = re.compile(rb"^#!\s*(/usr)?/bin/(env\s+)?(ba|da)?sh\b|^(#.*\n)*# shellcheck shell=")


def scripts(root):
    found = [p for p in sources.sources(root) if SHELL.match(p.read_bytes()[:128])]
    ci = root / ".ci" / "run"
    return found + ([ci] if ci.exists() else [])


def check(root, paths):
    r = subprocess.run(["shellcheck", "-x", "-P", root, "-f", "gcc", *paths], capture_output=True, text=True)
    return (r.stdout + r.stderr).splitlines() if r.returncode else []


def planted():
    with tempfile.TemporaryDirectory() as tmp:
        bad = pathlib.Path(tmp, "bad.sh")
        bad.write_text("#!/bin/sh\nrm -rf $1/*\n")
        return [] if check(tmp, [bad]) else ["an unquoted $1 was not found"]


def main():
    root = pathlib.Path(sys.argv[1])
    tap = Tap()
    if shutil.which("shellcheck"):
        found = scripts(root)
        tap.check(f"{len(found)} scripts pass shellcheck", check(root, found) if found else ["no script found"])
        tap.check("a planted fault is found", planted())
    else:
        tap.skip("scripts pass shellcheck", "shellcheck is not installed")
    tap.done()


if __name__ == "__main__":
    main()
