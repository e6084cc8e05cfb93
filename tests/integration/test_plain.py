# SPDX-License-Identifier: Apache-2.0
"""The plain case and everything that is no fault: documents, environment, order, concurrency, progress, retries."""

import json
import re
import time

from harness import LabTest, wait_for


class Documents(LabTest):
    def test_operation_form_with_parameters(self):
        """Contract 2.1 and 3: argv, environment, document on stdin and as a file, private work directory."""
        self.lab.handler("set-interval.sh", r"""
{ echo "argv0=$0"; echo "args=$*"; echo "pwd=$(pwd)"; env; } >@EVIDENCE@/seen
cat >@EVIDENCE@/stdin
cat "$IOT_JOB_DOCUMENT" >@EVIDENCE@/file
stat -c %a "$IOT_JOB_DOCUMENT" >@EVIDENCE@/mode
ls /proc/self/fd >@EVIDENCE@/fds
umask >@EVIDENCE@/umask""")
        self.lab.start_agent()
        document = '{"operation":"set-interval","parameters":{"seconds":15,"mode":"fast","on":true,"none":null,"list":[1],' \
                   '"bad-name":"x"},"args":["one","two words"]}'
        self.lab.create("params", document)
        x = self.lab.wait_status("params", "SUCCEEDED")
        seen = dict(line.split("=", 1) for line in self.lab.witness("seen") if "=" in line)
        self.assertEqual(seen["args"], "one two words")
        self.assertEqual(seen["argv0"], str(self.lab.handlers / "set-interval.sh"))
        self.assertEqual({k: v for k, v in seen.items() if k.startswith("IOT_JOB_PARAM_")},
                         {"IOT_JOB_PARAM_seconds": "15", "IOT_JOB_PARAM_mode": "fast", "IOT_JOB_PARAM_on": "true"})
        self.assertEqual(seen["IOT_JOB_ID"], "params")
        self.assertEqual(seen["IOT_JOB_THING"], self.lab.thing)
        self.assertEqual(seen["IOT_JOB_OPERATION"], "set-interval")
        self.assertEqual([seen[f"IOT_JOB_{k}"] for k in ("EXECUTION", "STEP", "ATTEMPT", "PHASE", "PROGRESS_FD")],
                         ["1", "1", "1", "run", "3"])
        self.assertEqual(seen["pwd"], seen["IOT_JOB_WORKDIR"])
        self.assertTrue(seen["pwd"].startswith(str(self.lab.state / "work")))
        allowed = {"PATH", "LANG", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "_", "SHLVL", "OLDPWD", "args", "argv0", "pwd"}
        self.assertEqual({k for k in seen if not k.startswith("IOT_JOB_")} - allowed, set())
        for copy in ("stdin", "file"):
            self.assertEqual(json.loads("\n".join(self.lab.witness(copy))), json.loads(document), copy)
        self.assertEqual(self.lab.witness("mode"), ["600"])
        self.assertEqual(self.lab.witness("umask"), ["0022"])
        # 0–3 and the one that ls itself opens
        self.assertEqual(self.lab.witness("fds"), ["0", "1", "2", "3", "4"])
        self.assertEqual(x["executionNumber"], 1)
        wait_for(lambda: not (self.lab.state / "work").exists() or not list((self.lab.state / "work").iterdir()),
                 "the work directory to be removed")

    def test_steps_form(self):
        """Contract 2.2: steps in order, ignoreStepFailure, finalStep last; step names and numbers reach the handler."""
        self.lab.handler("note.sh", 'echo "$IOT_JOB_STEP $IOT_JOB_OPERATION $*" >>@EVIDENCE@/order; [ "$1" != fail ]')

        def action(name, *args, **more):
            return {"action": {"name": name, "type": "runHandler", "input": {"handler": "note.sh", "args": args}, **more}}
        self.lab.start_agent()
        self.lab.create("steps", {"version": "1.0", "steps": [
            action("First", "a", "b"), action("Second", "fail", ignoreStepFailure="true"), action("Third", "c")],
            "finalStep": action("Last", "z")})
        self.lab.wait_status("steps", "SUCCEEDED")
        self.assertEqual(self.lab.witness("order"), ["1 First a b", "2 Second fail", "3 Third c", "4 Last z"])

    def test_a_failing_step_stops_the_rest(self):
        self.lab.handler("note.sh", 'echo "$IOT_JOB_STEP" >>@EVIDENCE@/order; echo why it failed >&2; exit "$1"')

        def action(name, code):
            return {"action": {"name": name, "type": "runHandler", "input": {"handler": "note.sh", "args": [code]}}}
        self.lab.start_agent()
        self.lab.create("stops", {"version": "1.0", "steps": [action("A", "0"), action("B", "7"), action("C", "0")],
                                  "finalStep": action("Z", "0")})
        x = self.lab.wait_status("stops", "FAILED")
        self.assertEqual(self.lab.witness("order"), ["1", "2"])
        self.assertEqual(x["statusDetails"]["exitCode"], "7")
        self.assertIn("why it failed", x["statusDetails"]["stderr"])
        self.assertRegex(x["statusDetails"]["step"], r"^2/4 B")

    def test_exit_65_rejects(self):
        self.lab.handler("never.sh", "exit 65")
        self.lab.start_agent()
        self.lab.create("never", {"operation": "never"}, "--retries", "3")
        self.assertEqual(self.lab.wait_status("never", "REJECTED")["executionNumber"], 1)

    def test_output_reaches_log_and_details(self):
        """handlers.report_output = always: the last part of both streams, cleaned; in the log line by line."""
        self.lab.handler("talk.sh", r"printf 'one\ntwo\ttab\033[1m\nd\303\244nn\n'; echo oops >&2")
        agent = self.lab.start_agent(handlers={"report_output": "always"})
        self.lab.create("talk", {"operation": "talk"})
        d = self.lab.wait_status("talk", "SUCCEEDED")["statusDetails"]
        self.assertEqual(d["stdout"], "one | two tab\ufffd[1m | dänn")
        self.assertEqual(d["stderr"], "oops")
        for line in ("one", "oops"):
            agent.wait_text(rf"\b{line}\b")


class Manners(LabTest):
    def test_two_publishes_a_job(self):
        """A plain job costs the claim and the final status, and nothing else on the wire."""
        self.lab.handler("ok.sh", "exit 0")
        self.lab.start_agent()
        self.lab.create("warm-up", {"operation": "ok"})
        self.lab.wait_status("warm-up", "SUCCEEDED")
        start = time.monotonic()
        for i in range(5):
            self.lab.create(f"job-{i}", {"operation": "ok"})
            self.lab.wait_status(f"job-{i}", "SUCCEEDED")
        self.lab.wire.wait(lambda m: m.topic.endswith("/job-4/update/accepted"))
        # describe is what this test itself asks through the simulator's own topics, never on the thing's
        sent = [(t, p) for _, t, p in self.lab.requests(since=start)]
        self.assertLessEqual(len(sent), 10, sent)
        for i in range(5):
            mine = [json.loads(p)["status"] for t, p in sent if t == f"job-{i}/update"]
            self.assertEqual(mine, ["IN_PROGRESS", "SUCCEEDED"])

    def test_nothing_is_retained(self):
        self.lab.handler("ok.sh", "exit 0")
        self.lab.start_agent()
        self.lab.create("plain", {"operation": "ok"})
        self.lab.wait_status("plain", "SUCCEEDED")
        late = self.lab.eyes("$aws/#", "#")
        late.publish("marker", b"", qos=1)
        self.assertIsNotNone(late.wait(lambda m: m.topic == "marker"))
        self.assertEqual([m.topic for m in late.messages if m.retained], [])

    def test_progress(self):
        """Percent, text and keys from descriptor 3 reach statusDetails; every update carries the claim."""
        self.lab.handler("slow.sh", r"""
echo 40% >&3; echo level=high >&3; echo "copying files" >&3
while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done
echo 100 >&3""")
        self.lab.start_agent(jobs={"progress_interval": 1})
        self.lab.create("progress", {"operation": "slow"})
        details = wait_for(lambda: (lambda d: d if d.get("progress") and d.get("level") else None)(self.lab.details("progress")),
                           lambda: f"progress in the cloud: {self.lab.describe('progress')}")
        self.assertEqual((details["progress"].rstrip("%"), details["level"]), ("40", "high"))
        self.assertIn("copying files", details["step"])
        (self.lab.evidence / "go-on").touch()
        self.lab.wait_status("progress", "SUCCEEDED")
        claims = {u["statusDetails"].get("claim") for u in self.lab.updates("progress")}
        self.assertEqual(len(claims), 1, claims)
        self.assertRegex(claims.pop(), r"^[A-Za-z0-9]{8}$")

    def test_progress_flood_is_coalesced(self):
        """10,000 progress lines become a handful of updates, and the final status does not wait for them."""
        self.lab.handler("flood.sh", "i=0; while [ $i -lt 10000 ]; do echo key=$i >&3; i=$((i+1)); done")
        self.lab.start_agent()
        self.lab.create("flood", {"operation": "flood"})
        self.lab.wait_status("flood", "SUCCEEDED")
        self.assertLess(len(self.lab.updates("flood")), 12)

    def test_order_of_the_list(self):
        """P6: jobs that waited while the agent was away start in the order of the cloud's list."""
        self.lab.handler("note.sh", 'echo "$IOT_JOB_ID" >>@EVIDENCE@/order')
        for name in ("delta", "alpha", "charlie", "bravo", "echo"):
            self.lab.create(name, {"operation": "note"})
        self.lab.start_agent()
        self.lab.wait_status("echo", "SUCCEEDED")
        self.assertEqual(self.lab.witness("order"), ["delta", "alpha", "charlie", "bravo", "echo"])

    def test_many_more_than_a_list_holds(self):
        """30 pending jobs (a list names ten) all run, once each, in order."""
        self.lab.handler("note.sh", 'echo "$IOT_JOB_ID" >>@EVIDENCE@/order')
        names = [f"n{i:02}" for i in range(30)]
        for n in names:
            self.lab.create(n, {"operation": "note"})
        self.lab.start_agent()
        self.lab.wait_status(names[-1], "SUCCEEDED")
        self.assertEqual(self.lab.witness("order"), names)

    def test_max_concurrent(self):
        """jobs.max_concurrent = 3: three at a time, the fourth waits."""
        self.lab.handler("meet.sh", r"""
touch @EVIDENCE@/in-$IOT_JOB_ID
while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done""")
        self.lab.start_agent(jobs={"max_concurrent": 3})
        for i in range(4):
            self.lab.create(f"c{i}", {"operation": "meet"})
        wait_for(lambda: len(list(self.lab.evidence.glob("in-*"))) == 3, "three handlers at a time")
        self.assertEqual(self.lab.status("c3"), "QUEUED")
        self.assertEqual(sorted(p.name for p in self.lab.evidence.glob("in-*")), ["in-c0", "in-c1", "in-c2"])
        (self.lab.evidence / "go-on").touch()
        for i in range(4):
            self.lab.wait_status(f"c{i}", "SUCCEEDED")

    def test_one_at_a_time(self):
        """P4 with the default: the next starts only after the former's last process is gone."""
        self.lab.handler("alone.sh", r"""
mkdir @EVIDENCE@/busy || echo overlap >>@EVIDENCE@/overlap
sleep 0.1; rmdir @EVIDENCE@/busy""")
        self.lab.start_agent()
        for i in range(5):
            self.lab.create(f"a{i}", {"operation": "alone"})
        self.lab.wait_status("a4", "SUCCEEDED")
        self.assertEqual(self.lab.witness("overlap"), [])

    def test_retry_executions(self):
        """The service's retries are executions of their own: number 2 runs although number 1 of the same job failed."""
        self.lab.handler("second-time.sh", 'echo "$IOT_JOB_EXECUTION $IOT_JOB_KEY" >>@EVIDENCE@/runs; [ "$IOT_JOB_EXECUTION" = 2 ]')
        self.lab.start_agent()
        self.lab.create("again", {"operation": "second-time"}, "--retries", "2")
        x = wait_for(lambda: (lambda x: x if x and x["status"] == "SUCCEEDED" else None)(self.lab.describe("again")),
                     "success of the second execution")
        self.assertEqual(x["executionNumber"], 2)
        runs = [line.split() for line in self.lab.witness("runs")]
        self.assertEqual([r[0] for r in runs], ["1", "2"])
        self.assertEqual(len({r[1] for r in runs}), 2)

    def test_delete_and_create_again(self):
        """A job id that is deleted and created again is a new run (reliability N9), also while the agent is away."""
        self.lab.handler("note.sh", 'echo "$IOT_JOB_KEY" >>@EVIDENCE@/keys')
        agent = self.lab.start_agent()
        self.lab.create("twice", {"operation": "note"})
        first = self.lab.wait_status("twice", "SUCCEEDED")
        self.lab.delete("twice")
        # queuedAt counts in seconds: a new one must differ
        wait_for(lambda: time.time() > first["queuedAt"] + 1, "the next second")
        self.lab.create("twice", {"operation": "note"})
        self.lab.wait_witness("keys", 2)
        second = self.lab.wait_status("twice", "SUCCEEDED")
        agent.kill()
        self.lab.delete("twice")
        wait_for(lambda: time.time() > second["queuedAt"] + 1, "the next second")
        self.lab.create("twice", {"operation": "note"})
        self.lab.start_agent()
        self.lab.wait_status("twice", "SUCCEEDED")
        self.assertEqual(len(set(self.lab.witness("keys"))), 3)

    def test_deleted_while_it_runs(self):
        """P5: an execution that is gone in the cloud has no process left."""
        self.lab.handler("hang.sh", "echo x >>@EVIDENCE@/started; exec sleep 600")
        self.lab.handler("ok.sh", "exit 0")
        self.lab.start_agent()
        self.lab.create("gone", {"operation": "hang"})
        self.lab.wait_witness("started")
        self.lab.delete("gone", "--force")
        wait_for(lambda: not self.lab.job_processes("gone"), lambda: "the handler to be stopped")
        self.lab.create("next", {"operation": "ok"})
        self.lab.wait_status("next", "SUCCEEDED")

    def test_cancelled_before_it_starts(self):
        """A job cancelled while queued never starts."""
        self.lab.handler("note.sh", 'echo "$IOT_JOB_ID" >>@EVIDENCE@/order')
        self.lab.handler("block.sh", 'echo x >>@EVIDENCE@/blocking; while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done')
        self.lab.start_agent()
        self.lab.create("first", {"operation": "block"})
        self.lab.wait_witness("blocking")
        self.lab.create("cancelled", {"operation": "note"})
        self.lab.create("kept", {"operation": "note"})
        self.lab.cancel("cancelled")
        (self.lab.evidence / "go-on").touch()
        self.lab.wait_status("kept", "SUCCEEDED")
        self.assertEqual(self.lab.witness("order"), ["kept"])
        self.assertEqual(self.lab.status("cancelled"), "CANCELED")

    def test_log_names_the_job(self):
        """Every line about a job carries its id (contract 4)."""
        self.lab.handler("talk.sh", "echo a line of the handler")
        agent = self.lab.start_agent()
        self.lab.create("logged", {"operation": "talk"})
        self.lab.wait_status("logged", "SUCCEEDED")
        line = agent.wait_text(r"^.*a line of the handler.*$").group()
        self.assertRegex(line, r"IOT_JOB_ID=logged\b")
        self.assertRegex(line, r"IOT_JOB_STREAM=stdout\b")
        self.assertTrue(re.search(r"(?m)^.*IOT_JOB_ID=logged.*IOT_JOB_STATUS=SUCCEEDED", agent.text())
                        or re.search(r"(?m)^.*IOT_JOB_STATUS=SUCCEEDED.*IOT_JOB_ID=logged", agent.text()), agent.text())


class ServiceTimers(LabTest):
    service = ("--time-scale", "60")

    def test_in_progress_timeout_of_the_service(self):
        """The device gives up 30 s before the service's deadline, so the handler is stopped and FAILED says why; a dead
        device would become TIMED_OUT."""
        self.lab.handler("hang.sh", "echo x >>@EVIDENCE@/started; exec sleep 600")
        self.lab.start_agent()
        self.lab.create("late", {"operation": "hang"}, "--in-progress-timeout", "2")
        self.lab.wait_witness("started")
        x = self.lab.wait_status("late", "FAILED", "TIMED_OUT")
        wait_for(lambda: not self.lab.job_processes("late"), "the handler to be stopped")
        self.lab.handler("ok.sh", "exit 0")
        self.lab.create("next", {"operation": "ok"})
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertIn(x["status"], ("FAILED", "TIMED_OUT"))

    def test_a_dead_device_times_out(self):
        self.lab.handler("hang.sh", "echo x >>@EVIDENCE@/started; exec sleep 600")
        agent = self.lab.start_agent()
        self.lab.create("dead", {"operation": "hang"}, "--in-progress-timeout", "10")
        self.lab.wait_witness("started")
        agent.kill()
        self.lab.wait_status("dead", "TIMED_OUT")
        self.lab.handler("ok.sh", "if [ -n \"$(ls @EVIDENCE@/alive 2>/dev/null)\" ]; then exit 1; fi")
        self.lab.create("next", {"operation": "ok"})
        self.lab.start_agent()
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.job_processes("dead"), [])
