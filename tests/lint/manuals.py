#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manuals: without a warning, complete for the library, and with examples that compile.

usage: manuals.py SOURCE_ROOT COMPILER..."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from tap import Tap

FLAGS = ["-std=c11", "-D_DEFAULT_SOURCE", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wno-missing-field-initializers",
         "-Wno-unused-parameter", "-Werror", "-fsyntax-only"]
CALL = re.compile(r"(?m)^(?:static inline )?[A-Za-z][\w ]*[ *](iotjobs_\w+)\(")


def warnings(pages):
    problems = []
    for page in pages:
        r = subprocess.run(["man", "--warnings", "-l", "-E", "UTF-8", str(page)], capture_output=True, text=True,
                           env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80"}, check=False)
        if r.returncode or not r.stdout:
            problems.append(f"{page.name}: exit {r.returncode}")
        problems += [f"{page.name}: {line}" for line in r.stderr.splitlines()]
    return problems


def public_calls(include):
    """Every function that the headers declare; a name that ends in '_' is internal."""
    found = set()
    for header in sorted(include.glob("*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        found |= {n for n in CALL.findall(text) if not n.endswith("_")}
    return found


def linked_calls(meson):
    """page → calls, from man/meson.build."""
    table = re.search(r"library_pages = \{(.*?)\n\}", meson.read_text(), re.S).group(1)
    return {page: re.findall(r"'(\w+)'", calls) for page, calls in re.findall(r"'(\w+)':\s*\[(.*?)\]", table, re.S)}


def completeness(root):
    calls, links = public_calls(root / "include/iotjobs"), linked_calls(root / "man/meson.build")
    problems = [] if len(calls) > 40 else [f"only {len(calls)} calls found in the headers"]
    known = {c for group in links.values() for c in group}
    problems += [f"{c}: no page in man/meson.build" for c in sorted(calls - known)]
    problems += [f"{c}: in man/meson.build, but in no header" for c in sorted(known - calls)]
    for page, group in links.items():
        text = (root / "man" / f"{page}.3").read_text()
        problems += [f"{page}.3 does not show {c}" for c in group if not re.search(rf"^\.F[no] {c}\b", text, re.M)]
    return problems


def plain(mdoc):
    """The text of a literal block, with troff's escapes undone."""
    for escape, char in (("\\e", "\\"), ("\\-", "-"), ("\\&", ""), ("\\(aq", "'"), ("\\(dq", '"')):
        mdoc = mdoc.replace(escape, char)
    return mdoc


def examples(page):
    if page.suffix == ".md":
        return re.findall(r"(?ms)^```c\n(.*?)^```$", page.read_text())
    return [plain(block) for block in re.findall(r"(?ms)^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", page.read_text())]


def compile_problems(name, source, compiler, include):
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp) / "example.c"
        path.write_text(source)
        r = subprocess.run([*compiler.split(), *FLAGS, f"-I{include}", str(path)], capture_output=True, text=True, check=False)
    return [f"{name} ({compiler}): {line}" for line in r.stderr.splitlines()] if r.returncode else []


def example_problems(root, compilers):
    problems, n = [], 0
    for page in [*sorted((root / "man").glob("*.3")), root / "README.md"]:
        for i, source in enumerate(examples(page), 1):
            n += 1
            for compiler in compilers:
                problems += compile_problems(f"{page.name}, example {i}", source, compiler, root / "include")
    return problems if n >= 8 else problems + [f"only {n} examples found"]


def planted(root, compiler):
    """Would they be noticed?"""
    missed = []
    with tempfile.TemporaryDirectory() as tmp:
        copy = pathlib.Path(tmp)
        for folder in ("man", "include"):
            shutil.copytree(root / folder, copy / folder)
        shutil.copy(root / "README.md", copy)
        page = copy / "man/iotjobs_topic.3"
        text = page.read_text()
        page.write_text(text.replace("t.job_id", "t.job_idea"))
        if not any("job_idea" in p for p in example_problems(copy, [compiler])):
            missed.append("an example with a wrong member")
        page.write_text(text.replace(".Fn iotjobs_region_of", ".Fn iotjobs_region_off"))
        if not completeness(copy):
            missed.append("a page without a call")
        page.write_text(text + ".Bl\n.nonsense\n")
        if shutil.which("man") and not warnings([page]):
            missed.append("a list without an end")
        header = copy / "include/iotjobs/topic.h"
        header.write_text(header.read_text() + "int iotjobs_new_call(int x);\n")
        page.write_text(text)
        if not any("iotjobs_new_call" in p for p in completeness(copy)):
            missed.append("a call without a page")
    return missed


def main():
    root, compilers = pathlib.Path(sys.argv[1]), sys.argv[2:]
    tap = Tap()
    if shutil.which("man") and shutil.which("troff"):
        tap.check("no page has a warning", warnings(sorted((root / "man").glob("*.[1-8]"))))
    else:
        tap.skip("warnings", "man or groff is not installed")
    tap.check("every call has a page and a link to it", completeness(root))
    tap.check("every example compiles", example_problems(root, compilers))
    tap.check("planted faults are found", planted(root, compilers[0]))
    tap.done()


if __name__ == "__main__":
    main()
