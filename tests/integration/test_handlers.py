# SPDX-License-Identifier: Apache-2.0
"""The shipped handlers through the running system: the managed job templates of AWS that need no runCommand, word for word, as
jobs of the local service, with the optional parameters given, empty and left out. What would change this machine is played by
programs that note how they are called; the web server, and the file that is fetched, are real."""

import json
import os
import pathlib
import pwd
import shutil
import sys

from harness import AGENT, ROOT, LabTest, clean_environment, run_quietly, wait_for

sys.path.insert(0, str(ROOT / "tests/handlers"))

import manual  # noqa: E402
import rig  # noqa: E402
from server import Site  # noqa: E402

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def managed(name, handler, *parameters):
    """The document of a managed template (version 1.0)."""
    given = {"handler": handler, "path": "${aws:iot:parameter:pathToHandler}"}
    if parameters:
        given = {"handler": handler, "args": [f"${{aws:iot:parameter:{p}}}" for p in parameters], "path": given["path"]}
    return json.dumps({"version": "1.0", "steps": [{"action": {"name": name, "type": "runHandler", "input": given,
                                                              "runAsUser": "${aws:iot:parameter:runAsUser}"}}]})


INSTALL = managed("Install-Application", "install-packages.sh", "packages")
REMOVE = managed("Remove-Application", "remove-packages.sh", "packages")
START = managed("Start-Application", "start-services.sh", "services")
STOP = managed("Stop-Application", "stop-services.sh", "services")
RESTART = managed("Restart-Application", "restart-services.sh", "services")
DOWNLOAD = managed("Download-File", "download-file.sh", "downloadUrl", "filePath")
REBOOT = managed("Reboot", "reboot.sh")


class ShippedHandlers(LabTest):
    def setUp(self):
        super().setUp()
        for handler in rig.HANDLERS.iterdir():
            shutil.copy(handler, self.lab.handlers)
            (self.lab.handlers / handler.name).chmod(0o755)
        self.bin = self.lab.directory / "bin"
        self.bin.mkdir()

    def fake(self, name, body=""):
        path = self.bin / name
        path.write_text(f"#!{sys.executable}\nimport json, sys\n"
                        f"print(json.dumps([{name!r}, *sys.argv[1:]]), file=open({str(self.lab.evidence / 'calls')!r}, 'a'))\n{body}\n")
        path.chmod(0o755)

    def calls(self, *programs):
        return [c for c in map(json.loads, self.lab.witness("calls")) if c[0] in programs]

    def start(self, *environment, **handlers):
        return self.lab.start_agent(handlers={"environment": [f"PATH={self.bin}:{STANDARD_PATH}", *environment], **handlers})

    def run_job(self, job, document, status="SUCCEEDED", **parameters):
        options = [o for k, v in parameters.items() for o in ("--parameter", f"{k}={v}")]
        self.lab.create(job, document, *options)
        return self.lab.wait_status(job, status)

    def forms(self):
        """Optional parameters: left out, empty, given."""
        given = {"pathToHandler": str(self.lab.handlers), "runAsUser": pwd.getpwuid(os.geteuid()).pw_name}
        return {}, {"pathToHandler": "", "runAsUser": ""}, given

    def test_packages(self):
        self.fake("apt-get")
        self.fake("apt-cache")
        self.fake("dpkg-query", f"if 'apt-get' not in open({str(self.lab.evidence / 'calls')!r}).read() or 'remove' not in "
                                f"open({str(self.lab.evidence / 'calls')!r}).read(): print('installed 1.2-3')")
        self.start()
        for i, form in enumerate(self.forms()):
            x = self.run_job(f"install-{i}", INSTALL, packages="pump-fw pump-ui", **form)
            self.assertEqual(self.calls("apt-get")[-1][-4:], ["install", "--", "pump-fw", "pump-ui"])
            self.assertEqual(x["statusDetails"]["packages"], "pump-fw 1.2-3, pump-ui 1.2-3")
        self.run_job("remove", REMOVE, packages="pump-fw,pump-ui")
        self.assertEqual(self.calls("apt-get")[-1][-4:], ["remove", "--", "pump-fw", "pump-ui"])

    def test_packages_refused(self):
        """What is no package's name never reaches the package manager, and the service does not try again: REJECTED."""
        self.fake("apt-get")
        self.start()
        for i, value in enumerate(("", "$(touch /tmp/x)", "-y", "a;b", "../x.deb")):
            self.run_job(f"bad-{i}", INSTALL, "REJECTED", packages=value)
        self.assertEqual(self.calls("apt-get"), [])

    def test_services(self):
        self.fake("systemctl", "print('running' if 'is-system-running' in sys.argv else 'ActiveState=active')")
        self.start()
        for i, form in enumerate(self.forms()):
            for verb, document in (("start", START), ("stop", STOP), ("restart", RESTART)):
                self.run_job(f"{verb}-{i}", document, services="pump mosquitto.service", **form)
                mine = [c for c in self.calls("systemctl") if verb in c]
                self.assertEqual(mine[-1], ["systemctl", "--no-ask-password", verb, "--", "pump", "mosquitto.service"])

    def test_download(self):
        data = os.urandom(200_000)
        site = Site(data)
        self.addCleanup(site.close)
        site.break_after = [120_000]
        target = self.lab.directory / "target file"
        self.start()
        for i, form in enumerate(self.forms()):
            x = self.run_job(f"download-{i}", DOWNLOAD, downloadUrl=site.url("/f?X-Amz-Signature=geheim"), filePath=target, **form)
            self.assertEqual(target.read_bytes(), data)
            self.assertEqual(x["statusDetails"]["size"], "200000")
            target.unlink()
        self.assertEqual([r for _, r in site.seen], [None, "bytes=120000-", None, None])
        for log in self.lab.directory.glob("*.log"):
            if log.name in ("agent.log", "service.log"):
                self.assertNotIn("geheim", log.read_text(errors="replace"), log.name)
        wait_for(lambda: not list((self.lab.state / "work").iterdir()), "the work directories to be removed")

    def test_download_refused(self):
        self.start()
        for i, (url, path) in enumerate((("", "/tmp/x"), ("http://127.0.0.1:9/x", ""), ("file:///etc/passwd", "/tmp/x"),
                                         ("http://127.0.0.1:9/x", "relative"))):
            self.run_job(f"refused-{i}", DOWNLOAD, "REJECTED", downloadUrl=url, filePath=path)

    def test_reboot(self):
        """The managed document asks for a reboot, once, and the job goes on. What follows needs a machine that boots."""
        self.fake("reboot-now")
        self.start(reboot_command=[str(self.bin / "reboot-now")])
        self.lab.create("reboot", REBOOT)
        wait_for(lambda: self.calls("reboot-now"), "the reboot")
        self.assertEqual(self.lab.status("reboot"), "IN_PROGRESS")
        self.assertEqual(self.calls("reboot-now"), [["reboot-now"]])

    def test_operation_form(self):
        """The same handlers by name and parameters."""
        data = b"firmware"
        site = Site(data)
        self.addCleanup(site.close)
        self.start()
        target = self.lab.directory / "fetched"
        self.run_job("fetch", json.dumps({"operation": "download-file", "parameters": {
            "url": site.url(), "path": str(target), "sha256": rig.sha256(data), "mode": "0600"}}))
        self.assertEqual((target.read_bytes(), target.stat().st_mode & 0o777), (data, 0o600))
        x = self.run_job("wrong", json.dumps({"operation": "download-file", "parameters": {
            "url": site.url(), "path": str(target), "sha256": "0" * 64}}), "FAILED")
        self.assertIn("sha256", x["statusDetails"]["stderr"])
        x = self.run_job("health", '{"operation":"health-check","parameters":{"memory":1,"disk":100}}')
        self.assertRegex(x["statusDetails"]["disk"], r"^\d+%$")
        self.run_job("unwell", '{"operation":"health-check","parameters":{"memory":99999999}}', "FAILED")
        x = self.run_job("echo", '{"operation":"echo","parameters":{"text":"hello"},"includeStdOut":true}')
        self.assertEqual(x["statusDetails"]["stdout"], "hello")

    def test_sample_document_without_suffix(self):
        """The simplest of AWS IoT Device Client's sample documents names no file of its own but a program of the system."""
        self.start()
        x = self.run_job("hello", json.dumps({"_comment": "This sample runs the echo command.", "version": "1.0", "includeStdOut": True, "steps": [
            {"action": {"name": "Echo Messages", "type": "runHandler", "input": {"handler": "echo", "args": ["Hello IoT World!"]}}}]}))
        self.assertEqual(x["statusDetails"]["stdout"], "Hello IoT World!")

    def test_real_apt(self):
        """The machine's own apt-get and dpkg, on a root directory of their own."""
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")) or os.getuid() != 0:
            self.skipTest("needs apt-get and root")
        apt = rig.PrivateApt(self.lab.directory / "apt")
        apt.package("pump-fw")
        apt.package("pump-ui", "2.0")
        self.start(*(f"{k}={v}" for k, v in apt.env.items()))
        self.run_job("install", INSTALL, packages="pump-fw, pump-ui")
        self.assertEqual(apt.installed(), ["pump-fw 1.0", "pump-ui 2.0"])
        apt.package("pump-fw", "1.1")
        x = self.run_job("upgrade", INSTALL, packages="pump-fw")
        self.assertEqual(x["statusDetails"]["packages"], "pump-fw 1.1")
        self.run_job("remove", REMOVE, packages="pump-fw pump-ui never-there")
        self.assertEqual(apt.installed(), [])
        x = self.run_job("unknown", INSTALL, "FAILED", packages="no-such-package")
        self.assertIn("no-such-package", x["statusDetails"]["stderr"])


class Manual(LabTest):
    """Every document and every piece of configuration of iot-jobs-handlers(7)."""

    def moved(self, text):
        for d in ("etc", "run", "var"):
            text = text.replace(f"/{d}/", f"{self.lab.directory}/{d}/")
        return text

    def install(self, name, example=None, compiled=False):
        text = self.moved(manual.example("handler", example or name))
        if compiled:
            source = self.lab.directory / "example.c"
            source.write_text(text)
            run_quietly("cc", "-o", self.lab.handlers / name, source)
        else:
            (self.lab.handlers / name).write_text(text)
        (self.lab.handlers / name).chmod(0o755)

    def document(self, name):
        return self.moved(manual.example("document", name))

    def setUp(self):
        super().setUp()
        for d in ("etc", "run", "var/lib/pump"):
            (self.lab.directory / d).mkdir(parents=True, exist_ok=True)
        self.bin = self.lab.directory / "bin"
        self.bin.mkdir()
        for name, body in (("systemctl", "exit 0"), ("apt-get", "exit 0"), ("apt-cache", "exit 0"), ("dpkg-query", "echo 'installed 1'")):
            (self.bin / name).write_text(f"#!/bin/sh\n{body}\n")
            (self.bin / name).chmod(0o755)
        self.environment = {"environment": [f"PATH={self.bin}:{STANDARD_PATH}"]}

    def test_documents(self):
        self.install("set-interval.sh")
        self.install("set-options")
        self.install("wait-for-file", "wait-for-file.c", compiled=True)
        self.lab.start_agent(handlers=self.environment)
        self.lab.create("set-interval", self.document("set-interval"))
        self.assertEqual(self.lab.wait_status("set-interval", "SUCCEEDED")["statusDetails"]["applied"], "15")
        self.lab.create("set-options", self.document("set-options"))
        self.assertEqual(self.lab.wait_status("set-options", "SUCCEEDED")["statusDetails"]["options"], "2")
        self.assertEqual(json.loads((self.lab.directory / "etc/pump.json").read_text())["channels"], [1, 2, 5])
        self.lab.create("wait", self.document("wait-for-file"))
        self.lab.wait_status("wait", "IN_PROGRESS")
        (self.lab.directory / "run/pump.ready").touch()
        self.lab.wait_status("wait", "SUCCEEDED")

    def configured(self, name):
        """The agent's configuration with a piece of the page behind it; the shipped handlers are in the second directory."""
        shipped = self.lab.directory / "shipped"
        shipped.mkdir(exist_ok=True)
        for handler in rig.HANDLERS.iterdir():
            shutil.copy(handler, shipped)
        piece = manual.example("config", name)
        piece = piece.replace("/etc/iot-jobs/handlers.d", str(self.lab.handlers)).replace("/usr/lib/iot-jobs/handlers.d", str(shipped))
        path = self.lab.write_config("manual.conf", handlers=None)
        path.write_text(path.read_text() + piece)
        run_quietly(AGENT, "--config", path, "--check-config", env=clean_environment())
        return path

    def test_shipped_directory(self):
        """As the page has it; a link to /dev/null masks, a file of one's own replaces."""
        data = b"pump"
        site = Site(data)
        self.addCleanup(site.close)
        self.lab.start_agent(config=self.configured("directories"))
        document = self.document("download").replace("https://example.com", site.url("")).replace(
            "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c", rig.sha256(data))
        self.assertIn(rig.sha256(data), document)
        self.lab.create("download", document)
        self.lab.wait_status("download", "SUCCEEDED")
        target = self.lab.directory / "var/lib/pump/pump.bin"
        self.assertEqual((target.read_bytes(), target.stat().st_mode & 0o777), (data, 0o640))
        (self.lab.handlers / "download-file.sh").symlink_to("/dev/null")
        self.lab.create("masked", document)
        self.lab.wait_status("masked", "REJECTED")
        self.lab.handler("echo.sh", "echo mine=1 >&3")
        self.lab.create("own", {"operation": "echo"})
        self.assertEqual(self.lab.wait_status("own", "SUCCEEDED")["statusDetails"]["mine"], "1")

    def test_steps(self):
        for handler in rig.HANDLERS.iterdir():
            shutil.copy(handler, self.lab.handlers)
        (self.lab.directory / "run/pump.lock").touch()
        self.lab.start_agent(handlers=self.environment, policy={"run_command": True})
        self.lab.create("steps", self.document("steps"))
        x = self.lab.wait_status("steps", "SUCCEEDED")
        self.assertIn("3/3 Clean", x["statusDetails"]["step"])
        self.assertFalse((self.lab.directory / "run/pump.lock").exists())

    def test_device_client_args(self):
        """A handler that changes its user itself if its first argument is one, and the shipped ones."""
        path = self.configured("device-client")
        path.write_text(path.read_text().replace("handlers = {", f'handlers = {{ directories = [ "{self.lab.handlers}", '
                                                                 f'"{self.lab.directory}/shipped" ];'))
        self.lab.handler("theirs.sh", 'echo "argc=$# user=$1. first=$2" >>@EVIDENCE@/seen')
        self.lab.start_agent(config=path)
        for user in ({}, {"runAsUser": ""}):
            self.lab.create(f"theirs-{len(user)}", {"version": "1.0", "steps": [{"action": {
                "name": "Theirs", "type": "runHandler", "input": {"handler": "theirs.sh", "args": ["one"]}, **user}}]})
            self.lab.wait_status(f"theirs-{len(user)}", "SUCCEEDED")
        self.assertEqual(self.lab.witness("seen"), ["argc=2 user=. first=one"] * 2)
        self.lab.create("ours", {"operation": "echo", "args": ["one", "two"], "includeStdOut": True})
        self.assertEqual(self.lab.wait_status("ours", "SUCCEEDED")["statusDetails"]["stdout"], "one two")
        self.lab.create("parameters", {"operation": "echo", "parameters": {"text": "three"}, "includeStdOut": True})
        self.assertEqual(self.lab.wait_status("parameters", "SUCCEEDED")["statusDetails"]["stdout"], "three")


if __name__ == "__main__":
    sys.exit(f"run it with {pathlib.Path(__file__).parent / 'run.py'}")
