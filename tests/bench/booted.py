# SPDX-License-Identifier: Apache-2.0
"""The same benchmark on a booted machine: installed packages, systemd's own launch of each runner. Started by scripts/bench system,
inside of what tests/system/run.py prepares. Beside it, in turn and in the same run, the build tree's agent without systemd: a machine
that is busy with something else hits both."""

import os
import pathlib
import re
import statistics
import time

import bench
from harness import wait_for
from scene import Scene


class Booted(bench.Bench):
    """The lab's broker and service, and the agent of a machine in place of one of the build tree."""

    def __init__(self, quick):
        self.scene = Scene()
        self.scene.setUp()
        self.machine, self.lab, self.runtime, self.count = self.scene.machine, self.scene.lab, None, 0
        self.sequential, self.backlog, self.idle_seconds, self.starts = (40, 200, 15, 10) if quick else (150, 1000, 60, 30)
        self.lab.stop_broker()
        self.lab.start_broker(log="information")
        self.lab.wait_service()
        self.scene.handler("ok.sh", "exit 0")
        self.scene.configure(connection={"keep_alive": 60}, log={"level": "info"})

    def close(self):
        self.scene.doCleanups()

    def started(self, online=True):
        since = time.monotonic()
        self.machine.run("systemctl", "restart", *("iot-jobs-runner.socket", "iot-jobs-agent.service"))
        if online:
            self.scene.wait_agent(since)

    def stopped(self):
        self.machine.run("systemctl", "stop", "iot-jobs-agent")

    def latency(self):
        """Median from the job's creation to the accepted SUCCEEDED in the service, in ms; the slowest of a hundred beside it."""
        self.started()
        watch, spans = self.watch(), []
        for n in self.names(self.sequential + 5):
            self.create([n])
            watch.ends([n])
            spans.append(watch.ended[n] - watch.queued[n])
        self.unwatch(watch)
        self.stopped()
        return statistics.median(spans[5:]) * 1000, sorted(spans[5:])[-max(1, self.sequential // 100)] * 1000

    def drain(self, n):
        """A backlog of n before the agent starts → jobs per second from the first claim on."""
        names = self.names(n)
        self.create(names)
        watch = self.watch()
        self.started(online=False)
        watch.ends(names)
        span = max(watch.ended[n] for n in names) - min(watch.claimed[n] for n in names)
        self.unwatch(watch)
        self.stopped()
        return n / span

    def ready(self):
        """From the moment systemd begins to start the unit to READY=1, in ms: median and longest."""
        spans = []
        for _ in range(self.starts):
            self.stopped()
            self.machine.run("systemctl", "start", "iot-jobs-agent")
            at = self.machine.unit("iot-jobs-agent", "InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
            spans.append((int(at["ActiveEnterTimestampMonotonic"]) - int(at["InactiveExitTimestampMonotonic"])) / 1000)
        return statistics.median(spans), max(spans)

    def idle(self):
        self.started()
        time.sleep(5)  # what a start leaves to be done is done
        pid = wait_for(lambda: self.machine.pid("iot-jobs-agent"), "the agent")
        rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        kib = {k: int(v) for k, v in re.findall(r"(\w+):\s+(\d+) kB", rollup)}
        before = self.switches(pid)
        time.sleep(self.idle_seconds)
        wakeups = (self.switches(pid) - before) * 60 / self.idle_seconds
        self.stopped()
        return kib["Private_Dirty"] / 1024, (kib["Private_Dirty"] + kib["Private_Clean"]) / 1024, wakeups


def beside(quick, rounds):
    """Latency with and without systemd, in turn: medians of the rounds' medians."""
    with_systemd, without, slowest = [], [], []
    for _ in range(rounds):
        b = Booted(quick)
        try:
            median, slow = b.latency()
            with_systemd.append(median)
            slowest.append(slow)
        finally:
            b.close()
        plain = bench.Bench(quick)
        try:
            plain.sequential = b.sequential
            without.append(plain.latency()[0])
        finally:
            plain.close()
    return statistics.median(with_systemd), max(slowest), statistics.median(without)


def measure(quick):
    latency, slowest, plain = beside(quick, 3)
    b = Booted(quick)
    try:
        print(f"# {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; a booted Debian 12, the packages installed; {b.sequential} jobs "
              f"one by one, three times; a backlog of {b.backlog}; {b.starts} starts; {b.idle_seconds} s idle\n", flush=True)
        rate = b.drain(b.backlog)
        ready, longest = b.ready()
        dirty, private, wakeups = b.idle()
    finally:
        b.close()
    bench.table([
        ("under systemd", "reached", "asked", "Device Client 1.9"),
        ("job creation to accepted SUCCEEDED, median", f"{latency:.1f} ms", "<= 25 ms", "44 ms"),
        ("the same, the slowest", f"{slowest:.1f} ms", "", ""),
        ("the same without systemd, in turn, median", f"{plain:.1f} ms", "", ""),
        ("jobs per second on a backlog", f"{rate:.0f}", "", "22.7"),
        ("start of the unit to READY, median", f"{ready:.1f} ms", "<= 50 ms", ""),
        ("the same, the longest", f"{longest:.1f} ms", "", ""),
        ("idle: private dirty memory", f"{dirty:.2f} MiB", "<= 1.5 MB", "3.0 MB"),
        # Nobody else on this machine has OpenSSL and the like in memory: what would be shared elsewhere is the agent's own here.
        ("idle: private memory with unshared libraries", f"{private:.2f} MiB", "", ""),
        ("idle: wake-ups a minute, all threads", f"{wakeups:.1f}", "<= 6", "298"),
    ])
    return 0
