# SPDX-License-Identifier: Apache-2.0
"""Manners of the agent as a program: options, exit codes, signals, service notification, reload."""

import json
import os
import signal
import socket
import subprocess
import time

from harness import AGENT, RUNNER, SIM, LabTest, clean_environment, wait_for


def run(program, *args, env=None):
    return subprocess.run([str(program), *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          env=clean_environment(**(env or {})))


class Options(LabTest):
    broker = False

    def setUp(self):
        super().setUp()
        self.lab.tls_port = 8883

    def check_config(self, text=None, **changes):
        path = self.lab.write_config(**changes)
        if text is not None:
            path.write_text(text)
        r = run(AGENT, "--config", path, "--check-config")
        return r.returncode, r.stdout + r.stderr

    def test_version_and_help(self):
        for program in (AGENT, RUNNER, SIM):
            r = run(program, "--version")
            self.assertEqual((r.returncode, r.stderr), (0, ""), program)
            self.assertRegex(r.stdout, r"\d+\.\d+\.\d+")
            r = run(program, "--help")
            self.assertEqual((r.returncode, r.stderr), (0, ""), program)
            self.assertIn(program.name, r.stdout)

    def test_usage_errors_end_with_2(self):
        for args in (["--no-such-option"], ["surplus"], ["--config"], ["--log=nowhere"]):
            r = run(AGENT, *args)
            self.assertEqual(r.returncode, 2, (args, r.stderr))
            self.assertTrue(r.stderr)

    def test_check_config_good(self):
        self.assertEqual(self.check_config()[0], 0)

    def test_check_config_says_all_problems_at_once(self):
        code, out = self.check_config(thing_name="a/b", jobs={"max_concurrent": 11}, handlers={"timeout": -1},
                                      connection={"keep_alive": "long"}, credentials={"key_file": "/nonexistent/key"})
        self.assertEqual(code, 1)
        for key in ("thing_name", "jobs.max_concurrent", "handlers.timeout", "connection.keep_alive", "/nonexistent/key"):
            self.assertIn(key, out)
        self.assertIn("agent.conf:", out)

    def test_unknown_key_is_a_warning(self):
        code, out = self.check_config(handlers={"directoriez": "x"})
        self.assertEqual(code, 0)
        self.assertIn("handlers.directoriez", out)

    def test_print_policy(self):
        """stdout is a policy and nothing else; what it allows is tests/unit/test-policy.c's business."""
        path = self.lab.write_config(endpoint="x-ats.iot.cn-north-1.amazonaws.com.cn", client_id="gate 3")
        r = run(AGENT, "--config", path, "--print-policy")
        self.assertEqual(r.returncode, 0, r.stderr)
        policy = json.loads(r.stdout)
        self.assertEqual(policy["Statement"][0], {"Effect": "Allow", "Action": "iot:Connect",
                                                  "Resource": ["arn:aws-cn:iot:cn-north-1:ACCOUNT:client/gate 3"]})
        self.assertEqual({s["Action"] for s in policy["Statement"]},
                         {"iot:Connect", "iot:Subscribe", "iot:Receive", "iot:Publish"})
        self.assertIn(f"/$aws/things/{self.lab.thing}/jobs/", r.stdout)
        self.assertIn("ACCOUNT", r.stderr)
        self.assertNotIn("REGION", r.stdout + r.stderr)

    def test_print_policy_of_an_unknown_region(self):
        r = run(AGENT, "--config", self.lab.write_config(), "--print-policy")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("arn:aws:iot:REGION:ACCOUNT:client/", r.stdout)
        self.assertIn("REGION", r.stderr)

    def test_print_policy_needs_a_configuration(self):
        r = run(AGENT, "--config", self.lab.write_config(thing_name="a/b"), "--print-policy")
        self.assertEqual((r.returncode, r.stdout), (78, ""))
        self.assertIn("thing_name", r.stderr)

    def test_syntax_error_names_file_and_line(self):
        code, out = self.check_config(text='thing_name = "x";\nendpoint = ;\n')
        self.assertEqual(code, 1)
        self.assertIn("agent.conf:2", out)

    def test_number_outside_32_bits(self):
        """libconfig reads 2^32 + 8883 as 8883."""
        path = self.lab.write_config()
        path.write_text(path.read_text().replace("port = 8883", "port = 4294976179"))
        r = run(AGENT, "--config", path, "--check-config")
        self.assertEqual(r.returncode, 1)
        self.assertIn("4294976179", r.stdout + r.stderr)

    def test_missing_file(self):
        r = run(AGENT, "--config", self.lab.directory / "none.conf", "--check-config")
        self.assertEqual(r.returncode, 1)
        self.assertIn("none.conf", r.stdout + r.stderr)

    def test_start_with_bad_configuration_ends_with_78(self):
        path = self.lab.write_config(jobs={"max_concurrent": 0})
        r = run(AGENT, "--config", path, "--log=stderr")
        self.assertEqual(r.returncode, 78)
        self.assertIn("jobs.max_concurrent", r.stderr)


class Signals(LabTest):
    def test_stop_within_two_seconds_while_a_handler_goes_on(self):
        """SIGTERM: exit 0 within 2 s; the handler is not touched and its result is reported by the next agent."""
        self.lab.handler("slow.sh", "echo $IOT_JOB_ATTEMPT >>@EVIDENCE@/runs; while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done")
        agent = self.lab.start_agent()
        self.lab.create("slow", {"operation": "slow"})
        self.lab.wait_witness("runs")
        start = time.monotonic()
        agent.popen.send_signal(signal.SIGTERM)
        self.assertEqual(agent.wait_exit(), 0)
        if "ASAN_OPTIONS" not in os.environ:
            self.assertLess(time.monotonic() - start, 2)
        self.assertTrue(self.lab.job_processes("slow"))
        (self.lab.evidence / "go-on").touch()
        wait_for(lambda: not self.lab.job_processes("slow"), "the handler's end")
        self.lab.start_agent()
        self.lab.wait_status("slow", "SUCCEEDED")
        self.assertEqual(self.lab.witness("runs"), ["1"])

    def test_two_clients_with_one_id_get_a_hint(self):
        """They throw each other out; each log says what may be the matter, once, and with the id."""
        first = self.lab.start_agent(client_id="same")
        second = self.lab.start_agent(client_id="same", runtime_directory=str(self.lab.directory / "run2"), online=False)
        first.wait_text(r"^warning 3 connections in a row .*another client use the client id same\?")
        second.kill()
        self.lab.wait_online(first, time.monotonic())

    def test_stop_while_offline(self):
        agent = self.lab.start_agent()
        self.lab.stop_broker()
        agent.wait_text(r"(?i)offline|refused|lost")
        agent.popen.send_signal(signal.SIGTERM)
        self.assertEqual(agent.wait_exit(), 0)

    def test_reload(self):
        """SIGHUP: new settings for the next job, the running one is not touched; a bad file keeps the old settings."""
        self.lab.handler("slow.sh", "echo x >>@EVIDENCE@/runs; while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done")
        second = self.lab.directory / "handlers-2.d"
        second.mkdir(mode=0o755)
        agent = self.lab.start_agent()
        self.lab.create("slow", {"operation": "slow"})
        self.lab.wait_witness("runs")
        self.lab.write_config(jobs={"max_concurrent": 99})
        agent.popen.send_signal(signal.SIGHUP)
        agent.wait_text(r"jobs\.max_concurrent")
        self.assertTrue(agent.running())
        self.lab.write_config(jobs={"max_concurrent": 2}, handlers={"directories": [second, self.lab.handlers]})
        (second / "new.sh").write_text("#!/bin/sh\nexit 0\n")
        (second / "new.sh").chmod(0o755)
        agent.popen.send_signal(signal.SIGHUP)
        self.lab.create("new", {"operation": "new"})
        self.lab.wait_status("new", "SUCCEEDED")
        self.assertEqual(self.lab.status("slow"), "IN_PROGRESS")
        (self.lab.evidence / "go-on").touch()
        self.lab.wait_status("slow", "SUCCEEDED")
        self.assertEqual(self.lab.witness("runs"), ["x"])

    def test_service_notification(self):
        """READY comes without a network; STATUS names thing and connection; RELOADING and STOPPING are told."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            path = str(self.lab.directory / "notify")
            s.bind(path)
            s.settimeout(20)
            self.lab.stop_broker()
            told = []

            def hear(text):
                while not any(text in t for t in told):
                    told.append(s.recv(8192).decode())
                return True
            agent = self.lab.start_agent(online=False, env={"NOTIFY_SOCKET": path})
            self.assertTrue(hear("READY=1"))
            self.assertTrue(hear(self.lab.thing))
            self.lab.start_broker()
            self.lab.wait_online(agent, since=0)
            agent.popen.send_signal(signal.SIGHUP)
            self.assertTrue(hear("RELOADING=1"))
            agent.popen.send_signal(signal.SIGTERM)
            self.assertTrue(hear("STOPPING=1"))
            self.assertEqual(agent.wait_exit(), 0)

    def test_a_closed_stderr_blocks_nothing(self):
        self.lab.handler("ok.sh", "exit 0")
        path = self.lab.write_config()
        agent = subprocess.Popen([AGENT, "--config", path, "--log=stderr"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=None, env=clean_environment(), preexec_fn=lambda: os.close(2))
        try:
            self.lab.create("closed", {"operation": "ok"})
            self.lab.wait_status("closed", "SUCCEEDED")
        finally:
            agent.terminate()
            self.assertEqual(agent.wait(30), 0)

    def test_a_full_stderr_blocks_nothing(self):
        """Nobody reads the pipe that stderr is."""
        self.lab.handler("chatty.sh", "i=0; while [ $i -lt 5000 ]; do echo a line that fills the pipe; i=$((i+1)); done")
        path = self.lab.write_config()
        agent = subprocess.Popen([AGENT, "--config", path, "--log=stderr"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, env=clean_environment())
        try:
            self.lab.create("full", {"operation": "chatty"})
            self.lab.wait_status("full", "SUCCEEDED")
        finally:
            agent.terminate()
            self.assertEqual(agent.wait(30), 0)
            agent.stderr.close()


class Runners(LabTest):
    """Where no socket unit starts runners, the agent does; one that has ended its run may get the next (tests/unit/test-channel.c)."""

    def setUp(self):
        super().setUp()
        self.lab.handler("who.sh", "echo $PPID >> @EVIDENCE@/runners")
        self.lab.handler("leave.sh", "echo $PPID >> @EVIDENCE@/runners; kill -KILL $PPID")

    def run_jobs(self, *names, operation="who", status="SUCCEEDED"):
        for n in names:
            self.lab.create(n, {"operation": operation})
            self.lab.wait_status(n, status)

    def used(self):
        return [int(x) for x in self.lab.witness("runners")]

    def wait_idle(self):
        wait_for(lambda: not self.lab.runners(), "idle runners to be let go")

    def test_one_serves_several_and_is_let_go(self):
        """A backlog is a burst, however slow the machine is."""
        names = [f"j{i}" for i in range(40)]
        for n in names:
            self.lab.create(n, {"operation": "who"})
        self.lab.start_agent()
        for n in names:
            self.lab.wait_status(n, "SUCCEEDED")
        self.assertEqual(len(self.used()), len(names))
        self.assertLess(len(set(self.used())), 20)
        self.wait_idle()

    def test_each_of_two_at_once_has_its_own(self):
        self.lab.handler("meet.sh", "echo $PPID >> @EVIDENCE@/runners; until [ $(wc -l < @EVIDENCE@/runners) -ge 2 ]; do sleep 0.05; done")
        self.lab.start_agent(jobs={"max_concurrent": 2})
        for n in ("a", "b"):
            self.lab.create(n, {"operation": "meet"})
        for n in ("a", "b"):
            self.lab.wait_status(n, "SUCCEEDED")
        self.assertEqual(len(set(self.used())), 2)
        self.wait_idle()

    def test_a_job_that_kills_its_runner_spoils_it_for_nobody(self):
        self.lab.start_agent()
        self.run_jobs("before")
        self.run_jobs("killer", operation="leave", status="FAILED")
        self.run_jobs("after")
        self.assertEqual(len(self.used()), 3)
        self.assertEqual(self.lab.describe("killer")["status"], "FAILED")

    def test_an_idle_one_that_is_stopped_or_killed(self):
        """What has no run takes SIGTERM as any program does, and the next job another runner."""
        self.lab.start_agent()
        for sig in (signal.SIGTERM, signal.SIGKILL):
            self.run_jobs(f"before-{sig}")
            idle = self.used()[-1]
            try:
                os.kill(idle, sig)
            except ProcessLookupError:
                pass  # let go already: a slow machine
            wait_for(lambda p=idle: p not in self.lab.runners(), "the end of the idle runner")
            self.run_jobs(f"after-{sig}")
            self.assertNotEqual(self.used()[-1], idle)
        self.wait_idle()

    def test_a_reload_wants_new_ones(self):
        """The program itself may be another one now."""
        agent = self.lab.start_agent()
        self.run_jobs("before")
        agent.popen.send_signal(signal.SIGHUP)
        wait_for(lambda: "read again" in agent.text(), "the reload")
        self.run_jobs("after")
        first, second = self.used()
        self.assertNotEqual(first, second)

    def test_a_stopped_agent_leaves_none_idle(self):
        agent = self.lab.start_agent()
        self.run_jobs("last")
        agent.kill(signal.SIGTERM)
        self.wait_idle()
