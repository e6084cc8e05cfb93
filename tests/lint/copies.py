#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What several handlers share stands in each of them, since each is one file that an operator may copy. It stays the same in all:
behind a line `# ---- from here on the same in A, B and C ----` those files have the same text to their ends, and what is
copied without such a line is found.

usage: copies.py DIRECTORY [--write FILE]     --write: take the part from FILE into the others"""

import pathlib
import re
import sys
import tempfile

from tap import Tap

MARK = re.compile(r"^# ---- from here on the same in (.+) ----\n", re.M)
WINDOW = 20  # lines that two scripts may have in common by chance, or by convention


def split(text):
    """(own part, names of those that share the rest, the rest); without a mark all is its own."""
    found = MARK.search(text)
    if not found:
        return text, [], ""
    return text[:found.start()], re.split(r", | and ", found[1]), text[found.start():]


def scripts(directory):
    return {p.name: p.read_text() for p in sorted(directory.iterdir())}


def differences(files):
    problems = []
    for name, text in files.items():
        _, group, part = split(text)
        if group and name not in group:
            problems.append(f"{name}: not among those that its mark names")
        for other in group:
            if other not in files:
                problems.append(f"{name}: there is no {other}")
            elif split(files[other])[2] != part:
                problems.append(f"{name}: what it shares with {other} differs; copies.py --write takes it from one")
    return problems


def windows(text):
    lines = text.splitlines()
    return {"\n".join(lines[i:i + WINDOW]): i + 1 for i in range(len(lines) - WINDOW + 1)}


def unmarked(files):
    own = {name: windows(split(text)[0]) for name, text in files.items()}
    problems = []
    for name, mine in own.items():
        for other, theirs in own.items():
            same = mine.keys() & theirs.keys() if name < other else ()
            problems += [f"{name}:{min(mine[w] for w in same)}: {WINDOW} lines as in {other}, and no mark"] if same else []
    return problems


def write(directory, source):
    _, group, part = split((directory / source).read_text())
    if source not in group:
        sys.exit(f"{source}: no mark in it that names it")
    for other in group:
        path = directory / other
        path.write_text(split(path.read_text())[0] + part)


def planted():
    mark, body = "# ---- from here on the same in a.sh and b.sh ----\n", "".join(f"line {i}\n" for i in range(WINDOW))
    bad = ({"a.sh": mark + "x\n", "b.sh": mark + "y\n"}, {"a.sh": mark + "x\n"}, {"a.sh": mark + "x\n", "b.sh": "x\n"},
           {"a.sh": mark, "b.sh": mark, "c.sh": mark})
    problems = [f"not found: {files}" for files in bad if not differences(files)]
    if not unmarked({"a.sh": body, "b.sh": "own\n" + body}):
        problems.append("a copy without a mark was not found")
    with tempfile.TemporaryDirectory() as tmp:
        directory = pathlib.Path(tmp)
        (directory / "a.sh").write_text("a\n" + mark + "new\n")
        (directory / "b.sh").write_text("b\n" + mark + "old\n")
        write(directory, "a.sh")
        if scripts(directory) != {"a.sh": f"a\n{mark}new\n", "b.sh": f"b\n{mark}new\n"}:
            problems.append(f"--write made {scripts(directory)}")
    return problems


def main():
    directory = pathlib.Path(sys.argv[1])
    if sys.argv[2:3] == ["--write"] and len(sys.argv) == 4:
        return write(directory, pathlib.Path(sys.argv[3]).name)
    files, tap = scripts(directory), Tap()
    tap.check("what handlers share is the same in all of them", differences(files))
    tap.check("nothing is copied without a mark", unmarked(files))
    tap.check("planted faults are found", planted())
    return tap.done()


if __name__ == "__main__":
    main()
