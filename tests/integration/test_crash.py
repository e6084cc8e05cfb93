# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the agent, the runner and both, with the broker gone or the job cancelled in between (promises P2–P5)."""

import os
import signal

from harness import LabTest, process_table, wait_for

# Starts once, can be let go on, says when it is done.
PATIENT = r"""
echo "$IOT_JOB_ATTEMPT $IOT_JOB_PHASE" >>@EVIDENCE@/runs
while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done
echo done >>@EVIDENCE@/done"""
# A tree that no signal but SIGKILL ends: the handler, a child, and a double-forked grandchild in a session of its own.
STUBBORN = r"""
trap '' TERM INT HUP
setsid sh -c 'trap "" TERM INT HUP; (while :; do sleep 0.2; done) & exec sleep 600' &
echo x >>@EVIDENCE@/started
while :; do sleep 0.2; done"""
# What does the job that comes next see of the one before? (Other tests run beside this one: the key has the thing's name.)
NEXT = r"""
for e in /proc/[0-9]*/environ; do
        if tr '\0' '\n' 2>/dev/null <"$e" | grep -q "^IOT_JOB_KEY=$IOT_JOB_THING\.former\."; then echo "$e" >>@EVIDENCE@/overlap; fi
done
exit 0"""


class Agent(LabTest):
    def setUp(self):
        super().setUp()
        self.lab.handler("patient.sh", PATIENT)
        self.lab.handler("stubborn.sh", STUBBORN)
        self.lab.handler("next.sh", NEXT)

    def go_on(self):
        (self.lab.evidence / "go-on").touch()

    def start(self, job="former", operation="patient", witness="runs", **changes):
        agent = self.lab.start_agent(**changes)
        self.lab.create(job, {"operation": operation})
        self.lab.wait_witness(witness)
        return agent

    def assert_ran_once(self):
        self.assertEqual(self.lab.witness("runs"), ["1 run"])

    def test_kill_agent_in_mid_handler(self):
        """P2, P3: the handler goes on, the new agent attaches, SUCCEEDED arrives, one run."""
        agent = self.start()
        agent.kill()
        self.assertTrue(self.lab.job_processes("former"))
        self.lab.start_agent()
        self.go_on()
        self.lab.wait_status("former", "SUCCEEDED")
        self.assert_ran_once()

    def test_kill_agent_handler_ends_while_it_is_away(self):
        agent = self.start()
        agent.kill()
        self.go_on()
        self.lab.wait_witness("done")
        wait_for(lambda: not self.lab.job_processes("former"), "the end of the handler")
        self.assertEqual(self.lab.status("former"), "IN_PROGRESS")
        self.lab.start_agent()
        self.lab.wait_status("former", "SUCCEEDED")
        self.assert_ran_once()

    def test_kill_agent_many_times(self):
        agent = self.start()
        for _ in range(5):
            agent.kill()
            agent = self.lab.start_agent()
        agent.kill()
        agent = self.lab.start_agent(online=False)
        self.go_on()
        self.lab.wait_status("former", "SUCCEEDED")
        self.assert_ran_once()

    def test_kill_agent_broker_gone_in_between(self):
        """The result waits on disk until both agent and broker are back."""
        agent = self.start()
        agent.kill()
        self.lab.stop_broker()
        self.go_on()
        self.lab.wait_witness("done")
        agent = self.lab.start_agent(online=False)
        agent.wait_text(r"(?i)refused|cannot connect|failed")
        agent.kill()
        self.lab.start_broker()
        self.lab.start_agent()
        self.lab.wait_status("former", "SUCCEEDED")
        self.assert_ran_once()

    def test_broker_gone_while_the_handler_runs(self):
        self.start()
        self.lab.stop_broker()
        self.go_on()
        self.lab.wait_witness("done")
        self.lab.start_broker()
        self.lab.wait_status("former", "SUCCEEDED")
        self.assert_ran_once()

    def test_kill_agent_job_cancelled_in_between(self):
        """P4, P5: nothing is left running before the next job starts, and nothing is sent for the cancelled one."""
        agent = self.start(operation="stubborn", witness="started")
        agent.kill()
        before = len(self.lab.updates("former"))
        self.lab.cancel("former", "--force")
        self.lab.create("next", {"operation": "next"})
        self.assertTrue(self.lab.job_processes("former"))
        self.lab.start_agent()
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.witness("overlap"), [])
        self.assertEqual(self.lab.job_processes("former"), [])
        self.assertEqual(self.lab.status("former"), "CANCELED")
        self.assertEqual(len(self.lab.updates("former")), before)

    def test_cancelled_while_it_runs(self):
        self.start(operation="stubborn", witness="started")
        self.lab.cancel("former", "--force")
        self.lab.create("next", {"operation": "next"})
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.witness("overlap"), [])
        self.assertEqual(self.lab.job_processes("former"), [])

    def kill_runner(self):
        os.kill(self.lab.runner_of("former"), signal.SIGKILL)

    def test_kill_runner(self):
        """A dead runner's tree dies before any verdict; the attempt is FAILED as interrupted, and not run again."""
        self.start(operation="stubborn", witness="started")
        self.lab.create("next", {"operation": "next"})
        self.kill_runner()
        x = self.lab.wait_status("former", "FAILED")
        self.assertRegex(x["statusDetails"]["reason"], "^interrupted")
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.witness("overlap"), [])
        self.assertEqual(self.lab.job_processes("former"), [])
        self.assertEqual(len(self.lab.witness("started")), 1)

    def test_kill_runner_and_agent(self):
        agent = self.start(operation="stubborn", witness="started")
        self.lab.create("next", {"operation": "next"})
        agent.kill()
        self.kill_runner()
        self.lab.start_agent()
        x = self.lab.wait_status("former", "FAILED")
        self.assertRegex(x["statusDetails"]["reason"], "^interrupted")
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.witness("overlap"), [])
        self.assertEqual(len(self.lab.witness("started")), 1)

    def test_kill_runner_agent_away_and_job_cancelled(self):
        agent = self.start(operation="stubborn", witness="started")
        agent.kill()
        self.kill_runner()
        self.lab.cancel("former", "--force")
        self.lab.create("next", {"operation": "next"})
        self.lab.start_agent()
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.witness("overlap"), [])
        self.assertEqual(self.lab.job_processes("former"), [])

    def test_on_interrupt_rerun(self):
        """handlers.on_interrupt = rerun: the next attempt, counted and told to the handler."""
        self.start(handlers={"on_interrupt": "rerun"})
        self.kill_runner()
        self.lab.wait_witness("runs", 2)
        self.go_on()
        self.lab.wait_status("former", "SUCCEEDED")
        self.assertEqual(self.lab.witness("runs"), ["1 run", "2 rerun"])

    def test_left_over_tree_is_stopped_when_the_handler_ends(self):
        """What a handler leaves behind is stopped; the job ends with the handler's own exit."""
        self.lab.handler("leave.sh", r"""
setsid sh -c 'trap "" TERM; (trap "" TERM; while :; do sleep 0.2; done) & exec sleep 600' &
echo x >>@EVIDENCE@/left; exit 0""")
        self.lab.start_agent()
        self.lab.create("former", {"operation": "leave"})
        self.lab.create("next", {"operation": "next"})
        self.lab.wait_status("former", "SUCCEEDED")
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.witness("overlap"), [])
        self.assertEqual(self.lab.job_processes("former"), [])

    def test_runner_is_no_part_of_the_agent(self):
        """The runner has a session of its own, so that a terminal's or a group's signal does not end it."""
        agent = self.start()
        runner = self.lab.runner_of("former")
        self.assertEqual(os.getsid(runner), runner)
        self.assertNotEqual(os.getsid(runner), os.getsid(agent.pid))
        agent.kill(signal.SIGTERM)
        self.assertIn(runner, process_table())
        self.lab.start_agent()
        self.go_on()
        self.lab.wait_status("former", "SUCCEEDED")

    def test_kill_agent_at_once(self):
        """The agent dies at the moment a job comes: whatever it had done, the job runs once and ends."""
        self.go_on()
        for i in range(6):
            agent = self.lab.start_agent()
            self.lab.create(f"moment{i}", {"operation": "patient"})
            agent.kill()
        self.lab.start_agent()
        for i in range(6):
            self.lab.wait_status(f"moment{i}", "SUCCEEDED", "FAILED")
        self.assertLessEqual(len(self.lab.witness("runs")), 6)
        self.assertEqual(set(self.lab.witness("runs")), {"1 run"})
