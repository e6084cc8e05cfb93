#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A device that nobody here wrote: AWS's device SDK for JavaScript completes, fails and is cancelled on iot-jobs-sim.

usage: test_sdk.py DIRECTORY      (for the installed SDK and npm's cache; kept between runs). Prints TAP."""

import json
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "integration"), str(HERE.parent / "lint")]

from harness import LOCALHOST, LabTest, clean_environment, wait_for  # noqa: E402
from tap import Tap  # noqa: E402

SDK = None


def install(directory):
    """Exactly what package-lock.json says, into `directory`; nothing of it is run. → the SDK's path."""
    directory.mkdir(parents=True, exist_ok=True)
    sdk, stamp, lock = directory / "node_modules/aws-iot-device-sdk", directory / "installed.json", HERE / "package-lock.json"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, directory)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--logs-max=0",
                   "--cache", str(directory / "npm-cache")]
        r = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        if r.returncode:
            raise RuntimeError(f"npm ci: exit {r.returncode}\n{r.stdout}{r.stderr}")
        shutil.copy(lock, stamp)
    return sdk


class Sdk(LabTest):
    def start_device(self):
        cert, key = self.lab.device_cert
        self.go_on = self.lab.directory / "go-on"
        options = {"sdk": str(SDK), "host": LOCALHOST, "port": self.lab.tls_port, "thing": self.lab.thing, "ca": str(self.lab.authority.cert),
                   "cert": str(cert), "key": str(key), "goOn": str(self.go_on)}
        device = self.lab._program("device", [shutil.which("node"), HERE / "client.js", json.dumps(options)],
                                   self.lab.directory / "device.log", clean_environment())
        device.wait_text(r"^started")
        return device

    def test_completes(self):
        """Started by notify-next, IN_PROGRESS with details, SUCCEEDED; the document arrives as an object."""
        device = self.start_device()
        self.lab.create("one", '{"operation":"succeed","parameters":{"n":1}}')
        x = self.lab.wait_status("one", "SUCCEEDED")
        self.assertEqual(x["statusDetails"], {"step": "all"})
        self.assertEqual(x["versionNumber"], 3)
        device.wait_text(r'^job one succeed \{"operation":"succeed","parameters":\{"n":1\}\}$')

    def test_a_backlog_in_order(self):
        """Jobs from before the device came: $next/get hands out the first, notify-next the others."""
        for i in range(5):
            self.lab.create(f"b{i}", {"operation": "succeed"})
        device = self.start_device()
        for i in range(5):
            self.lab.wait_status(f"b{i}", "SUCCEEDED")
        wait_for(lambda: device.text().count("\njob ") == 5, "five jobs")
        self.assertEqual([line.split()[1] for line in device.text().splitlines() if line.startswith("job ")],
                         [f"b{i}" for i in range(5)])

    def test_fails(self):
        """Straight from QUEUED to FAILED by the default subscription."""
        self.start_device()
        self.lab.create("bad", {"operation": "unheard-of"})
        x = self.lab.wait_status("bad", "FAILED")
        self.assertEqual(x["statusDetails"], {"reason": "no such operation"})

    def test_is_cancelled(self):
        """Force-cancelled while it runs: its late SUCCEEDED is refused, the status stays, the next job is handed out."""
        device = self.start_device()
        self.lab.create("hanging", {"operation": "hang"})
        self.lab.wait_status("hanging", "IN_PROGRESS")
        self.lab.create("after", {"operation": "succeed"})
        self.lab.cancel("hanging", "--force")
        self.lab.wait_status("after", "SUCCEEDED")
        self.go_on.touch()
        device.wait_text(r"^sent hanging succeeded")
        refusal = self.lab.wire.wait(lambda m: m.topic.endswith("/hanging/update/rejected"))
        self.assertIsNotNone(refusal, "the late update is answered")
        body = json.loads(refusal.payload)
        self.assertEqual((body["code"], body["executionState"]["status"]), ("InvalidStateTransition", "CANCELED"))
        self.assertEqual(self.lab.status("hanging"), "CANCELED")


def main():
    global SDK
    tap = Tap()
    tests = list(unittest.defaultTestLoader.loadTestsFromTestCase(Sdk))
    if not shutil.which("npm") or not shutil.which("node"):
        for t in tests:
            tap.skip(t.id().rsplit(".", 1)[-1], "npm and node are not installed")
        tap.done()
    try:
        SDK = install(pathlib.Path(sys.argv[1]))
    except (RuntimeError, subprocess.TimeoutExpired) as e:
        tap.check("the SDK can be installed", str(e).splitlines())
        tap.done()
    for t in tests:
        result = unittest.TestResult()
        t.run(result)
        tap.check(t.id().rsplit(".", 1)[-1], [line for _, text in result.failures + result.errors for line in text.splitlines()])
    tap.done()


if __name__ == "__main__":
    main()
