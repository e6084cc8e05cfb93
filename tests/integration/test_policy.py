# SPDX-License-Identifier: Apache-2.0
"""A broker that answers what a policy does not allow as AWS IoT does: by closing the connection, without a word."""

import fnmatch
import json
import re
import struct
import subprocess

from harness import AGENT, LabTest, LoopbackServer, clean_environment, wait_for


class MuteBroker(LoopbackServer):
    """Just enough of a broker, over mutual TLS. It closes the connection at a SUBSCRIBE or PUBLISH that `forbidden` matches,
    refuses the filters that `refused` matches, and answers a CONNECT with `connack`."""

    def __init__(self, lab, forbidden=r"(?!)", refused=r"(?!)", connack=0):
        self.forbidden, self.refused, self.connack = re.compile(forbidden), re.compile(refused), connack
        self.connects = 0
        super().__init__(lab.server_cert, lab.authority.cert)

    @staticmethod
    def _exactly(s, n):
        data = b""
        while len(data) < n:
            part = s.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _packet(self, s):
        first, n, shift = self._exactly(s, 1)[0], 0, 0
        while True:
            digit = self._exactly(s, 1)[0]
            n |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                return first, self._exactly(s, n)

    def serve(self, s):
        while True:
            first, body = self._packet(s)
            kind = first >> 4
            if kind == 1:
                self.connects += 1
                s.sendall(bytes([0x20, 2, 0, self.connack]))
                if self.connack:
                    return
            elif kind == 8:
                filters, at = [], 2
                while at < len(body):
                    n = struct.unpack_from(">H", body, at)[0]
                    filters.append(body[at + 2:at + 2 + n].decode())
                    at += n + 3
                if any(self.forbidden.search(f) for f in filters):
                    return
                codes = bytes(0x80 if self.refused.search(f) else 1 for f in filters)
                s.sendall(bytes([0x90, 2 + len(codes)]) + body[:2] + codes)
            elif kind == 3:
                n = struct.unpack_from(">H", body)[0]
                if self.forbidden.search(body[2:2 + n].decode()):
                    return
                if first & 6:
                    s.sendall(b"\x40\2" + body[2 + n:4 + n])
            elif kind == 12:
                s.sendall(b"\xd0\0")
            elif kind == 14:
                return


class MissingRight(LabTest):
    broker = False

    def agent(self, **kwargs):
        broker = MuteBroker(self.lab, **kwargs)
        self.addCleanup(broker.close)
        self.lab.tls_port = broker.port
        return broker, self.lab.start_agent(online=False, credentials={"region": "eu-west-1"}, client_id="gate-3")

    def statement(self, action, resource):
        return re.escape('{"Effect": "Allow", "Action": "iot:%s", "Resource": "arn:aws:iot:eu-west-1:ACCOUNT:%s"}'
                         % (action, resource))

    def test_subscribe(self):
        broker, agent = self.agent(forbidden=r"/start-next/accepted$")
        m = agent.wait_text(r"2 times right after SUBSCRIBE to (\S+)\. .* lacks (\{.*\}) ;.*--print-policy")
        self.assertTrue(m[1].startswith(self.lab.topic("")))
        self.assertRegex(m[2], self.statement("Subscribe", "topicfilter/" + m[1]))
        self.assertGreaterEqual(broker.connects, 2)

    def test_publish(self):
        broker, agent = self.agent(forbidden=r"/jobs/get$")
        m = agent.wait_text(r"2 times right after PUBLISH to (\S+)\. .* lacks (\{.*\}) ;")
        self.assertEqual(m[1], self.lab.topic("get"))
        self.assertRegex(m[2], self.statement("Publish", "topic/" + self.lab.topic("get")))
        # It goes on, and becomes rare: the fourth time, not the third.
        agent.wait_text(r"4 times right after PUBLISH")
        self.assertNotIn("3 times", agent.text())
        self.assertTrue(agent.running())
        # Once it is allowed all is well.
        broker.forbidden = re.compile(r"(?!)")
        seen = agent.text().count("connected to ")
        agent.wait_text(r"(?s)(connected to .*){%d}" % (seen + 1))

    def test_connect(self):
        _, agent = self.agent(connack=5)
        m = agent.wait_text(r"does not let client id gate-3 in\. .* lacks (\{.*\}) ;")
        self.assertRegex(m[1], self.statement("Connect", "client/gate-3"))

    def test_refused_filter(self):
        """Where the broker does say no, the connection stays, and the log says what is missing."""
        broker, agent = self.agent(refused=r"/notify-next$")
        m = agent.wait_text(r"refuses the subscription to (\S+): .*Does the IoT policy have (\{.*\}), and the same for iot:Receive")
        self.assertEqual(m[1], self.lab.topic("notify-next"))
        self.assertRegex(m[2], self.statement("Subscribe", "topicfilter/" + m[1]))
        self.assertEqual(broker.connects, 1)

    def test_other_refusals_are_no_matter_of_policy(self):
        _, agent = self.agent(connack=3)
        agent.wait_text(r"(?s)(next attempt.*){3}")
        self.assertNotIn("policy", agent.text())


class Enough(LabTest):
    def test_everything_the_agent_does_is_allowed(self):
        """What goes over the wire in a day of its life, against what it prints."""
        self.lab.handler("ok.sh", "echo 50 >&3; exit 0")
        self.lab.handler("slow.sh", "while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done")
        self.lab.create("first", {"operation": "ok"})
        agent = self.lab.start_agent(jobs={"max_concurrent": 2, "progress_interval": 0})
        self.lab.wait_status("first", "SUCCEEDED")
        self.lab.create("slow", {"operation": "slow"})
        self.lab.create("second", {"operation": "ok"})
        self.lab.create("bad", {"operation": "none"})
        self.lab.wait_status("second", "SUCCEEDED")
        self.lab.wait_status("bad", "REJECTED")
        self.lab.cancel("slow", "--force")
        wait_for(lambda: not self.lab.job_processes("slow"), "the end of the cancelled handler")
        agent.kill(15)
        r = subprocess.run([AGENT, "--config", self.lab.directory / "agent.conf", "--print-policy"], capture_output=True, text=True,
                           check=True, env=clean_environment(), timeout=60)
        allowed = {x["Action"]: [resource.split(":ACCOUNT:")[1] for resource in x["Resource"]]
                   for x in json.loads(r.stdout)["Statement"]}
        log = (self.lab.directory / "mosquitto.log").read_text(errors="replace")
        deeds = {("iot:Subscribe", "topicfilter/" + f) for f in re.findall(rf"(?m): {self.lab.thing} [01] (\S+)$", log)}
        deeds |= {("iot:Publish", "topic/" + t) for t in re.findall(rf"Received PUBLISH from {self.lab.thing} .*?, '([^']+)'", log)}
        deeds |= {("iot:Receive", "topic/" + t) for t in re.findall(rf"Sending PUBLISH to {self.lab.thing} .*?, '([^']+)'", log)}
        self.assertEqual(len([d for d in deeds if d[0] == "iot:Subscribe"]), 10)
        self.assertGreater(len([d for d in deeds if d[0] == "iot:Publish"]), 4)
        self.assertGreater(len([d for d in deeds if d[0] == "iot:Receive"]), 4)
        for action, resource in sorted(deeds):
            self.assertTrue(any(fnmatch.fnmatchcase(resource, pattern) for pattern in allowed[action]), (action, resource))
