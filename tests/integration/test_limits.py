# SPDX-License-Identifier: Apache-2.0
"""Limits of single handlers where there is no systemd to give the runner a control group: what cannot be had is not passed over. Where
they bite is tests/system/test_vm.py."""

import os
import signal
import subprocess

from harness import LabTest, wait_for


def can_make_a_network():
    return os.geteuid() == 0 and subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0


class Limits(LabTest):
    def start(self, **override):
        self.lab.handler("work.sh", "cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' ' >@EVIDENCE@/interfaces")
        self.lab.start_agent(handlers={"override": ({"name": "work", **override},)})
        self.lab.create("job", '{"operation":"work"}')

    def agent(self):
        return next(p for p in self.lab.programs if p.name == "iot-jobs-agent")

    def test_a_limit_that_cannot_be_had(self):
        """Nothing runs without it; when the operator takes it out of the configuration, the job goes on by itself."""
        self.start(tasks_max=10, memory_max="50%")
        self.agent().wait_text('memory_max of handler "work" cannot be enforced: ')
        self.assertEqual(self.lab.status("job"), "QUEUED")
        self.assertFalse((self.lab.evidence / "interfaces").exists())
        self.lab.write_config()
        self.agent().popen.send_signal(signal.SIGHUP)
        self.lab.wait_status("job", "SUCCEEDED", timeout=60)

    def test_tasks(self):
        self.start(tasks_max=10)
        self.agent().wait_text('tasks_max of handler "work" cannot be enforced: ')
        self.assertEqual(self.lab.status("job"), "QUEUED")

    def test_no_limit(self):
        """"infinity" asks for nothing."""
        self.start(memory_max="infinity")
        self.lab.wait_status("job", "SUCCEEDED")

    def test_weights(self):
        """A weight is worth a warning, not a job."""
        self.start(cpu_weight=10, io_weight=10)
        self.lab.wait_status("job", "SUCCEEDED")
        self.assertEqual(self.agent().text().count('cpu_weight of handler "work" cannot be had, ignoring: '), 1)
        self.assertNotIn("io_weight", self.agent().text())

    def test_private_network(self):
        self.start(private_network=True)
        if not can_make_a_network():
            self.agent().wait_text('private_network of handler "work" cannot be had: no network namespace can be made: ')
            self.assertEqual(self.lab.status("job"), "QUEUED")
            return
        self.lab.wait_status("job", "SUCCEEDED")
        self.assertEqual(self.lab.witness("interfaces"), ["lo"])

    def test_inhibitor(self):
        """Where nobody can be asked not to shut down, there is a warning."""
        self.start(inhibit_shutdown=True)
        self.lab.wait_status("job", "SUCCEEDED")
        wait_for(lambda: os.path.exists("/run/dbus/system_bus_socket") or
                 self.agent().text().count('inhibit_shutdown of handler "work" cannot be had, ignoring: the system bus ') == 1,
                 "the warning")
