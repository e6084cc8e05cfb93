# SPDX-License-Identifier: Apache-2.0
"""A service that loses, doubles, delays and refuses; two devices with one identity; records that are lost."""

import os
import shutil

from harness import FakeService, LabTest, wait_for

NOTE = 'echo "$IOT_JOB_ID" >>@EVIDENCE@/ran'


class Unreliable(LabTest):
    service = ("--drop", "0.15", "--duplicate", "0.2", "--delay", "20", "--reject", "RequestThrottled:0.1",
               "--reject", "InternalError:0.1", "--seed", "7")

    def test_jobs_on_an_unreliable_service(self):
        """P2, P3: a lossy, throttling, repeating service; every job runs once and its result arrives."""
        self.lab.handler("note.sh", NOTE)
        self.lab.start_agent(connection={"operation_timeout": 1}, jobs={"poll_interval": 10})
        names = [f"u{i}" for i in range(8)]
        for n in names:
            self.lab.create(n, {"operation": "note"})
        for n in names:
            self.lab.wait_status(n, "SUCCEEDED", timeout=120)
        self.assertEqual(sorted(self.lab.witness("ran")), sorted(names))


class Refusals(LabTest):
    service = None

    def setUp(self):
        super().setUp()
        self.fake = FakeService(self.lab)
        self.lab.handler("note.sh", NOTE + '; echo "text for the details" >&2; echo mine=1 >&3')

    def run_against(self, refuse, expected="SUCCEEDED"):
        self.fake.refuse = refuse
        self.lab.start_agent(connection={"operation_timeout": 1}, handlers={"report_output": "always"})
        self.fake.add("job", '{"operation":"note"}')
        x = self.fake.wait_status("job", expected)
        self.assertEqual(self.lab.witness("ran"), ["job"])
        return x

    def test_refused_details_do_not_cost_the_status(self):
        """Details are refused as invalid: fewer are sent, the status is never lost."""
        self.run_against(lambda job, r: "InvalidRequest" if r["status"] == "SUCCEEDED" and len(r.get("statusDetails", {})) > 1
                         else None)

    def test_no_details_are_taken_at_all(self):
        self.run_against(lambda job, r: "InvalidRequest" if r["status"] == "SUCCEEDED" and r.get("statusDetails") else None)

    def test_lost_replies(self):
        """The first claim and the first two results get no answer."""
        counts = {}

        def refuse(job, r):
            counts[r["status"]] = counts.get(r["status"], 0) + 1
            return "silence" if counts[r["status"]] <= {"IN_PROGRESS": 1, "SUCCEEDED": 2}.get(r["status"], 0) else None
        self.run_against(refuse)

    def test_foreign_replies_start_nothing(self):
        """While the claim waits for its answer, others' answers come on the same topics: the handler is not started."""
        silent = True
        self.fake.refuse = lambda job, r: "silence" if silent else None
        self.lab.start_agent(connection={"operation_timeout": 1})
        self.fake.add("job", '{"operation":"note"}')

        def claims():
            return self.lab.requests("job/update")
        wait_for(claims, "the claim")
        for token in ('"clientToken":"another",', '"clientToken":"",', ""):
            for tail in ("job/update/accepted", "job/get/accepted", "get/accepted", "start-next/accepted"):
                self.lab.wire.publish(self.lab.topic(tail), "{%s\"timestamp\":1}" % token)
        seen = len(claims())
        wait_for(lambda: len(claims()) > seen, "another attempt to claim: the first had no answer")
        self.assertEqual(self.lab.witness("ran"), [])
        silent = False
        self.fake.wait_status("job", "SUCCEEDED")
        self.assertEqual(self.lab.witness("ran"), ["job"])

    def test_unknown_error_codes_are_tried_again(self):
        counts = {}

        def refuse(job, r):
            counts[r["status"]] = counts.get(r["status"], 0) + 1
            return "SomethingNew" if counts[r["status"]] <= 1 else None
        self.run_against(refuse)

    def test_a_refused_claim_starts_nothing(self):
        """The execution is over before it began: the handler never runs, the next job does."""
        self.fake.refuse = lambda job, r: self.end(job) if job == "over" else None
        self.lab.start_agent()
        self.fake.add("over", '{"operation":"note"}')
        self.fake.add("next", '{"operation":"note"}')
        self.fake.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.witness("ran"), ["next"])

    def end(self, job):
        self.fake.jobs[job]["status"] = "CANCELED"
        return "InvalidStateTransition"


class Identity(LabTest):
    def test_two_devices_with_one_identity(self):
        """N12: a cloned device; each job runs on one of them, and only there."""
        self.lab.handler("note.sh", NOTE)
        self.lab.start_agent()
        self.lab.start_agent(config=self.lab.write_config("clone.conf", client_id=self.lab.thing + "-clone",
                                                          state_directory=self.lab.directory / "state-2",
                                                          runtime_directory=self.lab.directory / "run-2"))
        names = [f"i{i}" for i in range(10)]
        for n in names:
            self.lab.create(n, {"operation": "note"})
        for n in names:
            self.lab.wait_status(n, "SUCCEEDED")
        self.assertEqual(sorted(self.lab.witness("ran")), sorted(names))


class Orphans(LabTest):
    """IN_PROGRESS in the cloud, no record here: the device was flashed anew, or its state directory was lost. Whose claim it
    is cannot be known: as long as the service's timer runs another device may have it."""

    def lose_record(self, step_timeout_margin=0):
        self.lab.handler("orphan.sh", "echo $IOT_JOB_ATTEMPT >>@EVIDENCE@/runs; [ -e @EVIDENCE@/go-on ] || exec sleep 600")
        agent = self.lab.start_agent(jobs={"step_timeout_margin": step_timeout_margin})
        self.lab.create("orphan", {"operation": "orphan"})
        self.lab.wait_witness("runs")
        runner = self.lab.runners()
        agent.kill()
        for pid in [*runner, *self.lab.job_processes()]:
            os.kill(pid, 9)
        wait_for(lambda: not self.lab.job_processes(), "the end of every process")
        shutil.rmtree(self.lab.state)
        shutil.rmtree(self.lab.runtime)
        (self.lab.evidence / "go-on").touch()
        self.lab.handler("ok.sh", "exit 0")
        self.lab.create("next", {"operation": "ok"})

    def test_fail(self):
        self.lose_record()
        self.lab.start_agent()
        x = self.lab.wait_status("orphan", "FAILED")
        self.assertRegex(x["statusDetails"]["reason"], "^orphaned")
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(len(self.lab.witness("runs")), 1)

    def test_run(self):
        self.lose_record()
        self.lab.start_agent(jobs={"on_orphan": "run"})
        self.lab.wait_status("orphan", "SUCCEEDED")
        self.assertEqual(len(self.lab.witness("runs")), 2)
        self.lab.wait_status("next", "SUCCEEDED")

    def test_a_running_timer(self):
        """Left alone with a warning, whatever the policy; later jobs go on meanwhile."""
        self.lose_record(step_timeout_margin=3600)
        agent = self.lab.start_agent(jobs={"on_orphan": "run"})
        self.lab.wait_status("next", "SUCCEEDED")
        agent.wait_text(r"warning left alone.*IOT_JOB_ID=orphan")
        self.assertEqual(self.lab.status("orphan"), "IN_PROGRESS")
        self.assertEqual(len(self.lab.witness("runs")), 1)

    def test_leave(self):
        self.lose_record()
        agent = self.lab.start_agent(jobs={"on_orphan": "leave"})
        self.lab.wait_status("next", "SUCCEEDED")
        self.assertEqual(self.lab.status("orphan"), "IN_PROGRESS")
        agent.wait_text(r"warning.*IOT_JOB_ID=orphan")
        self.assertEqual(len(self.lab.witness("runs")), 1)
