#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every source says its licence, and no file has leftovers that the editor settings forbid.

usage: sources.py SOURCE_ROOT"""

import pathlib
import sys
import tempfile

from tap import Tap

LICENCE = "SPDX-License-Identifier: Apache-2.0"
SOURCE_SUFFIXES = {".c", ".h", ".py", ".sh", ".map"}
SOURCE_NAMES = {"meson.build"}
FOLDERS = ("src", "include", "tests", "scripts", "systemd", "conf", "man", "debian")
SKIPPED = {"node_modules", "__pycache__"}


def sources(root):
    """Every file that must carry the line: by suffix, by name, or because it starts with '#!'."""
    yield from (p for p in [root / "meson.build"] if p.exists())
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if SKIPPED & set(path.parts) or not path.is_file() or path.is_symlink():
                continue
            if path.suffix in SOURCE_SUFFIXES or path.name in SOURCE_NAMES or path.read_bytes()[:2] == b"#!":
                yield path


def licence_problems(root):
    n, problems = 0, []
    for path in sources(root):
        n += 1
        if LICENCE not in "\n".join(path.read_text().splitlines()[:3]):
            problems.append(f"{path.relative_to(root)}: no '{LICENCE}' in its first three lines")
    return problems if n else ["no source found: wrong directory?"]


def text_problems(root):
    problems = []
    for path in sources(root):
        text, name = path.read_text(), path.relative_to(root)
        if text and not text.endswith("\n"):
            problems.append(f"{name}: no line feed at its end")
        problems += [f"{name}:{i}: white space at the end of the line"
                     for i, line in enumerate(text.split("\n"), 1) if line != line.rstrip()]
        if path.suffix in {".c", ".h"}:
            problems += [f"{name}:{i}: a tab" for i, line in enumerate(text.split("\n"), 1) if "\t" in line]
    return problems


def planted():
    with tempfile.TemporaryDirectory() as tmp:
        root = pathlib.Path(tmp)
        (root / "src").mkdir()
        (root / "scripts").mkdir()
        (root / "src" / "a.c").write_text("int a; \n\tint b;")
        (root / "scripts" / "b").write_text("#!/bin/sh\nexit 0\n")
        (root / "src" / "good.c").write_text(f"/* {LICENCE} */\n")
        licence, text = licence_problems(root), text_problems(root)
    found = [len(licence) == 2, len(text) == 3, not any("good.c" in p for p in licence + text)]
    return [] if all(found) else [f"found only {licence + text}"]


def main():
    root = pathlib.Path(sys.argv[1])
    tap = Tap()
    tap.check("every source carries its licence", licence_problems(root))
    tap.check("no stray white space", text_problems(root))
    tap.check("planted faults are found", planted())
    tap.done()


if __name__ == "__main__":
    main()
