# SPDX-License-Identifier: Apache-2.0
"""The Debian packages over their whole life: install, upgrade, remove, purge, and what lintian says of them."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import packages
from harness import ROOT, run_quietly, wait_for
from scene import Scene, install


class Contents(unittest.TestCase):
    """Of the packages as they were built; needs no machine."""

    def test_lintian(self):
        """No error, no warning."""
        r = subprocess.run(["lintian", "--fail-on", "error,warning", "--allow-root", *packages.output().glob("*.changes")],
                           capture_output=True, text=True, check=False)
        self.assertEqual((r.returncode, r.stdout.strip()), (0, ""), r.stdout + r.stderr)

    def test_hardening(self):
        """Each program and library as it is installed: PIE, full RELRO, canary, FORTIFY, CET."""
        sys.path.append(str(ROOT / "tests/lint"))
        import elf
        with tempfile.TemporaryDirectory() as tmp:
            for deb in packages.output().glob("*.deb"):
                if "-dbgsym_" not in deb.name:
                    run_quietly("dpkg-deb", "-x", deb, tmp)
            found = [p for p in sorted(pathlib.Path(tmp).rglob("*")) if p.is_file() and not p.is_symlink() and
                     p.open("rb").read(4) == b"\x7fELF"]
            self.assertEqual({p.name: elf.problems_of(p, True) for p in found}, {p.name: [] for p in found})
        names = {p.name.split(".so")[0] for p in found}
        self.assertEqual(names, {"iot-jobs-agent", "iot-jobs-runner", "iot-jobs-verify", "iot-jobs-sim", "iot-jobsctl", "libiotjobs"})
        print(f"# hardened: {', '.join(sorted(names))}", flush=True)


class Life(Scene):
    fresh = True

    def files(self):
        """Everything on the machine but what writes itself: the journal, dpkg's own books, caches."""
        out = self.machine.run("find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/dev", "-o", "-path",
                               "/root", "-o", "-path", "/var/log", "-o", "-path", "/var/cache", "-o", "-path", "/var/lib/dpkg", "-o",
                               "-path", "/var/lib/systemd", "-o", "-path", "/tmp", "-o", "-path", "/run/systemd", "-o",
                               "-path", "/run/log", "-o", "-path", "/run/udev", ")", "-prune", "-o", "-print").stdout
        run = self.machine.shell("ls -A /run; ls -A /tmp; getent passwd | cut -d: -f1; systemctl list-unit-files --no-legend --plain 'iot*' || true")
        return set(out.splitlines()) | {f"machine: {l}" for l in run.splitlines()}

    def ready(self):
        """Installed, configured, a handler that waits, a job that runs."""
        install(self.machine, packages.package("iot-jobs-agent"))
        self.configure()
        self.start_waiting()

    def test_install(self):
        """Enabled, but idle until there is a configuration; then `systemctl start` is all it takes."""
        m = self.machine
        install(m, packages.package("iot-jobs-agent"), packages.package("iot-jobs-sim"), packages.package("libiotjobs0"))
        agent = m.unit("iot-jobs-agent", "ActiveState", "ConditionResult", "UnitFileState", "Result")
        self.assertEqual(agent, {"ActiveState": "inactive", "ConditionResult": "no", "UnitFileState": "enabled", "Result": "success"})
        self.assertEqual(m.unit("iot-jobs-runner.socket", "ActiveState", "UnitFileState"),
                         {"ActiveState": "active", "UnitFileState": "enabled"})
        self.assertEqual(m.run("systemctl", "--failed", "--no-legend", "--plain").stdout, "")
        self.assertRegex(m.run("getent", "passwd", "iot-jobs").stdout, r":/usr/sbin/nologin$")
        self.assertIn("5b4eb53a827a4f908adc9d91a4571270", m.run("journalctl", "--list-catalog").stdout)
        self.configure()
        m.run("systemctl", "start", "iot-jobs-agent")
        self.wait_agent()
        self.handler("greet.sh", "echo hello")
        self.run_job("greet", '{"operation":"greet"}')
        since = time.monotonic()
        m.run("systemctl", "reboot", "--no-wall", check=False)
        m.wait_reboot()
        self.wait_agent(since)  # by itself after a boot
        self.run_job("again", '{"operation":"greet"}')

    def test_upgrade_in_mid_job(self):
        """The agent is new, the handler and its runner are not touched, the result is reported once."""
        self.ready()
        processes, agent = sorted(self.lab.job_processes("job")), self.machine.pid("iot-jobs-agent")
        install(self.machine, packages.version_of("0.2.0"))
        self.assertNotEqual(self.machine.pid("iot-jobs-agent"), agent)
        self.assertIn(processes[0], self.lab.job_processes("job"))
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")
        self.assertEqual(self.witness("runs"), ["job started", "job ended"])
        self.run_job("next", '{"operation":"wait"}')

    def test_upgrade_leaves_what_is_stopped(self):
        """An operator who disabled the agent finds it disabled after an upgrade."""
        install(self.machine, packages.package("iot-jobs-agent"))
        self.configure()
        self.machine.run("systemctl", "disable", "--now", "--quiet", "iot-jobs-agent")
        install(self.machine, packages.version_of("0.2.0"))
        self.assertEqual(self.machine.unit("iot-jobs-agent", "UnitFileState"), {"UnitFileState": "disabled"})

    def test_remove(self):
        """Agent and socket stop; the handler that runs may end; its result waits for the next installation."""
        self.ready()
        self.machine.run("dpkg", "-r", "iot-jobs-agent")
        for unit in ("iot-jobs-agent.service", "iot-jobs-runner.socket"):
            self.assertEqual(self.machine.unit(unit, "ActiveState"), {"ActiveState": "inactive"})
        self.assertTrue(self.lab.job_processes("job"))
        self.go()
        wait_for(lambda: not self.lab.job_processes(), "the handler to end")
        self.assertEqual(self.witness("runs"), ["job started", "job ended"])
        self.assertTrue(self.machine.path("/etc/iot-jobs/agent.conf").exists())
        install(self.machine, packages.package("iot-jobs-agent"))
        self.lab.wait_status("job", "SUCCEEDED")
        self.assertEqual(self.witness("runs"), ["job started", "job ended"])

    def test_purge(self):
        """What still runs is stopped, though it ignores SIGTERM; then nothing is left."""
        before = self.files()
        self.ready()
        self.handler("stubborn.sh", "mkdir -p /var/lib/evidence; trap '' TERM; echo on >>/var/lib/evidence/stubborn\n"
                                    "while :; do sleep 1; done")
        self.go()
        self.lab.create("stubborn", '{"operation":"stubborn"}')
        wait_for(lambda: self.witness("stubborn"), "the handler")
        self.machine.run("systemctl", "enable", "--quiet", "iot-jobs-agent@second")
        self.machine.run("dpkg", "-P", "iot-jobs-agent")
        self.assertEqual(self.lab.job_processes(), [])
        self.machine.run("rm", "-r", "/var/lib/evidence")
        wait_for(lambda: not self.units(), "the units to be gone")
        after = self.files()
        self.assertEqual(sorted(after - before), [])
        self.assertEqual(sorted(before - after), [])
        install(self.machine, packages.package("iot-jobs-agent"))
        self.configure()
        self.handler("greet.sh", "echo hello")
        self.start()
        self.run_job("greet", '{"operation":"greet"}')

    def units(self):
        return self.machine.run("systemctl", "list-units", "--all", "--no-legend", "--plain", "iot-jobs*").stdout

    def test_purge_after_remove(self):
        """Of a package that was removed in the middle of a job."""
        self.ready()
        self.machine.run("dpkg", "-r", "iot-jobs-agent")
        self.assertTrue(self.lab.job_processes("job"))
        self.machine.run("dpkg", "-P", "iot-jobs-agent")
        self.assertEqual(self.lab.job_processes(), [])
        for path in ("/var/lib/iot-jobs", "/run/iot-jobs", "/run/iot-jobs-agent", "/etc/iot-jobs"):
            self.assertEqual(self.machine.run("test", "-e", path, check=False).returncode, 1, path)

    def test_autopkgtest(self):
        """What debian/tests/jobs does with the installed packages."""
        install(self.machine, packages.package("iot-jobs-agent"), packages.package("iot-jobs-sim"))
        self.machine.write("/root/jobs", (ROOT / "debian/tests/jobs").read_bytes(), 0o755)
        out = self.machine.run("/root/jobs").stdout
        self.assertTrue(out.endswith("hello world, by root\n"), out)


class Endurance(Scene):
    """Restarts, upgrades and deaths of the agent at random moments, while jobs run one after the other. $IOT_JOBS_SEED repeats one."""

    EVENTS = {"restart": 50, "upgrade": 20, "death": 50}

    def running(self):
        """Jobs whose handler has begun and not ended, by its own word."""
        runs = self.witness("runs")
        return [l.split()[0] for l in runs if l.endswith("started") and l.replace("started", "ended") not in runs]

    def prepare(self):
        self.handler("work.sh", 'mkdir -p /var/lib/evidence; echo "$IOT_JOB_ID started" >>/var/lib/evidence/runs\n'
                                'sleep 0.$(($(od -An -N1 -tu1 /dev/urandom) % 9))\necho "$IOT_JOB_ID ended" >>/var/lib/evidence/runs')
        # The agent comes back at once: what is tested is the moment of its end, not the wait after it.
        self.machine.write("/etc/systemd/system/iot-jobs-agent.service.d/test.conf", "[Service]\nRestartSec=0\n")
        self.machine.run("systemctl", "daemon-reload")
        for i in range(self.EVENTS["upgrade"]):
            self.machine.write(f"/root/version-{i}.deb", packages.version_of(f"9.{i}").read_bytes())
        self.start()

    def happens(self, event, upgrades):
        """One of the events, to an agent that is there; another one is there afterwards."""
        agent = wait_for(lambda: self.machine.pid("iot-jobs-agent"), "an agent")
        if event == "restart":
            self.machine.run("systemctl", "restart", "iot-jobs-agent")
        elif event == "upgrade":
            self.machine.run("dpkg", "-i", f"/root/version-{upgrades}.deb")
        else:
            os.kill(agent, signal.SIGKILL)
        wait_for(lambda: self.machine.pid("iot-jobs-agent") not in (0, agent), f"another agent after a {event}")

    def test_restarts_upgrades_deaths(self):
        seed = int(os.environ.get("IOT_JOBS_SEED", random.randrange(1 << 32)))
        print(f"# seed {seed}", flush=True)
        dice = random.Random(seed)
        self.prepare()
        events = [e for e, n in self.EVENTS.items() for _ in range(n)]
        dice.shuffle(events)
        jobs = upgrades = 0
        for event in events:
            while jobs < 5 + sum(l.endswith("ended") for l in self.witness("runs")):
                self.lab.create(f"job-{jobs}", '{"operation":"work"}')
                jobs += 1
            while True:
                wait_for(self.running, "a handler", 60)
                time.sleep(dice.random() * 0.5)  # the moment is what is random here
                if self.running():
                    break
            self.happens(event, upgrades)
            upgrades += event == "upgrade"
        names = [f"job-{i}" for i in range(jobs)]
        results = [self.lab.wait_status(n, "SUCCEEDED", timeout=120)["status"] for n in names]
        began, ended = ([l.split()[0] for l in self.witness("runs") if l.endswith(what)] for what in ("started", "ended"))
        self.assertEqual(sorted(began), sorted(names), "handlers that began")
        self.assertEqual(sorted(ended), sorted(names), "handlers that ended by themselves")
        starts = self.machine.journal("MESSAGE_ID=7f0b35ced7f34adaaedc207dda056071", "-o", "json")
        self.assertEqual(sorted(json.loads(l)["IOT_JOB_ID"] for l in starts), sorted(names), "starts in the journal")
        print("# while a handler was at work: " + ", ".join(f"{n} {e}s" for e, n in self.EVENTS.items()) +
              f"; {jobs} jobs, {len(began)} handlers began, {len(began) - len(ended)} killed, {len(began) - len(set(began))} run twice, "
              f"{len(results)} results recorded by the service, {jobs - len(results)} lost", flush=True)
