# SPDX-License-Identifier: Apache-2.0
"""The example programs of libiotjobs, over TLS, and over a WebSocket that somebody else's proxy (websockify) ends."""

import pathlib
import re
import shutil
import unittest

from harness import BUILD, LOCALHOST, LabTest, clean_environment, free_port, wait_for

EXAMPLES = BUILD / "conf/examples"
AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_SESSION_TOKEN": "tok/en+="}


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


WEBSOCKIFY = shutil.which("websockify")
# Of the subprotocols that a client offers it knows "binary" only, and asks to be taught others by overriding this.
TEACH_MQTT = """
import sys
from websockify import websocketproxy, websocketserver
server = websocketproxy.ProxyRequestHandler.SocketClass
server.select_subprotocol = lambda self, offered: "mqtt" if "mqtt" in offered else ""
sys.exit(websocketproxy.websockify_init())
"""


@unittest.skipUnless(WEBSOCKIFY, "websockify is not installed")
class OverWebSocket(Examples, LabTest):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        cert, key = self.lab.server_cert
        python = pathlib.Path(WEBSOCKIFY).read_text().splitlines()[0].removeprefix("#!").split()
        self.proxy = self.lab._program("websockify", [*python, "-c", TEACH_MQTT, "-v", "--cert", cert, "--key", key, "--ssl-only",
                                                      f"127.0.0.1:{self.port}", f"127.0.0.1:{self.lab.plain_port}"],
                                       self.lab.directory / "websockify.log")
        wait_for(lambda: "proxying from" in self.proxy.text() or not self.proxy.running(), self.proxy.text)

    def options(self):
        return ["--port", self.port, "--websocket", "--region", "eu-west-1"]

    def test_signature_is_in_the_request(self):
        p = self.start("notifications")
        p.wait_text("^Waiting for notifications")
        self.proxy.wait_text(r"GET /mqtt\?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F\d{8}%2Feu-west-1%2F"
                             r"iotdevicegateway%2Faws4_request&\S*X-Amz-Signature=[0-9a-f]{64}"
                             r"&X-Amz-Security-Token=tok%2Fen%2B%3D")
        self.stop(p)
