# SPDX-License-Identifier: Apache-2.0
"""conf/examples/container: a container without systemd, with start.sh as its first process and no privileges at all. Instead of a
container engine, the same namespaces are made by hand over the file system that the Containerfile describes."""

import os
import pathlib
import re
import signal

from harness import ROOT, LabTest, Program, libconfig, run_quietly, wait_for
from machine import Machine
from scene import installed_layers
from scene import WAITS

EXAMPLE = ROOT / "conf/examples/container"
ENTER = ('mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" setpriv --reuid="$1" --regid="$1" '
         '--clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- '
         'env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$2"')


def instruction(name):
    """The last one of this name in the Containerfile, on one line."""
    text = (EXAMPLE / "Containerfile").read_text().replace("\\\n", "")
    return re.findall(rf"^{name} (.*)$", text, re.M)[-1]


class Container(LabTest):
    def setUp(self):
        super().setUp()
        # As its second stage makes it, but for the installation of the packages.
        self.image = Machine(self.lab.directory / "image", installed_layers())
        self.addCleanup(self.image.close)
        source, target = instruction("COPY").split()[-2:]
        self.image.write(target, (ROOT / source).read_bytes(), 0o755)
        run_quietly("chroot", self.image.root, "sh", "-ec", re.search(r"install -d .*", instruction("RUN")).group())
        self.user = instruction("USER")
        self.program, = re.findall(r'"(.*?)"', instruction("ENTRYPOINT"))
        self.configure()
        self.container = None

    def configure(self, **changes):
        cert, key = self.lab.device_cert
        for name, content in {"root.pem": self.lab.authority.cert, "device.pem": cert, "device.key": key}.items():
            self.image.write(f"/etc/iot-jobs/{name}", content.read_bytes())
        self.image.write("/etc/iot-jobs/agent.conf", "".join(f"{k} = {libconfig(v)};\n" for k, v in self.lab.config(
            state_directory=None, runtime_directory=None, runner=None, handlers={"directories": None},
            credentials={"ca_file": "root.pem", "cert_file": "device.pem", "key_file": "device.key"}, **changes).items()))

    def handler(self, name, body):
        self.image.write(f"/etc/iot-jobs/handlers.d/{name}", "#!/bin/sh\n" + body.replace("/var/lib/evidence", "/tmp") + "\n", 0o755)

    def run_container(self):
        self.container = Program("container", [
            "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=SIGKILL", "sh", "-c", ENTER, self.image.root, self.user,
            self.program], self.lab.directory / "container.log")
        self.addCleanup(self.end, self.container)

    def end(self, container):
        """And all its processes with it, before the file system below it goes."""
        if container.running():
            os.kill(self.first(container), signal.SIGKILL)
            container.wait_exit()

    def start(self):
        self.run_container()
        self.lab.wait_online(self.container)

    def first(self, container=None):
        """Its first process."""
        pid = (container or self.container).pid
        return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text())

    def agent(self):
        """The agent's process, once the first process has started one."""
        for child in pathlib.Path(f"/proc/{self.first()}/task/{self.first()}/children").read_text().split():
            if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "iot-jobs-agent":
                return int(child)
        return None

    def story(self):
        return self.container.text() + self.lab.logs(30) if self.container else ""

    def witness(self):
        path = self.image.root / "tmp/runs"
        return path.read_text().splitlines() if path.exists() else []

    def begin(self):
        """A job that runs."""
        self.handler("wait.sh", WAITS)
        self.start()
        self.lab.create("job", '{"operation":"wait"}')
        wait_for(self.witness, "the handler")

    def go(self):
        (self.image.root / "tmp/go").touch()

    def test_a_job(self):
        """As the user of the image, without a privilege; what the handler says is the container's output."""
        self.handler("greet.sh", 'echo "hello from $(id -un)"; grep -E "^(CapEff|CapBnd|NoNewPrivs)" /proc/self/status')
        self.start()
        self.lab.create("greet", '{"operation":"greet"}')
        self.lab.wait_status("greet", "SUCCEEDED")
        for line in ("hello from iot-jobs", "CapEff:.*0{16}", "CapBnd:.*0{16}", "NoNewPrivs:.*1", "reported SUCCEEDED IOT_JOB_ID=greet"):
            self.container.wait_text(line)

    def test_death_of_the_agent(self):
        """It is started again, and the handler goes on."""
        self.begin()
        before = self.agent()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: self.agent() not in (None, before), "another agent")
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")
        self.assertEqual(self.witness(), ["job started", "job ended"])

    def test_stop_in_mid_job(self):
        """An interruption, which the next start of the container reports; nothing hangs or is killed."""
        self.begin()
        os.kill(self.first(), signal.SIGTERM)
        self.assertEqual(self.container.wait_exit(), 0)
        self.assertEqual(self.lab.job_processes(), [])
        self.assertIn("interrupted", self.container.text())  # by the runner's own word, not found out afterwards
        self.start()
        x = self.lab.wait_status("job", "FAILED")
        self.assertIn("interrupted", x["statusDetails"]["reason"])
        self.assertEqual(self.witness(), ["job started"])

    def test_kill_in_mid_job(self):
        """As if the engine had lost patience, or the power."""
        self.begin()
        os.kill(self.first(), signal.SIGKILL)
        self.container.wait_exit()
        self.start()
        x = self.lab.wait_status("job", "FAILED")
        self.assertIn("interrupted", x["statusDetails"]["reason"])
        self.assertEqual(self.witness(), ["job started"])

    def test_reload(self):
        self.start()
        agent = self.agent()
        os.kill(self.first(), signal.SIGHUP)
        self.container.wait_text("configuration and certificates read again")
        self.assertEqual(self.agent(), agent)

    def test_wrong_configuration(self):
        """The container ends, and its output says why."""
        self.configure(port=0)
        self.run_container()
        self.assertEqual(self.container.wait_exit(), 78)
        self.assertRegex(self.container.text(), r"agent\.conf:\d+: port: value 0: ")
