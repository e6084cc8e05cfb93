#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""install-packages.sh and remove-packages.sh.

Real: the machine's own apt-get and dpkg, on a private root directory and a repository made here (nothing of the machine is
touched; the difference to a device is that the package's scripts cannot run there). Fake: programs that note how they are
called and answer as the real ones were seen to, for what cannot be had here (dnf, opkg, a network that is away)."""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import rig
from rig import HOSTILE, HandlerTest

INSTALL, REMOVE = "install-packages.sh", "remove-packages.sh"
APT = ["-q", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]


def hostile_names():
    """Of HOSTILE, what is one word: the others are several names, which is fine if each of them is."""
    return [h for h in HOSTILE if not re.search(r"[ ,]", h)] + ["a b;c", "ok,-bad", "ok ../x"]


@unittest.skipUnless(shutil.which("apt-get") and shutil.which("dpkg-deb"), "there is no apt-get")
class RealApt(HandlerTest):
    def setUp(self):
        super().setUp()
        self.apt = rig.PrivateApt(self.tmp / "apt")
        self.root, self.source = self.apt.root, self.apt.source
        self.repository, self.package, self.installed = self.apt.repository, self.apt.package, self.apt.installed

    def handle(self, code, handler, *args, **kwargs):
        return self.expect(code, handler, *args, env=self.apt.env, **kwargs)

    def test_install_upgrade_remove(self):
        self.package("pump-fw")
        r = self.handle(0, INSTALL, "pump-fw")
        self.assertEqual(self.installed(), ["pump-fw 1.0"])
        self.assertEqual((self.root / "usr/share/pump-fw/version").read_text(), "1.0")
        self.assertEqual(r.details["packages"], "pump-fw 1.0")
        self.package("pump-fw", "1.1")
        r = self.handle(0, INSTALL, "pump-fw")
        self.assertEqual(self.installed(), ["pump-fw 1.1"])
        self.handle(0, INSTALL, "pump-fw", phase="rerun", attempt=2)
        r = self.handle(0, REMOVE, "pump-fw")
        self.assertEqual(self.installed(), [])
        self.assertEqual(r.details["packages"], "pump-fw 1.1")
        self.handle(0, REMOVE, "pump-fw", phase="rerun", attempt=2)

    def test_several_names(self):
        for name in ("aa", "bb", "cc", "dd"):
            self.package(name)
        for args in (["aa bb,cc", "dd"], ["", " aa,bb ,, cc\n dd "]):
            with self.subTest(args):
                self.handle(0, INSTALL, *args)
                self.assertEqual(self.installed(), ["aa 1.0", "bb 1.0", "cc 1.0", "dd 1.0"])
                self.handle(0, REMOVE, *args)
                self.assertEqual(self.installed(), [])
        self.handle(0, INSTALL, params={"packages": "aa bb"})
        self.assertEqual(self.installed(), ["aa 1.0", "bb 1.0"])
        self.handle(0, REMOVE, params={"packages": "aa bb cc"})
        self.assertEqual(self.installed(), [])

    def test_a_version(self):
        self.package("aa", "1.0")
        self.package("aa", "1:2.0~rc1-1+b2")
        self.handle(0, INSTALL, "aa=1.0")
        self.assertEqual(self.installed(), ["aa 1.0"])
        self.handle(0, INSTALL, "aa=1:2.0~rc1-1+b2")
        self.assertEqual(self.installed(), ["aa 1:2.0~rc1-1+b2"])
        self.handle(1, INSTALL, "aa=3.0")
        self.handle(65, REMOVE, "aa=1.0")

    def test_unknown(self):
        self.package("aa")
        r = self.handle(1, INSTALL, "aa no-such-package")
        self.assertIn("no-such-package", r.err)
        self.assertEqual(self.installed(), [])

    def test_a_name_is_no_pattern_and_no_change_of_mind(self):
        """apt-get takes "a.", where no such package is, for a regular expression, "x-" for a removal and "x+" for an installation."""
        for name in ("aab", "axb", "g++", "lib1.2", "other"):
            self.package(name)
        self.handle(1, INSTALL, "a.b")
        self.assertEqual(self.installed(), [])
        self.handle(0, INSTALL, "aab axb g++ lib1.2")
        self.handle(65, INSTALL, "aab-")
        self.handle(0, REMOVE, "a.b")
        self.handle(0, REMOVE, "other+")
        self.handle(1, INSTALL, "othe+")
        self.assertEqual(self.installed(), ["aab 1.0", "axb 1.0", "g++ 1.0", "lib1.2 1.0"])
        self.handle(0, REMOVE, "g++ lib1.2")
        self.assertEqual(self.installed(), ["aab 1.0", "axb 1.0"])

    def test_dependencies(self):
        self.package("base")
        self.package("top", Depends="base")
        self.handle(0, INSTALL, "top")
        self.assertEqual(self.installed(), ["base 1.0", "top 1.0"])
        self.handle(0, REMOVE, "base")
        self.assertEqual(self.installed(), [])
        self.package("broken", Depends="nowhere")
        self.handle(1, INSTALL, "broken")

    def test_locked(self):
        """Another package manager at work: exit 75, and nothing waits for it here."""
        self.package("aa")
        self.handle(0, INSTALL, "aa")
        for lock in ("var/lib/dpkg/lock-frontend", "var/lib/apt/lists/lock"):
            with self.subTest(lock), open(self.root / lock, "w") as f:
                holder = subprocess.Popen(["sleep", "100"], pass_fds=[f.fileno()])
                fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                try:
                    r = self.handle(75, INSTALL, "aa")
                    self.assertIn("another program", r.err)
                    if "dpkg" in lock:
                        self.handle(75, REMOVE, "aa")
                finally:
                    holder.kill()
                    holder.wait()
        self.assertEqual(self.installed(), ["aa 1.0"])

    def test_cut_off_half_way(self):
        """What a power cut left in dpkg's journal is finished first."""
        self.package("aa")
        (self.root / "var/lib/dpkg/updates/0001").write_text(
            "Package: bb\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n")
        self.program("dpkg", f'#!/bin/sh\nexec /usr/bin/dpkg --root={self.root} --force-not-root --log={self.tmp}/dpkg.log "$@"\n')
        self.path = f"{self.bin}:{rig.STANDARD_PATH}"
        self.handle(0, INSTALL, "aa", phase="rerun", attempt=2)
        self.assertEqual(self.installed(), ["aa 1.0", "bb 1"])

    def test_server_away(self):
        self.source.write_text("deb [trusted=yes] http://127.0.0.1:9 ./\n")
        self.handle(75, INSTALL, "aa")
        self.package("bb")
        self.source.write_text(f"deb [trusted=yes] file:{self.repository} ./\n")
        self.handle(0, INSTALL, "bb")
        self.source.write_text(f"deb [trusted=yes] file:{self.repository} ./\ndeb [trusted=yes] http://127.0.0.1:9 ./\n")
        self.handle(0, INSTALL, "bb")


class Arguments(HandlerTest):
    def setUp(self):
        super().setUp()
        self.tools()
        for name in ("apt-get", "apt-cache", "dpkg-query", "dpkg"):
            self.fake(name)

    def test_bad(self):
        (self.work / "name-of-a-file").touch()  # what a pattern would become
        for handler in (INSTALL, REMOVE):
            for args in ((), ("",), ("", ""), (" , ",), *((h,) for h in hostile_names()), *(("", h) for h in hostile_names()),
                         ("ok", "$(touch WITNESS)")):
                with self.subTest(handler=handler, args=args):
                    self.expect(65, handler, *args)
            self.expect(65, handler, params={"packages": "$(id)"})
        self.assertEqual(self.calls(), [])
        self.assertEqual([p.name for p in self.work.iterdir()], ["name-of-a-file"])

    def test_arguments_stand_behind_a_guard(self):
        self.expect(0, INSTALL, "aa bb")
        self.assertEqual(self.calls("apt-get"), [["apt-get", *APT, "update"], ["apt-get", *APT, "install", "--", "aa", "bb"]])

    def test_no_manager(self):
        for name in ("apt-get", "apt-cache", "dpkg-query", "dpkg"):
            (self.bin / name).unlink()
        self.assertIn("apt-get", self.expect(1, INSTALL, "aa").err)


class FakeApt(HandlerTest):
    def setUp(self):
        super().setUp()
        self.tools()
        self.fake("apt-cache")
        self.fake("dpkg-query", "print('installed 2.0')")

    def test_environment_and_descriptors(self):
        """No question can be asked, and what a package starts cannot hold the progress channel."""
        self.fake("apt-get", """
say(os.environ["DEBIAN_FRONTEND"], os.read(0, 1), os.path.exists("/proc/self/fd/3"))""")
        self.assertIn("noninteractive b'' False", self.expect(0, INSTALL, "aa").err)

    def test_package_script_failed(self):
        """That is no network, whatever stands beside it."""
        self.fake("apt-get", """
if "install" in sys.argv:
    say("Could not resolve 'x'")
    say("E: Sub-process /usr/bin/dpkg returned an error code (1)")
    sys.exit(100)""")
        self.expect(1, INSTALL, "aa")

    def test_messages_of_a_network_that_is_away(self):
        for message in ("Temporary failure resolving 'deb.debian.org'", "Could not connect to deb.debian.org:80 (1.2.3.4). - connect "
                        "(111: Connection refused)", "Cannot initiate the connection to x:80. - connect (101: Network is unreachable)",
                        "Connection timed out", "Unable to connect to x:http:", "Connection failed"):
            with self.subTest(message):
                self.fake("apt-get", f"""
if "install" in sys.argv:
    say({"E: Failed to fetch http://x/aa.deb  " + message!r})
    sys.exit(100)""")
                self.expect(75, INSTALL, "aa")
        self.fake("apt-get", """
if "install" in sys.argv:
    say("E: Failed to fetch http://x/aa.deb  404  Not Found")
    sys.exit(100)""")
        self.expect(1, INSTALL, "aa")

    def test_success_that_is_none(self):
        self.fake("apt-get")
        self.assertIn("still installed", self.expect(1, REMOVE, "aa").err)


class FakeDnf(HandlerTest):
    manager = "dnf"
    version = "4.14.0"

    def setUp(self):
        super().setUp()
        self.tools()
        self.state = self.tmp / "installed"
        self.state.write_text("bb\n")
        self.fake("rpm", f"""
if sys.argv[-1] in open({str(self.state)!r}).read().split(): print("1.0-1")
else: print("package", sys.argv[-1], "is not installed"); sys.exit(1)""")
        self.dnf("")

    def dnf(self, body):
        self.fake(self.manager, f"""
if "--version" in sys.argv: print({self.version!r}); sys.exit(0)
{body}
if "remove" in sys.argv: open({str(self.state)!r}, "w")""")

    def dnf_calls(self):
        return [c[1:] for c in self.calls(self.manager) if "--version" not in c]

    def options(self):
        return ["-y"] if self.version.startswith("dnf5") else ["-y", "--setopt=exit_on_lock=True"]

    def test_install(self):
        r = self.expect(0, INSTALL, "aa,bb cc-1.2-3")
        self.assertEqual(self.dnf_calls(), [[*self.options(), "--setopt=best=True", "install", "--", "aa", "bb", "cc-1.2-3"]])
        self.assertIn("bb 1.0-1", r.details["packages"])

    def test_remove(self):
        self.expect(0, REMOVE, "aa bb")
        self.assertEqual(self.dnf_calls(), [[*self.options(), "remove", "--", "bb"]])

    def test_failures(self):
        for body, code in (("sys.exit(1)", 1), ("sys.exit(200)", 75), ("say('Curl error (6): Couldn\\'t resolve host name'); sys.exit(1)", 75),
                           ("say('Error: Unable to find a match: aa'); sys.exit(1)", 1)):
            with self.subTest(body):
                self.dnf(body)
                self.expect(code, INSTALL, "aa")


class FakeDnf5(FakeDnf):
    version = "dnf5 version 5.1.2"


class FakeYum(FakeDnf):
    manager = "yum"


class FakeOpkg(HandlerTest):
    def setUp(self):
        super().setUp()
        self.tools()
        self.state = self.tmp / "installed"
        self.state.write_text("bb\n")
        self.opkg("")

    def opkg(self, body):
        self.fake("opkg", f"""
if sys.argv[1] == "list-installed":
    if sys.argv[2] in open({str(self.state)!r}).read().split(): print(sys.argv[2], "-", "1.0-r0")
    sys.exit(0)
{body}
if sys.argv[1] == "remove": open({str(self.state)!r}, "w")""")

    def opkg_calls(self):
        return [c[1:] for c in self.calls("opkg") if c[1] != "list-installed"]

    def test_install(self):
        r = self.expect(0, INSTALL, "aa,bb")
        self.assertEqual(self.opkg_calls(), [["update"], ["install", "aa", "bb"]])
        self.assertIn("bb 1.0-r0", r.details["packages"])

    def test_remove(self):
        r = self.expect(0, REMOVE, "aa bb")
        self.assertEqual(self.opkg_calls(), [["remove", "bb"]])
        self.assertEqual(r.details["packages"], "bb 1.0-r0")

    def test_failures(self):
        for message, code in (("Could not lock /var/lock/opkg.lock: Resource temporarily unavailable.", 75),
                              (" * opkg_download: Failed to download http://x/Packages.gz, wget returned 4.", 75),
                              (" * opkg_download_backend: Failed to download http://x/Packages.gz: Couldn't connect to server.", 75),
                              (" * opkg_download_backend: Failed to download http://x/Packages.gz: Couldn't resolve host name.", 75),
                              (" * opkg_install_cmd: Cannot install package aa.", 1)):
            with self.subTest(message):
                self.opkg(f"say({message!r}); sys.exit(255)")
                self.expect(code, INSTALL, "aa")


if __name__ == "__main__":
    rig.main()
