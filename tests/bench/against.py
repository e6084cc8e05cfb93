# SPDX-License-Identifier: Apache-2.0
"""The plain job with the agent and runner of this build and of another one, in turn, in one run: noise hits both alike."""

import statistics

import harness


def rounds(agent, jobs, backlog):
    """One broker, one service, one agent after the other → (latency in ms, CPU a job in ms, jobs a second)."""
    import bench  # it imports us

    harness.AGENT = agent
    b = bench.Bench(True)
    try:
        b.sequential = jobs
        latency, cpu = b.latency()
        rate, _ = b.drain(backlog)
        return latency, cpu, rate
    finally:
        b.close()


def compare(other, times):
    import bench

    here = harness.AGENT
    there = other.resolve() / here.relative_to(harness.BUILD)
    reached = {here: [], there: []}
    for i in range(times):
        for agent in (here, there) if i % 2 == 0 else (there, here):
            reached[agent].append(rounds(agent, 60, 150))
    medians = {a: [statistics.median(r[i] for r in reached[a]) for i in range(3)] for a in reached}
    names = ("job creation to accepted SUCCEEDED, ms", "CPU a job: agent, runner and handler, ms", "jobs per second on a backlog")
    print(f"medians of {times} rounds each, in turn; the simulator is this build's for both\n")
    bench.table([("", "this", "other", "this / other")] +
                [(name, f"{medians[here][i]:.2f}", f"{medians[there][i]:.2f}", f"{medians[here][i] / medians[there][i]:.2f}")
                 for i, name in enumerate(names)])
