#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run the integration tests, each in a process of its own, a few at a time; print TAP.

usage: run.py [--jobs N] [--timeout SECONDS] [--list] [PATTERN...]
A PATTERN is a part of a test's name (module.Class.method). $IOT_JOBS_BUILD names the build directory."""

import argparse
import concurrent.futures
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402


def names(suite):
    for t in suite:
        if isinstance(t, unittest.TestSuite):
            yield from names(t)
        elif type(t).__name__ == "_FailedTest":
            raise SystemExit(f"run.py: {t.id()} cannot be loaded:\n{t._exception}")
        else:
            yield t.id()


class Result(unittest.TextTestResult):
    """Tells what the programs said while the lab is still there."""

    def _logs(self, test):
        if hasattr(test, "lab"):
            self.stream.writeln(test.lab.logs(150))

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._logs(test)

    def addError(self, test, err):
        super().addError(test, err)
        self._logs(test)


def run_here(name):
    """Child: one test, exit 0 passed, 1 failed, 77 skipped (reason on the last line)."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    suite = unittest.defaultTestLoader.loadTestsFromName(name)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=0, resultclass=Result).run(suite)
    left = harness.descendants()
    for pid in left:
        print(f"left behind: {pid} {harness.command_of(pid)}")
        os.kill(pid, signal.SIGKILL)
    if result.skipped and not left:
        print(result.skipped[0][1])
        sys.exit(77)
    sys.exit(0 if result.wasSuccessful() and result.testsRun == 1 and not left else 1)


running, running_lock = set(), threading.Lock()


def run_child(name, timeout):
    start = time.monotonic()
    child = subprocess.Popen([sys.executable, "-B", __file__, "--here", name], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=HERE)
    with running_lock:
        running.add(child)
    try:
        out, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.terminate()
        try:
            out, _ = child.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            for pid in harness.descendants(child.pid) + [child.pid]:
                os.kill(pid, signal.SIGKILL)
            out, _ = child.communicate()
        out += f"\ntook longer than {timeout} s"
    with running_lock:
        running.discard(child)
    return name, child.returncode, out, time.monotonic() - start


def stop_children(number, _frame):
    print(f"Bail out! stopped by {signal.Signals(number).name}", flush=True)
    with running_lock:
        for child in running:
            child.terminate()
    sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description="Run the integration tests.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=240, help="seconds for one test")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    parser.add_argument("pattern", nargs="*")
    args = parser.parse_args()
    if args.here:
        run_here(args.here)
    found = sorted(names(unittest.defaultTestLoader.discover(str(HERE), "test_*.py")))
    chosen = [n for n in found if not args.pattern or any(p in n for p in args.pattern)]
    if args.list:
        print("\n".join(chosen))
        return 0
    signal.signal(signal.SIGTERM, stop_children)
    signal.signal(signal.SIGINT, stop_children)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        todo = [pool.submit(run_child, n, args.timeout) for n in chosen]
        for i, done in enumerate(concurrent.futures.as_completed(todo), 1):
            name, code, out, seconds = done.result()
            skip = f" # SKIP {out.strip().splitlines()[-1]}" if code == 77 else ""
            failed += code not in (0, 77)
            print(f"{'ok' if code in (0, 77) else 'not ok'} {i} - {name}{skip}", flush=True)
            print(f"# {seconds:.1f} s", flush=True)
            if code not in (0, 77):
                print("\n".join("# " + line for line in out.splitlines()), flush=True)
    print(f"1..{len(chosen)}")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
