# SPDX-License-Identifier: Apache-2.0
"""On a machine with a kernel of its own (vm.py): limits that bite, and power in all its states. The machine is the same for all of
these tests, and goes on from where the one before has left it."""

import pathlib
import tempfile
import time

import vm
from harness import Lab, wait_for
from scene import Scene, installed_layers

SLOW = 4  # an emulated machine takes so much longer
shared = {}


def setUpModule():
    if vm.why_not():
        return
    directory = pathlib.Path(tempfile.mkdtemp(prefix="vm-"))
    vm.make_image(installed_layers(), directory / "image")
    shared["lab"] = lab = Lab()
    lab.start_broker()
    lab.start_service()
    shared["machine"] = machine = vm.VirtualMachine(directory / "machine", directory / "image")
    (directory / "image").unlink()
    machine.boot()
    machine.forward(lab.tls_port)


def tearDownModule():
    if "machine" in shared:
        shared["machine"].close()
        shared["lab"].close()
    shared.clear()


OVERRIDES = (
    {"name": "hog", "memory_max": "32M"},
    {"name": "half", "memory_max": "32M"},
    {"name": "many", "tasks_max": 8, "cpu_weight": 20, "io_weight": 30},
    {"name": "alone", "private_network": True},
    {"name": "careful", "inhibit_shutdown": True},
)
# Where a handler is, and what was set there.
PLACE = 'g=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); echo "${g##*/}"; cd "$g"; '


class VmScene(Scene):
    def setUp(self):
        if reason := vm.why_not():
            self.skipTest(f"no machine with a kernel of its own: {reason}")
        self.lab, self.machine = shared["lab"], shared["machine"]
        if "configured" not in shared:
            self.configure(jobs={"max_concurrent": 10}, handlers={"override": OVERRIDES})
            shared["configured"] = True
            self.start()
        self.machine.run("rm", "-rf", "/var/lib/evidence", check=False)

    def witness(self, name):
        return self.machine.read(f"/var/lib/evidence/{name}")

    def job(self, name, status="SUCCEEDED"):
        """Run a handler of that name, as a job of that name and the next number."""
        shared["jobs"] = shared.get("jobs", 0) + 1
        job = f"{name}-{shared['jobs']}"
        self.lab.create(job, f'{{"operation":"{name}"}}')
        return job, self.lab.wait_status(job, status, timeout=60 * SLOW)

    def begin(self, name):
        """The same, until the handler has said that it runs."""
        shared["jobs"] = shared.get("jobs", 0) + 1
        job = f"{name}-{shared['jobs']}"
        self.lab.create(job, f'{{"operation":"{name}"}}')
        wait_for(lambda: job in self.witness("runs"), "the handler", 60 * SLOW)
        return job

    SAY = 'mkdir -p /var/lib/evidence; echo "$IOT_JOB_ID" >>/var/lib/evidence/runs; sync; '


class ALimits(VmScene):
    def test_memory(self):
        """Past memory_max the handler is killed with all that it started, and the report says for what."""
        self.handler("hog.sh", self.SAY + PLACE + 'cat memory.max memory.oom.group; sleep 1000 & head -c 200m /dev/zero | tail -c 100m >/dev/null; echo went on')
        job, x = self.job("hog", "FAILED")
        details = x["statusDetails"]
        self.assertEqual((details["reason"], details["signal"]), ("out of memory: memory_max 32M", "SIGKILL"))
        self.assertEqual(details["stdout"], "1 | 33554432 | 1")
        self.assertIn(f"{job}: job finished: FAILED: out of memory: memory_max 32M", self.machine.journal(f"IOT_JOB_ID={job}"))
        self.assertEqual(self.machine.run("pgrep", "-f", "sleep 1000", check=False).stdout, "")
        # The runner itself lived on, and took the group away.
        self.assertEqual(self.machine.shell("find /sys/fs/cgroup -path '*iot-jobs-runner*' -name 1"), "")

    def test_memory_within_the_limit(self):
        self.handler("half.sh", "head -c 200m /dev/zero | tail -c 8m >/dev/null; echo went on")
        self.job("half")

    def test_tasks_and_weights(self):
        """Past tasks_max there is no new process; weights are what was asked for."""
        self.handler("many.sh", PLACE + "cat pids.max cpu.weight; grep -h default io.weight io.bfq.weight 2>/dev/null; "
                     "exec 2>/dev/null; for i in 1 2 3 4 5 6 7 8 9; do sleep 30 & done; true")
        job, x = self.job("many", "FAILED")  # a shell that cannot fork gives up
        self.assertRegex(x["statusDetails"]["stdout"], r"^1 \| 8 \| 20 \| default 30")
        self.assertTrue([l for l in self.machine.journal(f"IOT_JOB_ID={job}") if 'handler "many" was refused a new process' in l])

    def test_no_limit_no_group(self):
        """A handler without limits stays where its runner is, and pays for nothing."""
        self.handler("plain.sh", PLACE + 'cat cgroup.procs | wc -l; cat cgroup.subtree_control; echo "place=${g##*/}" >&3')
        _, x = self.job("plain")
        self.assertRegex(x["statusDetails"]["place"], r"^iot-jobs-runner@.*\.service$")

    def test_groups_above_stay_as_they_are(self):
        """Which controllers there are above the runners changes with no job: that would move every process below."""
        m = self.machine
        self.handler("plain.sh", "sleep 1")
        self.job("plain")
        m.run("systemd-run", "--quiet", "--unit=watch", "/bin/sh", "-c", "cd /sys/fs/cgroup; while :; do cat cgroup.subtree_control "
              "iot.slice/cgroup.subtree_control iot.slice/iot-jobs.slice/cgroup.subtree_control | tr '\\n' '|'; echo; done >/root/seen")
        for _ in range(2):
            self.job("plain")
        m.run("systemctl", "stop", "watch")
        seen = m.shell("sort -u /root/seen").splitlines()
        self.assertEqual(len(seen), 1, seen)

    def test_private_network(self):
        self.handler("alone.sh", "ip -o -br addr | tr -s ' ' >&1; ls /sys/class/net >/dev/null; exit 3")
        _, x = self.job("alone", "FAILED")
        self.assertRegex(x["statusDetails"]["stdout"], r"^lo UNKNOWN 127.0.0.1/8( ::1/128)? ?$")

    def test_a_limit_that_cannot_be_had(self):
        """The job waits, by name, and goes on by itself."""
        m = self.machine
        self.handler("half.sh", "true")
        m.write("/run/systemd/system/iot-jobs-runner@.service.d/no.conf", "[Service]\nDelegate=no\n")
        m.run("systemctl", "daemon-reload")
        try:
            self.lab.create("waits", '{"operation":"half"}')
            wait_for(lambda: [l for l in m.journal("IOT_JOB_ID=waits") if 'memory_max of handler "half" cannot be enforced' in l],
                     "the agent to say that it cannot", 30 * SLOW)
            self.assertEqual(self.lab.status("waits"), "QUEUED")
        finally:
            m.run("rm", "-r", "/run/systemd/system/iot-jobs-runner@.service.d")
            m.run("systemctl", "daemon-reload")
            m.run("systemctl", "restart", "iot-jobs-agent")  # or wait until it asks again
        self.lab.wait_status("waits", "SUCCEEDED", timeout=60 * SLOW)

    def test_clean_slate(self):
        """What a handler starts with is what this machine gives to any service: nothing of the runner's is in it."""
        look = ("grep -E '^(Cap|NoNewPrivs|Seccomp|SigBlk|SigIgn|Cpus_allowed:|Mems_allowed:|Umask|THP|Speculation)' /proc/self/status; "
                "cat /proc/self/limits /proc/self/oom_score_adj; cut -d' ' -f7,18,19,40,41 /proc/self/stat; "
                "cat /proc/self/personality /proc/self/timerslack_ns; for n in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$n; done")
        self.machine.write("/root/look", look)
        self.handler("slate.sh", "mkdir -p /var/lib/evidence; sh /root/look >/var/lib/evidence/ours; "
                     "tr '\\0' '\\n' </proc/$$/environ | cut -d= -f1 | grep -v ^IOT_JOB_ | sort | tr '\\n' ' ' >/var/lib/evidence/env")
        self.machine.run("systemd-run", "--quiet", "--wait", "--property=UMask=0022", "--property=IgnoreSIGPIPE=no",
                         "/bin/sh", "-c", "sh /root/look >/root/any")
        self.job("slate")
        self.assertIn("NoNewPrivs:\t0", self.witness("ours"), self.machine.shell("ls -la /var/lib/evidence /root; cat /root/look"))
        self.assertEqual(self.witness("ours"), self.machine.read("/root/any"))
        self.assertEqual(set("".join(self.witness("env")).split()) - {"PWD", "OLDPWD", "_", "SHLVL"},
                         {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER"})


class BPower(VmScene):
    def test_a_inhibitor(self):
        """No shutdown or suspend while it runs, by its name; afterwards as before, also if the runner was killed."""
        m = self.machine
        self.handler("careful.sh", self.SAY + "while [ ! -e /var/lib/evidence/go ]; do sleep 0.2; done")
        job = self.begin("careful")
        shown = m.run("systemd-inhibit", "--list", "--no-pager").stdout
        self.assertRegex(shown, rf"iot-jobs +0 +root .*shutdown:sleep job {job} runs careful(\.sh)? +block")
        r = m.run("systemctl", "suspend", "--check-inhibitors=yes", check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn(job, r.stdout + r.stderr)
        m.run("touch", "/var/lib/evidence/go")
        self.lab.wait_status(job, "SUCCEEDED", timeout=60 * SLOW)
        wait_for(lambda: "iot-jobs" not in m.run("systemd-inhibit", "--list", "--no-pager").stdout, "the inhibitor to be gone")
        m.run("rm", "/var/lib/evidence/go")
        job = self.begin("careful")
        m.shell("systemctl kill --kill-whom=main --signal=KILL 'iot-jobs-runner@*'")
        x = self.lab.wait_status(job, "FAILED", timeout=60 * SLOW)
        self.assertIn("interrupted", x["statusDetails"]["reason"])
        self.assertNotIn("iot-jobs", m.run("systemd-inhibit", "--list", "--no-pager").stdout)

    def test_b_suspend(self):
        """A job that the machine sleeps over goes on where it was, on the same connection or a new one."""
        m = self.machine
        self.handler("night.sh", self.SAY + "while [ ! -e /var/lib/evidence/go ]; do sleep 0.2; done")
        self.handler("plain.sh", "exit 0")
        job = self.begin("night")
        m.suspend()
        time.sleep(3)  # that is how long the night is
        m.wake()
        self.assertEqual(self.lab.status(job), "IN_PROGRESS")
        m.run("touch", "/var/lib/evidence/go")
        self.lab.wait_status(job, "SUCCEEDED", timeout=60 * SLOW)
        self.assertEqual(self.witness("runs"), [job])
        self.job("plain")

    def test_c_power_off(self):
        """An interruption, whatever a handler does with its SIGTERM: dies, ignores it, or exits with a code that means something."""
        traps = {"dies": "", "ignores": "trap '' TERM; ", "says-done": "trap 'exit 0' TERM; ", "says-failed": "trap 'exit 3' TERM; ",
                 "says-retry": "trap 'exit 75' TERM; ", "says-reboot": "trap 'exit 194' TERM; "}
        jobs = []
        for name, trap in traps.items():
            self.handler(f"{name}.sh", trap + self.SAY + "while :; do sleep 1; done")
            jobs.append(self.begin(name))
        self.machine.power_off()
        self.machine.boot()
        for job in jobs:
            x = self.lab.wait_status(job, "FAILED", timeout=60 * SLOW)
            self.assertIn("interrupted", x["statusDetails"]["reason"], job)
        self.assertEqual(self.witness("runs"), jobs)

    def test_d_power_cut(self):
        """What was going on is an interruption; what was over is reported as it was."""
        self.handler("over.sh", self.SAY + "exit 0")
        self.handler("goes-on.sh", self.SAY + "while :; do sleep 1; done")
        running = self.begin("goes-on")
        self.lab.stop_broker()
        self.machine.power_cut()
        self.lab.start_broker()
        self.machine.boot()
        x = self.lab.wait_status(running, "FAILED", timeout=60 * SLOW)
        self.assertIn("interrupted", x["statusDetails"]["reason"])
        self.assertEqual(self.witness("runs"), [running])
        self.job("over")

    def test_e_wrong_clock(self):
        """A device without a battery wakes up in the past: the agent says what the matter is, and is there once the clock is right."""
        m = self.machine
        m.power_off()
        m.boot(clock="2000-01-01T00:00:00")
        self.lab.create("early", '{"operation":"over"}')
        self.handler("over.sh", self.SAY + "exit 0")
        wait_for(lambda: [l for l in m.journal("-b", "-u", "iot-jobs-agent") if "is valid only from" in l], "the agent to say it", 30 * SLOW)
        self.assertEqual(m.unit("iot-jobs-agent", "ActiveState", "NRestarts"), {"ActiveState": "active", "NRestarts": "0"})
        m.run("date", "-u", "-s", f"@{int(time.time())}")
        self.lab.wait_status("early", "SUCCEEDED", timeout=60 * SLOW)
        self.assertEqual(self.witness("runs"), ["early"])
