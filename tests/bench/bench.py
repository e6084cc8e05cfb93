#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure the agent from the outside, and the library; started by scripts/bench. The agent's clock is on the wire: a watcher
at the broker. The library's part is in library.py, the comparison of two builds in against.py."""

import argparse
import json
import os
import pathlib
import re
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import against  # noqa: E402
import library  # noqa: E402
from harness import AGENT, Lab, clean_environment, wait_for  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


class Watch:
    """`iot-jobs-sim watch --json`, read as it comes: when the service queued, saw claimed and accepted the end of each job."""

    def __init__(self, command):
        self.process = subprocess.Popen([str(a) for a in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                        env=clean_environment())
        self.queued, self.claimed, self.ended = {}, {}, {}
        self.guard = threading.Timer(600, self.process.kill)  # every wait here is for a line of its output
        self.guard.start()

    def hears(self):
        return bool(select.select([self.process.stdout], [], [], 0.1)[0])

    def _read(self, enough):
        for line in self.process.stdout:
            event = json.loads(line)
            at = event.get("at", 0) / 1e6
            times = {"QUEUED": self.queued, "IN_PROGRESS": self.claimed, "SUCCEEDED": self.ended}.get(event.get("status"))
            if times is not None:
                times.setdefault(event["jobId"], at)
            if enough():
                return
        raise RuntimeError("iot-jobs-sim watch ended")

    def ends(self, names):
        if not all(n in self.ended for n in names):
            self._read(lambda: all(n in self.ended for n in names))

    def close(self):
        self.guard.cancel()
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class Bench:
    def __init__(self, quick):
        self.lab = Lab()
        self.runtime = self.volatile_directory()
        if self.runtime:
            self.lab.runtime = self.runtime
        self.lab.start_broker(log="information")
        self.lab.start_service()
        self.lab.handler("ok.sh", "exit 0")
        self.sequential, self.backlog, self.small = (40, 200, 5) if quick else (300, 1000, 20)
        self.idle_seconds, self.starts, self.traced = (15, 5, 5) if quick else (60, 20, 20)
        self.count = 0

    @staticmethod
    def volatile_directory():
        """Locks and sockets are on a tmpfs, as in the installed program's /run; None where there is none to write to."""
        for parent in ("/run", "/dev/shm"):
            kind = subprocess.run(["stat", "-f", "-c", "%T", parent], capture_output=True, text=True).stdout.strip()
            if kind == "tmpfs" and os.access(parent, os.W_OK):
                return pathlib.Path(tempfile.mkdtemp(prefix="iot-jobs-bench-", dir=parent))
        return None

    def close(self):
        self.lab.close()
        if self.runtime:
            shutil.rmtree(self.runtime)

    def start_agent(self, online=True):
        return self.lab.start_agent(online=online, connection={"keep_alive": 60}, log={"level": "info"})

    def names(self, n):
        self.count += n
        return [f"job-{i}" for i in range(self.count - n, self.count)]

    def create(self, names, document='{"operation":"ok"}'):
        for n in names:
            answer = self.lab.ask("create", thing=self.lab.thing, job=n, document=document)
            if not answer or not answer["ok"]:
                raise RuntimeError(f"create: {answer}")

    def watch(self):
        """The service's own clock on every change, and no watcher in this process that would take a processor from what is measured."""
        self.lab.wire.close()
        watch = Watch(self.lab.sim_command("watch", "--json"))
        for _ in range(100):  # it listens once it has heard of a job, of a thing that nobody serves
            self.count += 1
            self.lab.ask("create", thing="bench-probe", job=f"probe-{self.count}", document="{}")
            if watch.hears():
                return watch
        raise RuntimeError("iot-jobs-sim watch hears nothing")

    def unwatch(self, watch):
        watch.close()
        self.lab.wire = self.lab.eyes()

    def latency(self):
        """Median from the job's creation to the accepted SUCCEEDED in the service, one job after the other; CPU beside it."""
        agent, watch = self.start_agent(), self.watch()
        warm = self.names(5)
        self.create(warm)
        watch.ends(warm)
        before, spans = self.cpu(agent.pid), []
        names = self.names(self.sequential)
        for n in names:
            self.create([n])
            watch.ends([n])
            spans.append(watch.ended[n] - watch.queued[n])
        # the last runner ends after the accepted status
        wait_for(lambda: not self.lab.runners(), "the end of the last runner")
        cpu = (self.cpu(agent.pid) - before) / len(names)
        self.unwatch(watch)
        agent.kill(15)
        return statistics.median(spans) * 1000, cpu * 1000

    def step(self):
        """Milliseconds that one more step of the same handler adds: jobs of one and of eleven steps in turn, medians."""
        action = {"action": {"name": "ok", "type": "runHandler", "input": {"handler": "ok.sh"}}}
        documents = {n: json.dumps({"version": "1.0", "steps": [action] * n}) for n in (1, 11)}
        spans = {n: [] for n in documents}
        agent, watch = self.start_agent(), self.watch()
        for _ in range(self.traced * 2):
            for n, document in documents.items():
                name = self.names(1)
                self.create(name, document)
                watch.ends(name)
                spans[n].append(watch.ended[name[0]] - watch.queued[name[0]])
        self.unwatch(watch)
        agent.kill(15)
        return (statistics.median(spans[11]) - statistics.median(spans[1])) * 1000 / 10

    @staticmethod
    def cpu(pid):
        """Seconds of the agent and everything it has reaped: runners, and through them handlers."""
        f = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(x) for x in f[11:15]) / TICK

    def drain(self, n):
        """A backlog of n before the agent starts → (jobs per second from the first claim on, intervals between accepted results)."""
        names = self.names(n)
        self.create(names)
        watch = self.watch()
        agent = self.start_agent(online=False)  # nobody listens for its first request
        watch.ends(names)
        times = sorted(watch.ended[n] for n in names)
        first = min(watch.claimed[n] for n in names)
        self.unwatch(watch)
        agent.kill(15)
        return n / (times[-1] - first), [b - a for a, b in zip(times, times[1:])]

    def idle(self):
        agent = self.start_agent()
        time.sleep(5)  # what a start leaves to be done is done
        rollup = pathlib.Path(f"/proc/{agent.pid}/smaps_rollup").read_text()
        kib = {k: int(v) for k, v in re.findall(r"(\w+):\s+(\d+) kB", rollup)}
        before = self.switches(agent.pid)
        time.sleep(self.idle_seconds)
        wakeups = (self.switches(agent.pid) - before) * 60 / self.idle_seconds
        agent.kill(15)
        return (kib["Private_Dirty"] / 1024, (kib["Private_Dirty"] + kib["Private_Clean"]) / 1024, kib["Pss"] / 1024, wakeups)

    @staticmethod
    def switches(pid):
        return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", t.read_text(), re.M).group(1))
                   for t in pathlib.Path(f"/proc/{pid}/task").glob("*/status"))

    def first_request(self):
        spans = []
        for _ in range(self.starts):
            start = time.monotonic()
            agent = self.start_agent()
            spans.append(self.lab.requests(since=start)[0][0] - start)
            agent.kill(15)
        return statistics.median(spans) * 1000

    def fsyncs(self):
        """Counted by strace over the agent and everything below it; files opened for synchronous writes would count too."""
        trace = self.lab.directory / "strace.out"
        path = self.lab.write_config(log={"level": "info"})
        agent = self.lab._program("iot-jobs-agent", [
            "strace", "-D", "-f", "-qq", "-o", trace, "-e", "trace=fsync,fdatasync,sync,syncfs,sync_file_range,msync,openat",
            "-e", "signal=none", AGENT, "--config", path, "--log=stderr"], self.lab.directory / "agent.log", clean_environment())
        self.lab.wait_online(agent)
        watch, warm = self.watch(), self.names(2)
        self.create(warm)
        watch.ends(warm)
        wait_for(lambda: not self.lab.runners(), "the end of the last runner")
        before = trace.read_text()
        names = self.names(self.traced)
        for n in names:
            self.create([n])
            watch.ends([n])
        wait_for(lambda: not self.lab.runners(), "the end of the last runner")
        self.unwatch(watch)
        text = trace.read_text()[len(before):]
        agent.kill(15)
        synchronous = re.findall(r"openat\(.*O_D?SYNC.*", text)
        if synchronous:
            raise RuntimeError(f"files are opened for synchronous writes, which this count misses: {synchronous[0]}")
        return len(re.findall(r"\b(?:fsync|fdatasync|sync|syncfs|sync_file_range|msync)\(", text)) / len(names)


def table(rows):
    widths = [max(len(r[i]) for r in rows) for i in range(4)]
    for i, r in enumerate(rows):
        print("  ".join([r[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(r[1:], widths[1:])]).rstrip())
        if i == 0:
            print("  ".join("-" * w for w in widths))


def measure_agent(quick):
    bench = Bench(quick)
    lab = bench.lab
    try:
        where = subprocess.run(["stat", "-f", "-c", "%T", lab.directory], capture_output=True, text=True).stdout.strip()
        volatile = "tmpfs" if bench.runtime else "the same disk"
        print(f"{os.cpu_count()} processors; records on {where}, locks and sockets on {volatile}; {bench.sequential} jobs one by "
              f"one, backlogs of {bench.backlog} and 10, {bench.idle_seconds} s idle", flush=True)
        latency, cpu = bench.latency()
        small = [i for _ in range(bench.small) for i in bench.drain(10)[1]]
        rate, intervals = bench.drain(bench.backlog)
        crowded, quiet = statistics.median(intervals[:bench.backlog // 5]), statistics.median(small)
        step = bench.step()
        dirty, private, pss, wakeups = bench.idle()
        first = bench.first_request()
        fsyncs = bench.fsyncs()
    finally:
        bench.close()
    print()
    table([
        ("", "reached", "asked", "Device Client 1.9"),
        ("job creation to accepted SUCCEEDED, median", f"{latency:.1f} ms", "<= 6 ms", "44 ms"),
        ("jobs per second on a backlog", f"{rate:.0f}", ">= 150", "22.7"),
        ("a further step of a job", f"{step:.2f} ms", "<= 2.5 ms", ""),
        ("idle: private dirty memory", f"{dirty:.2f} MiB", "<= 1.5 MB", "3.0 MB"),
        ("idle: private memory in all", f"{private:.2f} MiB", "<= 2.2 MB", ""),
        ("idle: proportional set size", f"{pss:.2f} MiB", "", "10.7 MB"),
        ("idle: wake-ups a minute, all threads", f"{wakeups:.1f}", "<= 6", "298"),
        ("CPU a job: agent, runner and handler", f"{cpu:.2f} ms", "<= 3 ms", "3 ms"),
        ("fsyncs a job", f"{fsyncs:.1f}", "<= 6", ""),
        ("start to first request, median", f"{first:.1f} ms", "<= 30 ms", "143 ms"),
        (f"a job with {bench.backlog} pending, against 10 pending", f"{crowded / quiet:.2f} x", "<= 1.1 x", ""),
    ])
    print(f"\n(a job every {crowded * 1000:.2f} ms with {bench.backlog} pending, every {quiet * 1000:.2f} ms with 10)")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--against", metavar="BUILD", type=pathlib.Path)
    parser.add_argument("part", nargs="?", choices=("agent", "library"))
    args = parser.parse_args()
    if args.against:
        against.compare(args.against, 4 if args.quick else 12)
        return
    if args.part != "library":
        measure_agent(args.quick)
    if args.part != "agent":
        print(flush=True)
        table(library.rows(args.quick))


if __name__ == "__main__":
    main()
