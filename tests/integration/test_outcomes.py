# SPDX-License-Identifier: Apache-2.0
"""How a handler's ending becomes an execution's: retry, reboot, exit codes and signals, on_cancel, the service's deadline; and handlers
that mean no good. A real reboot is in tests/system: here a "reboot" is the death of every process and another boot id."""

import json
import os
import pathlib
import signal
import subprocess
import unicodedata
import unittest
import uuid

from harness import AGENT, BUILD, TERMINAL, FakeService, LabTest, clean_environment, descendants, wait_for

CTL = BUILD / "src/ctl/iot-jobsctl"
NOTE = 'echo "$IOT_JOB_OPERATION $IOT_JOB_ATTEMPT $IOT_JOB_PHASE $IOT_JOB_PARAM_url" >>@EVIDENCE@/starts\n'


class Outcome(LabTest):
    def starts(self):
        return [line.strip() for line in self.lab.witness("starts")]

    def copies(self):
        """Copies of documents, with the presigned addresses in them."""
        return list((self.lab.runtime / "runs").glob("*.document"))

    def last_details(self, job):
        return self.lab.updates(job)[-1]["statusDetails"]


class Retry(Outcome):
    service = None

    def setUp(self):
        super().setUp()
        self.fake = FakeService(self.lab)

    def document(self, handler, url):
        return json.dumps({"operation": handler, "parameters": {"url": url}})

    def deferred(self, job, n=1):
        """Wait until the cloud was told n times that it will be tried again."""
        wait_for(lambda: sum("again" in u["statusDetails"].get("reason", "") for u in self.lab.updates(job)) >= n,
                 lambda: f"deferral {n} of {job}: {self.lab.updates(job)}")

    def test_document_is_read_afresh(self):
        """The first address has run out by the time of the second attempt: the cloud has a new one. The slot, the work directory and the
        idempotency key stay; a later job waits."""
        self.lab.handler("get.sh", NOTE + r"""
echo "$IOT_JOB_KEY" >>@EVIDENCE@/keys; echo "$IOT_JOB_ATTEMPT" >>attempts; cat attempts | tr '\n' ' ' >>@EVIDENCE@/kept
[ "$IOT_JOB_PARAM_url" = https://x/new?sig=2 ] || exit 75""")
        self.lab.handler("next.sh", NOTE)
        self.lab.start_agent(handlers={"retry_delay": 2})
        self.fake.add("j", self.document("get", "https://x/old?sig=1"))
        self.fake.add("k", '{"operation":"next"}')
        self.deferred("j")
        self.fake.jobs["j"]["document"] = self.document("get", "https://x/new?sig=2")
        wait_for(lambda: not self.lab.runners(), "the runner to end")
        self.assertEqual(self.copies(), [])
        self.assertEqual(self.fake.status("j"), "IN_PROGRESS")
        self.fake.wait_status("j", "SUCCEEDED")
        self.fake.wait_status("k", "SUCCEEDED")
        self.assertEqual(self.starts(), ["get 1 run https://x/old?sig=1", "get 2 retry https://x/new?sig=2", "next 1 run"])
        self.assertEqual(len(set(self.lab.witness("keys"))), 1)
        self.assertEqual(self.lab.witness("kept"), ["1 1 2 "])
        claims = {u["statusDetails"]["claim"] for u in self.lab.updates("j")}
        self.assertEqual(len(claims), 1)

    def test_in_each_position(self):
        """A retry of any step starts that step and no other, each time with what the cloud has by then, and so do the steps behind it."""
        self.lab.handler("get.sh", NOTE + '[ "$IOT_JOB_PHASE" = retry ] || exit 75')

        def document(url):
            step = [{"action": {"name": n, "type": "runHandler", "input": {"handler": "get.sh"}}} for n in "abc"]
            return json.dumps({"version": "1.0", "steps": step[:2], "finalStep": step[2], "parameters": {"url": url}})
        self.lab.start_agent(handlers={"retry_delay": 1})
        self.fake.add("j", document(0))
        for n in (1, 2, 3):
            self.deferred("j", n)
            self.fake.jobs["j"]["document"] = document(n)
        self.fake.wait_status("j", "SUCCEEDED")
        self.assertEqual(self.starts(), ["a 1 run 0", "a 2 retry 1", "b 1 run 1", "b 2 retry 2", "c 1 run 2", "c 2 retry 3"])

    def test_a_document_that_is_refused_by_now_fails(self):
        """REJECTED would say that nothing was done."""
        self.lab.handler("get.sh", NOTE + "exit 75")
        self.lab.start_agent(handlers={"retry_delay": 1})
        self.fake.add("j", self.document("get", "u"))
        self.deferred("j")
        self.fake.jobs["j"]["document"] = '{"operation":"../get"}'
        x = self.fake.wait_status("j", *TERMINAL)
        self.assertEqual((self.fake.status("j"), self.starts()), ("FAILED", ["get 1 run u"]))
        self.assertIn("refused", x["details"]["reason"])
        self.assertIn("operation: ", x["details"]["reason"])

    def test_it_gives_up(self):
        self.lab.handler("get.sh", NOTE + "exit 75")
        self.lab.start_agent(handlers={"retry_delay": 1, "max_attempts": 1})
        self.fake.add("j", self.document("get", "u"))
        x = self.fake.wait_status("j", "FAILED")
        self.assertEqual(self.starts(), ["get 1 run u", "get 2 retry u"])
        self.assertRegex(x["details"]["reason"], "gave up|given up")
        self.assertEqual(x["details"]["exitCode"], "75")

    def test_agent_restarts_meanwhile(self):
        """What is deferred is in the record: a later agent goes on, after the same delay, without a second claim."""
        self.lab.handler("get.sh", NOTE + '[ "$IOT_JOB_ATTEMPT" = 2 ] || exit 75')
        agent = self.lab.start_agent(handlers={"retry_delay": 3})
        self.fake.add("j", self.document("get", "u"))
        self.deferred("j")
        agent.kill()
        wait_for(lambda: not self.lab.runners(), "the runner to end")
        self.lab.start_agent(config=self.lab.directory / "agent.conf")
        self.fake.wait_status("j", "SUCCEEDED")
        self.assertEqual(self.starts(), ["get 1 run u", "get 2 retry u"])

    def test_cancelled_meanwhile(self):
        """Nothing runs then, and nothing will; the slot is free."""
        self.lab.handler("get.sh", NOTE + "exit 75")
        self.lab.handler("next.sh", NOTE)
        self.lab.start_agent(handlers={"retry_delay": 600})
        self.fake.add("j", self.document("get", "u"))
        self.fake.add("k", '{"operation":"next"}')
        self.deferred("j")
        self.fake.jobs["j"]["status"] = "CANCELED"
        self.fake.announce()
        self.fake.wait_status("k", "SUCCEEDED")
        self.assertEqual(self.starts(), ["get 1 run u", "next 1 run"])
        wait_for(lambda: not list((self.lab.state / "runs").iterdir()), "the record to be buried")
        self.assertEqual(list((self.lab.state / "work").iterdir()), [])


@unittest.skipIf(os.geteuid() != 0, "another boot id needs a mount of its own")
class Reboot(Outcome):
    def setUp(self):
        super().setUp()
        self.boot = 0

    def start(self, online=True, run_as=(), **handlers):
        """An agent, in a boot of its own: the kernel's file is another for it and all it starts."""
        config = self.lab.write_config(handlers={"reboot_command": [self.reboot_command()], **handlers}, jobs={"max_concurrent": 2},
                                       policy={"run_as": list(run_as)})
        boot_id = self.lab.directory / "boot_id"
        if self.boot == 0:
            boot_id.write_text(f"{uuid.uuid4()}\n")
        self.boot += 1
        agent = self.lab._program("iot-jobs-agent", [
            "unshare", "--mount", "sh", "-c", f"mount --bind {boot_id} /proc/sys/kernel/random/boot_id && "
            f"exec {AGENT} --config {config} --log=stderr"], self.lab.directory / "agent.log", clean_environment())
        if online:
            self.lab.wait_online(agent)
        return agent

    def reboot_command(self):
        path = self.lab.directory / "reboot-now"
        if not path.exists():
            path.write_text(f"#!/bin/sh\nenv | sort >>{self.lab.evidence}/environment; echo reboot >>{self.lab.evidence}/reboots\n")
            path.chmod(0o755)
        return path

    def power_off(self, agent):
        """Every process of the device dies; runtime directories are in memory."""
        for pid in [agent.pid, *descendants(agent.pid), *self.lab.runners(), *self.lab.job_processes()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        agent.wait_exit()
        wait_for(lambda: not self.lab.runners() and not self.lab.job_processes(), "the device to be off")
        subprocess.run(["rm", "-rf", self.lab.runtime], check=True)
        (self.lab.directory / "boot_id").write_text(f"{uuid.uuid4()}\n")

    UPDATE = NOTE + '[ "$IOT_JOB_PHASE" = post-reboot ] && { cat state >>@EVIDENCE@/state; exit 0; }\necho written >state; exit 194'

    def test_T9_the_job_ends_behind_the_reboot(self):
        """T9: asking for a reboot was a success at once, and a leftover lock file made the next reboot job one without a reboot.
        Here the same step runs again in the next boot, told apart by the kernel's boot id; and so does the next job's."""
        self.lab.handler("update.sh", self.UPDATE)
        agent = self.start()
        for n in (1, 2):
            self.lab.create(f"r{n}", {"operation": "update"})
            wait_for(lambda n=n: len(self.lab.witness("reboots")) == n, f"reboot {n}")
            self.assertEqual(self.lab.status(f"r{n}"), "IN_PROGRESS")
            self.assertRegex(self.last_details(f"r{n}")["reason"], "(?i)reboot")
            self.power_off(agent)
            agent = self.start()
            self.lab.wait_status(f"r{n}", "SUCCEEDED")
        self.assertEqual(self.starts(), ["update 1 run", "update 2 post-reboot"] * 2)
        self.assertEqual(self.lab.witness("state"), ["written"] * 2)
        self.assertEqual(self.lab.witness("reboots"), ["reboot"] * 2)
        self.assertFalse([line for line in self.lab.witness("environment") if line.startswith("IOT_JOB")])
        wait_for(lambda: not list((self.lab.state / "work").iterdir()), "the work directory to go, behind the acknowledgement")

    def test_in_each_position(self):
        """194 of the first, a middle and the final step: the same step goes on, as its own user, in the directory it left."""
        self.lab.evidence.chmod(0o777)
        (self.lab.evidence / "starts").touch()
        (self.lab.evidence / "starts").chmod(0o666)
        self.lab.handler("step.sh", NOTE + 'stat -c "%U %a" . | tr "\n" " " >>@EVIDENCE@/starts\n[ "$IOT_JOB_PHASE" = post-reboot ] && '
                                    '{ ls | tr "\n" " " >>@EVIDENCE@/starts; exit 0; }; touch "$IOT_JOB_OPERATION"; exit 194')
        step = [{"action": {"name": n, "type": "runHandler", "input": {"handler": "step.sh"}, **({"runAsUser": "games"} if n == "b" else {})}}
                for n in "abc"]
        agent = self.start(run_as=["games"])
        self.lab.create("r", {"version": "1.0", "steps": step[:2], "finalStep": step[2]})
        for n in (1, 2, 3):
            wait_for(lambda n=n: len(self.lab.witness("reboots")) == n, f"reboot {n}")
            self.power_off(agent)
            agent = self.start(run_as=["games"])
        d = self.lab.wait_status("r", "SUCCEEDED")["statusDetails"]
        self.assertEqual(d["step"], "3/3 c")
        self.assertEqual(" ".join(self.starts()).split(), " ".join([
            "a 1 run root 700 a 2 post-reboot root 700 a", "b 1 run games 700 b 2 post-reboot games 700 a b",
            "c 1 run root 700 c 2 post-reboot root 700 a b c"]).split())

    def test_the_step_after_it_needs_no_network(self):
        """It may be the one that repairs it. What it reached is reported when somebody listens again."""
        self.lab.handler("update.sh", self.UPDATE)
        agent = self.start()
        self.lab.create("r", {"operation": "update"})
        self.lab.wait_witness("reboots")
        self.power_off(agent)
        self.lab.stop_broker()
        self.start(online=False)
        self.lab.wait_witness("state")
        self.lab.start_broker()
        self.lab.wait_status("r", "SUCCEEDED")
        self.assertEqual(self.starts(), ["update 1 run", "update 2 post-reboot"])

    def test_other_jobs_are_awaited_and_none_begins(self):
        self.lab.handler("update.sh", self.UPDATE)
        self.lab.handler("long.sh", NOTE + "while [ ! -e @EVIDENCE@/go ]; do sleep 0.05; done; echo long done >>@EVIDENCE@/reboots")
        agent = self.start()
        self.lab.create("long", {"operation": "long"})
        self.lab.wait_witness("starts")
        self.lab.create("r", {"operation": "update"})
        wait_for(lambda: any("reboot" in u["statusDetails"].get("reason", "") for u in self.lab.updates("r")), "the cloud to be told")
        self.lab.create("later", {"operation": "long"})
        agent.wait_text("update: exited with status 194")
        self.assertEqual(self.lab.witness("reboots"), [])
        (self.lab.evidence / "go").touch()
        self.lab.wait_status("long", "SUCCEEDED")
        self.lab.wait_witness("reboots", 2)
        self.assertEqual(self.lab.witness("reboots"), ["long done", "reboot"])
        self.assertEqual(self.starts(), ["long 1 run", "update 1 run"])
        self.power_off(agent)
        self.start()
        self.lab.wait_status("r", "SUCCEEDED")
        self.lab.wait_status("later", "SUCCEEDED")

    def test_what_no_agent_knows_of_is_awaited_too(self):
        """Slots are the machine's: whoever has one, another agent or iot-jobsctl, ends in peace first."""
        self.lab.handler("update.sh", NOTE + "while [ ! -e @EVIDENCE@/ask ]; do sleep 0.05; done; exit 194")
        self.lab.handler("long.sh", NOTE + "while [ ! -e @EVIDENCE@/go ]; do sleep 0.05; done; echo long done >>@EVIDENCE@/reboots")
        agent = self.start()
        self.lab.create("r", {"operation": "update"})
        self.lab.wait_witness("starts")
        local = self.lab._program("iot-jobsctl", [CTL, "run", "--config", self.lab.directory / "agent.conf",
                                                  self.lab.document("long", {"operation": "long"})], self.lab.directory / "ctl.log")
        self.lab.wait_witness("starts", 2)
        (self.lab.evidence / "ask").touch()
        agent.wait_text("update: exited with status 194")
        # The agent lets it go on, since it knows of no other job; then the slots are what it waits for.
        agent.wait_text("run is gathering")
        self.assertEqual(self.lab.witness("reboots"), [])
        (self.lab.evidence / "go").touch()
        self.assertEqual(local.wait_exit(), 0)
        self.lab.wait_witness("reboots", 2)
        self.assertEqual(self.lab.witness("reboots"), ["long done", "reboot"])

    def test_runner_dies_before_the_reboot(self):
        """The same boot: it goes on to the reboot, and not to the step after it."""
        self.lab.handler("update.sh", self.UPDATE)
        self.lab.handler("long.sh", NOTE + "while [ ! -e @EVIDENCE@/go ]; do sleep 0.05; done")
        agent = self.start()
        self.lab.create("long", {"operation": "long"})
        self.lab.wait_witness("starts")
        self.lab.create("r", {"operation": "update"})
        agent.wait_text("update: exited with status 194")
        mine = set(self.lab.runners()) - {self.lab.runner_of("long")}
        for pid in mine:
            os.kill(pid, signal.SIGKILL)
        (self.lab.evidence / "go").touch()
        self.lab.wait_witness("reboots")
        self.assertEqual(self.starts(), ["long 1 run", "update 1 run"])

    def test_a_reboot_that_does_not_come(self):
        self.lab.handler("update.sh", self.UPDATE)
        self.lab.handler("next.sh", NOTE)
        self.start(reboot_timeout=10)
        self.lab.create("r", {"operation": "update"})
        d = self.lab.wait_status("r", "FAILED")["statusDetails"]
        self.assertRegex(d["reason"], "(?i)reboot did not come within 10 s")
        self.lab.create("next", {"operation": "next"})
        self.lab.wait_status("next", "SUCCEEDED")

    def test_commands_that_do_not_reboot(self):
        self.lab.handler("update.sh", self.UPDATE)
        for i, (command, said) in enumerate(((["/bin/sh", "-c", "exit 3"], "/bin/sh exited with status 3"),
                                             (["/bin/sh", "-c", "kill -9 $$"], "/bin/sh was ended by signal 9"),
                                             (["no-such-program"], "handlers.reboot_command: missing: no no-such-program in "))):
            agent = self.start(reboot_command=command)
            self.lab.create(f"r{i}", {"operation": "update"})
            self.assertIn(said, self.lab.wait_status(f"r{i}", "FAILED")["statusDetails"]["reason"])
            agent.kill(signal.SIGTERM)

    def test_a_loop_of_reboots_ends(self):
        self.lab.handler("loop.sh", NOTE + "exit 194")
        agent = self.start(max_attempts=1)
        self.lab.create("r", {"operation": "loop"})
        self.lab.wait_witness("reboots")
        self.power_off(agent)
        self.start(max_attempts=1)
        d = self.lab.wait_status("r", "FAILED")["statusDetails"]
        self.assertRegex(d["reason"], "gave up|given up")
        self.assertEqual(self.starts(), ["loop 1 run", "loop 2 post-reboot"])

    def test_cancelled_while_others_are_awaited(self):
        """Then there is no reboot."""
        self.lab.handler("update.sh", self.UPDATE)
        self.lab.handler("long.sh", NOTE + "while [ ! -e @EVIDENCE@/go ]; do sleep 0.05; done")
        agent = self.start()
        self.lab.create("long", {"operation": "long"})
        self.lab.wait_witness("starts")
        self.lab.create("r", {"operation": "update"})
        agent.wait_text("update: exited with status 194")
        self.lab.cancel("r", "--force")
        wait_for(lambda: len(self.lab.runners()) == 1, "the end of the cancelled run")
        (self.lab.evidence / "go").touch()
        self.lab.wait_status("long", "SUCCEEDED")
        self.lab.create("next", {"operation": "long"})
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.witness("reboots"), [])

    def test_power_cut(self):
        """on_interrupt decides; never is it a success, and with "fail" never a second start."""
        self.lab.handler("slow.sh", NOTE + '[ "$IOT_JOB_PHASE" = rerun ] && exit 0; sleep 600')
        for name, value, status in (("fails", "fail", "FAILED"), ("again", "rerun", "SUCCEEDED")):
            agent = self.start(on_interrupt=value)
            before = len(self.starts())
            self.lab.create(name, {"operation": "slow"})
            self.lab.wait_witness("starts", before + 1)
            self.power_off(agent)
            agent = self.start(on_interrupt=value)
            d = self.lab.wait_status(name, status)["statusDetails"]
            agent.kill(signal.SIGTERM)
            if value == "fail":
                self.assertRegex(d["reason"], "^interrupted: .*the device went down")
        self.assertEqual(self.starts(), ["slow 1 run", "slow 1 run", "slow 2 rerun"])


    def test_power_cut_in_each_position(self):
        """With "rerun" only the step that was cut off starts again."""
        self.lab.handler("slow.sh", NOTE + '[ "$IOT_JOB_PHASE" = rerun ] || sleep 600')
        self.lab.handler("ok.sh", NOTE)
        for job, slow in enumerate("abc"):
            agent = self.start(on_interrupt="rerun")
            step = [{"action": {"name": f"{n}{job}", "type": "runHandler", "input": {"handler": "slow.sh" if n == slow else "ok.sh"}}}
                    for n in "abc"]
            before = len(self.starts())
            self.lab.create(f"j{job}", {"version": "1.0", "steps": step})
            self.lab.wait_witness("starts", before + job + 1)
            self.power_off(agent)
            agent = self.start(on_interrupt="rerun")
            self.lab.wait_status(f"j{job}", "SUCCEEDED")
            want = [f"{n}{job} 1 run" for n in "abc"]
            want.insert(job + 1, f"{slow}{job} 2 rerun")
            self.assertEqual(self.starts()[before:], want)
            agent.kill(signal.SIGTERM)

    def test_what_is_cancelled_is_neither_tried_again_nor_rebooted_for(self):
        """on_cancel = "finish" lets the step end by itself; what it asks for then is not done."""
        for code in (75, 194):
            self.lab.handler(f"end{code}.sh", NOTE + f"while [ ! -e @EVIDENCE@/go{code} ]; do sleep 0.05; done; exit {code}")
        agent = self.start(override=[{"name": f"end{code}", "on_cancel": "finish"} for code in (75, 194)], retry_delay=1)
        for code in (75, 194):
            self.lab.create(f"j{code}", {"operation": f"end{code}"})
            wait_for(lambda code=code: f"end{code} 1 run" in self.starts(), "the handler")
            self.lab.cancel(f"j{code}", "--force")
            agent.wait_text("IOT_JOB_ID=j%d.*\n(.*\n)*.*the step may finish, no other starts" % code)
            (self.lab.evidence / f"go{code}").touch()
            wait_for(lambda: not self.lab.runners(), "the end of the run")
        self.assertEqual(self.lab.witness("reboots"), [])
        self.assertEqual(self.starts(), ["end75 1 run", "end194 1 run"])
        self.assertEqual(list((self.lab.state / "runs").iterdir()), [])


class Endings(Outcome):
    def test_T10_a_job_that_restarts_the_agent_ends_once(self):
        """T10: restarting the client by a job went on for ever, since the job was handed out again and again."""
        self.lab.handler("upgrade.sh", NOTE + r"""
kill "$(cat @EVIDENCE@/agent.pid)"
while kill -0 "$(cat @EVIDENCE@/agent.pid)" 2>/dev/null; do sleep 0.05; done
echo gone >>@EVIDENCE@/gone; while [ ! -e @EVIDENCE@/up ]; do sleep 0.05; done""")
        agent = self.lab.start_agent()
        (self.lab.evidence / "agent.pid").write_text(str(agent.pid))
        self.lab.create("upgrade", {"operation": "upgrade"})
        wait_for(lambda: not agent.running(), "the agent to be stopped")
        self.lab.wait_witness("gone")
        self.lab.start_agent(config=self.lab.directory / "agent.conf")
        (self.lab.evidence / "up").touch()
        self.lab.wait_status("upgrade", "SUCCEEDED")
        self.lab.create("next", {"operation": "absent"})
        self.lab.wait_status("next", "REJECTED")
        self.assertEqual(self.starts(), ["upgrade 1 run"])

    def run_steps(self, body, arguments):
        """Each argument a step of a real handler; the journal's lines of the verdicts, in order."""
        self.lab.handler("end.sh", body)
        config = self.lab.write_config()
        lines = []
        for i in range(0, len(arguments), 64):
            steps = [{"action": {"name": f"s{a}", "type": "runHandler", "ignoreStepFailure": True,
                                 "input": {"handler": "end.sh", "args": [str(a)]}}} for a in arguments[i:i + 64]]
            r = subprocess.run([CTL, "run", "--config", config, self.lab.document("steps", {"version": "1.0", "steps": steps})],
                               capture_output=True, text=True, env=clean_environment(), check=False, timeout=120)
            self.assertEqual(r.returncode, 0, r.stderr)
            lines += [l for l in r.stderr.splitlines() if ": done" in l or "exited with" in l or "killed by" in l]
        return lines

    def test_256_exit_codes(self):
        codes = [c for c in range(256) if c not in (65, 75, 194)]
        lines = self.run_steps('exit "$1"', codes)
        self.assertEqual(len(lines), len(codes))
        for code, line in zip(codes, lines):
            self.assertRegex(line, rf" s{code}: done$" if code == 0 else rf" s{code}: exited with status {code}\b")

    def test_all_signals(self):
        """Those whose default is no end are no failure either."""
        harmless = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
        stopping = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
        numbers = [n for n in range(1, signal.SIGRTMAX + 1) if n not in stopping and n not in (32, 33)]
        lines = self.run_steps('ulimit -c 0; kill -"$1" $$; exit 0', numbers)
        self.assertEqual(len(lines), len(numbers))
        for n, line in zip(numbers, lines):
            name = "done" if n in harmless else signal.Signals(n).name if n < 32 else "SIGRT"
            self.assertRegex(line, rf" s{n}: (.*\b)?{name}")

    def test_finish_on_cancel(self):
        """The step that runs may end by itself; no other starts, nothing is reported, and the next job waits."""
        self.lab.handler("first.sh", NOTE + "trap 'echo term >>@EVIDENCE@/starts' TERM; while [ ! -e @EVIDENCE@/go ]; do sleep 0.05; done; echo first done >>@EVIDENCE@/starts")
        self.lab.handler("second.sh", NOTE)
        agent = self.lab.start_agent(handlers={"override": [{"name": "first", "on_cancel": "finish"}]})
        steps = [{"action": {"name": n, "type": "runHandler", "input": {"handler": f"{n}.sh"}}} for n in ("first", "second")]
        self.lab.create("j", {"version": "1.0", "steps": steps})
        self.lab.create("next", {"operation": "second"})
        self.lab.wait_witness("starts")
        self.lab.cancel("j", "--force")
        agent.wait_text("the step may finish, no other starts")
        (self.lab.evidence / "go").touch()
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.starts(), ["first 1 run", "first done", "second 1 run"])
        self.assertEqual(self.lab.status("j"), "CANCELED")


class Deadline(Outcome):
    service = None

    def test_the_device_gives_up_before_the_service(self):
        """approximateSecondsBeforeTimedOut is learnt from one describe, 20 s after the start; half of so little is kept."""
        class Hasty(FakeService):
            def _execution(self, job):
                text = super()._execution(job)
                if job and self.jobs[job]["status"] == "IN_PROGRESS":
                    text = text.replace('"jobId"', '"approximateSecondsBeforeTimedOut": 8, "jobId"', 1)
                return text
        fake = Hasty(self.lab)
        self.lab.handler("slow.sh", "trap 'echo term >>@EVIDENCE@/log; exit 1' TERM; while :; do sleep 0.1; done")
        self.lab.start_agent()
        fake.add("j", '{"operation":"slow"}')
        x = wait_for(lambda: fake.status("j") in TERMINAL and fake.jobs["j"], "the end of the job", 60)
        self.assertEqual(x["status"], "FAILED")
        self.assertRegex(x["details"]["reason"], "(?i)timed out: .*the service's own deadline")
        self.assertEqual(self.lab.witness("log"), ["term"])


class DeferralDeadline(Outcome):
    def test_a_retry_that_comes_too_late_is_given_up(self):
        """The service times the execution out before it would be tried again: that is told at once, and no slot is kept for it. One
        that it does wait for waits."""
        self.lab.handler("get.sh", NOTE + "exit 75")
        self.lab.handler("next.sh", NOTE)
        self.lab.start_agent(handlers={"retry_delay": 100})
        self.lab.create("j", {"operation": "get"}, "--in-progress-timeout", "1")
        self.lab.create("k", {"operation": "next"})
        d = self.lab.wait_status("j", "FAILED")["statusDetails"]
        self.assertEqual(d["reason"], "timed out: get was to be tried again, and the service's own deadline comes before that")
        self.assertEqual(d["step"], "1/1 get")
        self.lab.wait_status("k", "SUCCEEDED")
        self.lab.create("l", {"operation": "get"}, "--in-progress-timeout", "5")
        wait_for(lambda: [t for _, t, _ in self.lab.requests("l/get")], "the question how long the service waits")
        self.lab.create("m", {"operation": "next"})
        self.lab.sim("list", "--thing", self.lab.thing)
        self.assertEqual((self.lab.status("l"), self.lab.status("m")), ("IN_PROGRESS", "QUEUED"))
        self.assertEqual(self.starts(), ["get 1 run", "next 1 run", "get 1 run"])
        self.assertIn('"status":"FAILED"', (self.lab.state / "tombstones").read_text().splitlines()[0])


class Details(Outcome):
    def test_whatever_the_handler_prints(self):
        """Binary, terminal escapes, right-to-left overrides, lines of 10 MB, characters cut in half: what is reported is text within the
        limits, ten pairs at most."""
        self.lab.handler("print.py", r"""
import os, sys
odd = b"\x1b[31mred\x1b[0m \xe2\x80\xaeevil\xe2\x80\xac \x00\x01\x7f\xff\xfe \xed\xa0\x80 \xf4\x90\x80\x80 \xcd\xb8 \xc2\x9b31m \xef\xbb\xbf a\tb\r\nc\n"
for fd in (1, 2, 3):
    os.write(fd, odd)
    for chunk in range(160):
        os.write(fd, b"\xf0\x9f\x98\x80" * 16384)
    os.write(fd, b"\n" + odd)
os.write(3, b"own=" + odd + b"other=\xe2\x80\xae\n\xe2\x80\xaekey=1\nclaim=stolen\nreason=none\na=1\nb=2\nc=3\nd=4\n" + odd)
os.write(1, b"\xf0\x9f\x98\x80" * 1024 + b"\xf0\x9f")
sys.exit(3)""", interpreter="/usr/bin/env python3")
        self.lab.start_agent(log={"level": "warning"})
        self.lab.create("j", {"operation": "print.py"})
        d = self.lab.wait_status("j", "FAILED", timeout=90)["statusDetails"]
        self.assertLessEqual(len(d), 10)
        self.assertLessEqual({"claim", "step", "reason", "exitCode", "stdout", "stderr", "own"}, set(d))
        self.assertEqual((d["exitCode"], d["reason"]), ("3", "exited with status 3"))
        for update in self.lab.updates("j"):
            for key, value in update["statusDetails"].items():
                self.assertRegex(key, "^[a-zA-Z0-9:_-]{1,128}$")
                self.assertTrue(1 <= len(value.encode("utf-16-le")) // 2 <= 1024, key)
                self.assertEqual([c for c in value if unicodedata.category(c)[0] == "C"], [], key)
        self.assertTrue(d["stdout"].rstrip("\ufffd").endswith("\U0001f600"), d["stdout"][-8:])
        self.assertGreater(len(d["stdout"]), 500)


class Nasty(Outcome):
    def run_job(self, job, body, status, timeout=2):
        self.lab.handler(f"{job}.sh", body)
        self.lab.create(job, {"operation": job, "timeout": timeout})
        x = self.lab.wait_status(job, status, timeout=90)
        wait_for(lambda: not self.lab.job_processes(job), f"what {job} left behind to be stopped")
        return x.get("statusDetails", {})

    @unittest.skipIf(os.geteuid() != 0, "needs a user of its own")
    def test_fork_bomb(self):
        """Of a user of its own, whom the limit of processes counts; every one of them goes."""
        self.lab.evidence.chmod(0o777)
        self.lab.start_agent(handlers={"override": [{"name": "bomb", "user": "games"}]})
        bomb = "b() { b | b & }; while :; do b 2>/dev/null; sleep 0.05; done"
        d = self.run_job("bomb", f"command -v prlimit || exit 99\n"
                                 f"exec prlimit --nproc=40:40 sh -c 'prlimit --pid $$ --nproc --noheadings --raw --output=SOFT | grep -qx 40 || exit 98\n{bomb}'",
                         "FAILED")
        self.assertNotIn(d.get("exitCode"), ("98", "99"), "the limit that keeps this machine safe")
        self.assertEqual([p for p in os.listdir("/proc") if p.isdigit() and self.is_of(p, "games")], [])
        self.run_job("after", "exit 0", "SUCCEEDED")

    @staticmethod
    def is_of(pid, user):
        import pwd
        try:
            state = pathlib.Path("/proc", pid, "stat").read_text().rsplit(")", 1)[1].split()[0]
            return os.stat(f"/proc/{pid}").st_uid == pwd.getpwnam(user).pw_uid and state != "Z"
        except OSError:
            return False

    def test_output(self):
        """Closed, held open by somebody who left, a gigabyte of it, none at all."""
        self.lab.start_agent(handlers={"report_output": "always"}, log={"level": "info"})
        self.run_job("closes", "exec <&- >&- 2>&- 3>&-; sleep 0.1; exit 0", "SUCCEEDED", 30)
        self.run_job("holds", "setsid sh -c 'trap \"\" TERM HUP; sleep 600' & exit 0", "SUCCEEDED", 30)
        d = self.run_job("floods", "head -c 1000000000 /dev/zero; echo end", "SUCCEEDED", 80)
        self.assertLessEqual(len(d["stdout"].encode("utf-16-le")) // 2, 1024)
        self.run_job("progresses", "head -c 30000000 /dev/urandom >&3; exit 0", "SUCCEEDED", 60)
        runner = self.lab.directory / "agent.log"
        self.assertLess(runner.stat().st_size, 100_000_000)

    def test_itself(self):
        """Kills its runner, deletes its directory, stops itself, is in the way."""
        self.lab.start_agent()
        d = self.run_job("kills", "kill -9 $PPID; sleep 600", "FAILED", 60)
        self.assertRegex(d["reason"], "^interrupted: .*its runner was killed")
        self.lab.handler("deletes.sh", 'rm -rf "$IOT_JOB_WORKDIR"; exit 0')
        self.lab.handler("links.sh", 'rm -rf "$IOT_JOB_WORKDIR"; ln -s /etc "$IOT_JOB_WORKDIR"; exit 0')
        self.lab.handler("here.sh", 'touch here && pwd -P >>@EVIDENCE@/pwd; rm -f "$IOT_JOB_DOCUMENT"')
        for job, first, status in (("deletes", "deletes.sh", "SUCCEEDED"), ("links", "links.sh", "FAILED")):
            steps = [{"action": {"name": n, "type": "runHandler", "input": {"handler": n}}} for n in (first, "here.sh")]
            self.lab.create(job, {"version": "1.0", "steps": steps})
            self.lab.wait_status(job, status)
        self.assertEqual(len(self.lab.witness("pwd")), 1)
        self.assertFalse(pathlib.Path("/etc/here").exists())
        d = self.run_job("stops", "kill -STOP $$; exit 0", "FAILED")
        self.assertRegex(d["reason"], "timed out")
        wait_for(lambda: not list((self.lab.state / "work").iterdir()), "the work directories to be removed")
        self.assertEqual(list((self.lab.runtime / "runs").iterdir()), [])
