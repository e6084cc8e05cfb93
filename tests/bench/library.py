# SPDX-License-Identifier: Apache-2.0
"""libiotjobs as a program uses it: `describe` (C, beside this file) asks iot-jobs-sim through a real broker with mutual TLS,
driven by a poll loop of the caller's or by the library's thread. Beside it, in turns, the same conversation between two
programs that have libmosquitto and nothing else (`plain`): what machine and broker can do at all."""

import json
import pathlib
import socket
import ssl
import statistics
import subprocess
import threading
import time

from harness import BUILD, LOCALHOST, Lab, clean_environment

DESCRIBE, PLAIN = BUILD / "tests/bench/describe", BUILD / "tests/bench/plain"
MODES = {"poll loop": (), "own thread": ("--thread",)}
WINDOWS = {"one at a time": 1, "64 in flight": 64}
DELAY = 0.03  # of the relay, each way


def processor_time(pid):
    """Seconds that all threads of a process have run; the kernel counts nanoseconds."""
    return sum(int((t / "schedstat").read_text().split()[0]) for t in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


class Relay:
    """Between one client and the broker, with a delay that keeps flights of packets apart. Counts the client's: a round trip each."""

    def __init__(self, port):
        self.flights, self._last, self._lock = 0, None, threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port, self._broker = self._listener.getsockname()[1], port
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        client, _ = self._listener.accept()
        broker = socket.create_connection(("127.0.0.1", self._broker))
        with client, broker:
            other = threading.Thread(target=self._pump, args=(broker, client, "broker"), daemon=True)
            other.start()
            self._pump(client, broker, "client")
            other.join()
        self._listener.close()

    def _pump(self, a, b, who):
        try:
            while data := a.recv(65536):
                with self._lock:
                    self.flights += who == "client" != self._last
                    self._last = who
                time.sleep(DELAY)
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Library:
    def __init__(self, quick):
        self.requests = {1: 3000, 64: 10000} if quick else {1: 20000, 64: 100000}
        self.turns = 1 if quick else 3
        self.memory_requests = 100000 if quick else 1000000
        self.served, self.answered = Lab(), Lab()  # by iot-jobs-sim, and by a responder on libmosquitto alone
        for lab in (self.served, self.answered):
            lab.start_broker(log="information")
            lab.wire.close()  # nobody else listens to what is measured
        self.served.start_service()
        self.served.create("bench", {"operation": "ok"})
        self.answered.service = self.answered._program("plain", [PLAIN, "responder", *self._address(self.answered).values()],
                                                       self.answered.directory / "plain.log")
        self.answered.service.wait_text("^ready")

    def close(self):
        self.served.close()
        self.answered.close()

    @staticmethod
    def _address(lab, port=None):
        cert, key = lab.device_cert
        return {"host": LOCALHOST, "port": port or lab.tls_port, "ca": lab.authority.cert, "cert": cert, "key": key,
                "thing": lab.thing}

    def _describe_command(self, lab, *options, port=None):
        return [str(a) for a in (DESCRIBE, *(f"--{k}={v}" for k, v in self._address(lab, port).items()), "--job=bench", *options)]

    @staticmethod
    def _run(command, lab):
        """→ what it printed, the last line with the CPU per request (µs) of broker and service added."""
        pids = {"broker_usec": lab.broker.pid, "service_usec": lab.service.pid}
        before = {name: processor_time(pid) for name, pid in pids.items()}
        r = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900,
                           env=clean_environment())
        if r.returncode:
            raise RuntimeError(f"{pathlib.Path(command[0]).name}: exit {r.returncode}: {r.stderr}")
        lines = [json.loads(line) for line in r.stdout.splitlines()]
        for name, pid in pids.items():
            lines[-1][name] = (processor_time(pid) - before[name]) * 1e6 / (lines[-1]["requests"] * 1.05)  # and its warm-up
        return lines

    def describe(self, lab, window, mode, *options, requests=None):
        return self._run(self._describe_command(lab, f"--window={window}", f"--requests={requests or self.requests[window]}",
                                                *MODES[mode], *options), lab)

    def plain(self, window):
        lab = self.answered
        return self._run([PLAIN, "client", *self._address(lab).values(), window, self.requests[window]], lab)[-1]

    def rates(self):
        """(how it asks, who with whom) → medians over the turns of everything that was printed."""
        seen = {}
        for _ in range(self.turns):
            for how, window in WINDOWS.items():
                for mode in MODES:
                    seen.setdefault((how, mode), []).append(self.describe(self.served, window, mode)[-1])
                seen.setdefault((how, "responder"), []).append(self.describe(self.answered, window, "poll loop")[-1])
                seen.setdefault((how, "plain"), []).append(self.plain(window))
        return {k: {name: statistics.median(v[name] for v in values) for name in values[0]} for k, values in seen.items()}

    def memory(self, mode):
        """KiB of private dirty memory after each power of ten."""
        lines = self.describe(self.served, 64, mode, "--memory", requests=self.memory_requests)
        return {line["after"]: line["private_dirty_kib"] for line in lines if "after" in line}

    def round_trips(self):
        """From the end of TLS to the first SUBACK. The client's last flight of the handshake carries CONNECT too."""
        lab = self.served
        relay = Relay(lab.tls_port)
        context = ssl.create_default_context(cafile=lab.authority.cert)
        context.load_cert_chain(*lab.device_cert)
        with context.wrap_socket(socket.create_connection(("127.0.0.1", relay.port)), server_hostname="localhost"):
            of_tls = relay.flights
        relay = Relay(lab.tls_port)
        client = subprocess.Popen(self._describe_command(lab, "--connect", port=relay.port), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True, env=clean_environment())
        line, flights = client.stdout.readline(), relay.flights
        client.communicate(timeout=60)
        if line != "subscribed\n" or client.returncode:
            raise RuntimeError(f"describe --connect: exit {client.returncode}")
        return flights - (of_tls - 1)


def rows(quick):
    """The table's rows: what, reached, asked, the same with libmosquitto alone."""
    asked = {"one at a time": ">= 3000/s", "64 in flight": ">= 10000/s"}
    library = Library(quick)
    try:
        rates = library.rates()
        memory = {mode: library.memory(mode) for mode in MODES}
        trips = library.round_trips()
    finally:
        library.close()
    out = [("libiotjobs: describe round trips over TLS", "reached", "asked", "libmosquitto alone")]
    for how in WINDOWS:
        plain = rates[how, "plain"]
        for mode in MODES:
            out.append((f"{how}, {mode}", f"{rates[how, mode]['rate']:.0f}/s", asked[how], f"{plain['rate']:.0f}/s"))
        out.append((f"{how}, poll loop, and libmosquitto alone answers", f"{rates[how, 'responder']['rate']:.0f}/s", "", ""))
    for how in WINDOWS:
        plain = rates[how, "plain"]
        for mode in MODES:
            out.append((f"CPU a request of the client, {how}, {mode}", f"{rates[how, mode]['cpu_usec']:.1f} us", "",
                        f"{plain['cpu_usec']:.1f} us"))
        for who in ("service", "broker"):
            out.append((f"CPU a request of the {who}, {how}", f"{rates[how, 'poll loop'][who + '_usec']:.1f} us", "",
                        f"{plain[who + '_usec']:.1f} us"))
    for mode, kib in memory.items():
        first, last = min(kib), max(kib)
        out.append((f"private dirty memory after {first} requests, {mode}", f"{kib[first]} KiB", "", ""))
        out.append((f"growth until {last} requests, {mode}", f"{kib[last] - kib[first]} KiB", "none", ""))
    out.append(("round trips from TLS to the first subscription", f"{trips}", "<= 3", ""))
    return out
