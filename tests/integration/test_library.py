# SPDX-License-Identifier: Apache-2.0
"""The example programs of libiotjobs, over TLS, and over a WebSocket that somebody else's proxy (websockify) ends."""

import re

from harness import BUILD, LOCALHOST, LabTest, clean_environment, wait_for
from websocket import AWS, needs_websockify, start_websocket

EXAMPLES = BUILD / "conf/examples"


class Examples:
    """What each transport has to show; options() says how to connect."""

    def options(self):
        raise NotImplementedError

    def start(self, name, *more):
        command = [EXAMPLES / f"example-{name}", "--host", LOCALHOST, "--ca", self.lab.authority.cert, "--thing", self.lab.thing,
                   "--client-id", f"{name}-1", *self.options(), *more]
        return self.lab._program(name, command, self.lab.directory / f"{name}.log", clean_environment(**AWS))

    def stop(self, program):
        """SIGTERM is how a user ends them: a clean exit, and nothing left behind by a sanitizer."""
        self.assertEqual(program.kill(15), 0, program.text())

    def test_notifications(self):
        self.lab.create("early", {"operation": "x"})
        p = self.start("notifications")
        p.wait_text("^Waiting for notifications")
        p.wait_text(r"^Job notification on \S+/jobs/get/accepted: \{.*\}\nJob early status: QUEUED")
        self.lab.create("late", {"operation": "y"})
        p.wait_text(r"^Job notification on \S+/jobs/notify: \{.*\}\nJob early status: QUEUED\nJob late status: QUEUED")
        self.lab.delete("early", "--force")
        p.wait_text(r"^Job notification on \S+/jobs/notify-next: \{.*\"late\".*\}\nJob late status: QUEUED")
        self.stop(p)

    def test_worker(self):
        """Two jobs one after the other, and one that comes when there is none."""
        self.lab.create("first", {"operation": "x", "n": 1})
        self.lab.create("second", {"operation": "y"})
        p = self.start("worker")
        for job in ("first", "second"):
            self.assertEqual(self.lab.wait_status(job, "SUCCEEDED")["statusDetails"], {"result": "job completed successfully"})
        p.wait_text("^No job is pending")
        self.lab.create("third", {"operation": "z"})
        self.lab.wait_status("third", "SUCCEEDED")
        p.wait_text(r"^Started job first\nJob document: \{\"operation\": ?\"x\", ?\"n\": ?1\}$")
        p.wait_text(r"^Job third completed successfully")
        steps = [u["statusDetails"].get("progress") for u in self.lab.updates("first")]
        self.assertEqual(steps, ["starting execution", "completed step 1/3", "completed step 2/3", "completed step 3/3", None])
        wait_for(lambda: len(self.lab.requests("start-next")) == len(re.findall("^Starting next", p.text(), re.M)),
                 lambda: f"as many requests on the wire as announced: {self.lab.requests('start-next')}")
        tokens = [u["clientToken"] for j in ("first", "second", "third") for u in self.lab.updates(j)]
        self.assertEqual(len(tokens), len(set(tokens)))
        self.stop(p)

    def test_worker_hears_of_a_cancel(self):
        self.lab.create("gone", {"operation": "x"})
        p = self.start("worker")
        self.lab.wait_status("gone", "IN_PROGRESS")
        self.lab.cancel("gone", "--force")
        p.wait_text(r"^Rejected on \S+/jobs/gone/update/rejected: InvalidStateTransition, ")
        p.wait_text(r"^No job is pending")
        self.stop(p)

    def test_versions(self):
        self.lab.create("known", {"operation": "x"})
        p = self.start("versions", "--job", "known")
        self.assertEqual(self.lab.wait_status("known", "SUCCEEDED")["statusDetails"], {"result": "completed"})
        p.wait_text(r"^Job known completed with version 4$")
        p.wait_text(r"(?s)^Received job message on \S+/jobs/known/get/accepted\nJob known accepted - Status: \w+, Version: \d+\n"
                    r"Document: \{")
        self.assertEqual([u.get("expectedVersion") for u in self.lab.updates("known")], [2, 3])
        start = self.lab.ask("describe", thing=self.lab.thing, job="known")["execution"]
        self.assertEqual(start["versionNumber"], 4)
        self.stop(p)

    def test_versions_of_a_job_that_is_not_there(self):
        p = self.start("versions", "--job", "job-12345")
        p.wait_text(r"^Job operation rejected - Code: ResourceNotFound, Message: ")
        self.stop(p)


class OverTls(Examples, LabTest):
    def options(self):
        cert, key = self.lab.device_cert
        return ["--port", self.lab.tls_port, "--cert", cert, "--key", key]

    def test_worker_survives_the_broker(self):
        """The job in hand when the broker dies is finished with the next one."""
        self.lab.create("long", {"operation": "x"})
        p = self.start("worker")
        p.wait_text(r"^Completed step 1")
        self.lab.stop_broker()
        self.lab.start_broker()
        self.lab.wait_status("long", "SUCCEEDED")
        p.wait_text(r"^Job long completed successfully")
        self.assertEqual(len(re.findall("^Started job long", p.text(), re.M)), 1)
        self.stop(p)

    def test_usage(self):
        for name in ("notifications", "worker", "versions"):
            p = self.lab._program(name, [EXAMPLES / f"example-{name}", "--host", "x"], self.lab.directory / "usage.log")
            self.assertEqual(p.wait_exit(), 2)
            self.assertIn("Usage:", p.text())

    def test_nobody_there(self):
        self.lab.stop_broker()
        p = self.start("notifications")
        self.assertEqual(p.wait_exit(), 1)
        self.assertRegex(p.text(), rf"^connect: .*{self.lab.tls_port}.*refused")


@needs_websockify
class OverWebSocket(Examples, LabTest):
    def setUp(self):
        super().setUp()
        self.port, self.proxy = start_websocket(self.lab)

    def options(self):
        return ["--port", self.port, "--websocket", "--region", "eu-west-1"]

    def test_signature_is_in_the_request(self):
        p = self.start("notifications")
        p.wait_text("^Waiting for notifications")
        self.proxy.wait_text(r"GET /mqtt\?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F\d{8}%2Feu-west-1%2F"
                             r"iotdevicegateway%2Faws4_request&\S*X-Amz-Signature=[0-9a-f]{64}"
                             r"&X-Amz-Security-Token=tok%2Fen%2B%3D")
        self.stop(p)
