#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `meson install` gives a developer: a program outside of this tree builds with pkg-config and runs, under every compiler,
shared and static; and what such programs rely on (names, numbers, layouts) does not change by accident.

usage: test_package.py BUILD_ROOT [--write]     --write takes the present interface for the pinned one. Prints TAP."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent / "lint")]

from tap import Tap  # noqa: E402

COMPILERS = [("gcc", "c", "c17"), ("clang", "c", "c17"), ("g++", "c++", "c++17"), ("clang++", "c++", "c++17")]
PINNED = HERE / "interface.txt"


def run(*command, **kwargs):
    r = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, **kwargs)
    return r.returncode, r.stdout + r.stderr


class Installed:
    def __init__(self, build, directory):
        code, out = run("meson", "install", "-C", build, "--no-rebuild", "--destdir", directory)
        if code:
            raise RuntimeError(f"meson install: {out}")
        self.root = pathlib.Path(directory)
        (self.pc,) = self.root.rglob("iotjobs.pc")
        self.lib = self.pc.parent.parent
        (self.include,) = (p.parent for p in self.root.rglob("include/iotjobs"))

    def pkg_config(self, *options):
        """As a cross build does it: the prefix is below the directory, the system's own files are where they are."""
        text = re.sub(r"^prefix=.*", lambda m: f"prefix={self.root}{m.group()[len('prefix='):]}", self.pc.read_text(), flags=re.M)
        with tempfile.TemporaryDirectory() as tmp:
            pathlib.Path(tmp, "iotjobs.pc").write_text(text)
            code, out = run("pkg-config", *options, "iotjobs", env={**os.environ, "PKG_CONFIG_PATH": tmp})
        if code:
            raise RuntimeError(f"pkg-config {options}: {out}")
        return out.split()


def build_and_run(inst, compiler, language, standard, static, sd_event):
    with tempfile.TemporaryDirectory() as tmp:
        program = pathlib.Path(tmp, "program")
        flags = inst.pkg_config("--cflags", *(["--static"] if static else []))
        libs = inst.pkg_config("--libs", *(["--static"] if static else []))
        if static:
            libs = [str(inst.lib / "libiotjobs.a") if f == "-liotjobs" else f for f in libs]
        if sd_event:
            flags += ["-DWITH_SD_EVENT", "-D_GNU_SOURCE"]
            libs += ["-lsystemd"]
        code, out = run(compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror",
                        *flags, HERE / "program.c", "-x", "none", "-o", program, *libs)
        if code:
            return [f"{compiler}: {out}"]
        code, out = run(program, env={"LD_LIBRARY_PATH": str(inst.lib)})
        needed = run("readelf", "-d", program)[1]
        problems = [] if code == 0 and out.strip() else [f"exit {code}: {out}"]
        if ("libiotjobs.so.0" in needed) == static:
            problems.append("links the wrong library")
        return problems


# ---- the interface as text ----

def without_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def members(body):
    """Names of the members of a struct's body."""
    for declaration in body.split(";"):
        for part in declaration.split(","):
            m = re.search(r"(\w+)\s*(\[[^]]*\]\s*)*$", part.strip())
            if m:
                yield m.group(1)


def headers(include):
    return [p for p in sorted((include / "iotjobs").glob("*.h")) if p.name != "sd-event.h"]


def describe(include, compiler="gcc"):
    """Every struct member's offset and size and every enumerator's value, as the compiler sees them."""
    code = ["#include <stdio.h>", "#include <stddef.h>", "#include <iotjobs/mosquitto.h>", "#include <iotjobs/iotjobs.h>", "int main(void) {"]
    for path in headers(include):
        text = without_comments(path.read_text())
        for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", text, re.S):
            code.append(f'printf("struct {name} %zu\\n", sizeof({name}));')
            for m in members(body):
                code.append(f'printf("struct {name}.{m} %zu %zu\\n", offsetof({name}, {m}), sizeof((({name} *) 0)->{m}));')
        for body in re.findall(r"enum \w*\s*\{(.*?)\}", text, re.S):
            for m in re.findall(r"(\w+)\s*=", body):
                code.append(f'printf("enum {m} %d\\n", (int) {m});')
    code.append("}")
    with tempfile.TemporaryDirectory() as tmp:
        source, program = pathlib.Path(tmp, "layout.c"), pathlib.Path(tmp, "layout")
        source.write_text("\n".join(code))
        status, out = run(compiler, "-I", include, source, "-o", program)
        if status:
            raise RuntimeError(out)
        return run(program)[1].splitlines()


def enumerators_without_value(include):
    """Such numbers would depend on the order: all are to be written, but those of one enum that is documented not to."""
    problems = []
    for path in headers(include):
        for body in re.findall(r"enum \w*\s*\{(.*?)\}", without_comments(path.read_text()), re.S):
            problems += [f"{path.name}: {e.strip()}" for e in body.split(",") if e.strip() and "=" not in e]
    return problems


def exported(library):
    code, out = run("nm", "-D", "--defined-only", library)
    names = sorted(line.split()[-1] for line in out.splitlines() if line.split()[-2] != "A")
    return [f"symbol {n}" for n in names]


def global_names(library):
    code, out = run("nm", "-g", "--defined-only", library)
    return sorted({line.split()[-1] for line in out.splitlines() if len(line.split()) == 3})


def declared(include):
    names = set()
    for path in headers(include):
        names |= set(re.findall(r"\b(iotjobs_\w+)\s*\(", without_comments(path.read_text())))
    return names


def shared_problems(library):
    dynamic, segments = run("readelf", "-dW", library)[1], run("readelf", "-lW", library)[1]
    problems = []
    if "Library soname: [libiotjobs.so.0]" not in dynamic:
        problems.append("soname is not libiotjobs.so.0")
    if "NOW" not in dynamic or "GNU_RELRO" not in segments:
        problems.append("no full RELRO")
    if re.search(r"RPATH|RUNPATH", dynamic):
        problems.append("has an RPATH")
    if "NOOPEN" in dynamic:
        problems.append("cannot be opened with dlopen()")
    if "libsystemd" in dynamic:
        problems.append("needs libsystemd, which only sd-event.h's includer should")
    if re.search(r"GNU_STACK.*RWE", segments):
        problems.append("executable stack")
    return problems


def interface(inst):
    return exported(inst.lib / "libiotjobs.so.0") + describe(inst.include)


def difference(now):
    pinned = [line for line in PINNED.read_text().splitlines() if not line.startswith("#")]
    return [f"gone or changed: {line}" for line in pinned if line not in now] + [f"new: {line}" for line in now if line not in pinned]


def main():
    build = pathlib.Path(sys.argv[1])
    tap = Tap()
    with tempfile.TemporaryDirectory() as tmp:
        inst = Installed(build, tmp)
        now = interface(inst)
        if "--write" in sys.argv:
            PINNED.write_text("# SPDX-License-Identifier: Apache-2.0\n# The library's interface on a 64-bit machine: names, offsets and sizes, numbers.\n" +
                              "\n".join(now) + "\n")
        for compiler, language, standard in COMPILERS:
            for static in (False, True):
                what = f"{compiler} -std={standard}, {'static' if static else 'shared'}"
                tap.check(what, build_and_run(inst, compiler, language, standard, static, sd_event=not static)
                          if shutil.which(compiler) else [f"{compiler} is not there"])
        names = {line.split()[1].split("@")[0] for line in now if line.startswith("symbol ")}
        tap.check("exports what the headers declare, and nothing else", sorted(names ^ declared(inst.include)))
        tap.check("the static library has no other global names", sorted(set(global_names(inst.lib / "libiotjobs.a")) ^ names))
        tap.check("the shared library", shared_problems(inst.lib / "libiotjobs.so.0"))
        tap.check("the headers are those of the tree",
                  [p.name for p in headers(inst.include) if p.read_bytes() != (ROOT / "include/iotjobs" / p.name).read_bytes()])
        tap.check("every enumerator has its number written down", enumerators_without_value(inst.include))
        tap.check("the interface is the pinned one", difference(now))
        tap.check("gcc and clang see the same", [] if describe(inst.include, "clang") == describe(inst.include) else ["they do not"])
        header = inst.include / "iotjobs/jobs.h"
        header.write_text(header.read_text().replace("int64_t timestamp;", "int64_t timestamp, planted;"))
        tap.check("a planted member is found", [] if difference(exported(inst.lib / "libiotjobs.so.0") + describe(inst.include)) else ["it was not"])
    tap.done()


if __name__ == "__main__":
    main()
