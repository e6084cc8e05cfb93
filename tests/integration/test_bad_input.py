# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind: a clear message that names the thing, nothing lost, and everything works again afterwards (P7, P8)."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from harness import AGENT, LOCALHOST, Authority, FakeService, LabTest, clean_environment, free_port, wait_for

NOBODY = 65534

# Each is wrong as a whole message. Kept apart from generation, so that a failure names the very text.
MALFORMED = [
    b"", b"\0", b"null", b"true", b"7", b'"text"', b"[]", b"[[]]", b"{", b"}", b"{}}", b"{}{}", b"{,}", b'{"a"}', b'{"a":}', b'{"a":1,}',
    b"{'a':1}", b'{"a":01}', b'{"a":+1}', b'{"a":.5}', b'{"a":1e}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-}', b'{"a":0x10}',
    b'{"a":1}x', b'{"a":"\x01"}', b'{"a":"\\x"}', b'{"a":"\\u12"}', b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}', b'{"a":"\xff"}',
    b'{"a":"\xc0\xaf"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xf5\x80\x80\x80"}', b"\xef\xbb\xbf{}", b"/**/{}", b'{"a":tru}', b'{"a":"', b'{"a',
    b'{"a":99999999999999999999}',
    b'{"a":1e400}', b'{"a":1,"a":2}', b'{"\\u0061":1,"a":2}', b"{" * 4000, b"[" * 100000,
    b'{"a":' * 500 + b"1" + b"}" * 500, b"\xff\xfe{\0}\0", b"{\"execution\":", b'{"execution":{"jobId":"x"',
]
# Good JSON that is no message.
WRONG = [
    {}, {"timestamp": "now"}, {"timestamp": -1}, {"execution": 7}, {"execution": []}, {"execution": {}}, {"execution": {"jobId": 7}},
    {"execution": {"jobId": ""}}, {"execution": {"jobId": "a" * 65, "status": "QUEUED"}},
    {"execution": {"jobId": "a/b", "status": "QUEUED", "queuedAt": 1, "versionNumber": 1, "executionNumber": 1, "jobDocument": {}}},
    {"execution": {"jobId": "x", "status": "SUCCESS"}}, {"execution": {"jobId": "x", "status": "QUEUED", "versionNumber": "one"}},
    {"execution": {"jobId": "x", "status": "QUEUED", "executionNumber": -5, "queuedAt": 1, "versionNumber": 1}},
    {"execution": {"jobId": "x", "status": "QUEUED", "executionNumber": 1, "queuedAt": {}, "versionNumber": 1}},
    {"jobs": 7}, {"jobs": {"QUEUED": 7}}, {"jobs": {"QUEUED": [7]}}, {"jobs": {"QUEUED": [{}]}}, {"jobs": {"QUEUED": [{"jobId": {}}]}},
    {"jobs": {"NOSUCH": []}}, {"inProgressJobs": 1, "queuedJobs": {}}, {"queuedJobs": [{"jobId": "../x", "executionNumber": 1}]},
    {"code": 7}, {"code": "Odd", "clientToken": 7}, {"executionState": []}, {"executionState": {"status": "ODD"}},
]
TAILS = ["notify", "notify-next", "get/accepted", "get/rejected", "start-next/accepted", "start-next/rejected", "$next/get/accepted",
         "$next/get/rejected", "x/get/accepted", "x/get/rejected", "x/update/accepted", "x/update/rejected"]


class Messages(LabTest):
    def assert_works(self, job="after"):
        self.lab.handler("ok.sh", "exit 0")
        self.lab.create(job, {"operation": "ok"})
        self.lab.wait_status(job, "SUCCEEDED")

    def test_malformed_json_on_every_topic(self):
        """50 kinds of malformed and 26 of senseless messages on each of 12 topics, while a job runs; nothing is disturbed."""
        self.assertGreaterEqual(len(MALFORMED), 40)
        self.lab.handler("hold.sh", "echo x >>@EVIDENCE@/held; while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done")
        agent = self.lab.start_agent()
        self.lab.create("held", {"operation": "hold"})
        self.lab.wait_witness("held")
        texts = MALFORMED + [json.dumps(w).encode() for w in WRONG]
        for tail in TAILS:
            for text in texts:
                self.lab.wire.publish(self.lab.topic(tail), text)
            self.lab.wire.publish(self.lab.topic(tail.replace("x/", "held/")), b'{"oops":')
        self.assertTrue(agent.running())
        self.assertTrue(self.lab.job_processes("held"))
        (self.lab.evidence / "go-on").touch()
        self.lab.wait_status("held", "SUCCEEDED")
        self.assertEqual(len(self.lab.witness("held")), 1)
        self.assert_works()
        rss = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{agent.pid}/status").read()).group(1))
        if "ASAN_OPTIONS" not in os.environ:
            self.assertLess(rss, 48 * 1024, "KiB at most")

    def test_a_malformed_message_names_its_topic(self):
        agent = self.lab.start_agent()
        self.lab.wire.publish(self.lab.topic("notify-next"), b'{"execution":{"jobId":')
        agent.wait_text(r"notify-next")

    def test_a_flood_does_not_fill_the_journal(self):
        """What cannot be used is named, but a few times a second; the rest is counted."""
        agent = self.lab.start_agent()
        began = time.monotonic()
        for _ in range(1500):
            self.lab.wire.publish(self.lab.topic("notify"), b'{"jobs":')
        self.assert_works()
        lines = len(re.findall(r"(?m)^warning dropped, asking", agent.text()))
        self.assertGreater(lines, 0)
        self.assertLessEqual(lines, 5 * (time.monotonic() - began + 2))

        def counted():
            self.lab.wire.publish(self.lab.topic("notify"), b"{")  # the count comes with the next event of a later second
            return re.search(r"\d+ more messages were dropped", agent.text())
        wait_for(counted, "the number of dropped messages")

    def test_256_KiB_message(self):
        """A message larger than the protocol allows costs neither memory nor jobs."""
        agent = self.lab.start_agent()
        for tail in ("notify", "notify-next", "get/accepted"):
            self.lab.wire.publish(self.lab.topic(tail), b'{"pad":"' + b"x" * (256 * 1024) + b'"}')
        self.lab.wait_service()  # it was hit as well
        self.assert_works()
        self.assertTrue(agent.running())

    def test_job_ids_that_are_paths(self):
        """A job id with ../ never becomes a path, and never an update topic."""
        agent = self.lab.start_agent()
        before = sorted(str(p) for p in self.lab.directory.rglob("*") if "run" not in p.parts and p.suffix != ".log")
        for bad in ("../../etc/passwd", "..", ".", "a/../b", "/etc/passwd", "a\\u0000b", "a b", "ä", "$next", "+", "#", "x" * 65):
            execution = {"status": "QUEUED", "queuedAt": 1700000000, "lastUpdatedAt": 1, "versionNumber": 1, "executionNumber": 1,
                         "jobDocument": {"operation": "ok"}}
            text = json.dumps({"timestamp": 1, "execution": execution})[:-2] + f',"jobId":"{bad}"}}}}'
            self.lab.wire.publish(self.lab.topic("notify-next"), text)
            self.lab.wire.publish(self.lab.topic("notify"), json.dumps({"timestamp": 1, "jobs": {"QUEUED": [
                {"jobId": json.loads(f'"{bad}"'), "queuedAt": 1700000000, "lastUpdatedAt": 1, "executionNumber": 1, "versionNumber": 1}]}}))
        self.assert_works()
        after = sorted(str(p) for p in self.lab.directory.rglob("*") if "run" not in p.parts and p.suffix != ".log")
        new = [p for p in after if p not in before and not p.startswith((str(self.lab.state), str(self.lab.handlers)))]
        self.assertEqual([p for p in new if "document-after" not in p], [])
        self.assertFalse([m for m in self.lab.wire.messages if ".." in m.topic])
        self.assertTrue(agent.running())

    def test_messages_for_another_thing(self):
        """N13: neither another thing whose name begins alike, nor unknown topics below the own one."""
        self.lab.handler("ok.sh", "echo $IOT_JOB_ID >>@EVIDENCE@/ran")
        self.lab.start_agent()
        text = json.dumps({"timestamp": 1, "execution": {"jobId": "foreign", "status": "QUEUED", "queuedAt": 1, "lastUpdatedAt": 1,
                                                         "versionNumber": 1, "executionNumber": 1, "jobDocument": {"operation": "ok"}}})
        for topic in (f"$aws/things/{self.lab.thing}x/jobs/notify-next", f"$aws/things/{self.lab.thing}/jobs/notify-next-namespace-x",
                      f"$aws/things/{self.lab.thing}/jobs/notify-next/x", f"$aws/things/{self.lab.thing}/shadow/update"):
            self.lab.wire.publish(topic, text)
        self.assert_works()
        self.assertEqual(self.lab.witness("ran"), [])

    def test_retained_message_is_no_news(self):
        """A retained notification is old by nature: the cloud is asked instead."""
        self.lab.handler("ok.sh", "echo $IOT_JOB_ID >>@EVIDENCE@/ran")
        self.lab.wire.publish(self.lab.topic("notify-next"), json.dumps({"timestamp": 1, "execution": {
            "jobId": "stale", "status": "QUEUED", "queuedAt": 1, "lastUpdatedAt": 1, "versionNumber": 1, "executionNumber": 1,
            "jobDocument": {"operation": "ok"}}}), retain=True)
        agent = self.lab.start_agent()
        agent.wait_text(r"warning.*notify-next.*retained")
        self.lab.create("fresh", {"operation": "ok"})
        self.lab.wait_status("fresh", "SUCCEEDED")
        self.assertEqual(self.lab.witness("ran"), ["fresh"])


class OddDocuments(LabTest):
    service = None

    def test_odd_documents_in_good_messages(self):
        """A document that is no strict JSON cannot hide its own job: REJECTED, and the queue goes on."""
        service = FakeService(self.lab)
        self.lab.handler("ok.sh", "echo $IOT_JOB_ID >>@EVIDENCE@/ran")
        agent = self.lab.start_agent()
        odd = {
            "duplicate-key": '{"operation":"ok","operation":"no"}',
            "escaped-duplicate": '{"operation":"ok","oper\\u0061tion":"no"}',
            "huge-number": '{"operation":"ok","n":18446744073709551616}',
            "lone-surrogate": '{"operation":"ok","s":"\\ud800"}',
            "deep": '{"operation":"ok","d":' + "[" * 40 + "]" * 40 + "}",
            "too-large": '{"operation":"ok","pad":"' + "x" * 33000 + '"}',
            "an-array": "[1,2,3]", "a-string": '"{}"', "a-number": "7",
        }
        for job, document in odd.items():
            service.add(job, document)
            reason = service.wait_status(job, "REJECTED")["details"].get("reason", "")
            self.assertTrue(reason, job)
        service.add("good", '{"operation":"ok","big":9223372036854775807,"text":"\\ud83d\\ude00"}')
        service.wait_status("good", "SUCCEEDED")
        self.assertEqual(self.lab.witness("ran"), ["good"])
        self.assertTrue(agent.running())

    def test_no_document_at_all(self):
        """null counts as absent, and a job without a document can never run: it must not block the queue either."""
        service = FakeService(self.lab)
        self.lab.handler("ok.sh", "exit 0")
        self.lab.start_agent()
        service.add("nothing", "null")
        service.add("good", '{"operation":"ok"}')
        service.wait_status("good", "SUCCEEDED")
        self.assertEqual(service.status("nothing"), "REJECTED")

    def test_document_bytes_travel_unchanged(self):
        """Spaces, order, escapes and the spelling of numbers reach the handler as they were sent."""
        service = FakeService(self.lab)
        self.lab.handler("keep.sh", "cat >@EVIDENCE@/stdin")
        self.lab.start_agent()
        text = '{ "z" : 1.50e+1 ,\n\t"operation":"k\\u0065ep", "a":"\\/\\u00e4ä", "m":{ } , "n":-0 }'
        service.add("bytes", text)
        service.wait_status("bytes", "SUCCEEDED")
        self.assertEqual((self.lab.evidence / "stdin").read_text(), text)

    def test_queue_behind_an_odd_document(self):
        """An odd first entry of the list does not block what is behind it."""
        service = FakeService(self.lab)
        self.lab.handler("ok.sh", "exit 0")
        service.add("odd", '{"a":1,"a":2}', announce=False)
        service.add("good", '{"operation":"ok"}', announce=False)
        self.lab.start_agent()
        service.wait_status("good", "SUCCEEDED")
        self.assertEqual(service.status("odd"), "REJECTED")


class Handlers(LabTest):
    def check(self, name, reason, document=None):
        self.lab.create(name, document or {"operation": name})
        x = self.lab.wait_status(name, "REJECTED")
        self.assertRegex(x["statusDetails"]["reason"], reason)

    def test_handlers_that_must_not_run(self):
        """Missing, not executable, world-writable, a directory, links, masked: REJECTED by name; the next job runs."""
        lab = self.lab
        lab.handler("ok.sh", "echo $IOT_JOB_ID >>@EVIDENCE@/ran")
        lab.handler("not-executable", "exit 0", mode=0o644)
        lab.handler("world-writable", "exit 0", mode=0o777)
        lab.handler("group-writable", "exit 0", mode=0o775)
        (lab.handlers / "directory").mkdir()
        (lab.handlers / "dangling").symlink_to("nowhere")
        (lab.handlers / "linked").symlink_to("ok.sh")
        (lab.handlers / "masked").symlink_to("/dev/null")
        (lab.handlers / "outside").symlink_to("/bin/true")
        os.mkfifo(lab.handlers / "fifo", 0o755)
        lab.start_agent()
        for name in ("missing", "not-executable", "world-writable", "group-writable", "directory", "dangling", "linked", "masked",
                     "outside", "fifo"):
            self.check(name, re.escape(name))
        lab.create("fine", {"operation": "ok"})
        lab.wait_status("fine", "SUCCEEDED")
        self.assertEqual(lab.witness("ran"), ["fine"])

    def test_handler_names_that_are_no_names(self):
        self.lab.start_agent()
        for i, name in enumerate(("../ok.sh", "/bin/sh", "", ".hidden", "a b", "ok.sh.dpkg-new", "ok.sh~", "x" * 65, "ok\u0000.sh", "ök")):
            self.check(f"name{i}", r"operation: |u0000", {"operation": name})

    @unittest.skipUnless(os.geteuid() == 0, "needs root to give a file away")
    def test_handler_of_another_user(self):
        path = self.lab.handler("foreign.sh", "exit 0")
        os.chown(path, NOBODY, NOBODY)
        self.lab.start_agent()
        self.check("foreign", "foreign")

    def test_directory_that_others_may_write(self):
        self.lab.handler("ok.sh", "exit 0")
        self.lab.handlers.chmod(0o777)
        self.lab.start_agent()
        self.check("ok", re.escape(str(self.lab.handlers)))

    def test_path_outside_policy(self):
        self.lab.handler("ok.sh", "exit 0")
        self.lab.start_agent()
        self.check("path", "path", {"operation": "ok", "path": "/bin"})

    def test_missing_interpreter(self):
        """Found only when it is started: FAILED, and the reason says why."""
        self.lab.handler("interpreted.sh", "exit 0", interpreter="/no/such/interpreter")
        self.lab.start_agent()
        self.lab.create("interpreted", {"operation": "interpreted"})
        x = self.lab.wait_status("interpreted", "FAILED", "REJECTED")
        self.assertRegex(x["statusDetails"]["reason"], "interpret|no such file|No such file")


class Credentials(LabTest):
    def start_fails(self, *names, **changes):
        agent = self.lab.start_agent(online=False, **changes)
        code = agent.wait_exit()
        self.assertIn(code, (1, 78))
        for n in names:
            self.assertIn(str(n), agent.text())

    def test_missing_certificate(self):
        for key in ("ca_file", "cert_file", "key_file"):
            missing = self.lab.directory / f"missing-{key}.pem"
            self.start_fails(missing, credentials={key: missing})

    def test_garbage_certificate(self):
        for key in ("ca_file", "cert_file", "key_file"):
            garbage = self.lab.directory / f"garbage-{key}.pem"
            garbage.write_text("not a certificate\n")
            self.start_fails(garbage, credentials={key: garbage})

    def test_key_of_another_certificate(self):
        other = self.lab.authority.issue("other")
        self.start_fails(other[1], credentials={"key_file": other[1]})

    @unittest.skipUnless(os.geteuid() == 0, "needs root to become another user")
    def test_unreadable_key(self):
        own = self.lab.directory / "nobody"
        own.mkdir(mode=0o700)
        path = self.lab.write_config(runtime_directory=own)
        for p in (path, own):
            os.chown(p, NOBODY, NOBODY)
        agent = shutil.copy(AGENT, self.lab.directory)  # the checkout may be closed to other users
        r = subprocess.run([agent, "--config", path, "--log=stderr"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           user=NOBODY, group=NOBODY, extra_groups=[], env=clean_environment(), timeout=60)
        self.assertIn(r.returncode, (1, 78))
        self.assertIn(str(self.lab.device_cert[1]), r.stderr)
        self.assertRegex(r.stderr, "(?i)permission denied")

    def test_wrong_authority(self):
        """A server that our authority did not sign: never connected, said why, and well again after a reload."""
        other = Authority(self.lab.directory / "other-ca", "another authority")
        agent = self.lab.start_agent(online=False, credentials={"ca_file": other.cert})
        agent.wait_text(r"certificate.*does not come from a CA in.*other-ca")
        self.assertEqual(self.lab.requests(), [])
        self.lab.write_config()
        agent.popen.send_signal(signal.SIGHUP)
        self.lab.wait_online(agent)

    def test_wrong_host_name(self):
        """The server's certificate is for another host: refused, naming the host."""
        self.lab.stop_broker()
        self.lab.start_broker(server_cert=self.lab.authority.issue("elsewhere", "DNS:elsewhere.example"))
        agent = self.lab.start_agent(online=False)
        agent.wait_text(r"certificate.*\b" + re.escape(LOCALHOST))
        self.assertEqual(self.lab.requests(), [])
        self.lab.stop_broker()
        self.lab.start_broker()
        self.lab.wait_online(agent)

    def test_certificate_near_its_end(self):
        """Within 30 days of expiry: a warning that names the file and the day; everything works."""
        cert, key = self.lab.authority.issue("old", days=10)
        agent = self.lab.start_agent(credentials={"cert_file": cert, "key_file": key})
        agent.wait_text(rf"warning.*{re.escape(str(cert))}.*expires")
        self.lab.handler("ok.sh", "exit 0")
        self.lab.create("works", {"operation": "ok"})
        self.lab.wait_status("works", "SUCCEEDED")

    def test_certificate_the_server_refuses(self):
        other = Authority(self.lab.directory / "other-ca", "another authority")
        cert, key = other.issue("stranger")
        agent = self.lab.start_agent(online=False, credentials={"cert_file": cert, "key_file": key})
        agent.wait_text(r"(?i)offline|cannot|failed|refused|alert|unknown ca")
        self.assertTrue(agent.running())
        self.assertEqual(self.lab.requests(), [])


class BrokerAbsent(LabTest):
    broker = False

    def test_broker_absent_at_start(self):
        """No broker for a while: the agent waits with backoff and needs nobody when it comes."""
        self.lab.tls_port, self.lab.plain_port = free_port(), free_port()
        agent = self.lab.start_agent(online=False)
        for _ in range(3):
            agent.wait_text(r"(?i)refused")
        wait_for(lambda: len(re.findall(r"(?i)refused", agent.text())) >= 3, "three attempts")
        self.assertTrue(agent.running())
        self.lab.handler("ok.sh", "exit 0")
        self.lab.start_broker()
        self.lab.start_service()
        self.lab.create("late", {"operation": "ok"})
        self.lab.wait_status("late", "SUCCEEDED")


class Storage(LabTest):
    def setUp(self):
        super().setUp()
        self.lab.handler("ok.sh", 'echo "$IOT_JOB_ID" >>@EVIDENCE@/ran')

    def check_waits_then_runs(self, agent, repair):
        self.lab.create("waits", {"operation": "ok"})
        agent.wait_text(re.escape(str(self.lab.state)))
        self.assertEqual(self.lab.status("waits"), "QUEUED")
        self.assertEqual(self.lab.witness("ran"), [])
        repair()
        self.lab.wait_status("waits", "SUCCEEDED", timeout=150)
        self.assertEqual(self.lab.witness("ran"), ["waits"])

    @unittest.skipUnless(os.geteuid() == 0, "needs root to mount")
    def test_full_disk(self):
        """R1: no start without a durable record; the job stays QUEUED and runs when there is room."""
        self.lab.tmpfs(self.lab.state, "size=256k,mode=0700")
        filler = self.lab.state / "filler"
        with open(filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        self.check_waits_then_runs(self.lab.start_agent(), filler.unlink)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to mount")
    def test_read_only_state_directory(self):
        self.lab.tmpfs(self.lab.state, "size=1m,mode=0700,ro")
        self.check_waits_then_runs(self.lab.start_agent(), lambda: subprocess.run(
            ["mount", "-o", "remount,rw", str(self.lab.state)], check=True))

    def test_state_directory_is_a_file(self):
        self.lab.state.write_text("not a directory\n")
        self.check_waits_then_runs(self.lab.start_agent(), self.lab.state.unlink)

    def test_state_directory_full_of_garbage(self):
        """R3: garbage is named, set aside, and stops nothing."""
        runs = self.lab.state / "runs"
        runs.mkdir(parents=True, mode=0o700)
        self.lab.state.chmod(0o700)
        (self.lab.state / "tombstones").write_bytes(os.urandom(5000))
        key = f"{self.lab.thing}.job.1.1700000000.record"
        (runs / key).write_bytes(os.urandom(4096))
        (runs / key.replace(".job.", ".empty.")).write_bytes(b"")
        (runs / key.replace(".job.", ".zeros.")).write_bytes(b"\0" * 100000)
        (runs / key.replace(".job.", ".text.")).write_text("hello\n" * 100)
        (runs / key.replace(".job.", ".crc.")).write_text('00000000 {"type":"prepared"}\n')
        (runs / key.replace(".job.", ".link.")).symlink_to("/etc/passwd")
        (runs / key.replace(".job.", ".dir.")).mkdir()
        os.mkfifo(runs / key.replace(".job.", ".fifo."))
        (runs / "no-key-at-all.record").write_text("x")
        (runs / ("x" * 200 + ".record")).write_text("x")
        (runs / "temp~").write_text("x")
        (self.lab.state / "unknown").mkdir()
        passwd = open("/etc/passwd", "rb").read()
        agent = self.lab.start_agent()
        self.lab.create("good", {"operation": "ok"})
        self.lab.wait_status("good", "SUCCEEDED")
        agent.wait_text(re.escape(key))
        self.assertEqual(open("/etc/passwd", "rb").read(), passwd)
        self.assertEqual(self.lab.witness("ran"), ["good"])
        agent.kill()
        self.lab.start_agent()
        self.lab.create("again", {"operation": "ok"})
        self.lab.wait_status("again", "SUCCEEDED")

    def test_two_agents_with_one_runtime_directory(self):
        """The second agent of the same thing and runtime directory says so and ends with 1; the first is not disturbed."""
        first = self.lab.start_agent()
        second = self.lab.start_agent(online=False, client_id=self.lab.thing + "-second")
        self.assertEqual(second.wait_exit(), 1)
        self.assertIn(str(self.lab.runtime), second.text())
        self.assertTrue(first.running())
        self.lab.create("one", {"operation": "ok"})
        self.lab.wait_status("one", "SUCCEEDED")
        self.assertEqual(self.lab.witness("ran"), ["one"])

    def test_what_a_killed_agent_leaves_does_not_keep_the_next_one_out(self):
        """Between fork and exec a child has every descriptor of its agent, the lock's too; the agent may be killed just then."""
        self.lab.start_agent().kill()
        with open(self.lab.runtime / f"agent-{self.lab.thing}.lock") as left:
            fcntl.flock(left, fcntl.LOCK_EX)
            self.lab.start_agent()
