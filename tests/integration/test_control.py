# SPDX-License-Identifier: Apache-2.0
"""The control socket and what iot-jobsctl asks over it, with a real broker and real jobs."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import unittest

from harness import BUILD, PATIENCE, LabTest, clean_environment, wait_for

CTL = BUILD / "src/ctl/iot-jobsctl"
LIMITS = (BUILD.parent / "src/control/control.h") if (BUILD.parent / "src/control/control.h").exists() else \
    pathlib.Path(__file__).resolve().parents[2] / "src/control/control.h"
SLEEPER = "echo here >> @EVIDENCE@/started; while ! [ -e @LAB@/go ]; do sleep 0.05; done; echo done >> @EVIDENCE@/ended"


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


if __name__ == "__main__":
    unittest.main()
