#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the system tests: a booted machine with the program installed, one after the other; print TAP.

usage: run.py [--list | --possible | --bench | --bench-quick] [PATTERN...]
A PATTERN is a part of a test's name (module.Class.method). Needs root, debootstrap and systemd-nspawn; --possible says why a
machine cannot boot here, if so; --bench measures instead of testing (scripts/bench system). $IOT_JOBS_BUILD names the build
directory, $IOT_JOBS_SYSTEM_CACHE where the fetched Debian and the built packages are kept (build/system), $IOT_JOBS_MIRROR where
Debian is fetched from. Everything happens in namespaces of its own (mounts, processes, network), below one temporary directory
and in one control group: whatever becomes of this program, its end is the end of all of it."""

import argparse
import ctypes
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
PATHS = [str(HERE), str(TESTS / "integration"), str(TESTS / "handlers"), str(TESTS / "bench")]
NAME = "iot-jobs-system-"  # of directory and group, with the process id behind it
PR_SET_PDEATHSIG = 1


# ---- outside: a place that vanishes ----

class Impossible(Exception):
    """This is no place to boot a machine in."""


def hierarchies():
    """The directories of this process in the control group hierarchies that systemd-nspawn looks at: the one of version 2, and
    where that is not alone, systemd's own of version 1."""
    own = {}
    for line in open("/proc/self/cgroup", encoding="utf-8"):
        _, controllers, path = line.rstrip("\n").split(":", 2)
        own[controllers] = path.rstrip("/")
    found = {}
    for line in open("/proc/self/mounts", encoding="utf-8"):
        _, where, kind, options = line.split()[:4]
        name = "" if kind == "cgroup2" else "name=systemd" if kind == "cgroup" and "name=systemd" in options.split(",") else None
        if name in own and "rw" in options.split(","):
            found[name] = pathlib.Path(where + own[name])
    if "" not in found:
        raise Impossible("there is no writable cgroup2 file system")
    return list(found.values())


def stale(directory):
    """What belonged to runs that are no more."""
    return [p for p in pathlib.Path(directory).glob(NAME + "*") if not pathlib.Path("/proc", p.name[len(NAME):]).exists()]


class Group:
    """A control group for all of it. Where a service manager rules it is asked for one."""

    def __init__(self):
        self.paths, self.wrapper = [], []
        if pathlib.Path("/run/systemd/system").is_dir():
            self.wrapper = ["systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes"]
            return
        for above in hierarchies():
            self.paths += stale(above)
        self.remove()  # what a run that was killed could not
        for above in hierarchies():
            self.paths.append(above / f"{NAME}{os.getpid()}")
            self.paths[-1].mkdir()

    def enter(self):
        for path in self.paths:
            (path / "cgroup.procs").write_text("0")

    def remove(self):
        end = time.monotonic() + 20
        while left := [p for p in self.paths if p.exists()]:
            for d in (d for p in left for d, _, _ in os.walk(p, topdown=False)):
                try:
                    os.rmdir(d)
                except OSError:
                    pass
            if time.monotonic() > end:
                raise SystemExit(f"run.py: {left} cannot be removed")
            time.sleep(0.02)
        self.paths = []


def enclosed(arguments, **kwargs):
    """Run the inner half of this program where all of it ends with it → its exit status and what it printed, if that was asked for."""
    group = Group()
    directory = pathlib.Path(tempfile.gettempdir(), f"{NAME}{os.getpid()}")
    for left in stale(directory.parent):
        shutil.rmtree(left)
    directory.mkdir(mode=0o755)
    die_with_me = ctypes.CDLL(None).prctl

    def child():
        die_with_me(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        group.enter()
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))
        with subprocess.Popen([*group.wrapper, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=SIGKILL",
                               "--mount-proc", sys.executable, "-B", __file__, "--inside", *arguments],
                              stdin=subprocess.DEVNULL, preexec_fn=child, env={**os.environ, "TMPDIR": str(directory)},
                              **kwargs) as inner:
            try:
                out = inner.communicate()[0]
                return inner.returncode, out
            finally:
                inner.kill()
    finally:
        group.remove()
        shutil.rmtree(directory)


def why_not():
    """Why a machine cannot boot here; nothing if all that it needs was seen to work."""
    if os.getuid():
        return "it needs root"
    missing = [p for p in ("debootstrap", "dpkg-buildpackage", "ip", "lintian", "nsenter", "systemd-nspawn", "unshare") if not shutil.which(p)]
    if missing:
        return f"{', '.join(missing)} missing"
    try:
        status, text = enclosed(["--trial"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except (Impossible, OSError, subprocess.SubprocessError) as e:
        return str(e)
    return f"namespaces, layers and device files are needed: {text.strip().splitlines()[-1] if text.strip() else 'refused'}" if status else ""


def outside(arguments):
    if reason := why_not():
        raise SystemExit(f"run.py: no machine can boot here: {reason}")
    sys.path[:0] = PATHS
    import machine
    import packages
    import vm
    machine.fetch_debian()  # this and the kernel are all that needs a network
    vm.fetch_kernel()
    packages.build()
    return enclosed(arguments)[0]


# ---- inside ----

def prepare():
    """What the namespaces do not have yet: a loopback that is up, a /run that is ours, and a place where machines can be layered."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    if not layers_work(False):  # on an overlay itself, as in many a container
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", tempfile.gettempdir()], check=True)
        layers_work(True)


def trial():
    """Whatever a container does to boot that a place may forbid."""
    prepare()
    device = pathlib.Path(tempfile.gettempdir(), "device")
    os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with open(device, "wb"):  # a file system or a control group may forbid that alone
        device.unlink()
    return 0


def layers_work(check):
    with tempfile.TemporaryDirectory(prefix="layers-") as tmp:
        lower, upper, work, root = (f"{tmp}/{n}" for n in ("lower", "upper", "work", "root"))
        for d in (lower, upper, work, root):
            os.mkdir(d)
        r = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", root],
                           check=check, stderr=None if check else subprocess.DEVNULL)
        if r.returncode == 0:
            subprocess.run(["umount", root], check=True)
        return r.returncode == 0


def flat(suite):
    for t in suite:
        if isinstance(t, unittest.TestSuite):
            yield from flat(t)
        elif type(t).__name__ == "_FailedTest":
            raise SystemExit(f"run.py: {t.id()} cannot be loaded:\n{t._exception}")
        else:
            yield t


class TapResult(unittest.TestResult):
    """A line for each scenario; what the machine said, when one fails, while the machine is still there."""

    count = 0

    def _line(self, ok, test, more="", text=""):
        self.count += 1
        print(f"{'ok' if ok else 'not ok'} {self.count} - {test.id()}{more}")
        print(f"# {time.monotonic() - self.began:.1f} s")
        for line in text.splitlines():
            print(f"# {line}")
        sys.stdout.flush()

    @staticmethod
    def _story(test):
        try:
            return test.story()
        except (AttributeError, AssertionError, OSError) as e:
            return f"(no story: {e})"

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def addSuccess(self, test):
        self._line(True, test)

    def addSkip(self, test, reason):
        self._line(True, test, f" # SKIP {reason}")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line(False, test, text="".join(traceback.format_exception(*err)) + self._story(test))

    addError = addFailure


def inside(patterns, listing):
    sys.path[:0] = PATHS
    tests = sorted(flat(unittest.defaultTestLoader.discover(str(HERE), "test_*.py", str(HERE))), key=lambda t: t.id())
    chosen = [t for t in tests if not patterns or any(p in t.id() for p in patterns)]
    if listing:
        print("\n".join(t.id() for t in chosen))
        return 0
    prepare()
    result = TapResult()
    unittest.TestSuite(chosen).run(result)
    print(f"1..{result.count}")
    return 0 if result.wasSuccessful() and result.count == len(chosen) and chosen else 1


def measure(quick):
    sys.path[:0] = PATHS
    import booted
    prepare()
    return booted.measure(quick)


def main():
    parser = argparse.ArgumentParser(description="Run the system tests.")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--possible", action="store_true", help="say why a machine cannot boot here, if so, and nothing else")
    parser.add_argument("--bench", action="store_true", help="measure (scripts/bench system)")
    parser.add_argument("--bench-quick", action="store_true", help="measure less")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--trial", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("pattern", nargs="*")
    args = parser.parse_args()
    if args.possible:
        reason = why_not()
        print(reason, end="\n" if reason else "")
        return 1 if reason else 0
    if args.trial:
        return trial()
    if args.inside and (args.bench or args.bench_quick):
        return measure(args.bench_quick)
    if args.inside or args.list:
        return inside(args.pattern, args.list)
    return outside(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
