# SPDX-License-Identifier: Apache-2.0
"""iot-jobs-sim on a real broker: the service as a device sees it, and the operator's verbs. The rules themselves are
tested in tests/unit/test-model.c."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time

from harness import LOCALHOST, SIM, LabTest, clean_environment, free_port, wait_for

DOCUMENT = {"operation": "test"}


class SimTest(LabTest):
    def send(self, tail, payload, **options):
        text = payload if isinstance(payload, (str, bytes)) else json.dumps(payload)
        self.lab.wire.publish(self.lab.topic(tail), text, **options)

    def call(self, tail, **members):
        """A device's request → (last level of the reply's topic, reply)."""
        token = os.urandom(6).hex()
        self.send(tail, {"clientToken": token, **members})
        topics = {self.lab.topic(f"{tail}/{r}") for r in ("accepted", "rejected")}
        m = self.lab.wire.wait(lambda m: m.topic in topics and json.loads(m.payload).get("clientToken") == token)
        self.assertIsNotNone(m, f"no reply to {tail}")
        return m.topic.rsplit("/", 1)[1], json.loads(m.payload)

    def update(self, job, status, **members):
        reply, body = self.call(f"{job}/update", status=status, **members)
        self.assertEqual(reply, "accepted", body)
        return body

    def tails(self):
        """Tails of all topics seen so far. An answered verb in between makes sure that nothing is under way."""
        self.lab.ask("hello")
        self.call("get")
        prefix = self.lab.topic("")
        return [m.topic[len(prefix):] for m in self.lab.wire.messages if m.topic.startswith(prefix)]

    def follow(self, job, *options, document=DOCUMENT, things=()):
        """`create --wait` in the background."""
        command = self.lab.sim_command("create", "--job", job, "--document", self.lab.document(job, document), "--wait",
                                       *[a for t in things or [self.lab.thing] for a in ("--thing", t)], *options)
        follower = self.lab._program(f"create {job}", command, self.lab.directory / f"create-{job}.log")
        follower.wait_text("QUEUED")
        return follower


class Service(SimTest):
    def test_worked_sequence_in_order(self):
        """Protocol notes 5.3, on the wire: reply, notify, notify-next."""
        steps = [
            (lambda: self.lab.create("J1", DOCUMENT), ["notify", "notify-next"]),
            (lambda: self.lab.create("J2", DOCUMENT), ["notify"]),
            (lambda: self.call("start-next"), ["start-next", "start-next/accepted"]),
            (lambda: self.lab.create("J3", DOCUMENT), ["notify"]),
            (lambda: self.update("J1", "SUCCEEDED"), ["J1/update", "J1/update/accepted", "notify", "notify-next"]),
            (lambda: self.update("J3", "IN_PROGRESS"), ["J3/update", "J3/update/accepted", "notify-next"]),
            (lambda: self.update("J2", "REJECTED"), ["J2/update", "J2/update/accepted", "notify"]),
            (lambda: self.lab.delete("J3", "--force"), ["notify", "notify-next"]),
        ]
        seen = len(self.tails())
        for act, expected in steps:
            act()
            now = self.tails()
            self.assertEqual(now[seen:-2], expected)
            seen = len(now)
        last = [json.loads(m.payload) for m in self.lab.wire.messages if m.topic.endswith(("/notify", "/notify-next"))][-2:]
        self.assertEqual(last[0]["jobs"], {})
        self.assertEqual(list(last[1]), ["timestamp"])

    def test_nothing_is_retained(self):
        self.lab.create("a", DOCUMENT)
        self.update("a", "IN_PROGRESS")
        late = self.lab.eyes()
        self.call("get")
        late.wait(lambda m: m.topic.endswith("/get/accepted"))
        self.assertEqual([m.topic for m in late.messages if m.retained], [])
        self.assertFalse([m for m in late.messages if m.topic.endswith("notify")])

    def test_wrong_topics_are_answered_once(self):
        """InvalidTopic, and no answer to an answer: the service hears all of its own publications."""
        for tail in ("foo", "a/start", "a/get/now"):
            self.assertEqual(self.call(tail)[1]["code"], "InvalidTopic")
        self.assertEqual(self.call("bad.id/get")[1]["code"], "InvalidRequest")
        for tail in ("foo/rejected", "get/accepted", "notify", "a/get/rejected"):
            self.send(tail, "{}")
        seen = self.tails()
        self.assertEqual([t for t in seen if t.startswith(("foo", "a/", "bad"))],
                         ["foo", "foo/rejected", "a/start", "a/start/rejected", "a/get/now", "a/get/now/rejected", "bad.id/get",
                          "bad.id/get/rejected", "foo/rejected", "a/get/rejected"])

    def test_what_no_device_may_send_is_ignored(self):
        self.lab.create("a", DOCUMENT)
        self.send("a/update", {"status": "SUCCEEDED", "clientToken": "x" * 140000})
        self.assertEqual(self.call("a/get")[1]["execution"]["status"], "QUEUED")
        self.send("a/update", {"status": "SUCCEEDED"}, retain=True)
        self.lab.service.kill(signal.SIGTERM)
        self.lab.start_service()
        self.lab.create("a", DOCUMENT)
        self.lab.service.wait_text("retained")
        self.assertEqual(self.lab.status("a"), "QUEUED")
        self.assertIn("140", self.lab.service.log.read_text())
        self.send("a/update", "", retain=True)  # the broker forgets it

    def test_garbage_for_the_operator_topics(self):
        for text in (b"", b"{", b"[]", b"\xff", b'{"verb":"list"}', b'{"verb":"list","reply":"../x"}', b'{"verb":5,"reply":"a"}',
                     b'{"verb":"create","reply":"a","id":[{}]}'):
            self.lab.wire.publish("iot-jobs-sim/request", text)
        self.assertTrue(self.lab.ask("hello")["ok"])
        self.assertIn("reply", self.lab.service.text())

    def test_many_things_and_pages(self):
        for i in range(600):
            answer = self.lab.ask("create", thing=f"thing{i % 60}", job=f"job{i}", document='{"operation":"x"}')
            self.assertTrue(answer["ok"], answer)
        rows = [json.loads(line) for line in self.lab.sim("list", "--json").stdout.splitlines()]
        self.assertEqual(len(rows), 600)
        self.assertEqual(len({(r["thingName"], r["jobId"]) for r in rows}), 600)
        rows = self.lab.sim("list", "--thing", "thing7").stdout.splitlines()
        self.assertEqual(len(rows), 11)
        self.assertIn("STATUS", rows[0])

    def test_signals_end_it(self):
        self.assertEqual(self.lab.service.kill(signal.SIGTERM), 0)
        self.lab.start_service()
        self.assertEqual(self.lab.service.kill(signal.SIGINT), 0)

    def test_a_second_server_ends(self):
        second = self.lab._program("second", self.lab.sim_command("serve"), self.lab.directory / "second.log")
        self.assertEqual(second.wait_exit(), 1)
        self.assertIn("another iot-jobs-sim serves", second.text())
        self.assertNotRegex(second.text(), r"(?m)^ready")
        self.assertTrue(self.lab.service.running())
        self.assertTrue(self.lab.ask("hello")["ok"])

    def test_what_comes_before_it_is_ready_is_answered(self):
        """Between its subscription and `ready` a server listens for another one; it answers nothing, and loses nothing."""
        self.lab.service.kill(signal.SIGTERM)
        watcher = self.lab.eyes("iot-jobs-sim/request", "iot-jobs-sim/events")
        self.lab.service = self.lab._program("iot-jobs-sim", self.lab.sim_command("serve"), self.lab.directory / "service.log")
        self.assertIsNotNone(watcher.wait(lambda m: m.topic == "iot-jobs-sim/request", 30))
        answer = self.lab.ask("create", thing=self.lab.thing, job="early", document="{}")
        self.assertTrue(answer["ok"], answer)
        self.assertRegex(self.lab.service.text(), r"(?m)^ready$")

    def test_broker_restart(self):
        self.lab.create("a", DOCUMENT)
        follower = self.follow("b")
        self.lab.stop_broker()
        self.lab.start_broker()
        wait_for(lambda: (self.lab.describe("a") or {}).get("status") == "QUEUED", "the service to come back")
        self.update("b", "SUCCEEDED")
        self.assertEqual(follower.wait_exit(), 0)

    def test_following_ends_when_the_server_forgot(self):
        follower = self.follow("a")
        self.lab.service.kill(signal.SIGKILL)
        self.lab.start_service()
        self.assertEqual(follower.wait_exit(), 1)
        self.assertIn("ResourceNotFound", follower.text())


class TimeScale(SimTest):
    service = ("--time-scale", "600")

    def test_minutes_pass_in_a_tenth_of_a_second(self):
        follower = self.follow("a", "--in-progress-timeout", "1", "--retries", "1")
        execution = self.call("start-next")[1]["execution"]
        self.assertIn(execution["approximateSecondsBeforeTimedOut"], range(0, 60))
        follower.wait_text("#2 QUEUED")
        self.call("start-next")
        self.assertEqual(follower.wait_exit(), 1)
        self.assertEqual(re.findall(r"QUEUED|IN_PROGRESS|TIMED_OUT", follower.text()), ["QUEUED", "IN_PROGRESS", "TIMED_OUT"] * 2)


class Faults(SimTest):
    service = None

    def counted(self, *options, calls=40):
        """How the service behaves over some requests: the tails it published, in order."""
        self.lab.start_service(*options)
        start = len(self.lab.wire.messages)
        for i in range(calls):
            self.send("get", {"clientToken": str(i)})
        self.lab.ask("hello")
        barrier = self.lab.topic("barrier")
        self.lab.wire.publish(barrier, "{}")
        self.lab.wire.wait(lambda m: m.topic == barrier)
        found = [(m.topic.rsplit("/", 1)[1], json.loads(m.payload)["clientToken"]) for m in self.lab.wire.messages[start:]
                 if m.topic.endswith(("get/accepted", "get/rejected"))]
        self.assertEqual(self.lab.service.kill(signal.SIGTERM), 0)
        return found

    def test_drop(self):
        self.assertEqual(self.counted("--drop", "1"), [])

    def test_duplicate(self):
        self.assertEqual(self.counted("--duplicate", "1", calls=3), [("accepted", t) for t in "001122"])

    def test_reject(self):
        self.assertEqual(self.counted("--reject", "RequestThrottled:1", calls=2), [("rejected", "0"), ("rejected", "1")])

    def test_seed(self):
        faults = ("--drop", "0.2", "--duplicate", "0.2", "--reject", "InternalError:0.2", "--seed")
        one, two, other = (self.counted(*faults, seed) for seed in ("7", "7", "8"))
        self.assertEqual(one, two)
        self.assertNotEqual(one, other)
        self.assertEqual({kind for kind, _ in one}, {"accepted", "rejected"})
        self.assertLess(len({t for _, t in one}), 40)

    def test_delay(self):
        self.lab.start_service("--delay", "300")
        start = time.monotonic()
        self.call("get")
        self.assertGreaterEqual(time.monotonic() - start, 0.3)


class Operator(SimTest):
    def test_create_wait_succeeded(self):
        follower = self.follow("a")
        self.update("a", "IN_PROGRESS", statusDetails={"step": "1/2 Install", "progress": "40%", "claim": "abcdefgh"})
        self.update("a", "SUCCEEDED", statusDetails={"step": "2/2 Start"})
        self.assertEqual(follower.wait_exit(), 0)
        lines = [line.split("  ", 1)[1] for line in follower.text().splitlines()]
        self.assertEqual(lines[0], "QUEUED")
        self.assertTrue(lines[1].startswith("IN_PROGRESS  ") and 'step="1/2 Install"' in lines[1] and "progress=40%" in lines[1])
        self.assertEqual(lines[2:], ['SUCCEEDED  step="2/2 Start"'])

    def test_create_wait_of_everything_else(self):
        for job, end in (("failed", lambda j: self.update(j, "FAILED")), ("rejected", lambda j: self.update(j, "REJECTED")),
                         ("canceled", lambda j: self.lab.cancel(j)), ("deleted", lambda j: self.lab.delete(j, "--force"))):
            follower = self.follow(job)
            end(job)
            self.assertEqual(follower.wait_exit(), 1)
            self.assertIn(job.upper(), follower.text().splitlines()[-1])

    def test_create_wait_follows_retries(self):
        follower = self.follow("a", "--retries", "2", "--json")
        self.update("a", "FAILED")
        self.update("a", "IN_PROGRESS")
        self.update("a", "SUCCEEDED")
        self.assertEqual(follower.wait_exit(), 0)
        events = [json.loads(line) for line in follower.text().splitlines()]
        self.assertEqual([(e["executionNumber"], e["status"]) for e in events],
                         [(1, "QUEUED"), (1, "FAILED"), (2, "QUEUED"), (2, "IN_PROGRESS"), (2, "SUCCEEDED")])

    def test_create_for_several_things(self):
        other = self.lab.thing + "-2"
        follower = self.follow("a", things=[self.lab.thing, other])
        follower.wait_text(f"{other}  QUEUED")
        self.update("a", "SUCCEEDED")
        follower.wait_text(f"{self.lab.thing}  SUCCEEDED")
        self.assertTrue(follower.running())
        self.lab.wire.publish(self.lab.topic("a/update", thing=other), '{"status":"FAILED"}')
        self.assertEqual(follower.wait_exit(), 1)

    def test_progress_bar_on_a_terminal(self):
        master, slave = pty.openpty()
        command = self.lab.sim_command("create", "--thing", self.lab.thing, "--job", "a", "--wait", "--document",
                                       self.lab.document("a", DOCUMENT))
        p = subprocess.Popen([str(c) for c in command], stdin=slave, stdout=slave, stderr=slave, env=clean_environment())
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        os.close(slave)
        shown = b""

        def read_until(text):
            nonlocal shown
            while text not in shown:
                shown += os.read(master, 4096)

        read_until(b"QUEUED")
        self.update("a", "IN_PROGRESS", statusDetails={"progress": "50", "note": "half"})
        read_until(b"[##########..........]  50 %")
        self.update("a", "IN_PROGRESS", statusDetails={"progress": "100%"})
        read_until(b"[####################] 100 %")
        self.update("a", "SUCCEEDED")
        read_until(b"SUCCEEDED  progress=100%\r\n")
        self.assertEqual(p.wait(20), 0)
        os.close(master)
        # Two statuses that stayed, one line that was drawn over.
        self.assertEqual(shown.count(b"\n"), 3)

    def test_document_and_parameters(self):
        template = '\n{ "operation":"x", "a":"${aws:iot:parameter:name}","b":"${aws:iot:parameter:unset}", "n":1.0 }\n'
        self.lab.create("a", template, "--parameter", 'name=say "hi"=\\')
        self.assertEqual(json.loads(self.lab.sim("describe", "--thing", self.lab.thing, "--job", "a", "--json").stdout)
                         ["jobDocument"], {"operation": "x", "a": 'say "hi"=\\', "b": "", "n": 1.0})
        notified = self.lab.wire.wait(lambda m: m.topic.endswith("notify-next"))
        self.assertIn('{ "operation":"x", "a":"say \\"hi\\"=\\\\","b":"", "n":1.0 }', notified.payload.decode())
        for options, words in (((DOCUMENT, "--parameter", "nme=x"), "nme"), (("[]",), "object"), (("{",), "document"),
                               ((json.dumps({"pad": "x" * 33000}),), "32768"), ((b'{"a":"\xff"}',), "UTF-8"), ((b'{"a":1}\0',), "document")):
            r = self.lab.sim("create", "--thing", self.lab.thing, "--job", "b", "--document",
                             self.lab.document("b", options[0]), *options[1:], check=False)
            self.assertEqual(r.returncode, 1)
            self.assertIn(words, r.stderr)
            self.assertIn("document-b.json", r.stderr)
        r = self.lab.sim("create", "--thing", "t", "--job", "b", "--document", "/nowhere/x.json", check=False)
        self.assertEqual((r.returncode, "/nowhere/x.json" in r.stderr), (1, True))
        self.assertIsNone(self.lab.describe("b"))

    def test_refusals_name_code_and_cause(self):
        self.lab.create("a", DOCUMENT)
        self.update("a", "IN_PROGRESS")
        for verb, job, words in (("cancel", "a", "InvalidStateTransition.*force"), ("delete", "a", "InvalidStateTransition.*force"),
                                 ("cancel", "b", "ResourceNotFound.*'b'"), ("describe", "b", "ResourceNotFound.*'b'")):
            r = self.lab.sim(verb, "--thing", self.lab.thing, "--job", job, check=False)
            self.assertEqual(r.returncode, 1)
            self.assertRegex(r.stderr, words)
            self.assertEqual(r.stdout, "")
        r = self.lab.sim("create", "--thing", self.lab.thing, "--job", "a", "--document", self.lab.document("a", DOCUMENT),
                         check=False)
        self.assertRegex(r.stderr, "ResourceAlreadyExists.*a")
        self.assertEqual(json.loads(self.lab.cancel("a", "--force", "--json").stdout),
                         {"thing": self.lab.thing, "job": "a", "cancelled": True})
        self.assertEqual(self.lab.status("a"), "CANCELED")

    def test_watch(self):
        watcher = self.lab._program("watch", self.lab.sim_command("watch", "--json", "--job", "a"),
                                    self.lab.directory / "watch.log")
        before = time.time()

        def seen():
            self.lab.ask("create", thing=self.lab.thing, job="a", document="{}")
            self.lab.ask("delete", thing=self.lab.thing, job="a", force=True)
            return watcher.text()

        wait_for(seen, "the watcher to see an event")
        self.lab.create("b", DOCUMENT)
        self.lab.create("a", DOCUMENT)
        watcher.wait_text('"status":"QUEUED".*\n.*"DELETED".*\n(.*\n)*.*"QUEUED".*\n\\Z')
        events = [json.loads(line) for line in watcher.text().splitlines()]
        self.assertEqual({e["jobId"] for e in events}, {"a"})
        self.assertTrue(before <= events[0]["at"] / 1e6 <= time.time())
        self.assertEqual(watcher.kill(signal.SIGTERM), 0)

    def test_usage(self):
        for arguments, words in (((), "a verb"), (("fly",), "fly"), (("serve", "x"), "x"), (("create",), "--thing"),
                                 (("create", "--thing", "t"), "--job"), (("create", "--thing", "t", "--job", "j"), "--document"),
                                 (("cancel", "--thing", "a/b", "--job", "j"), "a/b"), (("list", "--thing", "a", "--thing", "b"), "one"),
                                 (("cancel", "--thing", "t", "--job", "a.b"), "a.b"), (("serve", "--thing", "t"), "--thing"),
                                 (("list", "--drop", "1"), "--drop"), (("serve", "--drop", "2"), "--drop"),
                                 (("serve", "--drop", "nan"), "--drop"), (("serve", "--reject", "Oops:1"), "Oops"),
                                 (("serve", "--reject", "InternalError"), "CODE:P"), (("serve", "--time-scale", "0"), "--time-scale"),
                                 (("-p", "0", "list"), "-p"), (("-p", "70000", "list"), "70000"), (("serve", "--seed", "-1"), "--seed"),
                                 (("list", "--cert", "x"), "--key"), (("list", "-P", "x"), "-u"), (("list", "--bogus"), "--bogus"),
                                 (("list", "-p"), "-p"),
                                 (("create", "--thing", "t", "--job", "j", "--document", "f", "--retries", "11"), "--retries"),
                                 (("create", "--thing", "t", "--job", "j", "--document", "f", "--parameter", "x"), "NAME=VALUE"),
                                 (("create", "--thing", "t", "--job", "j", "--document", "f", "--in-progress-timeout", "0"), "10080")):
            r = subprocess.run([SIM, *arguments], capture_output=True, text=True, timeout=20, env=clean_environment())
            self.assertEqual(r.returncode, 2, (arguments, r))
            self.assertIn(words, r.stderr)
            self.assertEqual(r.stdout, "")
        for option in ("--help", "--version"):
            r = subprocess.run([SIM, option], capture_output=True, text=True, timeout=20, env=clean_environment())
            self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertIn("iot-jobs-sim", r.stdout)


class NoService(SimTest):
    service = None

    def test_no_server(self):
        r = self.lab.sim("list", check=False)
        self.assertEqual((r.returncode, r.stdout), (1, ""))
        self.assertIn("iot-jobs-sim serve", r.stderr)

    def test_broker_comes_late(self):
        self.lab.stop_broker()
        server = self.lab._program("serve", self.lab.sim_command("serve"), self.lab.directory / "late.log")
        server.wait_text("cannot connect")
        self.assertNotIn("ready", server.text())
        self.lab.start_broker()
        server.wait_text("^ready")
        self.assertEqual(server.text().count("cannot connect"), 1)

    def test_nobody_listens(self):
        port = free_port()
        for verb in (("list",), ("serve",)):
            r = subprocess.run([str(SIM), "-h", "127.0.0.1", "-p", str(port), *verb], capture_output=True, text=True, timeout=60,
                               env=clean_environment())
            self.assertEqual((r.returncode, r.stdout), (1, ""), r)
            self.assertIn(str(port), r.stderr)

    def test_wrong_ca_and_missing_files(self):
        from harness import Authority
        stranger = Authority(self.lab.directory / "stranger", "stranger")
        command = ["-h", LOCALHOST, "-p", self.lab.tls_port, "--cafile"]
        for ca, words in ((stranger.cert, "certificate"), ("/nowhere/ca.pem", "/nowhere/ca.pem")):
            r = subprocess.run([str(a) for a in (SIM, *command, ca, "list")], capture_output=True, text=True, timeout=60,
                               env=clean_environment())
            self.assertEqual((r.returncode, r.stdout), (1, ""), r)
            self.assertIn(words, r.stderr)

    def test_broker_without_mqtt_5(self):
        """MQTT 5 is only asked for: a broker that refuses it is served with 3.1.1."""
        levels = []

        def broker():
            while len(levels) < 2:
                peer, _ = listener.accept()
                with peer:
                    peer.settimeout(30)
                    levels.append(peer.recv(4096)[8])
                    if levels[-1] == 5:
                        peer.sendall(b"\x20\x02\x00\x01")
                        continue
                    peer.sendall(b"\x20\x02\x00\x00")
                    subscribe = peer.recv(4096)
                    peer.sendall(b"\x90\x05" + subscribe[2:4] + b"\x01\x01\x01")
                    while peer.recv(4096):
                        pass

        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(30)
            thread = threading.Thread(target=broker, daemon=True)
            thread.start()
            service = self.lab._program("old", [SIM, "serve", "-h", "127.0.0.1", "-p", listener.getsockname()[1]],
                                        self.lab.directory / "old.log")
            service.wait_text(r"^ready")
            self.assertEqual(service.kill(signal.SIGTERM), 0)
            thread.join(30)
        self.assertEqual(levels, [5, 4])
