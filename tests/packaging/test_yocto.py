#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example of a Yocto layer, where nobody runs bitbake: what it says of this source (licence, options, dependencies, units, user,
version) is so, and each installed file belongs to one of its packages.

usage: test_yocto.py BUILD_ROOT     Prints TAP."""

import fnmatch
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LAYER = ROOT / "conf/examples/yocto"
sys.path[:0] = [str(HERE.parent / "lint")]

from tap import Tap  # noqa: E402

# meson's name of a dependency → the recipe that has it (layers core, openembedded-layer and networking-layer, or our own).
RECIPES = {"jansson": "jansson", "check": "libcheck", "libmosquitto": "mosquitto", "openssl": "openssl", "libsystemd": "systemd",
           "libconfig": "libconfig", "wslay": "wslay"}
# As bitbake.conf and the classes have them.
DIRECTORIES = {"bindir": "/usr/bin", "sbindir": "/usr/sbin", "libdir": "/usr/lib64", "nonarch_libdir": "/usr/lib", "libexecdir": "/usr/libexec",
               "datadir": "/usr/share", "sysconfdir": "/etc", "systemd_system_unitdir": "/usr/lib/systemd/system"}
# What the default of FILES gives to the package PN, and to the packages -dev, -staticdev and -doc.
DEFAULTS = ["/usr/bin/*", "/usr/sbin/*", "/usr/libexec/*", "/usr/lib64/lib*.so.*", "/etc"]
OTHERS = ["/usr/include", "/usr/lib64/lib*.so", "/usr/lib64/*.a", "/usr/lib64/pkgconfig", "/usr/share/man", "/usr/share/doc"]


def variables(path):
    """NAME → value; parts that are added by operators stand behind each other."""
    text = re.sub(r"\\\n", " ", "\n".join(l for l in path.read_text().splitlines() if not l.startswith("#")))
    found = {}
    for line in filter(str.strip, text.splitlines()):
        if m := re.fullmatch(r'([\w:${}-]+) *(?:=|\+=|=\+|\.=) *"(.*)"', line.strip()):
            found[m.group(1)] = found.get(m.group(1), "") + m.group(2)
        elif m := re.fullmatch(r"inherit (.*)", line.strip()):
            found["inherit"] = m.group(1)
        else:
            raise ValueError(f"{path.name}: cannot be read: {line}")
    return found


def expanded(value):
    return [re.sub(r"\$\{(\w+)\}", lambda m: DIRECTORIES[m.group(1)], word) for word in value.split()]


def belongs(path, patterns):
    """As bitbake takes FILES: a directory stands for all that is in it."""
    return any(fnmatch.fnmatchcase(path, p) or path.startswith(p.rstrip("/") + "/") for p in patterns)


def installed(build):
    """Where the files go under Yocto, whose directories are given to meson."""
    out = subprocess.run(["meson", "introspect", "--installed", build], capture_output=True, text=True, check=True).stdout
    options = {o["name"]: o["value"] for o in json.loads(subprocess.run(["meson", "introspect", "--buildoptions", build], capture_output=True,
                                                                         text=True, check=True).stdout)}
    moved = {os.path.join(options["prefix"], options[d]): DIRECTORIES[d] for d in ("libdir", "libexecdir", "sysconfdir")}
    moved[options["prefix"]] = "/usr"
    for path in json.loads(out).values():
        before = max((d for d in moved if path.startswith(d.rstrip("/") + "/")), key=len)
        yield moved[before] + path[len(before):]


def unpackaged(build, recipe):
    patterns = DEFAULTS + OTHERS + [p for name, value in recipe.items() if name.startswith("FILES:") for p in expanded(value)]
    return [path for path in installed(build) if not belongs(path, patterns)]


def unused(build, recipe):
    paths = list(installed(build))
    return [f"{name}: {p}: nothing is installed there" for name, value in recipe.items() if name.startswith("FILES:") for p in expanded(value)
            if not any(belongs(path, [p]) for path in paths)]


def dependencies():
    text = (ROOT / "meson.build").read_text()
    return {RECIPES[n] for n in re.findall(r"(?:dependency|find_library)\('([\w-]+)'", text) if n != "threads"}


def options(recipe):
    known = re.findall(r"^option\('(\w+)'", (ROOT / "meson_options.txt").read_text(), re.M)
    return [o for o in re.findall(r"-D(\w+)=", recipe["EXTRA_OEMESON"]) if o not in known]


def units(recipe):
    sources = {p.name.removesuffix(".in") for p in (ROOT / "systemd").iterdir()}
    return [u for u in recipe["SYSTEMD_SERVICE:${PN}"].split() if u not in sources]


def difference(what, one, other):
    return [] if one == other else [f"{what}: {one} and {other}"]


def main():
    build, tap = sys.argv[1], Tap()
    path, = LAYER.glob("recipes/iot-jobs-agent_*.bb")
    recipe = variables(path)
    layer = variables(LAYER / "conf/layer.conf")
    version = re.search(r"version: '(.*?)'", (ROOT / "meson.build").read_text()).group(1)
    digest = hashlib.md5((ROOT / "LICENSE").read_bytes()).hexdigest()
    tap.check("version", difference("version", path.stem.split("_")[1], version))
    tap.check("licence", difference("md5", recipe["LIC_FILES_CHKSUM"], f"file://LICENSE;md5={digest}"))
    tap.check("dependencies", difference("recipes", set(recipe["DEPENDS"].split()), dependencies()))
    tap.check("options of meson", options(recipe))
    tap.check("units", units(recipe))
    tap.check("the user", [] if "u iot-jobs " in (ROOT / "systemd/iot-jobs.sysusers").read_text() and
              recipe["USERADD_PARAM:${PN}"].split()[-1] == "iot-jobs" else ["is another"])
    up = re.search(r"THISDIR'\) \+ '(.*?)'", recipe["EXTERNALSRC"]).group(1)
    tap.check("the source", difference("directory", pathlib.Path(f"{path.parent}{up}").resolve(), ROOT))
    tap.check("every installed file is in a package", unpackaged(build, recipe))
    tap.check("every package has files", unused(build, recipe))
    tap.check("the layer finds its recipes", [] if sorted(LAYER.glob(layer["BBFILES"].removeprefix("${LAYERDIR}/"))) ==
              sorted(LAYER.rglob("*.bb")) else ["not all"])
    tap.check("wslay's own recipe", [] if "wslay" in {p.name.split("_")[0] for p in LAYER.rglob("*.bb")} and
              re.fullmatch("[0-9a-f]{40}", variables(LAYER / "recipes/wslay_1.1.1.bb")["SRCREV"]) else ["is not there"])
    tap.done()


if __name__ == "__main__":
    main()
