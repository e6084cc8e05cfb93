#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""start-, stop- and restart-services.sh, shutdown.sh, reboot.sh, health-check.sh, echo.sh: with programs that note how they are
called, and answer as the real ones do. That services really start and stop is shown in a booted system."""

import pathlib
import re
import unittest

import rig
from rig import HANDLERS, HOSTILE, HandlerTest

VERBS = ("start", "stop", "restart")


class Services(HandlerTest):
    def systemd(self, state="running", body="", units="ActiveState=active SubState=running"):
        self.tools()
        self.fake("systemctl", f"""
verb = next(a for a in sys.argv[1:] if not a.startswith("-"))
if verb == "is-system-running": print({state!r}); sys.exit({int(state != "running")})
if verb == "show": print({units!r}.replace(" ", "\\n"))
{body}""")
        self.fake("sleep", "")

    def systemctl(self):
        return [c[1:] for c in self.calls("systemctl") if not {"is-system-running", "show", "status"} & set(c)]

    def forms(self, names):
        """The ways to name them."""
        return names, ["", *names], [" ".join(names)], [",".join(names)], ["", " , ".join(names) + ","]

    def test_systemd(self):
        self.systemd()
        names = ["mosquitto", "pump.service", "getty@tty1", "a\\x2db.timer", "9p", "_x"]
        for verb in VERBS:
            for args in self.forms(names):
                with self.subTest(verb=verb, args=args):
                    (self.tmp / "calls").unlink(missing_ok=True)
                    self.expect(0, f"{verb}-services.sh", *args)
                    self.assertEqual(self.systemctl(), [["--no-ask-password", verb, "--", *names]])
        self.expect(0, "restart-services.sh", params={"services": "one two"})
        self.assertEqual(self.systemctl()[-1], ["--no-ask-password", "restart", "--", "one", "two"])

    def test_degraded_systemd_is_systemd(self):
        self.systemd("degraded")
        self.expect(0, "start-services.sh", "x")
        self.assertEqual(len(self.systemctl()), 1)

    def test_systemctl_fails(self):
        self.systemd(body="if verb in ('start', 'stop', 'restart'): say('Unit x.service not found.'); sys.exit(5)")
        for verb in VERBS:
            self.assertIn("not found", self.expect(1, f"{verb}-services.sh", "x").err)

    def test_it_ends_a_moment_later(self):
        """systemctl calls a service started that crashes right afterwards."""
        for units in ("ActiveState=failed SubState=failed", "ActiveState=activating SubState=auto-restart"):
            with self.subTest(units):
                self.setUp()
                self.systemd(units=units)
                self.expect(1, "start-services.sh", "x")
                self.expect(1, "restart-services.sh", "x")
                self.expect(0, "stop-services.sh", "x")

    def test_one_that_is_over_by_itself_is_none_that_failed(self):
        self.systemd(units="ActiveState=inactive SubState=dead")
        self.expect(0, "start-services.sh", "oneshot")

    def test_without_systemd(self):
        for program in ("service", "rc-service"):
            for systemctl in (True, False):
                with self.subTest(program=program, systemctl=systemctl):
                    self.setUp()
                    if systemctl:
                        self.systemd("offline")
                    else:
                        self.tools()
                    self.fake(program, "sys.exit(sys.argv[1] == 'bad')")
                    self.expect(0, "restart-services.sh", "one.service two")
                    self.assertEqual(self.calls(program), [[program, "one", "restart"], [program, "two", "restart"]])
                    r = self.expect(1, "stop-services.sh", "bad,good")
                    self.assertEqual(self.calls(program)[2:], [[program, "bad", "stop"], [program, "good", "stop"]])
                    self.assertIn("bad", r.err)
                    self.assertNotIn("good: could not", r.err)

    def test_nothing_there_to_do_it(self):
        self.tools()
        self.assertIn("no systemd", self.expect(1, "start-services.sh", "no-such-service-here").err)

    def test_what_is_started_does_not_hold_the_channel(self):
        self.tools()
        self.fake("service", "say(os.path.exists('/proc/self/fd/3'), repr(os.read(0, 1)))")
        self.assertIn("False b''", self.expect(0, "start-services.sh", "x").err)

    def test_bad_arguments(self):
        (self.work / "name-of-a-file").touch()  # what a pattern would become
        self.systemd()
        self.fake("service")
        bad = [h for h in HOSTILE if not re.search(r"[ ,]", h) and h not in ("a\\b c\\", "a-", "é")]
        bad += ["é", "a b;c", "ok -H", "-Hroot@host", "reboot.target", "system.slice", "x.scope", "dev-sda.device", "a.mount", ".", "..",
                ".hidden"]
        for verb in VERBS:
            for args in ((), ("",), ("", ""), (" , ",), *((b,) for b in bad), *(("", b) for b in bad), ("ok", "--force")):
                with self.subTest(verb=verb, args=args):
                    self.expect(65, f"{verb}-services.sh", *args)
        self.assertEqual(self.calls(), [])
        self.assertEqual([p.name for p in self.work.iterdir()], ["name-of-a-file"])

    def test_the_agent(self):
        """A job may restart the agent, but not stop it."""
        self.systemd()
        for name in ("iot-jobs-agent", "iot-jobs-agent.service", "iot-jobs-agent@two.service"):
            self.expect(65, "stop-services.sh", "other", name)
            self.expect(0, "restart-services.sh", name)
        self.assertNotIn("stop", [c[1] for c in self.systemctl()])


class Reboot(HandlerTest):
    def test_asks_and_then_succeeds(self):
        """Contract 3: 194, and the same step again with the phase post-reboot. It reboots nothing itself."""
        self.tools()
        for program in ("systemctl", "reboot", "shutdown"):
            self.fake(program)
        for args in ((), ("",)):
            self.expect(194, "reboot.sh", *args)
            self.expect(194, "reboot.sh", *args, phase="rerun", attempt=2)
            self.expect(0, "reboot.sh", *args, phase="post-reboot", attempt=2)
        self.assertEqual(self.calls(), [])

    def test_bad_arguments(self):
        for args in (("now",), ("", "-f"), ("", "")):
            self.expect(65, "reboot.sh", *args)


class Shutdown(HandlerTest):
    def systemd(self, state):
        self.tools()
        self.fake("systemctl", f"print({state!r})")
        self.fake("sleep")
        self.fake("poweroff")
        self.fake("shutdown")
        self.fake("sync")

    def test_systemd(self):
        self.systemd("running")
        for args, minutes in (((), "1"), (("",), "1"), (("5",), "5"), (("", "1440"), "1440"), (("", ""), "1")):
            self.expect(0, "shutdown.sh", *args)
            self.assertEqual(self.calls("shutdown", "poweroff")[-1], ["shutdown", "-P", f"+{minutes}"])
        self.expect(0, "shutdown.sh", params={"minutes": "7"})
        self.assertEqual(self.calls("shutdown")[-1], ["shutdown", "-P", "+7"])
        self.fake("shutdown", "sys.exit(1)")
        self.expect(1, "shutdown.sh")

    def test_elsewhere(self):
        """The power goes in the middle of the handler; it succeeds after the next boot, and only then."""
        self.systemd("offline")
        self.expect(1, "shutdown.sh", "2")
        self.assertEqual(self.calls("sleep", "poweroff", "shutdown"), [["sleep", "120"], ["poweroff"], ["sleep", "300"]])
        self.expect(1, "shutdown.sh", phase="rerun", attempt=2)
        self.assertEqual(len(self.calls("poweroff")), 2)
        (self.work / "shutdown-boot-id").write_text("00000000-0000-0000-0000-000000000000\n")
        self.expect(0, "shutdown.sh", phase="rerun", attempt=3)
        self.assertEqual(len(self.calls("poweroff")), 2)
        (self.bin / "poweroff").unlink()
        self.assertIn("poweroff", self.expect(1, "shutdown.sh").err)

    def test_bad_arguments(self):
        self.systemd("running")
        for value in ("0", "01", "1441", "-1", "+1", "now", "1.5", "99999", "9" * 30, "1 2", *HOSTILE):
            with self.subTest(value):
                self.expect(65, "shutdown.sh", value)
                self.expect(65, "shutdown.sh", "", value)
        self.expect(65, "shutdown.sh", "1", "2")
        self.assertEqual(self.calls("shutdown", "poweroff"), [])


class Health(HandlerTest):
    def test_facts(self):
        """Without a check, who can answer is well."""
        for args in ((), ("",)):
            r = self.expect(0, "health-check.sh", *args)
            self.assertEqual(set(r.details), {"uptime", "disk", "memory"})
            self.assertRegex(r.details["disk"], r"^\d+%$")
            self.assertRegex(r.details["memory"], r"^\d+ MiB$")

    def machine(self):
        self.tools()
        self.fake("df", "print('Filesystem 1024-blocks Used Available Capacity Mounted on\\n/dev/x y 100 50 50 ' + "
                        "('93%' if '/data' in sys.argv else '41%') + ' /a 7%')")
        self.fake("systemctl", """
if "is-system-running" in sys.argv: print("degraded"); sys.exit(1)
sys.exit(0 if sys.argv[-1] in ("good", "fine.service") else 3)""")

    def test_checks(self):
        self.machine()
        for check, code in (("disk=41", 0), ("disk=40", 1), ("disk=/data:93", 0), ("disk=/data:92", 1), ("memory=1", 0),
                            ("memory=99999999", 1), ("load=9999", 0), ("load=9999.5", 0), ("service=good", 0), ("service=bad", 1),
                            ("good", 0), ("good,fine.service", 0), ("good bad", 1), ("service=good bad", 1), ("service=", 0)):
            with self.subTest(check):
                self.expect(code, "health-check.sh", check)
                self.expect(code, "health-check.sh", "", check)
                self.expect(code, "health-check.sh", "good", check, "disk=100")
                if "=" in check:
                    name, value = check.split("=", 1)
                    self.expect(code, "health-check.sh", params={name: value})

    def test_load(self):
        """5 minutes, compared as a number: 9.5 is less than 10."""
        load = float(pathlib.Path("/proc/loadavg").read_text().split()[1])
        self.expect(0, "health-check.sh", f"load={int(load) + 10}")

    def test_bad_arguments(self):
        self.machine()
        bad = ["disk=", "disk=101", "disk=-1", "disk=x", "disk=data:5", "disk=/data:", "memory=", "memory=1M", "memory=-5", "load=",
               "load=x", "load=.5", "load=1.2.3", "load=-1", "what=1", "=", "service=-H", "service=a;b", "memory=" + "9" * 30]
        bad += [h for h in HOSTILE if not re.search(r"[ ,]", h) and h not in ("a-", "é")] + ["é"]
        for check in bad:
            with self.subTest(check):
                self.expect(65, "health-check.sh", check)
                self.expect(65, "health-check.sh", "", check)


class Echo(HandlerTest):
    def test_says_what_it_is_told(self):
        for args, out in (((), ""), (("",), ""), (("a", "b c"), "a b c"), (("", "a"), "a"), (("-n", "\\n%s"), "-n \\n%s"),
                          (("*",), "*"), (("$(id)",), "$(id)"), (("--help",), "--help")):
            with self.subTest(args):
                self.assertEqual(self.expect(0, "echo.sh", *args).out, out + "\n")
        self.assertEqual(self.expect(0, "echo.sh", params={"text": "from a parameter"}).out, "from a parameter\n")


class All(unittest.TestCase):
    """What holds for every handler that is shipped."""

    def test_head(self):
        """Licence, purpose, needs, arguments, results; and no way for an argument to become text of a shell."""
        self.assertEqual(len(rig.NAMES), 10)
        for name in rig.NAMES:
            with self.subTest(name):
                text = (HANDLERS / name).read_text()
                self.assertTrue(text.startswith(f"#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n#\n# {name} - "))
                for word in ("Needs", "Arguments", "Returns"):
                    self.assertRegex(text, rf"(?m)^# {word}  +\S")
                code = re.sub(r"(?m)^\s*#.*", "", text)
                self.assertNotRegex(code, r"\beval\b|\bsh -c\b|\bsudo\b|\bsu\b|xargs|\. \"?\$")
                self.assertEqual((HANDLERS / name).stat().st_mode & 0o777, 0o755)
                documented = set(re.findall(r"(?m)^# (?:Returns)?  +(\d+)  ", text))
                self.assertLessEqual(set(re.findall(r"\bexit (\d+)\b", code)) - {"143"}, documented, documented)


if __name__ == "__main__":
    rig.main()
