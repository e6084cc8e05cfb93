# SPDX-License-Identifier: Apache-2.0
"""The control socket and what iot-jobsctl asks over it, with a real broker and real jobs."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
import unittest

from harness import BUILD, PATIENCE, ROOT, LabTest, clean_environment, wait_for

CTL = BUILD / "src/ctl/iot-jobsctl"
COMPLETION = ROOT / "src/ctl/completion.bash"
SLEEPER = "echo here >> @EVIDENCE@/started; while ! [ -e @LAB@/go ]; do sleep 0.05; done; echo done >> @EVIDENCE@/ended"


class Reader:
    """Takes whatever comes, in a thread of its own."""

    def __init__(self, file):
        self.file, self.data = file, b""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            while chunk := self.file.read(65536):
                self.data += chunk
        except (OSError, ValueError):
            pass  # the other end of a terminal is gone, or ours is closed

    def text(self):
        return self.data.decode(errors="replace")

    def wait(self, pattern):
        return wait_for(lambda: re.search(pattern, self.text(), re.M), lambda: f"{pattern!r} in {self.text()!r}")


class ControlTest(LabTest):
    def setUp(self):
        super().setUp()
        self.path = self.lab.write_config()

    def start(self, **changes):
        if changes:
            self.path = self.lab.write_config(**changes)
        return self.lab.start_agent(config=self.path)

    def command(self, *args):
        return [str(CTL), *map(str, args), "--config", str(self.path)]

    def ctl(self, *args, check=0, **kwargs):
        r = subprocess.run(self.command(*args), capture_output=True, text=True, timeout=PATIENCE * 2, env=clean_environment(),
                           stdin=subprocess.DEVNULL, **kwargs)
        if check is not None:
            self.assertEqual(r.returncode, check, r.stdout + r.stderr)
        return r

    def json(self, *args, check=0):
        return json.loads(self.ctl(*args, "--json", check=check).stdout)

    def wait_job(self, job, **members):
        """Until the agent says so of the job."""
        last = [None]

        def look():
            last[0] = next((j for j in self.json("list") if j["job"] == job), None)
            return last[0] and all(last[0].get(k) == v for k, v in members.items()) and last[0]
        return wait_for(look, lambda: f"{job} to be {members}; it is {last[0]}")

    def socket_path(self):
        return next(self.lab.runtime.glob("agent-*.sock"))

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(s.close)
        s.settimeout(PATIENCE)
        s.connect(str(self.socket_path()))
        return s

    def sleeper(self, name="sleep"):
        self.lab.handler(name, SLEEPER)

    def let_go(self):
        (self.lab.directory / "go").touch()


class Look(ControlTest):
    def test_status_list_show(self):
        """What runs, with step and progress; what waits; what has ended."""
        self.lab.handler("slow", "echo 40 >&3; echo colour=blue >&3; echo 'half of it' >&3; " + SLEEPER)
        self.lab.handler("fail", "exit 3")
        self.start()
        self.assertEqual(self.json("list"), [])
        self.assertIn("   Jobs: none\n", self.ctl("status").stdout)
        self.lab.create("bad", {"operation": "fail"})
        self.lab.wait_status("bad", "FAILED")
        self.lab.create("one", {"operation": "slow"})
        self.lab.wait_witness("started")
        self.lab.create("two", {"operation": "slow"})
        one = self.wait_job("one", phase="running", progress=40, step="1/1 slow: half of it")
        self.assertEqual((one["execution"], one["status"], one["cancelling"]), (1, "IN_PROGRESS", False))
        self.assertGreaterEqual(one["sinceSeconds"], 0)
        self.wait_job("two", phase="queued", status="QUEUED")
        status = self.json("status")
        self.assertEqual((status["thing"], status["connected"], status["synced"]), (self.lab.thing, True, True))
        self.assertIn(f"Thing {self.lab.thing}: connected, running job one, 1 job waits", status["summary"])
        self.assertEqual([(e["job"], e["status"]) for e in status["ended"]], [("bad", "FAILED")])
        self.assertNotIn("pausedSince", status)
        text = self.ctl("status").stdout
        for line in (f"  Thing: {self.lab.thing}\n", "  Cloud: connected to ", "  Ended: bad FAILED ", "\none  1          running "):
            self.assertIn(line, text)
        self.assertRegex(self.ctl("list").stdout, r"(?m)^JOB +EXECUTION +STATE +PROGRESS +STEP\none +1 +running \d+s +40 % +1/1 slow: half of it\n"
                                                  r"two +1 +queued +- +-\n$")
        shown = self.json("show", "one")
        self.assertEqual((shown["details"]["colour"], shown["details"]["progress"]), ("blue", "40"))
        self.assertNotIn("claim", shown["details"])
        self.assertRegex(self.ctl("show", "one").stdout, r"(?s)^one \(execution 1\): running \d+s\n  in the cloud: IN_PROGRESS\n.*  colour: blue\n")
        # One that has ended comes from the records.
        ended = self.json("show", "bad")
        self.assertEqual((ended["status"], ended["details"]["exitCode"]), ("FAILED", "3"))
        self.assertRegex(self.ctl("show", "bad").stdout, r"^bad \(execution 1\): ended FAILED\n")
        self.assertIn("no such job", self.ctl("show", "never", check=1).stderr)
        self.assertIn("no such job", self.ctl("show", "bad", "--execution", 2, check=1).stderr)
        self.let_go()
        self.lab.wait_status("two", "SUCCEEDED")

    def test_not_connected(self):
        agent = self.start()
        self.lab.stop_broker()
        agent.wait_text("not connected")
        status = wait_for(lambda: (s := self.json("status")) and not s["connected"] and s, "the agent to be offline")
        self.assertFalse(status["synced"])
        self.assertIn("not connected (", status["error"])
        self.assertRegex(self.ctl("status").stdout, r"  Cloud: not connected \(.+\) for \d+s")

    def test_history(self):
        """The newest last, over a restart of the agent, and more of them than fit one packet."""
        self.lab.handler("ok", "exit 0")
        self.lab.handler("no", "exit 65")
        agent = self.start()
        self.assertEqual(self.json("history"), [])
        for i in range(20):
            self.lab.create(f"job-{i}", {"operation": "no" if i % 2 else "ok"})
        self.lab.wait_status("job-19", "REJECTED")
        wait_for(lambda: len(self.json("history")) == 20, "twenty tombstones")
        agent.kill(signal.SIGTERM)
        self.start()
        history = self.json("history")
        self.assertEqual([x["job"] for x in history], [f"job-{i}" for i in range(20)])
        self.assertEqual({x["status"] for x in history}, {"SUCCEEDED", "REJECTED"})
        self.assertEqual(history[19]["details"]["exitCode"], "65")
        self.assertNotIn("claim", history[19]["details"])
        self.assertEqual([x["job"] for x in self.json("history", "--lines", 2)], ["job-18", "job-19"])
        self.assertRegex(self.ctl("history").stdout, r"(?m)^ENDED +JOB +EXECUTION +STATUS +REASON\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC +job-0 +1 +SUCCEEDED ")

    def test_agent_away(self):
        for verb in (["status"], ["list"], ["show", "x"], ["history"], ["watch"], ["cancel", "x"], ["pause"], ["resume"]):
            r = self.ctl(*verb, check=3)
            self.assertRegex(r.stderr, r"^iot-jobsctl: cannot reach the agent at .*/agent-.*\.sock: .*\. Is it running\? See: systemctl status iot-jobs-agent")
        agent = self.start()
        self.ctl("status")
        agent.kill(signal.SIGKILL)  # its socket stays, nobody listens
        self.assertIn("Connection refused", self.ctl("status", check=3).stderr)
        agent = self.start()
        self.ctl("status")
        agent.kill(signal.SIGTERM)
        self.assertEqual(list(self.lab.runtime.glob("*.sock")), [])

    def test_usage(self):
        for args in (["show"], ["show", "../x"], ["cancel"], ["status", "x"], ["history", "--lines", "0"], ["list", "--lines", "3"],
                     ["show", "--execution", "x", "j"], ["pause", "--name", "a"], ["status", "--name", "a/b"], ["halt"]):
            r = self.ctl(*args, check=2)
            self.assertIn("usage: iot-jobsctl ", r.stderr)
            self.assertEqual(r.stdout, "")


class Change(ControlTest):
    def test_cancel_what_runs(self):
        """Stopped, and REJECTED, which is written down before iot-jobsctl says so."""
        self.sleeper()
        agent = self.start()
        self.lab.create("one", {"operation": "sleep"})
        self.lab.wait_witness("started")
        r = self.ctl("cancel", "one")
        self.assertEqual(r.stdout, "one: REJECTED, cancelled on the device\n")
        self.assertEqual(self.lab.job_processes("one"), [])
        x = self.lab.wait_status("one", "REJECTED")
        self.assertEqual(x["statusDetails"]["reason"], "cancelled on the device")
        self.assertEqual(self.lab.witness("ended"), [])
        self.assertIn("no such job", self.ctl("cancel", "one", check=1).stderr)
        wait_for(lambda: self.json("history"), "the tombstone")
        self.assertEqual(self.json("show", "one")["status"], "REJECTED")
        agent.wait_text("the operator of the device cancels it")

    def test_cancel_while_offline(self):
        """Whatever happens to the agent then, the cloud hears of it."""
        self.sleeper()
        agent = self.start()
        self.lab.create("one", {"operation": "sleep"})
        self.lab.wait_witness("started")
        self.lab.stop_broker()
        agent.wait_text("not connected")
        self.assertEqual(self.json("cancel", "one"), {"job": "one", "execution": 1, "status": "REJECTED"})
        self.assertEqual(self.lab.job_processes("one"), [])
        agent.kill(signal.SIGKILL)
        self.lab.start_broker()
        self.lab.wait_service()
        self.start()
        self.assertEqual(self.lab.wait_status("one", "REJECTED")["statusDetails"]["reason"], "cancelled on the device")

    def test_cancel_what_waits(self):
        """It never starts; the next one does."""
        self.sleeper()
        self.lab.handler("other", "echo other >> @EVIDENCE@/other")
        self.start()
        self.lab.create("one", {"operation": "sleep"})
        self.lab.wait_witness("started")
        self.lab.create("two", {"operation": "sleep"})
        self.lab.create("three", {"operation": "other"})
        self.wait_job("two", phase="queued")
        self.assertEqual(self.ctl("cancel", "two").stdout, "two: REJECTED, cancelled on the device\n")
        self.assertEqual(self.lab.status("two"), "REJECTED")
        self.let_go()
        self.lab.wait_status("three", "SUCCEEDED")
        self.assertEqual(len(self.lab.witness("started")), 1)

    def test_cancel_what_is_deferred(self):
        self.lab.handler("later", "echo try >> @EVIDENCE@/tries; exit 75")
        self.start(handlers={"retry_delay": 3600})
        self.lab.create("one", {"operation": "later"})
        job = self.wait_job("one", phase="deferred")
        self.assertGreater(job["resumeInSeconds"], 3000)
        self.assertRegex(self.json("status")["summary"], r"connected, job one is tried again at \d\d:\d\d:\d\d UTC$")
        self.assertIn("deferred, again in ", self.ctl("list").stdout)
        self.ctl("cancel", "one")
        self.assertEqual(self.lab.wait_status("one", "REJECTED")["statusDetails"]["reason"], "cancelled on the device")
        self.assertEqual(len(self.lab.witness("tries")), 1)

    def test_a_handler_that_finishes_has_succeeded(self):
        """on_cancel = "finish": what was done in the end is what is told."""
        self.sleeper()
        self.start(handlers={"override": [{"name": "sleep", "on_cancel": "finish"}]})
        self.lab.create("one", {"operation": "sleep"})
        self.lab.wait_witness("started")
        p = subprocess.Popen(self.command("cancel", "one"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             env=clean_environment())
        self.wait_job("one", cancelling=True)
        self.let_go()
        out, err = p.communicate(timeout=PATIENCE)
        self.assertEqual((p.returncode, out), (1, ""), err)
        self.assertIn("one: it ended SUCCEEDED before it could be cancelled", err)
        self.lab.wait_status("one", "SUCCEEDED")

    def test_pause(self):
        """What has begun ends, nothing else starts, over restarts of everything; the cloud sees QUEUED. Resume starts it at once."""
        self.sleeper()
        self.lab.handler("other", "echo other >> @EVIDENCE@/other")
        agent = self.start()
        self.lab.create("one", {"operation": "sleep"})
        self.lab.wait_witness("started")
        self.assertRegex(self.ctl("pause").stdout, "^paused")
        self.lab.create("two", {"operation": "other"})
        self.lab.create("three", {"operation": "other"})
        self.let_go()
        self.lab.wait_status("one", "SUCCEEDED")
        self.wait_job("two", phase="queued")
        status = self.json("status")
        self.assertLess(abs(status["pausedSince"] - time.time()), 60)
        self.assertIn("connected, paused by the operator, 2 jobs wait", status["summary"])
        self.assertIn(" Paused: since ", self.ctl("status").stdout)
        self.assertEqual(self.json("pause")["pausedSince"], status["pausedSince"])  # twice is once
        for stop in (signal.SIGTERM, signal.SIGKILL):
            agent.kill(stop)
            agent = self.start()
            self.wait_job("two", phase="queued", status="QUEUED")
            wait_for(lambda: self.json("status").get("pausedSince") == status["pausedSince"], "the pause to be found again")
            self.assertEqual(self.lab.updates("two"), [])
        # And over the broker's.
        self.lab.stop_broker()
        self.lab.start_broker()
        wait_for(lambda: self.json("status")["synced"], "the agent to have compared")
        self.assertEqual(self.lab.status("two"), "QUEUED")
        self.assertEqual(self.lab.witness("other"), [])
        self.assertLess(agent.text().count("paused"), 10)
        began = time.monotonic()
        self.assertEqual(self.ctl("resume").stdout, "resumed\n")
        self.lab.wait_status("three", "SUCCEEDED")
        self.assertEqual(len(self.lab.witness("other")), 2)
        self.assertLess(time.monotonic() - began, PATIENCE)
        self.assertNotIn("pausedSince", self.json("status"))
        self.assertEqual(self.ctl("resume").stdout, "resumed\n")

    def test_pause_lets_a_retry_end(self):
        """It has begun: the service's timers run for it."""
        self.lab.handler("later", "echo try >> @EVIDENCE@/tries; [ -e @LAB@/go ] || exit 75")
        self.start(handlers={"retry_delay": 2})
        self.lab.create("one", {"operation": "later"})
        self.lab.wait_witness("tries")
        self.ctl("pause")
        self.let_go()
        self.lab.wait_status("one", "SUCCEEDED")
        self.assertTrue(self.json("status")["pausedSince"])

    def test_the_runner_holds_back_too(self):
        """A mark that the agent has not heard of: its runner says so, and it keeps its peace."""
        self.lab.handler("other", "echo other >> @EVIDENCE@/other")
        agent = self.start()
        self.ctl("pause")
        mark = next((self.lab.state).glob("paused-*"))
        text = mark.read_text()
        self.ctl("resume")
        self.assertFalse(mark.exists())
        mark.write_text(text)
        self.lab.create("one", {"operation": "other"})
        wait_for(lambda: "pausedSince" in self.json("status"), "the agent to hear of the pause")
        self.assertEqual(self.lab.status("one"), "QUEUED")
        self.assertEqual(self.lab.updates("one"), [])
        self.assertNotIn("WARNING", agent.text().upper().split("PAUSED BY THE OPERATOR")[-1])
        self.ctl("resume")
        self.lab.wait_status("one", "SUCCEEDED")

    def test_run_while_paused(self):
        """What the operator runs by hand is what the operator wants."""
        self.lab.handler("other", "echo other >> @EVIDENCE@/other")
        self.start()
        self.ctl("pause")
        self.ctl("run", self.lab.document("x", {"operation": "other"}))
        self.assertEqual(len(self.lab.witness("other")), 1)


class Watch(ControlTest):
    def watch(self, *args):
        p = subprocess.Popen(self.command("watch", *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                             env=clean_environment(), bufsize=0)
        self.addCleanup(p.kill)
        return p, Reader(p.stdout)

    def test_lines(self):
        """Not on a terminal: a line for each change, through a restart of the agent."""
        self.lab.handler("slow", "echo 40 >&3; " + SLEEPER)
        agent = self.start()
        p, out = self.watch()
        out.wait(rf"^{self.lab.thing}: connected\n")
        self.lab.create("one", {"operation": "slow"})
        out.wait(r"one: running \d+s, 40 %, 1/1 slow\n")
        agent.kill(signal.SIGKILL)
        out.wait("the agent is not running; waiting for it\n")
        self.start()
        self.let_go()
        out.wait(r"one: SUCCEEDED\n")
        self.ctl("pause")
        out.wait(f"{self.lab.thing}: paused\n")
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(PATIENCE), 0)
        self.assertNotIn("\x1b", out.text())

    def test_json(self):
        self.sleeper()
        self.start()
        p, out = self.watch("--json")
        self.lab.create("one", {"operation": "sleep"})
        out.wait(r'"job":"one","execution":1,.*"phase":"running"')
        self.let_go()
        out.wait(r'"ended":\[{"job":"one","execution":1,"status":"SUCCEEDED"')
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(PATIENCE), 0)
        for line in out.text().splitlines():
            self.assertEqual(json.loads(line)["type"], "status")

    def test_nobody_reads_on(self):
        """As before `head`: it ends."""
        self.sleeper()
        self.start()
        read, write = os.pipe()
        p = subprocess.Popen(self.command("watch"), stdout=write, stderr=write, stdin=subprocess.DEVNULL, env=clean_environment())
        self.addCleanup(p.kill)
        os.close(write)
        self.assertIn(b"connected", os.read(read, 1000))
        os.close(read)
        self.assertEqual(p.wait(PATIENCE), 0)

    def terminal(self, columns, lines):
        """iot-jobsctl watch on a terminal of that size → (process, what it wrote)."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        p = subprocess.Popen(self.command("watch"), stdout=slave, stderr=slave, stdin=slave, start_new_session=True,
                             env=clean_environment(TERM="xterm"))
        self.addCleanup(p.kill)
        self.addCleanup(os.close, slave)
        return p, Reader(os.fdopen(master, "rb", buffering=0))

    def test_live(self):
        """A picture with a bar, no wider than the terminal and no higher; the cursor comes back whatever ends it."""
        self.lab.handler("slow", "echo 50 >&3; echo 'a step with a name that is much too long for a small terminal' >&3; " + SLEEPER)
        self.start()
        self.lab.create("one", {"operation": "slow"})
        for i in range(8):
            self.lab.create(f"waits-{i}", {"operation": "slow"})
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            p, out = self.terminal(60, 6)
            out.wait(r"one     \[######\.\.\.\.\.\.\]  50 %  running \d+s  1/1 slow: a ste")
            out.wait("and 6 more")
            p.send_signal(sig)
            self.assertEqual(p.wait(PATIENCE), 0)
            text = wait_for(lambda: out.text().endswith("\x1b[?25h") and out.text(), "the cursor")
            self.assertTrue(text.startswith("\x1b[?25l"))
            for frame in re.split(r"\x1b\[\d+A\r|\x1b\[\?25.", text):
                plain = re.sub(r"\x1b\[[0-9]*[A-Za-z]", "", frame).replace("\r", "")
                self.assertLess(plain.count("\n"), 6, plain)
                for line in plain.split("\n"):
                    self.assertLess(len(line), 60, line)
        self.let_go()

    def test_suspended(self):
        """Stopped and continued as any program on a terminal."""
        self.start()
        p, out = self.terminal(80, 24)
        out.wait("no jobs")
        p.send_signal(signal.SIGTSTP)
        wait_for(lambda: open(f"/proc/{p.pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()[0] == "T", "it to stop")
        wait_for(lambda: out.text().endswith("\x1b[?25h"), "the cursor to be there again")
        p.send_signal(signal.SIGCONT)
        wait_for(lambda: out.text().rfind("no jobs") > out.text().rfind("\x1b[?25l") > out.text().rfind("\x1b[?25h"), "the picture again")
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(PATIENCE), 0)


class Hostile(ControlTest):
    """Whoever may connect may be stupid, slow, or mean; no job notices, and it passes."""

    def setUp(self):
        super().setUp()
        self.lab.handler("quick", "exit 0")
        self.agent = self.start()
        self.fds = self.descriptors()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.agent.pid}/fd"))

    def check_well(self, job):
        """A job runs, the tool is answered, and nothing is left."""
        self.lab.create(job, {"operation": "quick"})
        self.lab.wait_status(job, "SUCCEEDED")
        self.assertTrue(self.json("status")["connected"])
        wait_for(lambda: self.descriptors() <= self.fds, "the agent to have closed everything")

    def test_nonsense(self):
        for i, packet in enumerate((b"\0", b"x" * 100, b"{}", b'{"verb":"status"', b'{"verb":"pause","verb":"pause"}', b"[" * 500,
                                    b'{"verb":"cancel","job":"../../etc/passwd"}', b"\xff\xfe" * 50, b"x" * 600, b"x" * 100000)):
            s = self.connect()
            s.send(packet)
            answer = json.loads(s.recv(100000))
            self.assertEqual((i, answer["type"], answer["error"]), (i, "error", "bad-request"))
            self.assertEqual(s.recv(100), b"")  # and that was that
        s = self.connect()
        s.send(b"")
        self.assertEqual(s.recv(100), b"")
        self.check_well("after")

    def test_descriptors(self):
        """What is sent along is not taken."""
        s = self.connect()
        read, write = os.pipe()
        s.sendmsg([b'{"verb":"status"}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", write))])
        os.close(write)
        json.loads(s.recv(100000))
        self.assertEqual(os.read(read, 1), b"")  # closed on the other side, too
        os.close(read)
        s.close()
        self.check_well("after")

    def test_silent_crowd(self):
        """More than may be there are turned away; those that say nothing are closed, and what waits gets its turn."""
        crowd = []
        for _ in range(40):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.addCleanup(s.close)
            s.settimeout(PATIENCE)
            try:
                s.setblocking(False)
                s.connect(str(self.socket_path()))
                s.settimeout(PATIENCE)
                crowd.append(s)
            except BlockingIOError:
                pass  # the backlog is full
        self.assertGreater(len(crowd), 16)
        self.lab.create("meanwhile", {"operation": "quick"})
        self.lab.wait_status("meanwhile", "SUCCEEDED")
        busy = json.loads(crowd[-1].recv(1000))
        self.assertEqual((busy["type"], busy["error"]), ("error", "busy"))
        self.assertLessEqual(self.descriptors(), self.fds + 17)
        self.assertEqual(crowd[0].recv(1000), b"")  # after ten seconds
        self.check_well("after")

    def test_flood(self):
        """Thousands of requests: the agent takes its time for them, and for the jobs first."""
        stop, sent = threading.Event(), []

        def flood():
            while not stop.is_set():
                try:
                    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                        s.settimeout(0.5)
                        s.connect(str(self.socket_path()))
                        for _ in range(100):
                            s.send(b'{"verb":"history","count":100000}' if len(sent) % 3 == 0 else b'{"verb":"status"}')
                            sent.append(1)
                except OSError:
                    pass
        floods = [threading.Thread(target=flood) for _ in range(4)]
        for t in floods:
            t.start()
        try:
            for i in range(10):
                self.lab.create(f"job-{i}", {"operation": "quick"})
            for i in range(10):
                self.lab.wait_status(f"job-{i}", "SUCCEEDED")
        finally:
            stop.set()
            for t in floods:
                t.join()
        self.assertGreater(len(sent), 100)
        self.check_well("after")

    def test_who_does_not_read(self):
        """Neither a watch nor a history waits for ever for its reader; no other client waits for it at all."""
        for i in range(4):
            self.lab.create(f"job-{i}", {"operation": "quick"})
        self.lab.wait_status("job-3", "SUCCEEDED")
        state = next(self.lab.state.glob("tombstones"))
        line = next(l for l in state.read_bytes().split(b"\n") if b"SUCCEEDED" in l)
        state.write_bytes((line + b"\n") * 3000)
        slow = [self.connect() for _ in range(3)]
        for s in slow[:2]:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            s.send(b'{"verb":"history","count":100000}')
        slow[2].send(b'{"verb":"watch"}')
        self.assertGreater(len(self.json("history", "--lines", 1)), 0)
        self.ctl("pause")
        self.ctl("resume")
        self.assertEqual(len(self.json("history", "--lines", 3000)), 3000)
        self.check_well("after")

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_other_users(self):
        """The socket's mode says who may look; changing anything is for root and the agent's own user."""
        self.sleeper()
        self.lab.create("one", {"operation": "sleep"})
        self.lab.wait_witness("started")
        self.path.chmod(0o644)

        def nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        self.assertEqual(self.socket_path().stat().st_mode & 0o777, 0o600)
        r = self.ctl("status", check=None, preexec_fn=nobody)
        self.assertEqual((r.returncode, r.stdout), (3, ""), r.stderr)
        self.lab.runtime.chmod(0o755)
        r = self.ctl("status", check=3, preexec_fn=nobody)
        self.assertIn("may not connect to the agent at ", r.stderr)
        self.socket_path().chmod(0o666)
        for verb in (["status"], ["list"], ["show", "one"], ["history"]):
            self.ctl(*verb, preexec_fn=nobody)
        for verb in (["pause"], ["resume"], ["cancel", "one"]):
            self.assertIn("this is for root and the agent's own user", self.ctl(*verb, check=1, preexec_fn=nobody).stderr)
        self.assertNotIn("pausedSince", self.json("status"))
        self.let_go()
        self.lab.wait_status("one", "SUCCEEDED")


class Completion(ControlTest):
    def complete(self, *words):
        """What bash offers behind these words."""
        script = ('. "$1"; shift; COMP_WORDS=(iot-jobsctl "$@"); COMP_CWORD=$#; _iot_jobsctl; printf "%s\\n" "${COMPREPLY[@]}"')
        path = f"{CTL.parent}:{os.environ['PATH']}"
        r = subprocess.run(["bash", "-c", script, "bash", str(COMPLETION), *words], capture_output=True, text=True, timeout=PATIENCE,
                           env=clean_environment(PATH=path), cwd=self.lab.directory, check=True)
        self.assertEqual(r.stderr, "")
        return r.stdout.split()

    def test_completion(self):
        self.sleeper()
        self.start()
        self.lab.create("one", {"operation": "sleep"})
        self.lab.create("other", {"operation": "sleep"})
        self.wait_job("other", phase="queued")
        self.assertEqual(self.complete("s"), ["status", "show", "sign"])
        self.assertEqual(self.complete("--config", self.path, "can"), ["cancel"])
        self.assertEqual(self.complete("--config", self.path, "cancel", "o"), ["one", "other"])
        self.assertEqual(self.complete("show", "--config", self.path, "--execution", "1", "on"), ["one"])
        self.assertEqual(self.complete("history", "--l"), ["--lines"])
        self.assertEqual(self.complete("run", "--s"), ["--set"])
        self.assertEqual(self.complete("run", "--set", ""), [])
        self.assertEqual(self.complete("run", "document-on"), ["document-one.json"])
        self.assertEqual(self.complete("status", ""), [])
        # As bash itself does it, with the word that is named after the program.
        r = subprocess.run(["bash", "-c", f". {COMPLETION}; complete -p iot-jobsctl"], capture_output=True, text=True, check=True)
        self.assertEqual(r.stdout, "complete -F _iot_jobsctl iot-jobsctl\n")
        # Every option of every command is in the usage, and the other way round.
        usage = self.ctl("--help").stdout
        offered = {o for v in ("", "status", "show", "history", "run", "sign") for o in self.complete(*([v] if v else []), "--")}
        self.assertEqual(offered, set(re.findall(r"--[a-z]+", usage)))
        self.let_go()
        self.lab.wait_status("other", "SUCCEEDED")


if __name__ == "__main__":
    unittest.main()
