#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hardening of what is installed, read from the ELF files themselves.

usage: elf.py BUILD_ROOT fortify|plain FILE...
Of each program and shared library: PIE, full RELRO, no executable stack, stack protector, FORTIFY (in optimised builds without
sanitizers), no RPATH. On x86 control flow is guarded: the notes of our own objects (a program has one only where the
distribution's start files do), and functions that begin with their mark. What a static program calls is read from the objects
beside it: inside it the C library's own calls would pass for ours; without them (installed) that part is not judged."""

import pathlib
import platform
import re
import subprocess
import sys
import tempfile

from tap import Tap


def readelf(option, path):
    return subprocess.run(["readelf", "-W", option, path], check=True, capture_output=True, text=True).stdout


def is_library(path):
    return "(SONAME)" in readelf("-d", path)


def is_static(path):
    return "INTERP" not in readelf("-l", path) and not is_library(path)


def calls_of(path):
    """The names of what a program gets from elsewhere; None where nothing tells."""
    if not is_static(path):
        return readelf("--dyn-syms", path)
    objects = sorted(path.parent.glob("*.p/*.o"))
    return "".join(readelf("-s", o) for o in objects) if objects else None


def unmarked(path):
    """Exported functions that an indirect call could not land on; of a program, whether any function could be."""
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], check=True, capture_output=True, text=True).stdout
    if not is_library(path):
        return [] if code.count("endbr64") > 10 else ["compiled without -fcf-protection"]
    marked = set(re.findall(r"(?m)^ +([0-9a-f]+):\s+endbr64", code))
    exported = re.findall(r"(?m): 0*([0-9a-f]+) +\d+ FUNC +GLOBAL +DEFAULT +\d+ (\w+)", readelf("--dyn-syms", path))
    return [f"{name} does not begin with endbr64" for at, name in exported if at not in marked] + \
        ([] if exported else ["exports nothing"])


def problems_of(path, fortify):
    header, segments, dynamic = (readelf(o, path) for o in ("-h", "-l", "-d"))
    symbols = calls_of(path)
    problems = []
    if not re.search(r"Type:\s+DYN", header) or not is_library(path) and ("Flags: " not in dynamic or "PIE" not in dynamic):
        problems.append("not position independent (PIE)")
    if "GNU_RELRO" not in segments:
        problems.append("no RELRO segment")
    if not re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic):
        problems.append("not bound at start (full RELRO)")
    stack = re.search(r"GNU_STACK.*", segments)
    if not stack or re.search(r"\bRWE\b", stack.group()):
        problems.append("executable stack")
    if re.search(r"LOAD.*\bRWE\b", segments):
        problems.append("a segment is writable and executable")
    if symbols is not None and "__stack_chk_fail" not in symbols:
        problems.append("no stack protector")
    if symbols is not None and fortify and not re.search(r"__\w+_chk\b(?<!__stack_chk)", symbols):
        problems.append("no fortified call (_FORTIFY_SOURCE)")
    if re.search(r"\((RPATH|RUNPATH)\)", dynamic):
        problems.append("has an RPATH: " + re.search(r"\((?:RPATH|RUNPATH)\).*", dynamic).group())
    return problems + (unmarked(path) if platform.machine() == "x86_64" else [])


def control_flow_problems(build):
    objects = sorted(build.glob("src/**/*.p/*.c.o"))
    if not objects:
        return ["no objects found"]
    return [f"{o.name}: no IBT and SHSTK note" for o in objects
            if not re.search(r"x86 feature:.*IBT.*SHSTK", readelf("-n", o))]


def planted(static):
    """A program built the careless way must have all of the faults."""
    with tempfile.TemporaryDirectory() as tmp:
        program, code = pathlib.Path(tmp, "careless"), pathlib.Path(tmp, "careless.p", "main.o")
        code.parent.mkdir()
        subprocess.run(["cc", "-x", "c", "-", "-c", "-o", code, "-fno-pie", "-fno-stack-protector",
                        "-fcf-protection=none" if platform.machine() == "x86_64" else "-O0"],
                       input="int main(void) { return 0; }\n", text=True, check=True, capture_output=True)
        subprocess.run(["cc", code, "-o", program, "-no-pie", "-Wl,-z,norelro", "-Wl,-z,lazy", "-Wl,-z,execstack",
                        "-Wl,-rpath,/nowhere"] + (["-static"] if static else []), check=True, capture_output=True)
        found = problems_of(program, True)
    wanted = ["PIE", "RELRO segment", "bound at start", "executable stack", "stack protector", "FORTIFY"]
    # A static one is full of the C library's marks.
    wanted += [] if static else ["RPATH", "cf-protection"] if platform.machine() == "x86_64" else ["RPATH"]
    return [f"not found: {w}" for w in wanted if not any(w in p for p in found)]


def main():
    build, fortify = pathlib.Path(sys.argv[1]), sys.argv[2] == "fortify"
    tap = Tap()
    for program in map(pathlib.Path, sys.argv[3:]):
        tap.check(f"{program.name} is hardened", problems_of(program, fortify) if program.exists() else ["was not built"])
    if platform.machine() == "x86_64":
        tap.check("objects carry control-flow notes", control_flow_problems(build))
    tap.check("a careless program is found", planted(False))
    if any(p.exists() and is_static(p) for p in map(pathlib.Path, sys.argv[3:])):
        tap.check("a careless static program is found", planted(True))
    tap.done()


if __name__ == "__main__":
    main()
