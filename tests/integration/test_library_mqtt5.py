# SPDX-License-Identifier: Apache-2.0
"""MQTT 5 against a real broker: its reason codes reach the agent's log, and beside them what a broker of 3.1.1 can say."""

import json
import pathlib
import re
import select
import socket

from harness import LabTest, LoopbackServer, wait_for
from mqtt import Mqtt

PLUGIN = next((p for d in ("/usr/lib", "/usr/local/lib") for p in pathlib.Path(d).rglob("mosquitto_dynamic_security.so")), None)


class RefusedSubscription(LabTest):
    """mosquitto's dynamic security plugin refuses one filter, and knows why."""

    broker = False

    def start(self, protocol):
        self.assertIsNotNone(PLUGIN, "mosquitto's dynamic security plugin comes with Debian's package")
        self.denied = self.lab.topic("notify-next")
        rules = self.lab.directory / "dynamic-security.json"
        rules.write_text(json.dumps({
            "defaultACLAccess": {"publishClientSend": True, "publishClientReceive": True, "subscribe": True, "unsubscribe": True},
            "clients": [], "groups": [{"groupname": "everyone", "roles": [{"rolename": "deaf", "priority": 0}]}],
            "anonymousGroup": "everyone",
            "roles": [{"rolename": "deaf", "acls": [{"acltype": "subscribeLiteral", "topic": self.denied, "priority": 0,
                                                    "allow": False}]}]}))
        self.lab.start_broker(f"plugin {PLUGIN}\nplugin_opt_config_file {rules}")
        return self.lab.start_agent(online=False, connection={"protocol": protocol})

    def test_reason_code(self):
        agent = self.start("5")
        said = agent.wait_text(rf".*{re.escape(self.denied)}.*SUBACK.*").group()
        self.assertIn("(SUBACK 0x87, not authorized)", said)

    def test_version_3_has_no_reason(self):
        agent = self.start("3.1.1")
        said = agent.wait_text(rf".*{re.escape(self.denied)}.*SUBACK.*").group()
        self.assertIn("(SUBACK 0x80)", said)


class Spokesman(LoopbackServer):
    """In front of mosquitto 2.0.11, which hangs up without a word when a second client takes over: says on its behalf what MQTT 5
    has for that (and AWS IoT says), DISCONNECT with 0x8E and a reason string. TLS ends here."""

    WHY = b"DUPLICATE_CLIENTID"

    def __init__(self, lab):
        self._broker = lab.plain_port
        super().__init__(lab.server_cert)

    def serve(self, s):
        with socket.create_connection(("127.0.0.1", self._broker)) as broker:
            self._pump(s, broker)
            properties = b"\x1f" + len(self.WHY).to_bytes(2, "big") + self.WHY
            body = b"\x8e" + bytes([len(properties)]) + properties
            s.sendall(b"\xe0" + bytes([len(body)]) + body)

    @staticmethod
    def _pump(client, broker):
        """Until one of them hangs up."""
        to = {client: broker, broker: client}
        while True:
            for a in [client] if client.pending() else select.select([client, broker], [], [])[0]:
                data = a.recv(65536)
                if not data:
                    return
                to[a].sendall(data)


class TakeOver(LabTest):
    def second(self):
        """Somebody else who says that he is this device: at the plain port, the broker does not mind."""
        other = Mqtt(self.lab.plain_port, client_id=self.lab.thing)
        self.lab.clients.append(other)
        return other

    def test_reason_code(self):
        spokesman = Spokesman(self.lab)
        self.addCleanup(spokesman.close)
        agent = self.lab.start_agent(port=spokesman.port, connection={"protocol": "5"})
        self.second()
        agent.wait_text(r"not connected: .*session taken over: another client has the same client id \(142\): DUPLICATE_CLIENTID")
        # It takes its session back, and asks what there is to do.
        wait_for(lambda: agent.text().count("every subscription granted") == 2, agent.text)
        wait_for(lambda: len(self.lab.requests("get")) == 2, lambda: f"its second request: {self.lab.requests()}")

    def test_version_3_hangs_up_without_a_word(self):
        agent = self.lab.start_agent(connection={"protocol": "3.1.1"})
        self.second()
        agent.wait_text(r"not connected: .*closed the connection")
        self.assertNotIn("taken over", agent.text())
