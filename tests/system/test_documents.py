# SPDX-License-Identifier: Apache-2.0
"""What README and packages promise to an operator, on a booted machine: the journal of a failed job is as it is shown, packages touch
nothing that the operator wrote, and the test that the library's package brings along passes."""

import pathlib
import re
import shlex

import packages
from harness import ROOT, LabTest, run_quietly, wait_for
from machine import Machine
from scene import Scene, install

LEFT_OUT = re.compile(r"^\w{3} \d{2} [\d:]{8} \S+ |(?<=\w)\[\d+\](?=:)")  # time and host name, number of the process


def block(start):
    """The displayed text of the README that begins so."""
    found, = re.findall(rf"(?ms)^```\n({re.escape(start)}.*?)^```$", (ROOT / "README.md").read_text())
    return found.splitlines()


class Readme(Scene):
    def test_journal_of_a_failed_job(self):
        """The same lines, but for time, host and numbers of processes."""
        self.configure(log={"level": "info"})
        self.machine.write("/etc/iot-jobs/handlers.d/self-test.sh", (ROOT / "scripts/demo-handlers/self-test.sh").read_bytes(), 0o755)
        self.start()
        self.run_job("self-test-4", (ROOT / "scripts/demo-jobs/self-test.json").read_text(), "FAILED")
        command, *shown = block("$ journalctl ")
        wait_for(lambda: any("reported FAILED" in l for l in self.machine.journal("IOT_JOB_ID=self-test-4")), "the last line")
        lines = self.machine.run(*shlex.split(command[2:]), "--no-pager", "--quiet").stdout.splitlines()
        print("\n".join(f"# {l}" for l in lines), flush=True)
        self.assertEqual([LEFT_OUT.sub("", l) for l in lines], [LEFT_OUT.sub("", l) for l in shown])

    def test_renewed_credentials(self):
        """With LoadCredential= a reload says that it is not enough; a restart is, and disturbs nothing."""
        m = self.machine
        self.load_credentials()
        self.start()
        cert, key = self.lab.authority.issue("renewed")
        m.write("/etc/iot-jobs/device.pem", cert.read_bytes())
        m.write("/etc/iot-jobs/device.key", key.read_bytes(), 0o600)
        m.run("systemctl", "reload", "iot-jobs-agent")
        said = wait_for(lambda: m.journal("MESSAGE_ID=91a33d6bb7cc4b68915a9e1e17c53aa6"), "the reload")
        self.assertIn("once renewed it needs systemctl restart", said[-1])
        m.run("systemctl", "restart", "iot-jobs-agent")
        copy = f"/proc/{m.pid('iot-jobs-agent')}/root/run/credentials/iot-jobs-agent.service/device.pem"
        self.assertEqual(pathlib.Path(copy).read_bytes(), cert.read_bytes())
        self.run_job("echo", '{"operation":"echo"}')


class Operators(Scene):
    """Files that an operator wrote."""

    fresh = True

    def etc(self):
        out = self.machine.shell("cd /etc; find iot-jobs systemd/system/iot-jobs* -printf '%p %m %u %g '  -exec sh -c 'test -f $0 && md5sum <$0 || echo' {} ';'")
        return sorted(out.splitlines())

    def test_they_stay(self):
        """An upgrade asks nothing and changes none, nor does a removal: all that the package brings is elsewhere."""
        m = self.machine
        install(m, packages.package("iot-jobs-agent"))
        self.assertEqual(m.run("dpkg-query", "-W", "-f", "${Conffiles}", "iot-jobs-agent").stdout, "")
        self.configure()
        self.handler("greet.sh", "echo hello")
        m.write("/etc/iot-jobs/trusted-keys.d/fleet.pem", "a key\n")
        m.write("/etc/systemd/system/iot-jobs-agent.service.d/own.conf", "[Service]\nMemoryMax=80M\n")
        m.run("ln", "-s", "/dev/null", "/etc/iot-jobs/handlers.d/reboot.sh")
        before = self.etc()
        self.assertIn("iot-jobs/handlers.d/greet.sh", "\n".join(before))
        out = install(m, packages.version_of("0.2.0"))
        self.assertNotIn("onfiguration file", out.stdout + out.stderr)
        self.assertEqual(self.etc(), before)
        m.run("dpkg", "-r", "iot-jobs-agent")
        self.assertEqual(self.etc(), before)


class Autopkgtest(LabTest):
    broker = False

    def test_library(self):
        """debian/tests/library, on this machine with the library's packages over it."""
        layer = self.lab.directory / "over"
        layer.mkdir()
        run_quietly("mount", "-t", "tmpfs", "tmpfs", layer)
        self.addCleanup(run_quietly, "umount", layer)
        machine = Machine(layer / "machine", [pathlib.Path("/")])
        self.addCleanup(machine.close)
        for d in ("dev", "proc"):
            run_quietly("mount", "--rbind", f"/{d}", machine.root / d)
            self.addCleanup(run_quietly, "umount", "-l", machine.root / d)
        for i, name in enumerate(("libiotjobs0", "libiotjobs-dev")):
            machine.write(f"/root/{i}.deb", packages.package(name).read_bytes())
        machine.write("/root/library", (ROOT / "debian/tests/library").read_bytes(), 0o755)
        run_quietly("chroot", machine.root, "sh", "-ec", "mkdir -p /tmp; chmod 1777 /tmp; cd /root; dpkg -i 0.deb 1.deb; ./library")
