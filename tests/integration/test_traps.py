# SPDX-License-Identifier: Apache-2.0
"""Traps that a peer fell into, by the ids of the project's notes on AWS IoT Device Client (T1–T8, T11–T15): each a case
that a handler runner for AWS IoT Jobs got wrong, and what is right."""

import json
import os
import pathlib
import re
import signal

from harness import LabTest, wait_for


class Traps(LabTest):
    def run_job(self, name, body, expected, document=None, **config):
        """Run one handler to its end and return statusDetails."""
        self.lab.handler(f"{name}.sh", body)
        if not self.lab.programs or not any(p.name == "iot-jobs-agent" and p.running() for p in self.lab.programs):
            self.lab.start_agent(**config)
        self.lab.create(name, document or {"operation": name})
        return self.lab.wait_status(name, expected).get("statusDetails", {})

    def assert_alive(self):
        """The agent still takes and finishes work."""
        self.run_job("after", "exit 0", "SUCCEEDED")

    def test_T1_killed_by_a_signal_is_no_success(self):
        """T1: exit status taken without asking how the child ended: a killed handler was reported SUCCEEDED."""
        for name in ("KILL", "TERM", "PIPE", "SEGV"):
            d = self.run_job(f"dies-{name}", f"kill -{name} $$; sleep 5", "FAILED")
            self.assertEqual(d["signal"], f"SIG{name}")
            self.assertNotIn("exitCode", d)
            self.assertIn(f"SIG{name}", d["reason"])

    def test_T2_any_amount_of_output_is_drained(self):
        """T2: after 1000 lines the reader closed the pipe, SIGPIPE killed the handler, and T1 made that a success."""
        self.run_job("chatty", r"""
i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done
head -c 3000000 /dev/zero | tr '\0' x
echo survived >@EVIDENCE@/survived""", "SUCCEEDED")
        self.assertEqual(self.lab.witness("survived"), ["survived"])

    def test_T3_exit_codes_are_told_as_they_are(self):
        """T3: an already decoded code was decoded again: exit 1 became "killed by signal: 1"."""
        for code in (1, 2, 126, 127, 128, 137, 255):
            d = self.run_job(f"exits-{code}", f"exit {code}", "FAILED")
            self.assertEqual(d["exitCode"], str(code))
            self.assertNotIn("signal", d)
            self.assertRegex(d["reason"], rf"\b{code}\b")
            self.assertNotRegex(d["reason"], "signal|SIG")

    def steps(self, handler, **more):
        return {"version": "1.0", "steps": [{"action": {"name": "S", "type": "runHandler", "input": {"handler": handler}, **more}}]}

    def test_T4_allowStdErr_never_hides_a_failure(self):
        """T4: with allowStdErr a failing step passed, and no number of stderr lines ever failed one."""
        d = self.run_job("fails", "echo one >&2; exit 3", "FAILED", self.steps("fails.sh", allowStdErr=5))
        self.assertEqual(d["exitCode"], "3")
        self.run_job("within", "echo one >&2; echo two >&2; exit 0", "SUCCEEDED", self.steps("within.sh", allowStdErr=2))
        d = self.run_job("beyond", "echo 1 >&2; echo 2 >&2; echo 3 >&2; exit 0", "FAILED", self.steps("beyond.sh", allowStdErr=2))
        self.assertRegex(d["reason"], "stderr|allowStdErr")

    def test_T5_both_streams_are_drained_together(self):
        """T5: stdout was read to its end before stderr: 64 KiB on stderr dead-locked the job; a child that kept stdout
        open hung it for ever."""
        self.run_job("errors-first", "head -c 300000 /dev/zero | tr '\\0' e >&2; echo out; head -c 300000 /dev/zero | tr '\\0' o",
                     "SUCCEEDED")
        self.run_job("leaves-child", "sleep 600 & echo started", "SUCCEEDED")
        self.run_job("closes", "exec >&- 2>&-; exit 0", "SUCCEEDED")
        wait_for(lambda: not self.lab.job_processes(), "what the handlers left behind to be stopped")

    def test_T6_starting_handlers_never_hangs(self):
        """T6: fork in a threaded process, then logging before exec, could hang on a lock: about a third of jobs did."""
        self.lab.handler("quick.sh", 'echo "$IOT_JOB_ID" >>@EVIDENCE@/quick')
        self.lab.start_agent(jobs={"max_concurrent": 5})
        names = [f"quick{i}" for i in range(40)]
        for n in names:
            self.lab.create(n, {"operation": "quick"})
        for n in names:
            self.lab.wait_status(n, "SUCCEEDED")
        self.assertEqual(sorted(self.lab.witness("quick")), sorted(names))

    SLOW_TO_DIE = r"""
trap 'echo term >>@EVIDENCE@/log' TERM
echo start-old >>@EVIDENCE@/log
i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done"""

    def check_next_waits(self):
        self.lab.wait_status("new", "SUCCEEDED")
        self.assertEqual(self.lab.witness("log")[-1], "start-new alone")
        self.assertEqual(self.lab.job_processes("old"), [])

    def start_two(self, *options):
        self.lab.handler("old.sh", self.SLOW_TO_DIE)
        self.lab.handler("new.sh", r"""
n=0; for e in /proc/[0-9]*/environ; do tr '\0' '\n' <"$e" 2>/dev/null | grep -q "^IOT_JOB_KEY=$IOT_JOB_THING\.old\." && n=$((n+1)); done
if [ $n = 0 ]; then echo start-new alone; else echo start-new beside $n; fi >>@EVIDENCE@/log""")
        self.lab.start_agent()
        self.lab.create("old", {"operation": "old"}, *options)
        self.lab.create("new", {"operation": "new"})
        self.lab.wait_witness("log")

    def test_T7_next_job_waits_for_a_cancelled_one(self):
        """T7: a force-cancel changed the head of the queue and the next handler started beside the old one."""
        self.start_two()
        self.lab.cancel("old", "--force")
        self.check_next_waits()
        self.assertIn("term", self.lab.witness("log"))

    def test_T8_a_hanging_handler_is_ended(self):
        """T8: there was no timeout anywhere. SIGTERM, then SIGKILL after the grace, for the whole tree; the reason says so."""
        d = self.run_job("hangs", "trap '' TERM; (trap '' TERM; sleep 600) & while :; do sleep 1; done", "FAILED",
                         handlers={"timeout": 1})
        self.assertRegex(d["reason"], "(?i)time.?out|timed out")
        self.assertEqual(self.lab.job_processes("hangs"), [])
        # a document's own timeout replaces the configured one
        self.run_job("longer", "sleep 1.5", "SUCCEEDED", {"operation": "longer", "timeout": 30})
        d = self.run_job("shorter", "sleep 600", "FAILED", {"operation": "shorter", "timeout": "1"})
        self.assertRegex(d["reason"], "(?i)time.?out|timed out")

    def test_T11_runHandler_without_input(self):
        """T11: an absent `input` was dereferenced. It is REJECTED, naming the JSON path."""
        self.lab.start_agent()
        cases = {
            "no-input": ({"version": "1.0", "steps": [{"action": {"name": "S", "type": "runHandler"}}]}, "steps[0].action.input"),
            "null-input": ({"version": "1.0", "steps": [{"action": {"name": "S", "type": "runHandler", "input": None}}]},
                           "steps[0].action.input"),
            "empty-input": ({"version": "1.0", "steps": [{"action": {"name": "S", "type": "runHandler", "input": {}}}]},
                            "steps[0].action.input.handler"),
            "no-action": ({"version": "1.0", "steps": [{}]}, "steps[0].action"),
            "no-steps": ({"version": "1.0", "steps": []}, "steps"),
            "nothing": ({}, ""),
        }
        for job, (document, path) in cases.items():
            self.lab.create(job, document)
            self.assertIn(path, self.lab.wait_status(job, "REJECTED")["statusDetails"]["reason"])
        self.assert_alive()

    def test_T12_replies_to_nobody(self):
        """T12: a late `rejected` for a forgotten clientToken threw inside the callback."""
        self.lab.handler("hold.sh", "echo x >>@EVIDENCE@/held; while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done")
        agent = self.lab.start_agent()
        self.lab.create("held", {"operation": "hold"})
        self.lab.wait_witness("held")
        eyes = self.lab.eyes()
        for token in ('"forgotten"', '""', "null", "7", '"' + "x" * 5000 + '"'):
            for tail in ("held/update", "other/update", "held/get", "get", "start-next", "$next/get"):
                for code in ("VersionMismatch", "ResourceNotFound", "InvalidStateTransition", "NoSuchCode"):
                    eyes.publish(self.lab.topic(tail + "/rejected"), json.dumps(
                        {"code": code, "message": "late", "timestamp": 1, "executionState": {"status": "CANCELED", "versionNumber": 9}}
                    )[:-1] + f', "clientToken": {token}}}')
                eyes.publish(self.lab.topic(tail + "/accepted"), f'{{"timestamp":1,"clientToken":{token}}}')
        self.assertTrue(self.lab.job_processes("held"))
        (self.lab.evidence / "go-on").touch()
        self.lab.wait_status("held", "SUCCEEDED")
        self.assertTrue(agent.running())

    def test_T14_work_that_came_while_offline(self):
        """T14: after an outage longer than the broker's session nothing subscribed again or asked for work. Here the
        broker forgets everything."""
        self.lab.handler("ok.sh", "exit 0")
        agent = self.lab.start_agent()
        self.lab.stop_broker()
        agent.wait_text(r"(?i)offline|connection|refused")
        self.lab.start_broker()
        self.lab.create("missed", {"operation": "ok"})
        self.lab.wait_status("missed", "SUCCEEDED")
        self.lab.create("seen", {"operation": "ok"})
        self.lab.wait_status("seen", "SUCCEEDED")

    def test_T15_stopping_everything_is_no_success(self):
        """T15: `systemctl stop` sends SIGTERM to the whole control group; with T1 that became SUCCEEDED. Here the runner and
        every process of the job get SIGTERM at once."""
        self.lab.handler("long.sh", "echo x >>@EVIDENCE@/started; sleep 600; exit 0")
        agent = self.lab.start_agent()
        self.lab.create("long", {"operation": "long"})
        self.lab.wait_witness("started")
        for pid in [agent.pid, *self.lab.runners(), *self.lab.job_processes()]:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:  # the runner was faster
                pass
        self.assertEqual(agent.wait_exit(), 0)
        wait_for(lambda: not self.lab.job_processes(), "the handler's end")
        self.assertNotEqual(self.lab.status("long"), "SUCCEEDED")
        self.lab.start_agent()
        d = self.lab.wait_status("long", "FAILED")["statusDetails"]
        self.assertRegex(d["reason"], r"interrupted|SIGTERM")


class TrapT7Timeout(LabTest):
    service = ("--time-scale", "60")

    def test_T7_next_job_waits_for_a_timed_out_one(self):
        """T7 with the service's own timer: the old handler is gone before the next one starts."""
        t = Traps("start_two")
        t.lab = self.lab
        t.start_two("--in-progress-timeout", "1")
        t.check_next_waits()


class TrapT13(LabTest):
    broker = False

    def test_T13_a_refused_subscription(self):
        """T13: a subscription refused by policy aborted debug builds and left release builds deaf. The agent names the
        filter, stays, asks again slowly, and works once the policy allows it."""
        lab = self.lab
        denied = lab.topic("+/update/accepted")
        acl = lab.directory / "dynamic-security.json"

        def policy(*roles):
            acl.write_text(json.dumps({
                "defaultACLAccess": {"publishClientSend": True, "publishClientReceive": True, "subscribe": True, "unsubscribe": True},
                "clients": [], "groups": [{"groupname": "everyone", "roles": [{"rolename": r, "priority": 0} for r in roles]}],
                "anonymousGroup": "everyone",
                "roles": [{"rolename": "deaf", "acls": [{"acltype": "subscribeLiteral", "topic": denied, "priority": 0,
                                                        "allow": False}]}]}))
        plugin = next((p for d in ("/usr/lib", "/usr/local/lib") for p in
                       pathlib.Path(d).rglob("mosquitto_dynamic_security.so")), None)
        self.assertIsNotNone(plugin, "mosquitto's dynamic security plugin comes with Debian's package")
        plugin_conf = f"plugin {plugin}\nplugin_opt_config_file {acl}"
        policy("deaf")
        lab.start_broker(plugin_conf)
        lab.start_service()
        lab.handler("ok.sh", "exit 0")
        agent = lab.start_agent(online=False)
        agent.wait_text(re.escape(denied))
        lab.create("waits", {"operation": "ok"})
        self.assertTrue(agent.running())
        self.assertEqual(lab.witness("ran"), [])
        policy()
        lab.stop_broker()
        lab.start_broker(plugin_conf)
        lab.wait_status("waits", "SUCCEEDED")
        self.assertTrue(agent.running())
