# SPDX-License-Identifier: Apache-2.0
"""What a system test starts from: a machine with the program installed and configured, a broker and a Jobs service outside of it."""

import functools
import pathlib
import re
import tempfile

import packages
from harness import LabTest, libconfig, run_quietly, wait_for
from machine import Machine, fetch_debian

UNITS = ["iot-jobs-runner.socket", "iot-jobs-agent.service"]
# Runs until /var/lib/evidence/go is there; says that it ran, and how it ended.
WAITS = """mkdir -p /var/lib/evidence; echo "$IOT_JOB_ID started" >>/var/lib/evidence/runs
while [ ! -e /var/lib/evidence/go ]; do sleep 0.05; done
echo "$IOT_JOB_ID ended" >>/var/lib/evidence/runs"""


@functools.cache
def installed_layers():
    """The layers of a machine with the packages installed; nothing is configured or started yet."""
    debian = fetch_debian()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="installed-"))
    machine = Machine(directory / "machine", [debian])
    machine.boot()
    install(machine, packages.package("iot-jobs-agent"), packages.package("iot-jobs-sim"))
    machine.power_off()
    layer = directory / "layer"
    run_quietly("cp", "-a", machine.upper, layer)
    machine.close()
    return layer, debian


def install(machine, *debs):
    for i, deb in enumerate(debs):
        machine.write(f"/root/{i}.deb", deb.read_bytes())
    return machine.run("dpkg", "-i", *(f"/root/{i}.deb" for i in range(len(debs))))


class Scene(LabTest):
    """setUp: broker, service and a booted machine with the program installed, configured, and not yet started."""

    fresh = False  # a machine that has nothing of ours

    def setUp(self):
        super().setUp()
        layers = (fetch_debian(),) if self.fresh else installed_layers()
        self.machine = Machine(self.lab.directory / "machine", layers)
        self.addCleanup(self.machine.close)
        self.machine.boot()
        if not self.fresh:
            self.configure()

    def story(self):
        return self.machine.logs() + "\n" + self.lab.logs(40)

    # -- the device's configuration --

    def configure(self, name="agent.conf", **changes):
        """Write the configuration, as an operator would: credentials that only root and the agent may read."""
        m, cert, key = self.machine, *self.lab.device_cert
        m.write("/etc/iot-jobs/root.pem", self.lab.authority.cert.read_bytes())
        m.write("/etc/iot-jobs/device.pem", cert.read_bytes())
        m.write("/etc/iot-jobs/device.key", key.read_bytes(), 0o640)
        m.run("chown", "root:iot-jobs", "/etc/iot-jobs/device.key")
        changes = {"state_directory": None, "runtime_directory": None, "runner": None, **changes}
        changes["handlers"] = {"directories": ["/etc/iot-jobs/handlers.d", "/usr/lib/iot-jobs/handlers.d"],
                               **changes.get("handlers", {})}
        changes["credentials"] = {"ca_file": "/etc/iot-jobs/root.pem", "cert_file": "/etc/iot-jobs/device.pem",
                                  "key_file": "/etc/iot-jobs/device.key", **changes.get("credentials", {})}
        configuration = self.lab.config(**changes)
        m.write(f"/etc/iot-jobs/{name}", "".join(f"{k} = {libconfig(v)};\n" for k, v in configuration.items()))

    def load_credentials(self):
        """The drop-in of the documentation: systemd hands key and certificates over."""
        m = self.machine
        m.run("install", "-D", "-m", "644", "/usr/share/doc/iot-jobs-agent/examples/credentials.conf",
              "/etc/systemd/system/iot-jobs-agent.service.d/credentials.conf")
        text = m.path("/etc/iot-jobs/agent.conf").read_text()
        m.write("/etc/iot-jobs/agent.conf", re.sub(r'"/etc/iot-jobs/(root.pem|device.pem|device.key)"', r'"\1"', text))
        m.run("systemctl", "daemon-reload")

    def handler(self, name, body):
        self.machine.write(f"/etc/iot-jobs/handlers.d/{name}", f"#!/bin/sh\n{body}\n", 0o755)

    def start(self):
        """As the manual says; until the agent has asked the service for its jobs."""
        self.machine.run("systemctl", "restart", *UNITS)
        self.wait_agent()

    def wait_agent(self, since=0):
        wait_for(lambda: self.lab.requests(since=since), "the agent to come online")

    # -- jobs --

    def start_waiting(self):
        """The agent, and one job of a handler that waits for go(). Returns when that runs."""
        self.handler("wait.sh", WAITS)
        self.start()
        self.lab.create("job", '{"operation":"wait"}')
        wait_for(lambda: self.witness("runs"), "the handler")

    def go(self):
        self.machine.write("/var/lib/evidence/go", "")

    def run_job(self, job, document, status="SUCCEEDED", **parameters):
        options = [o for k, v in parameters.items() for o in ("--parameter", f"{k}={v}")]
        self.lab.create(job, document, *options)
        return self.lab.wait_status(job, status)

    def started(self, job, *options):
        """What the journal has of the starts of its handlers."""
        return self.machine.journal(f"IOT_JOB_ID={job}", "MESSAGE_ID=7f0b35ced7f34adaaedc207dda056071", *options)

    def witness(self, name):
        """Lines that handlers of the machine appended to /var/lib/evidence/NAME."""
        path = self.machine.path(f"/var/lib/evidence/{name}")
        return path.read_text().splitlines() if path.exists() else []
