# SPDX-License-Identifier: Apache-2.0
"""Every example of README.md, CONTRIBUTING.md and the manuals of the programs, taken out of the text and run. (Those of
iot-jobs-handlers(7) are run by tests/handlers/test_manual.py, the library's by tests/lint/manuals.py and here.) /etc and /run are
directories of the test, and what acts on the machine or the cloud, as `aws` and `systemctl` do, is played by a program that notes its
arguments: there the test is that a shell makes of the line what is meant."""

import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import threading
import time

from harness import AGENT, BUILD, ROOT, SIM, LabTest, clean_environment, free_port, wait_for
from mqtt import Mqtt

CTL = BUILD / "src/ctl/iot-jobsctl"
VERIFY = BUILD / "src/verify/iot-jobs-verify"
PAGES = ("README.md", "CONTRIBUTING.md", "man/iot-jobs-agent.8", "man/iot-jobs-agent.conf.5", "man/iot-jobsctl.1", "man/iot-jobs-sim.1")
ENDPOINT = "PREFIX-ats.iot.REGION.amazonaws.com"

# page → how an example begins → the test that runs it.
TESTED = {
    "README.md": {
        "scripts/demo ": "two_commands",
        "──  9  A handler that fails": "the_demos_story",
        "sudo apt-get update": "install_packages",
        "sudo apt-get install": "install_from_source",
        "aws iot create-thing": "aws_set_up",
        '{ "Version": "2012-10-17"': "policy",
        "aws iot create-policy --policy-name iot-jobs-agent": "aws_set_up",
        "aws iot describe-endpoint": "aws_set_up",
        "install -m 644 root.pem": "files_in_place",
        'thing_name = "pump-7";': "configurations",
        "iot-jobs-agent --check-config": "check_start_look",
        'connection = {\n  proxy': "configurations",
        "connection = { transport": "configurations",
        "credentials = {\n  ca_file": "configurations",
        "[Service]": "drop_in",
        "#!/bin/sh": "five_minutes",
        "aws iot create-job": "five_minutes",
        "iot-jobsctl run interval.json": "without_a_cloud",
        "mosquitto -p 1883": "a_service_of_ones_own",
        "#include <iotjobs/iotjobs.h>": "library",
        "cc hello.c": "library",
        "$ journalctl IOT_JOB_ID": "the_journal",
    },
    "CONTRIBUTING.md": {"meson setup build": "contributing"},
    "man/iot-jobs-agent.8": {
        "# runuser -u iot-jobs": "agent_manual",
        "$ iot-jobs-agent --print-policy": "agent_manual",
        "$ iot-jobs-agent --config ./agent.conf": "agent_manual",
    },
    "man/iot-jobs-agent.conf.5": {'thing_name = "pump-7";': "configurations", "jobs = { max_concurrent": "configurations"},
    "man/iot-jobsctl.1": {
        "# iot-jobsctl pause": "ctl_manual_of_a_running_agent",
        "$ iot-jobsctl history": "ctl_manual_of_a_running_agent",
        "# systemctl edit iot-jobs-agent-control.socket": "drop_in",
        "# iot-jobsctl run --set": "ctl_manual",
        "$ openssl genpkey": "ctl_manual",
    },
    "man/iot-jobs-sim.1": {},
}


def examples(page):
    """Displayed text as a reader copies it."""
    text = (ROOT / page).read_text()
    if page.endswith(".md"):
        found = [(m.group(1), m.group(2)) for m in re.finditer(r"(?ms)^( *)```\w*\n(.*?)^\1```$", text)]
        return ["".join(line[len(indent):] if line.startswith(indent) else line for line in body.splitlines(True)) for indent, body in found]
    return [body.replace("\\e", "\\").replace("\\-", "-").replace("\\&", "")
            for body in re.findall(r"(?ms)^\.Bd[^\n]*\n(.*?)^\.Ed$", text)]


def example(page, start):
    [found] = [e for e in examples(page) if e.startswith(start)]
    return found


class Examples(LabTest):
    def setUp(self):
        super().setUp()
        self.bin, self.etc = self.lab.directory / "bin", self.lab.directory / "etc"
        for d in (self.bin, self.etc / "iot-jobs", self.etc / "pump"):
            d.mkdir(parents=True)

    def moved(self, text):
        return text.replace("/etc/", f"{self.etc}/")

    def program(self, name, body):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def fake(self, *names):
        """Programs that note what they are called with, a line of JSON each time."""
        for name in names:
            self.program(name, f"exec python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' {name} \"$@\" >>{self.lab.directory}/calls")

    def calls(self):
        path = self.lab.directory / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def shell(self, text, code=0, cwd=None, **kwargs):
        # Into files: what goes on in the background keeps a pipe open.
        with open(self.lab.directory / "shell.out", "w+", encoding="utf-8") as out:
            r = subprocess.run(["/bin/sh", "-euc", self.moved(text)], cwd=cwd or self.lab.directory, stdin=subprocess.DEVNULL, stdout=out,
                               stderr=out, timeout=60, env=clean_environment(PATH=f"{self.bin}:{os.environ['PATH']}", **kwargs), check=False)
            out.seek(0)
            r.stdout = out.read()
        self.assertEqual(r.returncode, code, f"{text}\n{r.stdout}")
        return r

    def prompts(self, text):
        """Commands behind `$` or `#`, with their continuation lines."""
        lines = text.replace("\\\n", " ").splitlines()
        self.assertTrue(all(re.match("[$#] ", line) for line in lines), lines)
        return "\n".join(line[2:] for line in lines)

    def test_every_example_is_tested(self):
        for page in PAGES:
            for e in examples(page):
                self.assertEqual(len([s for s in TESTED[page] if e.startswith(s)]), 1, f"{page}: {e[:200]}")
            self.assertEqual(len(examples(page)), len(TESTED[page]), page)
            for test in TESTED[page].values():
                self.assertTrue(hasattr(self, f"test_{test}"), test)
        manuals = {f"man/{p.name}" for p in (ROOT / "man").glob("*.[1578]")}
        self.assertEqual(manuals, {p for p in PAGES if p.startswith("man/")} | {"man/iot-jobs-handlers.7"})

    # -- README.md --

    def test_two_commands(self):
        """A test cannot run what runs it; what runs before a change lands does."""
        for line in example("README.md", "scripts/demo ").splitlines():
            script = ROOT / line.split("#")[0].strip()
            self.assertTrue(os.access(script, os.X_OK), line)
            subprocess.run(["bash", "-n", script], check=True)
            self.assertIn(line.split("#")[0].strip(), (ROOT / ".ci/run").read_text())

    def test_the_demos_story(self):
        """The ninth story, with other times."""
        story = example("README.md", "──  9  A handler that fails").splitlines()
        command = " ".join(line.strip().rstrip("\\").removeprefix("$ ") for line in story[1:3]).split()
        self.assertEqual(command[:2], ["iot-jobs-sim", "create"])
        shutil.copy(ROOT / "scripts/demo-handlers/self-test.sh", self.lab.handlers)
        agent = self.lab.start_agent()
        command = [a.replace("pump-7", self.lab.thing) for a in command[1:]]
        r = subprocess.run([str(c) for c in self.lab.sim_command(*command)], capture_output=True, text=True, cwd=ROOT, timeout=60,
                           env=clean_environment(), check=False)
        self.assertEqual(r.returncode, 1)  # not SUCCEEDED
        cloud = [re.sub(r"^ +cloud +[0-9:.]+ +", "", line) for line in story if line.startswith("   cloud")]
        shown = [re.sub(r"^[0-9:.]+ +", "", line.strip()) for line in r.stdout.splitlines()]
        for line in cloud:
            words = shlex.split(line)
            self.assertTrue(any(set(words) <= set(shlex.split(s)) for s in shown), f"{words} not in {r.stdout}")
        for line in story:
            if m := re.match(r"   (agent|stdout|stderr) +(.*)", line):
                agent.wait_text(re.escape(m.group(2)))

    def test_install_packages(self):
        text = example("README.md", "sudo apt-get update")
        self.fake("sudo", "dpkg-buildpackage")
        self.shell(text)
        self.assertEqual([c[:3] for c in self.calls()], [["sudo", "apt-get", "update"], ["sudo", "apt-get", "install"],
                                                         ["sudo", "apt-get", "build-dep"], ["dpkg-buildpackage", "-us", "-uc"],
                                                         ["sudo", "apt-get", "install"]])
        built = re.search(r"\.\./([\w-]+)_", text).group(1)
        self.assertIn(f"Package: {built}\n", (ROOT / "debian/control").read_text())

    def test_the_journal(self):
        """The lines are compared on a booted machine (tests/system/test_documents.py); here, that the job is the demo's."""
        first, *lines = example("README.md", "$ journalctl IOT_JOB_ID").splitlines()
        self.assertRegex(first, r"^\$ journalctl IOT_JOB_ID=[\w-]+$")
        script = (ROOT / "scripts/demo-handlers/self-test.sh").read_text()
        said = [l.split("]: ")[-1] for l in lines if " self-test[" in l]
        self.assertTrue(said)
        self.assertTrue(all(l.split("${")[0].split("$")[0].split("sensor ")[0] in script or l in script for l in said), said)

    def test_install_from_source(self):
        lines = example("README.md", "sudo apt-get install").replace("\\\n", " ").splitlines()
        named = {w for w in lines[0].split()[3:] if not w.startswith("-")}
        needed = re.search(r"(?s)build_packages=\((.*?)\)", (ROOT / "scripts/lib.sh").read_text()).group(1).split()
        self.assertEqual(named, set(needed) - {"python3", "mosquitto", "openssl"})  # those are for tests and demo
        self.fake("sudo", "meson", "ninja")
        self.shell("\n".join(lines))
        self.assertEqual([c[:2] for c in self.calls()],
                         [["sudo", "apt-get"], ["meson", "setup"], ["ninja", "-C"], ["sudo", "meson"], ["sudo", "systemd-sysusers"],
                          ["sudo", "systemd-tmpfiles"], ["sudo", "mkdir"]])
        options = json.loads(subprocess.run(["meson", "introspect", "--buildoptions", BUILD], capture_output=True, text=True,
                                            check=True).stdout)
        self.assertLessEqual({"prefix", "buildtype"}, {o["name"] for o in options})

    def test_aws_set_up(self):
        self.fake("aws", "curl")
        for start in ("aws iot create-thing", "aws iot create-policy --policy-name iot-jobs-agent", "aws iot describe-endpoint"):
            self.shell(example("README.md", start))
        verbs = [c[2] for c in self.calls() if c[0] == "aws"]
        self.assertEqual(verbs, ["create-thing", "create-keys-and-certificate", "create-policy", "attach-policy",
                                 "attach-thing-principal", "describe-endpoint"])
        for call in self.calls():
            self.assertFalse([a for a in call if a.startswith("#") or a.endswith("\\")], call)

    def test_policy(self):
        """What goes over the wire in a job's life is in it, for this thing and no other."""
        policy = json.loads(example("README.md", '{ "Version"'))
        self.assertLess(len(json.dumps(policy, separators=(",", ":"))), 2048)

        def allowed(action, resource):
            for s in policy["Statement"]:
                actions = s["Action"] if isinstance(s["Action"], list) else [s["Action"]]
                pattern = s["Resource"].replace("${iot:Connection.Thing.ThingName}", self.lab.thing)
                if f"iot:{action}" in actions and fnmatch.fnmatchcase(f"arn:aws:iot:r:1:{resource}", pattern):
                    return True
            return False
        self.lab.handler("ok.sh", "echo 50 >&3; exit 0")
        self.lab.start_agent()
        self.lab.create("j", {"operation": "ok"})
        self.lab.wait_status("j", "SUCCEEDED")
        self.assertTrue(allowed("Connect", f"client/{self.lab.thing}"))
        for m in list(self.lab.wire.messages):
            self.assertTrue(allowed("Publish", f"topic/{m.topic}"), m.topic)
        for tail in re.findall(r"SUBSCRIBE.*?\n\t(\S+)", self.lab.broker.text()):
            if "/jobs/" in tail and self.lab.thing in tail:
                self.assertTrue(allowed("Subscribe", f"topicfilter/{tail}"), tail)
        self.assertFalse(allowed("Publish", "topic/$aws/things/another/jobs/get"))
        self.assertFalse(allowed("Connect", "client/another"))

    def test_files_in_place(self):
        for name in ("root.pem", "device.pem", "device.key"):
            (self.lab.directory / name).write_text(name)
        group = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()
        self.shell(example("README.md", "install -m 644 root.pem").replace("-g iot-jobs", f"-g {group}"))
        modes = {p.name: p.stat().st_mode & 0o777 for p in (self.etc / "iot-jobs").iterdir()}
        self.assertEqual(modes, {"root.pem": 0o644, "device.pem": 0o644, "device.key": 0o640})

    def test_configurations(self):
        """Whole ones as they are; pieces with the rest of the smallest one around them."""
        d = self.etc / "iot-jobs"
        shutil.copy(self.lab.authority.cert, d / "root.pem")
        for kind, path in zip(("pem", "key"), self.lab.device_cert):
            shutil.copy(path, d / f"device.{kind}")
        (d / "proxy-password").write_text("secret\n")
        (d / "aws-credentials").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = S\n")
        (d / "pin").write_text("1234")
        for p in d.iterdir():
            p.chmod(0o600)
        whole = example("README.md", 'thing_name = "pump-7";')
        smallest = example("man/iot-jobs-agent.conf.5", 'thing_name = "pump-7";')
        self.assertEqual(re.sub(r'(?m)^endpoint.*', "", whole), re.sub(r'(?m)^endpoint.*', "", smallest))
        head = "".join(smallest.splitlines(True)[:2])
        credentials = smallest[len(head):]
        pieces = [whole.replace(ENDPOINT, "p-ats.iot.eu-central-1.amazonaws.com"), smallest, head + example("README.md", "connection = { transport"),
                  head + example("README.md", "credentials = {\n  ca_file"), smallest + example("README.md", "connection = {\n  proxy"),
                  smallest + example("man/iot-jobs-agent.conf.5", "jobs = {")]
        for text in pieces:
            path = self.lab.directory / "agent.conf"
            path.write_text(self.moved(text) + f'state_directory = "{self.lab.state}"; runtime_directory = "{self.lab.runtime}";\n')
            path.chmod(0o600)
            r = subprocess.run([AGENT, "--config", path, "--check-config"], capture_output=True, text=True, env=clean_environment(),
                               check=False, timeout=60)
            said = r.stdout + r.stderr
            if "pkcs11:" in text and r.returncode:  # the token of the example is not here
                self.assertRegex(said, "(?i)pkcs11|engine|key_uri")
                self.assertNotRegex(said, "syntax|unknown")
                continue
            self.assertEqual(r.returncode, 0, f"{text}\n{said}")
            self.assertNotIn("unknown", said)
        self.assertIn("key_file", credentials)

    @staticmethod
    def verified(unit):
        return subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False).stderr

    def test_drop_in(self):
        """Settings that the manager knows."""
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        prompt, socket = example("man/iot-jobsctl.1", "# systemctl edit").split("\n", 1)
        self.assertTrue((ROOT / "systemd" / f"{prompt.split()[-1]}.in").exists(), prompt)
        (self.lab.directory / "example.service").write_text("[Service]\nExecStart=/bin/true\n")
        for kind, head, settings, key in (("service", "[Service]\nExecStart=/bin/true\n", example("README.md", "[Service]"), "PrivateDevices"),
                                          ("socket", "[Socket]\nListenStream=/run/x\n", socket, "SocketGroup")):
            unit = self.lab.directory / f"example.{kind}"
            unit.write_text(head + settings.split("\n", 1)[1])
            self.assertEqual(head.split("\n")[0], settings.split("\n")[0])
            self.assertNotIn(f"example.{kind}:", self.verified(unit))
            unit.write_text(unit.read_text().replace(f"{key}=", f"{key}X="))
            self.assertIn(f"example.{kind}:", self.verified(unit))  # it would have been said

    def test_check_start_look(self):
        self.fake("systemctl")
        shown = self.lab.write_config()
        self.program("iot-jobs-agent", f'exec {AGENT} --config {shown} "$@"')
        self.shell(example("README.md", "iot-jobs-agent --check-config"))
        self.assertEqual([c[1] for c in self.calls()], ["enable", "status"])
        for unit in self.calls()[0][3:]:
            self.assertTrue((ROOT / "systemd" / f"{unit}.in").exists(), unit)

    def handler(self):
        """The handler of the five minutes, as it is in the text but for where it writes."""
        (self.lab.handlers / "set-interval.sh").write_text(self.moved(example("README.md", "#!/bin/sh")))
        (self.lab.handlers / "set-interval.sh").chmod(0o755)
        self.fake("systemctl")
        return {"environment": [f"PATH={self.bin}:/usr/bin:/bin"]}

    def test_five_minutes(self):
        settings = self.handler()
        self.fake("aws")
        self.shell(example("README.md", "aws iot create-job"))
        create = next(c for c in self.calls() if "create-job" in c)
        self.lab.start_agent(handlers=settings)
        self.lab.create(create[create.index("--job-id") + 1], create[create.index("--document") + 1])
        d = self.lab.wait_status("interval-1", "SUCCEEDED")["statusDetails"]
        self.assertEqual((d["applied"], d["progress"]), ("15", "50"))
        self.assertEqual((self.etc / "pump/interval.conf").read_text(), "interval=15\n")
        self.assertIn(["systemctl", "restart", "pump"], self.calls())

    def ctl(self, settings):
        path = self.lab.write_config(handlers=settings, port=1)
        self.program("iot-jobsctl", f'verb=$1; shift; case $verb in run|handlers) exec {CTL} "$verb" --config {path} "$@" ;; esac\n'
                                    f'exec {CTL} "$verb" "$@"')

    def test_without_a_cloud(self):
        self.ctl(self.handler())
        self.lab.document("x", {"operation": "set-interval", "parameters": {"seconds": 15}}).rename(self.lab.directory / "interval.json")
        r = self.shell(example("README.md", "iot-jobsctl run"))
        self.assertIn("set-interval.sh", r.stdout)
        self.assertEqual((self.etc / "pump/interval.conf").read_text(), "interval=15\n")

    def test_a_service_of_ones_own(self):
        """With a device that is nobody but takes what comes."""
        port = free_port()
        for name, path in (("iot-jobs-sim", SIM), ("mosquitto", shutil.which("mosquitto") or "/usr/sbin/mosquitto")):
            self.program(name, f'echo $$ >>{self.lab.directory}/pids; exec {path} "$@"')
        done = []

        def device():
            wait_for(lambda: (self.lab.directory / "interval.json").exists(), "the document")
            eyes = Mqtt(port)
            self.lab.clients.append(eyes)
            eyes.subscribe("$aws/things/pump-7/jobs/#")
            eyes.publish("$aws/things/pump-7/jobs/start-next", "{}")
            for _ in range(600):
                for m in list(eyes.messages):
                    if m.topic.endswith(("notify-next", "start-next/accepted")) and b'"jobId"' in m.payload and not done:
                        done.append(json.loads(m.payload)["execution"]["jobDocument"])
                        eyes.publish("$aws/things/pump-7/jobs/try-1/update", '{"status":"SUCCEEDED"}')
                        return
                time.sleep(0.05)
        thread = threading.Thread(target=device, daemon=True)
        thread.start()
        try:
            r = self.shell(example("README.md", "mosquitto -p 1883").replace("1883", str(port)))
            thread.join(10)
            self.assertIn("SUCCEEDED", r.stdout)
            self.assertEqual(done, [{"operation": "set-interval", "parameters": {"seconds": 15}}])
        finally:
            for pid in (self.lab.directory / "pids").read_text().split():
                try:
                    os.kill(int(pid), 15)
                except ProcessLookupError:
                    pass

    @staticmethod
    def sanitizers():
        """What a program needs that links a library built with one."""
        options = json.loads(subprocess.run(["meson", "introspect", "--buildoptions", BUILD], capture_output=True, text=True,
                                            check=True).stdout)
        chosen = next(o["value"] for o in options if o["name"] == "b_sanitize")
        chosen = ",".join(chosen) if isinstance(chosen, list) else chosen
        return "" if chosen in ("", "none") else f"-fsanitize={chosen}"

    def test_library(self):
        """The program, compiled by the line below it and run against the local service."""
        cert, key = self.lab.device_cert
        source = example("README.md", "#include")
        changes = {f'"{ENDPOINT}", 8883': f'"127.0.0.1", {self.lab.tls_port}', '"root.pem", "device.key", "device.pem"':
                   f'"{self.lab.authority.cert}", "{key}", "{cert}"', '"pump-7", "pump-7"': f'"{self.lab.thing}", "{self.lab.thing}"'}
        for was, now in changes.items():
            self.assertIn(was, source)
            source = source.replace(was, now)
        (self.lab.directory / "hello.c").write_text(source)
        library, sanitize = BUILD / "src/client", self.sanitizers()
        self.program("pkg-config", f"echo {sanitize} -I{ROOT}/include -I{BUILD}/include -L{library} -Wl,-rpath,{library} -liotjobs")
        self.lab.create("j", {"operation": "hello"})
        line = example("README.md", "cc hello.c").strip()
        program = self.lab.directory / "hello"
        self.shell(line.split("&&")[0])
        # stdbuf preloads a library, and that comes before a sanitizer's.
        env = clean_environment(ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")
        p = self.lab._program("hello", ["stdbuf", "-oL", program], self.lab.directory / "hello.log", env)
        self.lab.wait_status("j", "SUCCEEDED")
        p.wait_text(r'\{"operation": ?"hello"\}')
        self.assertTrue(line.endswith("./hello"))

    # -- CONTRIBUTING.md --

    def test_contributing(self):
        """What the lines name is there: a test cannot run what runs it."""
        text = example("CONTRIBUTING.md", "meson setup build")
        suites = set(re.findall(r"--no-suite (\S+)", text))
        known = json.loads(subprocess.run(["meson", "introspect", "--tests", BUILD], capture_output=True, text=True, check=True).stdout)
        self.assertLessEqual(suites, {s.split(":")[-1] for t in known for s in t["suite"]})
        listed = subprocess.run(["python3", "-B", ROOT / "tests/integration/run.py", "--list", "crash"], capture_output=True, text=True,
                                check=True).stdout
        self.assertIn("test_crash.", listed)
        r = subprocess.run([BUILD / "tests/model/model-check", "--seeds", "10"], capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(r.returncode, 0, r.stdout)
        self.assertIn("--quick", (ROOT / "scripts/test").read_text())

    # -- the manuals --

    def test_agent_manual(self):
        self.fake("aws")
        conf = self.lab.write_config()
        self.program("iot-jobs-agent", f'case " $* " in *" --config "*) exec {AGENT} "$@" ;; esac; exec {AGENT} --config {conf} "$@"')
        self.program("runuser", '[ "$1 $2 $3" = "-u iot-jobs --" ] && shift 3 && exec "$@"')
        page = "man/iot-jobs-agent.8"
        self.shell(self.prompts(example(page, "# runuser")))
        self.shell(self.prompts(example(page, "$ iot-jobs-agent --print-policy")))
        policy = json.loads((self.lab.directory / "policy.json").read_text())
        self.assertNotIn("ACCOUNT", json.dumps(policy))
        self.assertIn("file://policy.json", self.calls()[0])
        words = shlex.split(self.prompts(example(page, "$ iot-jobs-agent --config ./agent.conf")))
        agent = self.lab._program("iot-jobs-agent", ["sh", "-c", f"cd {self.lab.directory} && exec {shlex.join([str(AGENT), *words[1:]])}"],
                                  self.lab.directory / "agent.log", clean_environment())
        self.lab.wait_online(agent)

    def test_ctl_manual_of_a_running_agent(self):
        if not shutil.which("jq"):
            self.skipTest("jq is not installed")
        self.lab.handler("fails.sh", "exit 3")
        self.lab.handler("ok.sh", "exit 0")
        self.lab.start_agent()
        conf = self.lab.directory / "agent.conf"
        self.program("iot-jobsctl", f'verb=$1; shift; case $verb in watch) exec timeout -s INT 1 {CTL} watch --config {conf} ;; esac\n'
                                    f'exec {CTL} "$verb" --config {conf} "$@"')
        for job, status in (("fails", "FAILED"), ("ok", "SUCCEEDED")):
            self.lab.create(job, {"operation": job})
            self.lab.wait_status(job, status)
        page = "man/iot-jobsctl.1"
        look = self.prompts(example(page, "$ iot-jobsctl history"))
        shown = wait_for(lambda: self.shell(look).stdout, "the failed job in the history")
        self.assertIn("FAILED", shown)
        self.assertNotIn("SUCCEEDED", shown)
        pause, resume = self.prompts(example(page, "# iot-jobsctl pause")).splitlines()
        self.shell(f"{pause} || [ $? -gt 100 ]")  # watch goes on until it is ended
        self.assertIn("Paused: since", self.shell("iot-jobsctl status").stdout)
        self.shell(resume)
        self.assertNotIn("Paused:", self.shell("iot-jobsctl status").stdout)

    def test_ctl_manual(self):
        self.lab.handler("install-packages.sh", 'echo "$IOT_JOB_PARAM_packages" >@EVIDENCE@/packages')
        self.ctl({})
        document = {"operation": "install-packages", "parameters": {"packages": "${aws:iot:parameter:packages}"}}
        self.lab.document("x", document).rename(self.lab.directory / "install.json")
        page = "man/iot-jobsctl.1"
        self.shell(self.prompts(example(page, "# iot-jobsctl run --set")))
        self.assertEqual(self.lab.witness("packages"), ["pump-fw"])
        self.lab.document("x", {"operation": "install-packages"}).rename(self.lab.directory / "install.json")
        self.shell(self.prompts(example(page, "$ openssl genpkey")))
        jws = json.loads((self.lab.directory / "signed.json").read_text())["jws"]
        keys = self.lab.directory / "keys"
        keys.mkdir()
        shutil.copy(self.lab.directory / "release.pem", keys)
        for thing, code in (("pump-7", 0), ("pump-8", 1)):
            r = subprocess.run([VERIFY, "--keys", keys, "--thing", thing, "--job", "j", "--require"], input=jws.encode(), capture_output=True,
                               check=False, timeout=60)
            self.assertEqual(r.returncode, code, r.stdout)
        self.assertTrue(pathlib.Path(self.lab.directory / "release.key").exists())
