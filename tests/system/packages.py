# SPDX-License-Identifier: Apache-2.0
"""The Debian packages, built from the tree as it is; kept until a file of the tree changes. Several runs may share what is kept."""

import fcntl
import functools
import hashlib
import os
import pathlib
import shutil
import tempfile

from harness import ROOT, run_quietly
from machine import CACHE, alone, contained

KEPT = CACHE / "built"
CHOSEN = "IOT_JOBS_SYSTEM_PACKAGES"  # in the environment of the tests: those of this run
held = []


def tree():
    """Every file of the source; the tests are run elsewhere, and are not in the packages."""
    for directory, below, names in os.walk(ROOT):
        top = pathlib.Path(directory) == ROOT
        below[:] = sorted(d for d in below if d not in (".git", "node_modules", "__pycache__") and not (top and d.startswith("build")))
        for name in sorted(names):
            yield pathlib.Path(directory, name)


def snapshot(copy):
    """Copy the source as it is now → a digest of what was copied."""
    digest = hashlib.sha256()
    for path in tree():
        name = path.relative_to(ROOT)
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy / name)
        if name.parts[0] != "tests":
            digest.update(f"{name} {path.stat().st_mode:o}\n".encode() + (copy / name).read_bytes())
    return digest.hexdigest()[:16]


def compile_into(directory):
    print("# building the Debian packages", flush=True)
    with open(CACHE / "packages.log", "wb") as log:
        done = contained("dpkg-buildpackage", "-us", "-uc", "-b", cwd=directory / "source", stdout=log, stderr=log,
                         env={**os.environ, "DEB_BUILD_OPTIONS": f"nocheck parallel={os.cpu_count()}"})
    if not done:
        raise SystemExit(f"the packages cannot be built; the whole story is in {log.name}")
    shutil.rmtree(directory / "source")


def hold(directory, how):
    """A lock on a set of packages: shared by those who use it, exclusive for who removes it. None if that cannot be."""
    lock = open(directory / "lock", "w", encoding="utf-8")
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        return lock
    except BlockingIOError:
        lock.close()
        return None


def remove_old(chosen):
    for directory in KEPT.iterdir():
        if directory != chosen and (lock := hold(directory, fcntl.LOCK_EX)):
            shutil.rmtree(directory)
            lock.close()


def build():
    """Build them with dpkg-buildpackage, where these are not there yet, and hold them until this process ends."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with alone("built.lock"):
        new = CACHE / "built.new"
        shutil.rmtree(new, ignore_errors=True)
        chosen = KEPT / snapshot(new / "source")
        if not chosen.exists():
            compile_into(new)
            new.rename(chosen)
        shutil.rmtree(new, ignore_errors=True)
        held.append(hold(chosen, fcntl.LOCK_SH))
        remove_old(chosen)
    os.environ[CHOSEN] = str(chosen)


def output():
    """Where the packages of this run are."""
    return pathlib.Path(os.environ[CHOSEN])


def package(name):
    (found,) = output().glob(f"{name}_*.deb")
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
