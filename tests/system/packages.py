# SPDX-License-Identifier: Apache-2.0
"""The Debian packages, built from the tree as it is; kept below build/ until a file of the tree changes."""

import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import ROOT, run_quietly
from machine import CACHE

OUTPUT = CACHE / "packages"
NAMES = ["iot-jobs-agent", "iot-jobs-sim", "libiotjobs0", "libiotjobs-dev"]


def tree():
    """Every file of the source."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if not (parts[0] == ".git" or parts[0].startswith("build") or {"node_modules", "__pycache__"} & set(parts) or path.is_dir()):
            yield path


def build():
    """Build them with dpkg-buildpackage; the tests of the tree are run elsewhere."""
    # The tests themselves are not in the packages.
    digest = hashlib.sha256()
    for path in tree():
        if "tests" not in path.relative_to(ROOT).parts[:1]:
            digest.update(f"{path.relative_to(ROOT)} {path.stat().st_mode:o}\n".encode() + path.read_bytes())
    stamp = OUTPUT / "stamp"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    print("# building the Debian packages", flush=True)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for path in tree():
        copy = OUTPUT / "source" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    with open(CACHE / "packages.log", "wb") as log:
        r = subprocess.run(["dpkg-buildpackage", "-us", "-uc", "-b"], cwd=OUTPUT / "source", stdin=subprocess.DEVNULL, stdout=log,
                           stderr=log, env={**os.environ, "DEB_BUILD_OPTIONS": f"nocheck parallel={os.cpu_count()}"}, check=False)
    if r.returncode:
        raise SystemExit(f"the packages cannot be built; the whole story is in {log.name}")
    shutil.rmtree(OUTPUT / "source")
    stamp.write_text(digest.hexdigest())


def package(name):
    (found,) = OUTPUT.glob(f"{name}_*.deb")
    return found


@functools.cache
def version_of(number):
    """iot-jobs-agent once more, as another version: what an upgrade installs."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="version-"))
    run_quietly("dpkg-deb", "-R", package("iot-jobs-agent"), directory / "tree")
    control = directory / "tree/DEBIAN/control"
    lines = [f"Version: {number}" if l.startswith("Version:") else l for l in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    run_quietly("dpkg-deb", "--root-owner-group", "-Znone", "-b", directory / "tree", directory / "package.deb")
    shutil.rmtree(directory / "tree")
    return directory / "package.deb"
