# SPDX-License-Identifier: Apache-2.0
"""The services on a booted machine: what an operator does, and what may happen to them in the middle of a job."""

import json
import os
import re
import signal
import time

from harness import BUILD, run_quietly, wait_for
from scene import WAITS, Scene



def status_of(pid, name):
    return next(l.split(":", 1)[1].strip() for l in open(f"/proc/{pid}/status", encoding="utf-8") if l.startswith(name + ":"))


class Operator(Scene):
    def test_a_first_day(self):
        """Start, look, drop a handler, run a job, read the journal, reload, stop."""
        m = self.machine
        m.run("iot-jobs-agent", "--check-config")
        self.start()
        self.assertIn(self.lab.thing, wait_for(lambda: m.unit("iot-jobs-agent", "StatusText")["StatusText"], "a status text"))
        self.assertIn("active (running)", m.run("systemctl", "status", "--no-pager", "iot-jobs-agent").stdout)
        self.handler("greet.sh", 'echo "hello $IOT_JOB_PARAM_name"; echo oops >&2')
        self.run_job("greet", '{"operation":"greet","parameters":{"name":"world"}}')
        story = m.journal("IOT_JOB_ID=greet")
        for line in ("hello world", "oops", "greet: job finished: SUCCEEDED", "greet: reported SUCCEEDED"):
            self.assertIn(line, story)
        self.assertLessEqual(set(story), set(m.journal("-u", "iot-jobs.slice")))
        explained = m.run("journalctl", "--no-pager", "-x", "IOT_JOB_ID=greet").stdout
        self.assertIn("Subject: Job greet has its verdict", explained)
        lines = m.journal("-o", "json", "_COMM=iot-jobs-agent", "+", "_COMM=iot-jobs-runner")
        kinds = {json.loads(l).get("MESSAGE_ID") for l in lines} - {None}
        self.assertGreater(len(kinds), 5)
        self.assertLessEqual(kinds, {l.split()[0] for l in m.run("journalctl", "--list-catalog").stdout.splitlines()})
        before = m.pid("iot-jobs-agent")
        m.run("systemctl", "reload", "iot-jobs-agent")
        wait_for(lambda: m.journal("MESSAGE_ID=91a33d6bb7cc4b68915a9e1e17c53aa6"), "the reload")
        self.assertEqual(m.pid("iot-jobs-agent"), before)
        self.run_job("again", '{"operation":"greet"}')
        m.run("systemctl", "stop", "iot-jobs-agent")
        self.assertEqual(m.unit("iot-jobs-agent", "Result", "ExecMainStatus"), {"Result": "success", "ExecMainStatus": "0"})
        self.assertNotIn("iot-jobs", m.run("systemctl", "--failed", "--no-legend", "--plain").stdout)

    def test_status(self):
        """`systemctl status` says in one line what is going on: idle, at work, cut off, and back."""
        self.handler("wait.sh", WAITS)
        self.start()

        def says(text):
            wait_for(lambda: text in self.machine.run("systemctl", "status", "--no-pager", "iot-jobs-agent").stdout,
                     lambda: f"{text!r} in: " + self.machine.run("systemctl", "status", "--no-pager", "iot-jobs-agent").stdout)
        says(f'Status: "Thing {self.lab.thing}: connected, idle')
        self.lab.create("job", '{"operation":"wait"}')
        says("connected, running job job")
        self.lab.stop_broker()
        says("not connected (")
        says("), running job job")
        self.machine.write("/var/lib/evidence/go", "")
        says("reporting 1 result")
        self.lab.start_broker()
        says("connected, idle")
        self.assertEqual(self.lab.status("job"), "SUCCEEDED")

    PROMISED = {
        "iot-jobs-agent.service": {
            "User": "iot-jobs", "CapabilityBoundingSet": "", "AmbientCapabilities": "", "NoNewPrivileges": "yes", "Type": "notify",
            "NotifyAccess": "main", "WatchdogUSec": "1min", "Restart": "always", "StartLimitIntervalUSec": "0",
            "MemoryMax": "67108864", "TasksMax": "16", "StateDirectory": "", "RuntimeDirectory": "iot-jobs-agent",
            "ProtectSystem": "strict", "KillMode": "control-group", "Slice": "iot-jobs.slice"},
        "iot-jobs-runner.socket": {
            "Accept": "yes", "Listen": "/run/iot-jobs/runner.sock (SequentialPacket)", "SocketUser": "iot-jobs", "SocketMode": "0600",
            "TriggerLimitIntervalUSec": "0", "MaxConnections": "32"},
        "iot-jobs-runner@1.service": {
            "KillMode": "mixed", "CollectMode": "inactive-or-failed", "LogRateLimitIntervalUSec": "0", "Slice": "iot-jobs.slice"},
    }

    def test_units(self):
        """The units that run are what was promised, by systemd's own word, and `systemd-analyze` has nothing to say."""
        self.start()
        for unit, wanted in self.PROMISED.items():
            self.assertEqual(self.machine.unit(unit, *wanted), wanted, unit)
        runner = self.machine.unit("iot-jobs-runner@1.service", "User", "MemoryMax", "TasksMax")
        self.assertEqual(runner["User"], "")
        self.assertNotIn("infinity", (runner["MemoryMax"], runner["TasksMax"]))
        ours = self.machine.run("systemctl", "list-unit-files", "--no-legend", "--plain", "iot-jobs*").stdout.split("\n")[:-1]
        ours = [l.split()[0].replace("@.", "@x.") for l in ours]
        self.assertGreaterEqual(len(ours), 5)
        r = self.machine.run("systemd-analyze", "verify", "--man=no", *ours)
        self.assertEqual(r.stdout + r.stderr, "")
        out = self.machine.run("systemd-analyze", "security", "--no-pager", "iot-jobs-agent").stdout
        exposure = float(re.search(r"Overall exposure level for iot-jobs-agent.service: ([0-9.]+)", out).group(1))
        print(f"# systemd-analyze security: {exposure}")
        self.assertLessEqual(exposure, 1.2)

    def test_credentials(self):
        """The drop-in of the documentation: a key that the agent's user cannot read."""
        m = self.machine
        m.run("chown", "root:root", "/etc/iot-jobs/device.key")
        m.run("chmod", "600", "/etc/iot-jobs/device.key")
        self.load_credentials()
        self.start()
        self.run_job("echo", '{"operation":"echo"}')
        # A renewed one needs a restart, as a reload says.
        cert, key = self.lab.authority.issue("renewed")
        m.write("/etc/iot-jobs/device.pem", cert.read_bytes())
        m.write("/etc/iot-jobs/device.key", key.read_bytes(), 0o600)
        m.run("systemctl", "reload", "iot-jobs-agent")
        wait_for(lambda: any("systemctl restart" in l for l in m.journal("MESSAGE_ID=91a33d6bb7cc4b68915a9e1e17c53aa6")), "the advice")
        m.run("systemctl", "restart", "iot-jobs-agent")
        self.assertEqual(m.run("cat", "/run/credentials/iot-jobs-agent.service/device.pem").stdout, cert.read_text())
        self.run_job("renewed", '{"operation":"echo"}')

    def test_two_things(self):
        """An agent for each, one runner socket for both, jobs of both at a time; the death of one agent is nothing to the other's
        job; a second agent for the same thing is refused."""
        self.handler("wait.sh", WAITS)
        self.configure(jobs={"max_concurrent": 2})
        self.start()
        first, self.lab.thing = self.lab.thing, self.lab.thing + "-b"
        self.configure("second.conf", client_id=self.lab.thing, jobs={"max_concurrent": 2})
        self.machine.run("systemctl", "enable", "--now", "--quiet", "iot-jobs-agent@second")
        self.handler("which.sh", 'echo "thing=$IOT_JOB_THING" >&3')
        for thing in (first, self.lab.thing):
            self.lab.thing = thing
            x = self.run_job("which", '{"operation":"which"}')
            self.assertEqual(x["statusDetails"]["thing"], thing)
        for thing in (first, self.lab.thing):
            self.lab.create(f"wait-{thing}", '{"operation":"wait"}', thing=thing)
        wait_for(lambda: len(self.witness("runs")) == 2, "both handlers")
        # The first name is the beginning of the second.
        second, self.lab.thing = self.lab.thing, first
        self.assertEqual(len({open(f"/proc/{p}/cgroup", encoding="utf-8").read() for p in self.lab.job_processes()}), 2)
        self.lab.thing = second
        os.kill(self.machine.pid("iot-jobs-agent@second"), signal.SIGKILL)
        self.machine.write("/var/lib/evidence/go", "")
        for thing in (first, self.lab.thing):
            self.lab.thing = thing
            self.lab.wait_status(f"wait-{thing}", "SUCCEEDED", timeout=60)
        self.assertEqual(sorted(self.witness("runs")),
                         sorted(f"wait-{t} {what}" for t in (first, self.lab.thing) for what in ("started", "ended")))
        self.machine.run("cp", "-p", "/etc/iot-jobs/agent.conf", "/etc/iot-jobs/third.conf")
        self.machine.run("systemctl", "start", "iot-jobs-agent@third", check=False)
        self.assertNotEqual(self.machine.unit("iot-jobs-agent@third", "ActiveState")["ActiveState"], "active")


class InTheMiddle(Scene):
    """A job runs; something happens to one of the programs, or to the machine."""

    def setUp(self):
        super().setUp()
        self.start_waiting()

    def assert_ran_once(self):
        self.assertEqual(self.witness("runs"), ["job started", "job ended"])
        self.assertEqual([u["status"] for u in self.lab.updates("job") if u["status"] != "IN_PROGRESS"], ["SUCCEEDED"])

    def assert_interrupted(self):
        x = self.lab.wait_status("job", "FAILED", timeout=60)
        self.assertIn("interrupted", x["statusDetails"]["reason"])
        self.assertEqual(self.witness("runs"), ["job started"])
        wait_for(lambda: not self.lab.job_processes(), "the processes of the job to be gone")

    def test_the_split(self):
        """Who runs as whom, and where."""
        agent = self.machine.pid("iot-jobs-agent")
        handler = self.lab.job_processes("job")[0]
        user = int(self.machine.run("id", "-u", "iot-jobs").stdout)
        self.assertEqual(set(map(int, status_of(agent, "Uid").split())), {user})
        for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
            self.assertEqual(int(status_of(agent, name), 16), 0, name)
        self.assertEqual((status_of(agent, "NoNewPrivs"), status_of(agent, "Seccomp")), ("1", "2"))
        self.assertEqual(set(map(int, status_of(handler, "Uid").split())), {0})
        self.assertEqual((status_of(handler, "NoNewPrivs"), status_of(handler, "SigBlk")), ("0", "0" * 16))
        # What the init of the machine may do, a handler may.
        for name in ("CapEff", "CapBnd", "Seccomp_filters"):
            self.assertEqual(status_of(handler, name), status_of(self.machine.leader, name), name)
        groups = [open(f"/proc/{p}/cgroup", encoding="utf-8").read() for p in (agent, handler)]
        self.assertRegex(groups[0], r"/iot-jobs\.slice/iot-jobs-agent\.service")
        self.assertRegex(groups[1], r"/iot-jobs\.slice/iot-jobs-runner@")
        # The state and the runs are the runner's; the way to the socket is all that the agent has of them.
        modes = self.machine.run("stat", "-c", "%a %U", "/var/lib/iot-jobs", "/run/iot-jobs", "/run/iot-jobs/runs").stdout
        self.assertEqual(modes.splitlines(), ["700 root", "711 root", "700 root"])
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")

    def test_stop_and_start_of_the_agent(self):
        """Within 2 s, with the broker there, with one that does not answer, and with none."""
        spans = {}
        for broker in ("there", "frozen", "gone"):
            if broker == "frozen":
                self.lab.broker.popen.send_signal(signal.SIGSTOP)
            elif broker == "gone":
                self.lab.stop_broker()
            began = time.monotonic()
            self.machine.run("systemctl", "stop", "iot-jobs-agent")
            spans[broker] = time.monotonic() - began
            self.assertEqual(self.machine.unit("iot-jobs-agent", "Result"), {"Result": "success"})
            self.assertTrue(self.lab.job_processes("job"))
            self.machine.run("systemctl", "start", "iot-jobs-agent")
        print("# systemctl stop: " + ", ".join(f"{v:.2f} s with the broker {k}" for k, v in spans.items()), flush=True)
        self.assertLessEqual(max(spans.values()), 2.0)
        self.lab.start_broker()
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")
        self.assert_ran_once()

    def test_end_of_the_handler_without_an_agent(self):
        self.machine.run("systemctl", "stop", "iot-jobs-agent")
        self.go()
        wait_for(lambda: len(self.witness("runs")) == 2 and not self.lab.job_processes(), "the end of the handler")
        self.assertEqual(self.lab.status("job"), "IN_PROGRESS")
        self.machine.run("systemctl", "start", "iot-jobs-agent")
        self.lab.wait_status("job", "SUCCEEDED")
        self.assert_ran_once()

    def test_death_of_the_agent(self):
        os.kill(self.machine.pid("iot-jobs-agent"), signal.SIGKILL)
        wait_for(lambda: self.machine.unit("iot-jobs-agent", "NRestarts")["NRestarts"] == "1", "the restart")
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")
        self.assert_ran_once()

    def test_watchdog(self):
        """An agent that hangs is ended by systemd and comes back; the handler does not notice."""
        self.machine.write("/etc/systemd/system/iot-jobs-agent.service.d/test.conf", "[Service]\nWatchdogSec=1\nRestartSec=0\n")
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "restart", "iot-jobs-agent")
        os.kill(self.machine.pid("iot-jobs-agent"), signal.SIGSTOP)
        wait_for(lambda: self.machine.unit("iot-jobs-agent", "NRestarts")["NRestarts"] == "1", "the restart")
        self.assertTrue(self.machine.journal("-u", "iot-jobs-agent", "--grep=[Ww]atchdog timeout"))
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")
        self.assert_ran_once()

    def test_death_of_the_runner(self):
        handler = self.lab.job_processes("job")[0]
        runner = self.machine.outside(int(self.machine.unit(self.runner_unit(handler), "MainPID")["MainPID"]))
        os.kill(runner, signal.SIGKILL)
        self.assert_interrupted()

    def runner_unit(self, handler):
        return re.search(r"(iot-jobs-runner@[^/\n]+\.service)", open(f"/proc/{handler}/cgroup", encoding="utf-8").read()).group(1)

    def test_death_of_the_handler(self):
        runner = self.machine.unit(self.runner_unit(self.lab.job_processes("job")[0]), "MainPID")["MainPID"]
        mine = [p for p in self.lab.job_processes("job") if status_of(p, "PPid") == str(self.machine.outside(int(runner)))]
        os.kill(mine[0], signal.SIGKILL)
        x = self.lab.wait_status("job", "FAILED")
        self.assertEqual(x["statusDetails"]["signal"], "SIGKILL")

    def test_stop_of_the_run(self):
        """systemctl stop of a run's own unit: interrupted, not failed by a signal."""
        self.machine.run("systemctl", "stop", "iot-jobs-runner@*")
        self.assert_interrupted()

    def test_stop_of_the_socket(self):
        """A run that goes on needs no socket; the next job waits for it."""
        self.machine.run("systemctl", "stop", "iot-jobs-runner.socket")
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")
        self.assert_ran_once()
        self.lab.create("later", '{"operation":"echo"}')
        self.machine.run("systemctl", "start", "iot-jobs-runner.socket")
        self.lab.wait_status("later", "SUCCEEDED", timeout=60)

    def test_power_cut(self):
        self.machine.power_cut()
        self.machine.boot()
        self.assert_interrupted()

    def test_power_off(self):
        """An orderly one is an interruption, too."""
        self.machine.power_off()
        self.machine.boot()
        self.assert_interrupted()

    def power_off_with(self, name, trap):
        """Of another job, whose handler does something with its SIGTERM."""
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")
        self.handler(f"{name}.sh", f"mkdir -p /var/lib/evidence; {trap}; echo on >>/var/lib/evidence/{name}\n"
                                   "while :; do sleep 0.1; done")
        self.lab.create(name, f'{{"operation":"{name}"}}')
        wait_for(lambda: self.witness(name), "the handler")
        self.machine.power_off()
        self.machine.boot()
        x = self.lab.wait_status(name, "FAILED", timeout=60)
        self.assertIn("interrupted", x["statusDetails"]["reason"])
        self.assertEqual(self.witness(name)[0], "on")
        self.assertEqual(self.witness(name).count("on"), 1)

    def test_power_off_of_a_handler_that_ends_well(self):
        """Exit 0 on SIGTERM is no success: what it was doing was cut off."""
        self.power_off_with("polite", "trap 'echo off >>/var/lib/evidence/polite; exit 0' TERM")

    def test_power_off_of_a_handler_that_will_not_end(self):
        self.power_off_with("stubborn", "trap '' TERM")

    def test_disk_full(self):
        """In the middle of a job: its result is told all the same; the next job waits for room."""
        m = self.machine
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")
        m.run("systemctl", "stop", "iot-jobs-agent")
        m.run("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", "/var/lib/iot-jobs")
        m.run("rm", "/var/lib/evidence/go", "/var/lib/evidence/runs")
        m.run("systemctl", "start", "iot-jobs-agent")
        self.lab.create("full", '{"operation":"wait"}')
        wait_for(lambda: self.witness("runs"), "the handler")
        m.shell("head -c 2m /dev/zero >/var/lib/iot-jobs/ballast || true")
        self.go()
        self.lab.wait_status("full", "SUCCEEDED")
        self.lab.create("next", '{"operation":"echo"}')
        wait_for(lambda: m.journal("IOT_JOB_ID=next", "MESSAGE_ID=f5dc6f5b6a6f4777bd1b98eaec66a55b"), "the agent to say that it cannot")
        m.run("rm", "/var/lib/iot-jobs/ballast")
        self.lab.wait_status("next", "SUCCEEDED", timeout=60)
        self.assertEqual(self.witness("runs"), ["full started", "full ended"])

    def test_long_outage(self):
        """Hundreds of attempts in vain: the agent grows by nothing, says one line for each, and the result of the job that ended
        meanwhile is the first thing that the cloud hears."""
        self.lab.stop_broker()
        self.go()
        wait_for(lambda: not self.lab.job_processes("job"), "the end of the handler")

        def attempts():
            return len(self.machine.journal("-u", "iot-jobs-agent", "MESSAGE_ID=33f06301e226435a8b29e476813fb0e3"))

        def size():
            agent = self.machine.pid("iot-jobs-agent")
            rollup = open(f"/proc/{agent}/smaps_rollup", encoding="utf-8").read()
            return agent, int(re.search(r"Private_Dirty:\s+(\d+)", rollup).group(1)), len(os.listdir(f"/proc/{agent}/fd"))
        wait_for(lambda: attempts() >= 20, "20 attempts", 60)
        pid, before, descriptors = size()
        wait_for(lambda: attempts() >= 120, "120 attempts", 240)
        after = size()
        print(f"# no network: {attempts()} attempts, private memory {before} -> {after[1]} KiB, descriptors {descriptors} -> {after[2]}",
              flush=True)
        self.assertEqual(after[0], pid)
        self.assertLessEqual(after[1], before + 64)
        self.assertLessEqual(after[2], descriptors + 1)  # a connection may be about to be tried
        self.lab.start_broker()
        self.lab.wait_status("job", "SUCCEEDED")
        self.assert_ran_once()

    def test_broker_away_over_a_power_off(self):
        self.lab.stop_broker()
        self.machine.power_off()
        self.machine.boot()
        self.lab.start_broker()
        self.assert_interrupted()


class Trouble(Scene):
    def test_disk_full(self):
        """No job starts that could not be recorded; it does by itself when there is room again."""
        m = self.machine
        m.run("mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", "/var/lib/iot-jobs")
        m.shell("head -c 2m /dev/zero >/var/lib/iot-jobs/ballast || true")
        self.start()
        self.lab.create("job", '{"operation":"echo"}')
        wait_for(lambda: m.journal("IOT_JOB_ID=job", "MESSAGE_ID=f5dc6f5b6a6f4777bd1b98eaec66a55b"), "the agent to say that it cannot")
        self.assertEqual(self.lab.status("job"), "QUEUED")
        m.run("rm", "/var/lib/iot-jobs/ballast")
        self.lab.wait_status("job", "SUCCEEDED", timeout=60)

    def test_journal_gone(self):
        """Who writes the log is away: no job notices."""
        self.start()
        self.machine.run("systemctl", "stop", "systemd-journald.socket", "systemd-journald-dev-log.socket",
                         "systemd-journald-audit.socket", "systemd-journald.service", check=False)
        self.handler("talk.sh", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done")
        self.run_job("talk", '{"operation":"talk"}')
        self.machine.run("systemctl", "start", "systemd-journald.socket", "systemd-journald.service")
        self.run_job("after", '{"operation":"talk"}')
        wait_for(lambda: "after: job finished: SUCCEEDED" in self.machine.journal("IOT_JOB_ID=after"), "the journal")

    def test_journal_killed(self):
        """Again and again while a handler talks: no job notices, and the verdict is there."""
        self.start()
        self.handler("talk.sh", "i=0; while [ ! -e /var/lib/evidence/go ]; do echo line $i; i=$((i+1)); sleep 0.01; done")
        self.lab.create("talk", '{"operation":"talk"}')
        for _ in range(4):  # systemd itself gives up after five in ten seconds
            wait_for(lambda: self.machine.journal("IOT_JOB_ID=talk", "--lines=1"), "the journal")
            pid = self.machine.pid("systemd-journald")
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: self.machine.pid("systemd-journald") not in (0, pid), "another systemd-journald")
        self.machine.write("/var/lib/evidence/go", "")
        self.lab.wait_status("talk", "SUCCEEDED")
        wait_for(lambda: "talk: job finished: SUCCEEDED" in self.machine.journal("IOT_JOB_ID=talk"), "the verdict in the journal")

    def test_journal_full(self):
        """Where the journal is kept there is no room: jobs go on."""
        m = self.machine
        self.start()
        m.run("systemctl", "stop", "systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald-audit.socket",
              "systemd-journald.service", check=False)
        m.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/var/log/journal")
        m.shell("head -c 128k /dev/zero >/var/log/journal/ballast || true")
        m.run("systemctl", "start", "systemd-journald.socket", "systemd-journald.service")
        self.handler("talk.sh", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 3")
        x = self.run_job("talk", '{"operation":"talk"}', "FAILED")
        self.assertEqual(x["statusDetails"]["exitCode"], "3")
        self.run_job("next", '{"operation":"echo"}')
        m.shell("umount /var/log/journal; systemctl restart systemd-journald")
        self.run_job("after", '{"operation":"echo"}')
        wait_for(lambda: "after: job finished: SUCCEEDED" in m.journal("IOT_JOB_ID=after"), "the journal")

    def test_flood(self):
        """A handler that fills the journal silences no verdict, its own least of all."""
        self.start()
        self.handler("flood.sh", "yes 'a line that says nothing' | head -n 300000; exit 3")
        x = self.run_job("flood", '{"operation":"flood"}', "FAILED")
        self.assertEqual(x["statusDetails"]["exitCode"], "3")
        self.run_job("next", '{"operation":"echo"}')
        wait_for(lambda: any("job finished: FAILED" in l for l in self.machine.journal("IOT_JOB_ID=flood")), "the verdict")
        lines = self.machine.journal("IOT_JOB_ID=flood")
        self.assertTrue(any("lines dropped" in l for l in lines))
        self.assertLess(len(lines), 30_000)
        print(f"# 300000 lines of a handler: {len(lines)} in the journal, the verdict among them", flush=True)

    def test_flood_past_the_runner(self):
        """A handler that writes to the journal by itself, without end: the verdict is there, and so is what the agent says."""
        self.start()
        self.handler("flood.sh", "yes 'a line that says nothing' | head -n 60000 | logger -t flood; exit 3")
        self.run_job("flood", '{"operation":"flood"}', "FAILED")
        for line in ("flood: job finished: FAILED", "flood: reported FAILED"):
            wait_for(lambda: any(line in l for l in self.machine.journal("IOT_JOB_ID=flood")), line)

    def test_a_journal_that_limits_much(self):
        """What an administrator set for all services does not cut off the story of a job."""
        self.machine.write("/etc/systemd/journald.conf.d/limit.conf", "[Journal]\nRateLimitIntervalSec=1h\nRateLimitBurst=10\n")
        self.machine.run("systemctl", "restart", "systemd-journald")
        self.start()
        jobs = [f"job-{i}" for i in range(100)]
        for j in jobs:
            self.lab.create(j, '{"operation":"echo"}')
        for j in jobs:
            self.lab.wait_status(j, "SUCCEEDED", timeout=60)

        def told():
            return {l for l in self.machine.journal("-u", "iot-jobs.slice") if "job finished: SUCCEEDED" in l or "reported SUCCEEDED" in l}
        wanted = {f"{j}: {what} SUCCEEDED" for j in jobs for what in ("job finished:", "reported")}
        wait_for(lambda: told() == wanted, lambda: f"the story of each job; {len(told())} of {len(wanted)} lines are there")

    def test_clean_slate(self):
        """What a handler starts with: nothing of the runner's service."""
        self.start()
        self.handler("slate.sh", "mkdir -p /var/lib/evidence; env | cut -d= -f1 | sort | tr '\\n' ' ' >/var/lib/evidence/env\n"
                                 "ls /proc/self/fd | tr '\\n' ' ' >/var/lib/evidence/fds; umask >/var/lib/evidence/umask\n"
                                 "grep -E '^Sig(Blk|Ign)' /proc/self/status >/var/lib/evidence/signals; cat /proc/self/limits >/var/lib/evidence/limits\n"
                                 "for n in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$n; done "
                                 ">/var/lib/evidence/namespaces; cat /proc/self/oom_score_adj >/var/lib/evidence/oom\n"
                                 "nice >/var/lib/evidence/nice; grep -E '^(Cap(Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status "
                                 ">/var/lib/evidence/rights")
        self.run_job("slate", '{"operation":"slate"}')
        names = self.machine.path("/var/lib/evidence/env").read_text().split()
        foreign = [n for n in names if not n.startswith("IOT_JOB_") and
                   n not in ("PATH", "LANG", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "_", "SHLVL")]
        self.assertEqual(foreign, [])
        self.assertEqual(self.machine.path("/var/lib/evidence/fds").read_text().split(), ["0", "1", "2", "3", "4"])  # 4: of ls itself
        self.assertEqual(self.witness("umask"), ["0022"])
        self.assertEqual([l.split()[1] for l in self.witness("signals")], ["0" * 16] * 2)
        # As any service of root has it, of which the simplest is made here.
        m = self.machine
        m.write("/etc/systemd/system/plain.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'cat /proc/self/limits "
                ">/var/lib/evidence/plain-limits; for n in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$n; done "
                ">/var/lib/evidence/plain-namespaces; cat /proc/self/oom_score_adj >/var/lib/evidence/plain-oom; "
                "nice >/var/lib/evidence/plain-nice; grep -E \"^(Cap(Eff|Bnd|Amb)|NoNewPrivs|Seccomp):\" /proc/self/status "
                ">/var/lib/evidence/plain-rights'\n")
        m.run("systemctl", "start", "plain")
        for what in ("limits", "namespaces", "oom", "nice", "rights"):
            self.assertTrue(self.witness(what), what)
            self.assertEqual(self.witness(what), self.witness(f"plain-{what}"), what)

    def test_many_jobs(self):
        """More of them than the socket takes connections, ten at a time."""
        self.configure(jobs={"max_concurrent": 10})
        self.start()
        for i in range(60):
            self.lab.create(f"job-{i}", '{"operation":"echo"}')
        for i in range(60):
            self.lab.wait_status(f"job-{i}", "SUCCEEDED", timeout=60)
            self.assertEqual(len(self.started(f"job-{i}")), 1)


class Installed(Scene):
    """What `meson install` alone gives, below /usr/local, without the packages."""

    fresh = True

    def test_meson_install(self):
        run_quietly("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.machine.root)
        m = self.machine
        # As the manual says.
        m.run("systemd-sysusers")
        m.run("systemd-tmpfiles", "--create")
        m.run("mkdir", "-p", "/etc/iot-jobs/handlers.d")
        m.run("systemctl", "daemon-reload")
        self.configure()
        m.run("systemctl", "enable", "--now", "--quiet", "iot-jobs-runner.socket", "iot-jobs-agent.service")
        self.wait_agent()
        self.handler("greet.sh", "echo hello")
        self.run_job("greet", '{"operation":"greet"}')
