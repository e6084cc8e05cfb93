# SPDX-License-Identifier: Apache-2.0
"""The eight managed documents of AWS, word for word, against the local Jobs service, with the shipped handlers, on a machine where
what they ask for really happens: apt-get installs, files are fetched from a web server, systemd starts, stops and restarts."""

import json
import os

from harness import wait_for
from rig import PrivateApt
from scene import Scene
from server import Site


def managed(name, handler, *parameters):
    """The document of a managed template that runs a handler (version 1.0)."""
    given = {"handler": handler}
    if parameters:
        given["args"] = [f"${{aws:iot:parameter:{p}}}" for p in parameters]
    given["path"] = "${aws:iot:parameter:pathToHandler}"
    return json.dumps({"version": "1.0", "steps": [{"action": {"name": name, "type": "runHandler", "input": given,
                                                              "runAsUser": "${aws:iot:parameter:runAsUser}"}}]})


INSTALL = managed("Install-Application", "install-packages.sh", "packages")
REMOVE = managed("Remove-Application", "remove-packages.sh", "packages")
START = managed("Start-Application", "start-services.sh", "services")
STOP = managed("Stop-Application", "stop-services.sh", "services")
RESTART = managed("Restart-Application", "restart-services.sh", "services")
DOWNLOAD = managed("Download-File", "download-file.sh", "downloadUrl", "filePath")
REBOOT = managed("Reboot", "reboot.sh")
COMMAND = json.dumps({"version": "1.0", "steps": [{"action": {
    "name": "Run-Command", "type": "runCommand", "input": {"command": "${aws:iot:parameter:command}"},
    "runAsUser": "${aws:iot:parameter:runAsUser}"}}]})
# Optional parameters: left out, empty, given.
FORMS = {}, {"pathToHandler": "", "runAsUser": ""}, {"pathToHandler": "/usr/lib/iot-jobs/handlers.d", "runAsUser": "root"}

PUMP = """\
[Unit]
Description=A service of the device
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""


class Managed(Scene):
    def setUp(self):
        super().setUp()
        self.start()

    def test_packages(self):
        """AWS-Install-Application, AWS-Remove-Application."""
        self.repository = PrivateApt(self.lab.directory / "apt")
        self.repository.package("pump-ui", "2.0")
        self.offer("pump-fw", "1.0")
        self.machine.write("/etc/apt/sources.list.d/device.list", "deb [trusted=yes] file:/srv/apt ./\n")
        for i, form in enumerate(FORMS):
            self.run_job(f"install-{i}", INSTALL, packages="pump-fw pump-ui", **form)
            self.assertEqual((self.package("pump-fw"), self.package("pump-ui")), ("1.0", "2.0"))
            x = self.run_job(f"remove-{i}", REMOVE, packages="pump-fw pump-ui", **form)
            self.assertEqual(x["statusDetails"]["packages"], "pump-fw 1.0, pump-ui 2.0")
            self.assertEqual((self.package("pump-fw"), self.package("pump-ui")), (None, None))
        self.run_job("install", INSTALL, packages="pump-fw,pump-ui")
        self.offer("pump-fw", "1.1")
        x = self.run_job("upgrade", INSTALL, packages="pump-fw")
        self.assertEqual(x["statusDetails"]["packages"], "pump-fw 1.1")
        self.assertEqual(self.machine.path("/usr/share/pump-fw/version").read_text(), "1.1")
        self.run_job("remove", REMOVE, packages="pump-fw,pump-ui")
        self.assertEqual((self.package("pump-fw"), self.package("pump-ui")), (None, None))
        x = self.run_job("unknown", INSTALL, "FAILED", packages="no-such-package")
        self.assertIn("no-such-package", x["statusDetails"]["stderr"])

    def offer(self, name, version):
        """Put it into the repository that the machine installs from."""
        self.repository.package(name, version)
        for f in self.repository.repository.iterdir():
            self.machine.write(f"/srv/apt/{f.name}", f.read_bytes())

    def package(self, name):
        """Its version, None if it is not installed."""
        r = self.machine.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", name, check=False)
        return r.stdout.split()[0] if r.stdout.endswith(" installed") else None

    def test_services(self):
        """AWS-Start-, -Stop- and -Restart-Application."""
        for name in ("pump", "telemetry"):
            self.machine.write(f"/etc/systemd/system/{name}.service", PUMP)
        self.machine.run("systemctl", "daemon-reload")
        for i, form in enumerate(FORMS):
            self.run_job(f"start-{i}", START, services="pump telemetry", **form)
            before = self.both()
            self.assertTrue(all(p["ActiveState"] == "active" for p in before), before)
            self.run_job(f"restart-{i}", RESTART, services="pump,telemetry", **form)
            after = self.both()
            for a, b in zip(before, after):
                self.assertEqual(b["ActiveState"], "active")
                self.assertNotEqual(a["InvocationID"], b["InvocationID"])
            self.run_job(f"stop-{i}", STOP, services="pump telemetry", **form)
            self.assertEqual([p["ActiveState"] for p in self.both()], ["inactive", "inactive"])
        self.run_job("no-service", RESTART, "FAILED", services="no-such-service")

    def both(self):
        return [self.machine.unit(u, "ActiveState", "InvocationID") for u in ("pump", "telemetry")]

    def test_restart_of_the_agent(self):
        """A job that restarts what takes the jobs succeeds, once."""
        before = self.machine.unit("iot-jobs-agent", "InvocationID")
        x = self.run_job("itself", RESTART, services="iot-jobs-agent")
        self.assertNotEqual(self.machine.unit("iot-jobs-agent", "InvocationID"), before)
        self.assertEqual(x["executionNumber"], 1)
        self.assertEqual(len(self.started("itself")), 1)

    def test_download(self):
        """AWS-Download-File, from a web server that breaks off once."""
        data = os.urandom(300_000)
        site = Site(data)
        self.addCleanup(site.close)
        site.break_after = [120_000]
        self.machine.path("/var/lib/pump").mkdir()
        for i, form in enumerate(FORMS):
            x = self.run_job(f"download-{i}", DOWNLOAD, downloadUrl=site.url("/f?X-Amz-Signature=geheim"),
                             filePath="/var/lib/pump/firmware file", **form)
            target = self.machine.path("/var/lib/pump/firmware file")
            self.assertEqual(target.read_bytes(), data)
            self.assertEqual(x["statusDetails"]["size"], str(len(data)))
            target.unlink()
        self.assertEqual([r for _, r in site.seen], [None, "bytes=120000-", None, None])
        self.assertNotIn("geheim", "\n".join(self.machine.journal("-o", "export")))

    def test_command(self):
        """AWS-Run-Command."""
        self.run_job("not-allowed", COMMAND, "REJECTED", command="touch,/var/lib/pump-was-here")
        self.configure(policy={"run_command": True})
        self.machine.run("systemctl", "restart", "iot-jobs-agent")
        for i, form in enumerate(({}, {"runAsUser": ""}, {"runAsUser": "root"})):
            self.run_job(f"command-{i}", COMMAND, command=f"touch,/var/lib/pump\\,was here {i}", **form)
            self.assertTrue(self.machine.path(f"/var/lib/pump,was here {i}").exists())
        self.run_job("failing", COMMAND, "FAILED", command="false")

    def test_user(self):
        """A user of the machine that the configuration allows; one that it does not; one that is not there."""
        self.machine.run("useradd", "--create-home", "--groups", "audio", "pump")
        self.configure(policy={"run_as": ["pump", "nobody-here"]})
        self.handler("who.sh", 'id -un; id -Gn; echo "$HOME"; stat -c %U "$IOT_JOB_WORKDIR"; cat "$IOT_JOB_DOCUMENT" >/dev/null')
        self.machine.run("systemctl", "restart", "iot-jobs-agent")
        document = json.loads(managed("Who", "who.sh"))
        document["includeStdOut"] = True
        x = self.run_job("pump", json.dumps(document), runAsUser="pump")
        self.assertEqual(x["statusDetails"]["stdout"].strip(" |"), "pump | pump audio | /home/pump | pump")
        for user in ("daemon", "nobody-here"):
            self.run_job(f"as-{user}", json.dumps(document), "REJECTED", runAsUser=user)
        x = self.run_job("as-root", json.dumps(document), runAsUser="")
        self.assertTrue(x["statusDetails"]["stdout"].startswith("root | root | /root | root"), x)


class Reboot(Scene):
    """AWS-Reboot: the machine really goes down and comes up."""

    def assert_rebooted_once(self, job, boots=2):
        self.assertEqual(self.machine.boots, boots)
        self.assertEqual(len(self.started(job)), 2, self.machine.journal(f"IOT_JOB_ID={job}"))
        self.assertEqual(self.lab.describe(job)["executionNumber"], 1)
        terminal = [u["status"] for u in self.lab.updates(job) if u["status"] != "IN_PROGRESS"]
        self.assertEqual(terminal, ["SUCCEEDED"])

    def test_forms(self):
        self.start()
        for i, form in enumerate(FORMS):
            self.lab.create(f"reboot-{i}", REBOOT, *(o for k, v in form.items() for o in ("--parameter", f"{k}={v}")))
            self.machine.wait_reboot()
            self.lab.wait_status(f"reboot-{i}", "SUCCEEDED")
            self.assert_rebooted_once(f"reboot-{i}", 2 + i)

    def test_managed(self):
        """SUCCEEDED after the reboot, once; the next job waits for it and runs after it."""
        self.start()
        self.lab.create("reboot", REBOOT)
        self.lab.create("next", '{"operation":"echo","parameters":{"text":"after"}}')
        self.machine.wait_reboot()
        self.lab.wait_status("reboot", "SUCCEEDED")
        self.lab.wait_status("next", "SUCCEEDED")
        self.assert_rebooted_once("reboot")
        self.assertEqual((len(self.started("next")), len(self.started("next", "--boot"))), (1, 1))

    def test_the_step_after_it_needs_no_network(self):
        """The broker is away from the reboot on: the step runs all the same, and is reported when the broker is back."""
        self.handler("update.sh", 'mkdir -p /var/lib/evidence; echo "$IOT_JOB_PHASE $IOT_JOB_ATTEMPT" >>/var/lib/evidence/phases\n'
                                  'case $IOT_JOB_PHASE in post-reboot) exit 0 ;; esac\n'
                                  'while [ ! -e /var/lib/evidence/go ]; do sleep 0.1; done\nexit 194')
        self.start()
        self.lab.create("update", '{"operation":"update"}')
        wait_for(lambda: self.witness("phases"), "the handler")
        self.lab.stop_broker()
        self.machine.write("/var/lib/evidence/go", "")
        self.machine.wait_reboot()
        wait_for(lambda: len(self.witness("phases")) == 2, "the step after the reboot, without a broker")
        wait_for(lambda: any("finished: SUCCEEDED" in l for l in self.machine.journal("IOT_JOB_ID=update")), "the verdict, on disk")
        self.lab.start_broker()
        self.lab.wait_status("update", "SUCCEEDED", timeout=90)
        self.assertEqual(self.witness("phases"), ["run 1", "post-reboot 2"])
        self.assert_rebooted_once("update")

    def test_power_cut_after_the_reboot(self):
        """The step after the reboot is cut off by a power cut: interrupted, not run a third time."""
        self.handler("update.sh", 'mkdir -p /var/lib/evidence; echo "$IOT_JOB_PHASE" >>/var/lib/evidence/phases; sync\n'
                                  'case $IOT_JOB_PHASE in post-reboot) sleep 600 ;; esac; exit 194')
        self.start()
        self.lab.create("update", '{"operation":"update"}')
        self.machine.wait_reboot()
        wait_for(lambda: len(self.witness("phases")) == 2, "the step after the reboot")
        self.machine.power_cut()
        self.machine.boot()
        x = self.lab.wait_status("update", "FAILED", timeout=90)
        self.assertIn("interrupted", x["statusDetails"]["reason"])
        self.assertEqual(self.witness("phases"), ["run", "post-reboot"])
