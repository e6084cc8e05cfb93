# SPDX-License-Identifier: Apache-2.0
"""iot-jobsctl on a booted machine: whom the socket's mode lets in, who may change anything, and that asking starts nothing."""

import json

from harness import wait_for
from scene import Scene

SOCKET = "/run/iot-jobs/control/agent.sock"
READING = (["status"], ["list"], ["show", "job"], ["history"])
CHANGING = (["pause"], ["resume"], ["cancel", "job"])


class Control(Scene):
    def ctl(self, *args, user=None, check=0):
        """iot-jobsctl as root, or as a user of the machine → CompletedProcess."""
        r = self.machine.run(*(["runuser", "-u", user, "--"] if user else []), "iot-jobsctl", *args, check=False)
        self.assertEqual(r.returncode, check, f"{args} by {user}: {r.stdout}{r.stderr}")
        return r

    def json(self, *args, **kwargs):
        return json.loads(self.ctl(*args, "--json", **kwargs).stdout)

    def active(self, *units):
        return [self.machine.unit(u, "ActiveState")["ActiveState"] for u in units]

    def test_who_may(self):
        """root all, the group looks, nobody else anything; another group by a drop-in."""
        m = self.machine
        m.run("useradd", "--groups", "adm", "reader")
        m.run("useradd", "stranger")
        self.start_waiting()
        self.assertEqual(m.run("stat", "-c", "%a %U %G", SOCKET).stdout, "660 root adm\n")
        for verb in READING:
            self.ctl(*verb)
            self.ctl(*verb, user="reader")
            r = self.ctl(*verb, user="stranger", check=3)
            self.assertIn(f"may not connect to the agent at {SOCKET}", r.stderr)
        for verb in CHANGING:
            self.assertIn("this is for root", self.ctl(*verb, user="reader", check=1).stderr)
            self.ctl(*verb, user="stranger", check=3)
        # The agent's own user is one like any other: who takes the agent has not the operator's word.
        self.ctl("status", user="iot-jobs", check=3)
        self.assertNotIn("pausedSince", self.json("status"))
        self.assertEqual(self.json("list")[0]["phase"], "running")
        m.run("groupadd", "operators")
        m.run("usermod", "--groups", "operators", "stranger")
        m.write("/etc/systemd/system/iot-jobs-agent-control.socket.d/group.conf", "[Socket]\nSocketGroup=operators\n")
        m.run("systemctl", "daemon-reload")
        m.run("systemctl", "restart", "iot-jobs-agent")
        self.ctl("status", user="stranger")
        self.ctl("status", user="reader", check=3)
        self.go()
        self.lab.wait_status("job", "SUCCEEDED")

    def test_asking_starts_nothing(self):
        """The socket comes and goes with the agent; what asks a stopped one hears that, and how to start it."""
        m = self.machine
        units = ("iot-jobs-agent.service", "iot-jobs-agent-control.socket")
        self.assertEqual(self.active(*units), ["inactive", "inactive"])
        r = self.ctl("status", check=3)
        self.assertIn("systemctl status iot-jobs-agent", r.stderr)
        self.start()
        self.ctl("status")
        self.assertEqual(self.active(*units), ["active", "active"])
        stopped = m.run("systemctl", "stop", "iot-jobs-agent")
        self.assertEqual(stopped.stderr, "")  # no word of what could start it again
        self.assertEqual(self.active(*units), ["inactive", "inactive"])
        self.assertEqual(m.run("test", "-e", SOCKET, check=False).returncode, 1)
        for _ in range(5):
            self.ctl("status", check=3)
        self.assertEqual(self.active(*units), ["inactive", "inactive"])
        for how in ("start", "restart", "kill"):
            m.run("systemctl", how, *(["--signal=KILL"] if how == "kill" else []), "iot-jobs-agent")
            wait_for(lambda: m.run("iot-jobsctl", "status", check=False).returncode == 0, f"the agent after {how}")
        self.assertNotIn("iot-jobs", m.run("systemctl", "--failed", "--no-legend", "--plain").stdout)

    def test_a_machine_in_maintenance(self):
        """Pause, reboot, look, resume: the job that waited starts then; one that runs is cancelled on the device."""
        m = self.machine
        self.start_waiting()
        m.run("systemctl", "enable", "--quiet", "iot-jobs-runner.socket", "iot-jobs-agent")
        self.ctl("pause")
        self.assertIn("paused by the operator, running job job", m.unit("iot-jobs-agent", "StatusText")["StatusText"])
        self.assertEqual(self.ctl("cancel", "job").stdout, "job: REJECTED, cancelled on the device\n")
        self.assertEqual(self.lab.wait_status("job", "REJECTED")["statusDetails"]["reason"], "cancelled on the device")
        self.lab.create("next", '{"operation":"echo"}')
        wait_for(lambda: self.json("list"), "the next job")
        m.power_off()
        m.boot()
        wait_for(lambda: m.run("iot-jobsctl", "status", "--json", check=False).stdout.count('"synced":true'), "the agent to have compared")
        self.assertTrue(self.json("status")["pausedSince"])
        self.assertEqual([(j["job"], j["phase"], j["status"]) for j in self.json("list")], [("next", "queued", "QUEUED")])
        self.assertEqual(m.journal("MESSAGE_ID=7f0b35ced7f34adaaedc207dda056071", "IOT_JOB_ID=next"), [])
        explained = m.run("journalctl", "--no-pager", "-x", "-b", "-u", "iot-jobs-agent").stdout
        self.assertIn("Subject: The operator of the device paused the agent", explained)
        self.ctl("resume")
        self.lab.wait_status("next", "SUCCEEDED")
        wait_for(lambda: len(self.json("history")) == 2, "the history")
        self.assertEqual([(x["job"], x["status"]) for x in self.json("history")], [("job", "REJECTED"), ("next", "SUCCEEDED")])

    def test_two_agents(self):
        """Each has its own; --name says which."""
        m = self.machine
        self.start()
        first, self.lab.thing = self.lab.thing, self.lab.thing + "-b"
        self.configure("second.conf", client_id=self.lab.thing)
        self.assertIn("iot-jobs-agent@second", self.ctl("status", "--name", "second", check=3).stderr)
        m.run("systemctl", "start", "iot-jobs-agent@second")
        wait_for(lambda: m.run("iot-jobsctl", "status", "--name", "second", check=False).returncode == 0, "the second agent")
        self.assertEqual(self.json("status")["thing"], first)
        self.assertEqual(self.json("status", "--name", "second")["thing"], self.lab.thing)
        self.assertEqual(self.json("status", "--config", "/etc/iot-jobs/second.conf")["thing"], self.lab.thing)
        self.ctl("pause", "--name", "second")
        self.assertNotIn("pausedSince", self.json("status"))
        m.run("systemctl", "stop", "iot-jobs-agent@second")
        self.ctl("status", "--name", "second", check=3)
        self.ctl("status")
        offered = m.run("bash", "-ic", ". /usr/share/bash-completion/completions/iot-jobsctl; COMP_WORDS=(iot-jobsctl status --name s); "
                        'COMP_CWORD=3; _iot_jobsctl; echo "${COMPREPLY[@]}"').stdout
        self.assertEqual(offered, "second\n")
