#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Layer lint: every #include "x/y.h" in src/ is allowed by layers.txt, and src/README.md tells the same story.

usage: layers.py SOURCE_ROOT
The last checks plant forbidden includes in a copy of the tree, so that a lint that sees nothing cannot pass."""

import fnmatch
import pathlib
import re
import shutil
import sys
import tempfile

from tap import Tap

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
GENERATED = {"build-config.h"}


class Unit:
    def __init__(self, name, pure, patterns, allowed):
        self.name, self.pure, self.patterns, self.allowed = name, pure, patterns, allowed

    def __repr__(self):
        return self.name


def read_units(path):
    """layers.txt → list of Unit, in file order."""
    units = []
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, patterns, allowed = (part.strip() for part in line.split(":"))
        units.append(Unit(name.lstrip("*"), name.startswith("*"), patterns.split(), set(allowed.split())))
    return units


def unit_of(units, path):
    for u in units:
        if any(fnmatch.fnmatch(path, p) for p in u.patterns):
            return u
    return None


def table_problems(units):
    """Unknown names, and cycles: a table that allows A → B → A layers nothing."""
    names = {u.name for u in units}
    problems = [f"{u}: unknown unit {a}" for u in units for a in sorted(u.allowed - names)]
    above = {u.name: set(u.allowed) for u in units}
    for _ in units:
        for n in above:
            above[n] |= set().union(*(above[a] for a in above[n] if a in above)) if above[n] else set()
    return problems + [f"{n} may reach itself" for n in above if n in above[n]]


def include_problems(units, src):
    problems = []
    n = 0
    for path in sorted(src.rglob("*.[ch]")):
        name = path.relative_to(src).as_posix()
        mine = unit_of(units, name)
        if mine is None:
            problems.append(f"src/{name}: belongs to no unit of layers.txt")
            continue
        for inc in INCLUDE.findall(path.read_text()):
            n += 1
            theirs = unit_of(units, inc)
            if inc in GENERATED:
                if mine.pure:
                    problems.append(f"src/{name} ({mine}, PURE) includes the build's {inc}")
            elif theirs is None:
                problems.append(f'src/{name}: "{inc}" is no file of a unit (write "folder/file.h")')
            elif not (src / inc).is_file():
                problems.append(f'src/{name}: "{inc}" does not exist')
            elif theirs is not mine and theirs.name not in mine.allowed:
                problems.append(f'src/{name} ({mine}) must not include "{inc}" ({theirs})')
    if n == 0:
        problems.append("no #include found at all: wrong directory?")
    return problems


def expand(words, units, folder):
    """Words of a README cell → set of unit names. A folder's name stands for all of its units."""
    ret = set()
    for w in words:
        members = {u.name for u in units if u.patterns[-1].startswith(w + "/")}
        if members:
            ret |= members
        elif any(u.name == w for u in units):
            ret.add(w)
        else:
            raise ValueError(f"src/README.md, row {folder}/: unknown word {w!r}")
    return ret


def readme_rows(readme, units):
    """`folder` → (pure, set of allowed units), from the table of src/README.md."""
    rows = {}
    for line in readme.read_text().splitlines():
        m = re.match(r"\| `(\w+)/`( PURE)? \| .* \| (.*) \|$", line)
        if not m:
            continue
        folder, pure, cell = m.group(1), bool(m.group(2)), m.group(3)
        if cell == "nothing of ours":
            allowed = set()
        elif cell.startswith("all but "):
            allowed = {u.name for u in units} - expand(cell[len("all but "):].split(", "), units, folder)
        else:
            allowed = expand(cell.replace("; the shell also", ",").split(", "), units, folder)
        rows[folder] = (pure, allowed)
    return rows


def readme_problems(units, readme):
    try:
        rows = readme_rows(readme, units)
    except ValueError as e:
        return [str(e)]
    folders = {}
    for u in units:
        folders.setdefault(u.patterns[-1].split("/")[0], []).append(u)
    problems = [f"folder {f}/ has no row in src/README.md" for f in folders if f not in rows]
    problems += [f"src/README.md has a row {f}/ that layers.txt does not know" for f in rows if f not in folders]
    for folder, (pure, said) in rows.items():
        mine = folders.get(folder, [])
        own = {u.name for u in mine}
        allowed = set().union(*(u.allowed for u in mine)) - own if mine else set()
        if allowed != said - own:
            problems.append(f"row {folder}/: src/README.md says {sorted(said - own)}, layers.txt {sorted(allowed)}")
        if pure != all(u.pure for u in mine):
            problems.append(f"row {folder}/: PURE in one of src/README.md and layers.txt only")
    return problems


def planted(units, src, file, include):
    """Is an include planted into `file` of a copy of the tree found, and named?"""
    with tempfile.TemporaryDirectory() as tmp:
        copy = pathlib.Path(tmp) / "src"
        shutil.copytree(src, copy)
        target = copy / file
        target.parent.mkdir(exist_ok=True)
        text = target.read_text() if target.exists() else ""
        target.write_text(f'{text}\n# include "{include}"\n')
        found = [p for p in include_problems(units, copy) if file in p and include in p]
    return [] if found else [f'"{include}" in src/{file} was not found']


def main():
    root = pathlib.Path(sys.argv[1])
    src = root / "src"
    units = read_units(pathlib.Path(__file__).with_name("layers.txt"))
    tap = Tap()
    tap.check("layers.txt is a hierarchy", table_problems(units))
    tap.check("every include is allowed", include_problems(units, src))
    tap.check("src/README.md tells the same", readme_problems(units, src / "README.md"))
    for file, include in (("proto/planted.c", "base/log.h"), ("engine/planted.c", "base/clock.h"),
                          ("engine/engine.h", "transport/transport.h"), ("sim/model.h", "transport/transport.h"),
                          ("base/buf.h", "base/log.h"), ("transport/planted.c", "wire/wire.h"),
                          ("runner/planted.c", "engine/engine.h"), ("wire/planted.h", "nothing.h")):
        tap.check(f"a planted {include} in {file} is found", planted(units, src, file, include))
    with tempfile.TemporaryDirectory() as tmp:
        wrong = pathlib.Path(tmp) / "README.md"
        wrong.write_text((src / "README.md").read_text().replace("| `config/` |", "| `config/` PURE |"))
        tap.check("a README that tells something else is found",
                  [] if readme_problems(units, wrong) else ["config/ marked PURE was not found"])
    tap.done()


if __name__ == "__main__":
    main()
