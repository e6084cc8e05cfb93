#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure the agent from the outside; started by scripts/bench. Every clock is on the wire: a watcher at the broker."""

import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from harness import AGENT, Lab, clean_environment, wait_for  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


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

    def start_agent(self):
        return self.lab.start_agent(connection={"keep_alive": 60}, log={"level": "info"})

    def names(self, n):
        self.count += n
        return [f"job-{i}" for i in range(self.count - n, self.count)]

    def create(self, names):
        for n in names:
            answer = self.lab.ask("create", thing=self.lab.thing, job=n, document='{"operation":"ok"}')
            if not answer or not answer["ok"]:
                raise RuntimeError(f"create: {answer}")

    def done_times(self, names):
        """When each job's SUCCEEDED was accepted: the second reply on its update topic. Waits for all."""
        wanted = {self.lab.topic(f"{n}/update/accepted"): n for n in names}
        seen, times, at = {}, {}, 0

        def look():
            nonlocal at
            messages = self.lab.wire.messages
            while at < len(messages):
                m = messages[at]
                at += 1
                if m.topic in wanted:
                    seen[m.topic] = seen.get(m.topic, 0) + 1
                    times[wanted[m.topic]] = m.time  # the last one is the final status's
            return len(times) == len(names) and all(v >= 2 for v in seen.values())
        wait_for(look, lambda: f"{len(names)} jobs; {len(times)} have replies\n{self.lab.logs()}", 600)
        return [times[n] for n in names]

    def latency(self):
        """Median from the operator's request to create a job to the accepted SUCCEEDED, one job after the other; CPU beside it."""
        agent = self.start_agent()
        warm = self.names(5)
        self.create(warm)
        self.done_times(warm)
        before, spans = self.cpu(agent.pid), []
        names = self.names(self.sequential)
        for n in names:
            start = time.monotonic()
            self.create([n])
            spans.append(self.done_times([n])[0] - start)
        # the last runner ends after the accepted status
        wait_for(lambda: not self.lab.runners(), "the end of the last runner")
        cpu = (self.cpu(agent.pid) - before) / len(names)
        agent.kill(15)
        return statistics.median(spans) * 1000, cpu * 1000

    @staticmethod
    def cpu(pid):
        """Seconds of the agent and everything it has reaped: runners, and through them handlers."""
        f = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(x) for x in f[11:15]) / TICK

    def drain(self, n):
        """A backlog of n before the agent starts → (jobs per second, intervals between accepted results)."""
        names = self.names(n)
        self.create(names)
        agent = self.start_agent()
        first = self.lab.requests(since=agent.started)[0][0]
        times = self.done_times(names)
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
        warm = self.names(2)
        self.create(warm)
        self.done_times(warm)
        wait_for(lambda: not self.lab.runners(), "the end of the last runner")
        before = trace.read_text()
        names = self.names(self.traced)
        for n in names:
            self.create([n])
            self.done_times([n])
        wait_for(lambda: not self.lab.runners(), "the end of the last runner")
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    bench = Bench(parser.parse_args().quick)
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


if __name__ == "__main__":
    main()
