# SPDX-License-Identifier: Apache-2.0
"""An application and the library on one connection (shared-handle.c), through a restart of the broker."""

import re

from harness import BUILD, LOCALHOST, LabTest, wait_for


class SharedHandle(LabTest):
    def order(self, program, what):
        """The application's own affairs: an order comes, and is confirmed with a message of its own."""
        eyes = self.lab.eyes(f"app/{self.lab.thing}/hello")
        confirmed = program.text().count("order confirmed")
        eyes.publish(f"app/{self.lab.thing}/order", what)
        program.wait_text(f"^order {what}$")
        self.assertIsNotNone(eyes.wait(lambda m: m.payload == what.encode()), "the application's message")
        wait_for(lambda: program.text().count("order confirmed") == confirmed + 1, program.text)

    def job(self, program, name):
        self.lab.create(name, {"operation": "x"})
        self.lab.wait_status(name, "SUCCEEDED")
        program.wait_text(f"^done {name}$")

    def test_both_survive_the_broker(self):
        cert, key = self.lab.device_cert
        p = self.lab._program("shared-handle", [BUILD / "tests/integration/shared-handle", LOCALHOST, self.lab.tls_port,
                                                self.lab.authority.cert, cert, key, self.lab.thing],
                              self.lab.directory / "shared-handle.log")
        p.wait_text("^online$")
        p.wait_text("^listening for orders$")
        self.order(p, "one")
        self.job(p, "first")
        broker = self.lab.broker
        self.lab.stop_broker()
        p.wait_text("^offline$")
        self.lab.start_broker()
        wait_for(lambda: len(re.findall("^online$", p.text(), re.M)) == 2, p.text)
        wait_for(lambda: len(re.findall("^listening for orders$", p.text(), re.M)) == 2, p.text)
        self.order(p, "two")
        self.job(p, "second")
        # Each event was one of them's: no job was taken for an order, and no connection but the handle's was made.
        self.assertEqual(re.findall("^order (?!confirmed)(.*)$", p.text(), re.M), ["one", "two"])
        for b in (broker, self.lab.broker):
            self.assertEqual(len(re.findall(rf"New client connected from \S+ as {self.lab.thing} ", b.text())), 1 + (b is broker))
        self.assertEqual(p.kill(15), 0, p.text())
