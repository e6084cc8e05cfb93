# SPDX-License-Identifier: Apache-2.0
"""What someone could do who has taken over the agent: from inside its sandbox, and with its user's right to call the runner."""

import json
import pathlib
import statistics
import time

from harness import wait_for
from scene import Scene

HERE = pathlib.Path(__file__).resolve().parent


class Taken(Scene):
    def setUp(self):
        super().setUp()
        for name in ("probe.py", "hostile.py"):
            self.machine.write(f"/usr/local/lib/iot-jobs-test/{name}", (HERE / name).read_bytes())

    def unit(self, name, text):
        """Run a oneshot service to its end → lines of its output."""
        self.machine.write(f"/etc/systemd/system/{name}.service", text)
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "start", name)
        return self.machine.journal("-u", name, "_COMM=python3")

    def test_sandbox(self):
        """The agent's own unit with another program in it."""
        self.start()
        program = "/usr/bin/python3 -B /usr/local/lib/iot-jobs-test/probe.py"
        lines = self.machine.path("/lib/systemd/system/iot-jobs-agent.service").read_text().splitlines()
        changed = {"Type": "oneshot", "ExecStart": program, "ExecReload": None, "Restart": None, "RestartSec": None,
                   "RestartPreventExitStatus": None, "WatchdogSec": None}
        text = "\n".join(f"{k}={changed[k]}" if changed.get(k := l.split("=")[0]) else l for l in lines
                         if changed.get(l.split("=")[0], "") is not None)
        self.assertIn(program, text)
        # A container on a host whose control groups are of version 1 cannot limit processes: nothing to be seen there.
        limited = "pids" in self.machine.run("cat", "/sys/fs/cgroup/cgroup.controllers").stdout.split()
        if not limited:
            print("# no pids controller here: TasksMax= is not tried")
            text = text.replace(program, f"{program} 'many processes'")
        out = self.unit("probe", text)
        self.assertEqual([l for l in out if l.startswith(("worked", "needed"))], [])
        n = int(out[-1].split()[0])
        self.assertGreaterEqual(n, 40)
        print(f"# {n} things tried from inside the sandbox, 0 worked")
        # Without the sandbox, as the same user: the attempts are real ones.
        out = self.unit("bare", f"[Service]\nType=oneshot\nExecStart={program} reboot\nUser=iot-jobs\nRuntimeDirectory=bare\n")
        free = {l for l in out if l.startswith("worked")}
        self.assertLessEqual({"worked: see others' processes", "worked: writable code", "worked: netlink socket", "worked: setuid file",
                              "worked: many processes"}, free)

    def hostile(self, *args):
        r = self.machine.run("setpriv", "--reuid=iot-jobs", "--regid=iot-jobs", "--init-groups", "--", "python3", "-B",
                             "/usr/local/lib/iot-jobs-test/hostile.py", *args, timeout=300)
        return json.loads(r.stdout)

    def test_requests(self):
        """200 hostile requests and a flood: nothing runs that policy forbids, nothing running is disturbed, the next job runs."""
        m = self.machine
        m.write("/opt/evil.sh", "#!/bin/sh\nmkdir -p /var/lib/evidence; echo evil >>/var/lib/evidence/evil\n", 0o755)
        evil = m.path("/opt/evil.sh").read_text()
        for name, mode in (("loose.sh", 0o777), ("plain.sh", 0o644), ("foreign.sh", 0o755), (".hidden.sh", 0o755),
                           ("fine.sh.dpkg-new", 0o755)):
            m.write(f"/etc/iot-jobs/handlers.d/{name}", evil, mode)
        m.run("chown", "iot-jobs", "/etc/iot-jobs/handlers.d/foreign.sh")
        m.run("ln", "-s", "/opt/evil.sh", "/etc/iot-jobs/handlers.d/link.sh")
        m.run("mkfifo", "-m", "755", "/etc/iot-jobs/handlers.d/fifo")
        m.run("mkdir", "/etc/iot-jobs/handlers.d/directory")
        self.handler("fine.sh", 'mkdir -p /var/lib/evidence; echo "$IOT_JOB_ID" >>/var/lib/evidence/fine')
        self.handler("long.sh", 'mkdir -p /var/lib/evidence; echo on >>/var/lib/evidence/long\n'
                                'while [ ! -e /var/lib/evidence/go ]; do sleep 0.05; read -r up idle </proc/uptime; '
                                'echo "$up" >>/var/lib/evidence/beats; done')
        self.configure(jobs={"max_concurrent": 2})
        self.start()
        self.lab.create("long", '{"operation":"long"}')
        wait_for(lambda: self.witness("long"), "the handler")
        running = sorted(self.lab.job_processes("long"))[0]

        answers = self.hostile("requests", self.lab.thing, "long", str(self.lab.describe("long")["queuedAt"]))
        print("# hostile requests: " + ", ".join(f"{len(a)} {kind}" for kind, a in answers.items()), flush=True)
        self.assertGreaterEqual(sum(map(len, answers.values())), 200)
        self.assertEqual(self.witness("evil"), [])
        self.assertEqual(self.witness("fine"), ["replayed"], answers["forbidden"])
        self.assertEqual(answers["allowed"][0][-1], "result")
        self.assertTrue(all("plan" not in a for kind in ("replayed", "another thing", "oversized", "about what runs")
                            for a in answers[kind]), answers)
        self.assertIn(running, self.lab.job_processes("long"), "\n".join(m.journal("IOT_JOB_ID=long")))

        for name, more in (("flood", ["3"]), ("storm", [self.lab.thing, "3"])):
            seen = self.hostile(name, *more)
            self.assertGreaterEqual(seen["connections"], 1000)
            began = time.monotonic()
            self.lab.create(name, '{"operation":"fine"}')
            self.lab.wait_status(name, "SUCCEEDED")
            span = time.monotonic() - began
            print(f"# a {name} for 3 s: {seen}; the next job had ended {span:.1f} s later", flush=True)
            self.assertLessEqual(span, 5)
            self.assertIn(running, self.lab.job_processes("long"))
        beats = [float(l) for l in self.witness("beats")]
        print(f"# the handler that ran meanwhile: a sign of life every {statistics.median(b - a for a, b in zip(beats, beats[1:])):.2f} s, "
              f"the longest pause {max(b - a for a, b in zip(beats, beats[1:])):.2f} s", flush=True)
        m.write("/var/lib/evidence/go", "")
        self.lab.wait_status("long", "SUCCEEDED")
        self.assertEqual(self.witness("long"), ["on"])
        self.assertEqual(self.witness("evil"), [])

    def test_other_users(self):
        """Nobody but the agent's user reaches the socket."""
        self.start()
        script = "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('/run/iot-jobs/runner.sock')"
        for user in ("nobody", "daemon", "mosquitto"):
            r = self.machine.run("setpriv", f"--reuid={user}", "--clear-groups", "--", "python3", "-c", script, check=False)
            self.assertIn("PermissionError", r.stderr, user)
