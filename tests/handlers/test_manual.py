#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every example of iot-jobs-handlers(7), taken out of the page and run. /etc and /run are a directory of the test: that is all
that is changed in them. What they need of a pump's firmware is played by a program that notes its arguments. The documents go
through the running system in tests/integration/test_handlers.py."""

import fcntl
import json
import os
import pathlib
import pwd
import shlex
import shutil
import signal
import subprocess
import time
import unittest

import manual
import rig
from server import Site


class Page(unittest.TestCase):
    def test_every_display_is_tested(self):
        found = [(kind, name) for kind, name, _ in manual.displays()]
        self.assertEqual(set(found), set().union(*manual.TESTED.values()))
        self.assertEqual(len(found), len(set(found)))

    def test_shells_agree_with_the_examples(self):
        if not shutil.which("shellcheck"):
            self.skipTest("shellcheck is not installed")
        for name in ("set-interval.sh", "update-firmware.sh"):
            r = subprocess.run(["shellcheck", "-e", "SC2154", "-"], input=manual.example("handler", name), capture_output=True, text=True)
            self.assertEqual(r.stdout + r.stderr, "")

    def test_shipped_handlers_are_listed(self):
        page = manual.PAGE.read_text()
        for name in rig.NAMES:
            self.assertIn(f"Ic {name}", page)


class Examples(rig.HandlerTest):
    def setUp(self):
        super().setUp()
        for d in ("etc/iot-jobs/handlers.d", "run/lock"):
            (self.tmp / d).mkdir(parents=True)
        self.etc, self.installed = self.tmp / "etc", self.tmp / "etc/iot-jobs/handlers.d"
        self.path = f"{self.bin}:{rig.STANDARD_PATH}"

    def moved(self, text):
        return text.replace("/etc/", f"{self.tmp}/etc/").replace("/run/", f"{self.tmp}/run/")

    def install(self, name):
        path = self.installed / name
        path.write_text(self.moved(manual.example("handler", name)))
        path.chmod(0o755)
        return path

    def commands(self, name):
        """The lines that the page shows behind a prompt."""
        for line in self.moved(manual.example("commands", name)).splitlines():
            self.assertTrue(line.startswith("# "), line)
            command = shlex.split(line[2:])
            subprocess.run([*command[:1], *(["-Wall", "-Wextra", "-Werror"] if command[0] == "cc" else []), *command[1:]],
                           cwd=self.tmp, check=True)

    def snippet(self, name, code, before="", after="", **kwargs):
        path = self.tmp / "snippet.sh"
        path.write_text(f"#!/bin/sh\nset -u\n{before}\n{self.moved(manual.example('snippet', name))}\n{after}\n")
        path.chmod(0o755)
        return self.expect(code, path, *kwargs.pop("args", ()), **kwargs)

    @unittest.skipUnless(os.getuid() == 0, "needs root: the page uses chown")
    def test_five_minutes(self):
        handler = self.install("set-interval.sh")
        os.chown(handler, pwd.getpwnam("daemon").pw_uid, -1)
        handler.chmod(0o666)
        self.commands("set-interval.sh")
        self.assertEqual((handler.stat().st_uid, handler.stat().st_mode & 0o777), (0, 0o755))
        self.fake("systemctl")
        document = manual.example("document", "set-interval")
        parameters = {k: str(v) for k, v in json.loads(document)["parameters"].items()}
        r = self.expect(0, handler, params=parameters, document=document.encode())
        self.assertEqual(r.progress, ["50%", "applied=15"])
        self.assertEqual((self.etc / "pump.conf").read_text(), "interval=15\n")
        self.assertEqual(self.calls(), [["systemctl", "restart", "pump"]])
        self.fake("systemctl", "sys.exit(1)")
        self.expect(1, handler, params=parameters)

    def test_sh(self):
        handler = self.install("update-firmware.sh")
        self.fake("flash-firmware", "sys.exit(open(sys.argv[1]).read() != 'new firmware')")
        site = Site(b"new firmware")
        self.addCleanup(site.close)
        params = {"version": "1.2", "url": site.url()}
        for bad in ({}, {"version": ""}, {"version": "1;2"}, {"version": "$(id)"}):
            self.expect(65, handler, params=bad | {"url": site.url()})
        self.expect(75, handler, params=params | {"url": "http://127.0.0.1:9/"})
        r = self.expect(194, handler, params=params, phase="retry", attempt=2)
        self.assertEqual(r.progress, ["fetching", "50%"])
        self.expect(194, handler, params=params, phase="rerun", attempt=3)
        self.assertEqual(len(site.seen), 1)
        (self.etc / "firmware-version").write_text("1.1\n")
        self.expect(1, handler, params=params, phase="post-reboot", attempt=4)
        (self.etc / "firmware-version").write_text("1.2\n")
        r = self.expect(0, handler, params=params, phase="post-reboot", attempt=4)
        self.assertEqual(r.details, {"firmware": "1.2"})
        site.data = b"something else"
        (self.work / "fetched").unlink()
        self.expect(1, handler, params=params)

    @unittest.skipUnless(pathlib.Path("/usr/bin/python3").exists(), "there is no /usr/bin/python3")
    def test_python(self):
        handler = self.install("set-options")
        document = manual.example("document", "set-options")
        r = self.expect(0, handler, document=document.encode(), command=[str(handler)])
        self.assertEqual(r.progress, ["50%", "options=2"])
        self.assertEqual(json.loads((self.etc / "pump.json").read_text()), {"interval": 15, "channels": [1, 2, 5]})
        r = self.expect(65, handler, document=b'{"parameters":{"intervall":1}}', command=[str(handler)])
        self.assertIn("intervall", r.err)
        self.assertEqual([p.name for p in self.etc.iterdir() if p.is_file()], ["pump.json"])

    @unittest.skipUnless(shutil.which("cc"), "there is no C compiler")
    def test_c(self):
        (self.tmp / "wait-for-file.c").write_text(manual.example("handler", "wait-for-file.c"))
        self.commands("wait-for-file")
        program = str(self.installed / "wait-for-file")
        [argument] = json.loads(self.moved(manual.example("document", "wait-for-file")))["args"]
        self.expect(65, "", command=[program])
        self.expect(65, "", command=[program, "relative"])
        p = self.start("", command=[program, argument])
        self.assertEqual(os.read(p.reading, 3), b"0%\n")
        pathlib.Path(argument).touch()
        r = self.finish(p)
        self.assertEqual((r.code, r.out), (0, f"{argument} is there\n"))
        p = self.start("", command=[program, "/no/such/file"])
        self.assertEqual(os.read(p.reading, 3), b"0%\n")
        start = time.monotonic()
        os.kill(p.pid, signal.SIGTERM)
        self.assertEqual(self.finish(p).code, 75)
        self.assertLess(time.monotonic() - start, 30)

    def test_pieces(self):
        for value, code in (("15", 0), ("", 65), ("1;2", 65), ("-1", 65)):
            self.snippet("check", code, params={"seconds": value})
        self.snippet("check", 65)
        self.fake("fetch-firmware", "open(sys.argv[1], 'w')")
        self.snippet("once", 0)
        self.snippet("once", 0, attempt=2)
        self.assertEqual(self.calls(), [["fetch-firmware", "firmware.bin"]])
        for args, left in (([], ""), ([""], ""), (["", "a", "b c"], "a|b c|"), (["a", ""], "a||"), (["", ""], "|")):
            r = self.snippet("first-argument", 0, after='[ $# -eq 0 ] || printf "%s|" "$@"', args=args)
            self.assertEqual(r.out, left)

    @unittest.skipUnless(shutil.which("jq"), "jq is not installed")
    def test_list(self):
        r = self.snippet("list", 0, after='printf "%s" "$packages"', document=b'{"parameters":{"packages":["a","b c","$(id)"]}}')
        self.assertEqual(r.out, "a\nb c\n$(id)")

    def test_lock(self):
        self.snippet("lock", 0)
        with open(self.tmp / "run/lock/pump", "w", encoding="utf-8") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            self.snippet("lock", 75)


if __name__ == "__main__":
    rig.main()
