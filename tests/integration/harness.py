# SPDX-License-Identifier: Apache-2.0
"""A laboratory for integration tests: a private broker with mutual TLS, the local Jobs service, agents, handlers.

Everything lives in one temporary directory and every process is a descendant of this one (it is a child subreaper), so
that close() leaves nothing behind whatever the test did. Waiting is polling with a deadline; nothing sleeps and hopes."""

import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from mqtt import Mqtt

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("IOT_JOBS_BUILD", ROOT / "build")).resolve()
AGENT = BUILD / "src/agent/iot-jobs-agent"
RUNNER = BUILD / "src/runner/iot-jobs-runner"
SIM = BUILD / "src/sim/iot-jobs-sim"
# Sanitizers and a busy machine are slow; a deadline is there to end a failure, not to measure.
PATIENCE = float(os.environ.get("IOT_JOBS_PATIENCE", "30"))
TERMINAL = {"SUCCEEDED", "FAILED", "REJECTED", "TIMED_OUT", "CANCELED", "REMOVED"}

PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


# ---- processes ----

def process_table():
    """pid → (parent, state) of every process."""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = pathlib.Path("/proc", entry, "stat").read_text().rsplit(")", 1)[1].split()
                table[int(entry)] = (int(fields[1]), fields[0])
            except OSError:
                pass
    return table


def descendants(root=None):
    """Living descendants of a process (this one by default), children before grandchildren."""
    table, todo, found = process_table(), [root or os.getpid()], []
    while todo:
        parent = todo.pop(0)
        mine = [p for p, (pp, state) in table.items() if pp == parent and state != "Z"]
        found += mine
        todo += mine
    return found


def environment_of(pid):
    try:
        data = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    return dict(e.split(b"=", 1) for e in data.split(b"\0") if b"=" in e)


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def reap_adopted():
    """Collect orphans that the kernel gave us."""
    for pid, (parent, state) in process_table().items():
        if parent == os.getpid() and state == "Z":
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


def end_descendants(programs=()):
    """Kill every descendant and wait until they are gone. A scan of /proc is no snapshot: a process whose parent ends
    meanwhile can be missed, so that only several empty ones in a row count."""
    empty, end = 0, time.monotonic() + 20
    while empty < 3 and time.monotonic() < end:
        left = descendants()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for p in programs:
            p.popen.poll()
        reap_adopted()
        empty = 0 if left else empty + 1
        time.sleep(0.01)


def wait_for(predicate, what, timeout=None):
    """Poll until predicate() is true and return its value; AssertionError with `what` after the deadline."""
    end = time.monotonic() + (PATIENCE if timeout is None else timeout)
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what() if callable(what) else what}")
        time.sleep(0.02)


class LoopbackServer:
    """A TCP server on a free port; with a certificate it speaks TLS. A subclass says how to serve one connection, in a thread of
    its own; that the other side hangs up is no fault."""

    def __init__(self, cert=None, client_ca=None):
        self._context = None
        if cert:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*cert)
        if client_ca:
            self._context.load_verify_locations(client_ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(raw,), daemon=True).start()

    def _talk(self, raw):
        try:
            with self._context.wrap_socket(raw, server_side=True) if self._context else raw as s:
                self.serve(s)
        except (OSError, EOFError):
            pass

    def serve(self, s):
        raise NotImplementedError


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def local_name():
    """"localhost", or its number on a bare tree without /etc/hosts."""
    try:
        socket.getaddrinfo("localhost", 1)
        return "localhost"
    except OSError:
        return "127.0.0.1"


LOCALHOST = local_name()


def clean_environment(**extra):
    """What a program under test gets: nothing of the caller's service manager."""
    env = {k: v for k, v in os.environ.items()
           if k in {"PATH", "HOME", "LANG", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS",
               "IOT_JOBS_TEST_RUN"}}
    env.update(extra)
    return env


# ---- certificates ----

def run_quietly(*command, **kwargs):
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, **kwargs)
    if r.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {r.returncode}\n{r.stdout}")
    return r.stdout


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, directory, name):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.cert, self.key = self.directory / "ca.pem", self.directory / "ca.key"
        run_quietly("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
                    "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                    "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", self.key, "-out", self.cert)

    def issue(self, name, alt_name=None, days=90):
        """→ (certificate, key). alt_name: subjectAltName of a server."""
        cert, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        extensions.write_text("basicConstraints=critical,CA:FALSE\n" + (f"subjectAltName={alt_name}\n" if alt_name else ""))
        run_quietly("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                    "-keyout", key, "-out", request)
        run_quietly("openssl", "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
                    "-days", str(days), "-extfile", extensions, "-out", cert)
        key.chmod(0o600)
        return cert, key


# ---- configuration ----

def libconfig(value, indent=0):
    """A Python value in libconfig's syntax."""
    pad = "  " * indent
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "( " + ", ".join(libconfig(v, indent + 1) for v in value) + " )"
    if isinstance(value, dict):
        inner = "".join(f"{pad}  {k} = {libconfig(v, indent + 1)};\n" for k, v in value.items() if v is not None)
        return "{\n" + inner + pad + "}"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def merged(base, changes):
    """`changes` over `base`, groups merged; None removes a key."""
    out = dict(base)
    for k, v in changes.items():
        out[k] = merged(out.get(k, {}), v) if isinstance(v, dict) else v
    return {k: v for k, v in out.items() if v is not None}


# ---- programs ----

class Program:
    """One process with its output in a file."""

    def __init__(self, name, command, log, env=None, preexec=None):
        self.name, self.log = name, pathlib.Path(log)
        self.start_offset = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env=env or clean_environment(), preexec_fn=preexec)
        self.pid = self.popen.pid
        self.started = time.monotonic()

    def text(self):
        """Output since this start."""
        with open(self.log, "rb") as f:
            f.seek(self.start_offset)
            return f.read().decode(errors="replace")

    def running(self):
        return self.popen.poll() is None

    def wait_text(self, pattern, timeout=None):
        """Wait for a match of `pattern` (regular expression) in the output; returns the match."""
        return wait_for(lambda: re.search(pattern, self.text(), re.M),
                        lambda: f"{pattern!r} in the output of {self.name}:\n{self.text()[-4000:]}", timeout)

    def wait_exit(self, timeout=None):
        """Exit code, negative for a signal."""
        wait_for(lambda: not self.running(), f"the end of {self.name}", timeout)
        return self.popen.returncode

    def kill(self, sig=signal.SIGKILL):
        if self.running():
            self.popen.send_signal(sig)
        return self.wait_exit()


class Lab:
    """Broker, service, agents. Arguments of start_* say what differs from the plain case."""

    def __init__(self, thing=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="iot-jobs-lab-"))
        self.directory.chmod(0o755)
        self.thing = thing or "dev-" + os.urandom(4).hex()
        self.programs, self.clients, self.mounts = [], [], []
        self.broker = self.service = self.wire = self._operator = None
        self._reply, self._request = os.urandom(8).hex(), 0
        self.tls_port = self.plain_port = None
        self.authority = Authority(self.directory / "ca", "lab authority")
        self.server_cert = self.authority.issue("server", "DNS:localhost,IP:127.0.0.1")
        self.device_cert = self.authority.issue("device")
        self.handlers = self.directory / "handlers.d"
        self.handlers.mkdir(mode=0o755)
        self.evidence = self.directory / "evidence"
        self.evidence.mkdir()
        self.state, self.runtime = self.directory / "state", self.directory / "run"

    # -- broker --

    def start_broker(self, extra="", server_cert=None, log="all"):
        """Mutual TLS on tls_port, plain on plain_port (for the test's own eyes). Keeps its ports over restarts."""
        cert, key = server_cert or self.server_cert
        conf = self.directory / "mosquitto.conf"
        for _ in range(20):
            if self.tls_port is None:
                self.tls_port, self.plain_port = free_port(), free_port()
            conf.write_text(f"""\
per_listener_settings false
user root
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages 0
persistence false
log_type {log}
{extra}
listener {self.tls_port} 127.0.0.1
cafile {self.authority.cert}
certfile {cert}
keyfile {key}
require_certificate true
listener {self.plain_port} 127.0.0.1
""")
            mosquitto = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
            self.broker = self._program("mosquitto", [mosquitto, "-c", conf], self.directory / "mosquitto.log")
            wait_for(lambda: not self.broker.running() or re.search(r"mosquitto version \S+ running", self.broker.text()),
                     lambda: "the broker:\n" + self.broker.text())
            if self.broker.running():
                self.wire = self.eyes()
                self._operator = Mqtt(self.plain_port)
                self.clients.append(self._operator)
                self._operator.subscribe(f"iot-jobs-sim/reply/{self._reply}")
                if self.service and self.service.running() and not server_cert:
                    self.wait_service()
                return self.broker
            if "Address already in use" not in self.broker.text():
                break
            if self.service is None and not self.programs[:-1]:
                self.tls_port = None
            else:
                time.sleep(0.1)
        raise AssertionError("mosquitto does not start:\n" + self.broker.text())

    def stop_broker(self, sig=signal.SIGKILL):
        self.broker.kill(sig)

    def eyes(self, *filters):
        """A watcher on the plain port; by default on every Jobs topic of the thing. `wire` is one since the broker's start."""
        m = Mqtt(self.plain_port)
        self.clients.append(m)
        codes = m.subscribe(*(filters or (f"$aws/things/{self.thing}/jobs/#",)))
        assert all(c < 0x80 for c in codes), codes
        return m

    def topic(self, tail, thing=None):
        return f"$aws/things/{thing or self.thing}/jobs/{tail}"

    def requests(self, tail=None, since=0):
        """What devices asked for, oldest first: [(time, tail of the topic, payload)]. Replies and notifications are left out."""
        found = []
        for m in list(self.wire.messages):
            t = m.topic[len(self.topic("")):]
            if m.time >= since and (t in ("get", "start-next") or re.fullmatch(r"[^/]+/(get|update)", t)):
                if t != "get/accepted" and (tail is None or t == tail):
                    found.append((m.time, t, m.payload))
        return found

    def updates(self, job):
        """The update requests for a job, decoded."""
        return [json.loads(p) for _, _, p in self.requests(f"{job}/update")]

    # -- service --

    def sim_command(self, *args):
        cert, key = self.device_cert
        return [SIM, args[0], "-h", LOCALHOST, "-p", self.tls_port, "--cafile", self.authority.cert, "--cert", cert,
                "--key", key, *args[1:]]

    def start_service(self, *options):
        self.service = self._program("iot-jobs-sim", self.sim_command("serve", *options), self.directory / "service.log")
        self.service.wait_text(r"^ready")
        return self.service

    def sim(self, *args, check=True, timeout=None):
        """Run an operator verb to its end → CompletedProcess."""
        r = subprocess.run([str(a) for a in self.sim_command(*args)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=timeout or PATIENCE * 2, env=clean_environment())
        if check and r.returncode:
            raise AssertionError(f"iot-jobs-sim {' '.join(map(str, args))}: exit {r.returncode}\n{r.stdout}{r.stderr}")
        return r

    def document(self, name, content):
        """Write a job document (a JSON value, or the exact text or bytes) and return its path."""
        path = self.directory / f"document-{name}.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def create(self, job, document, *options, thing=None):
        return self.sim("create", "--thing", thing or self.thing, "--job", job, "--document", self.document(job, document),
                        *options)

    def cancel(self, job, *options):
        return self.sim("cancel", "--thing", self.thing, "--job", job, *options)

    def delete(self, job, *options):
        return self.sim("delete", "--thing", self.thing, "--job", job, *options)

    def wait_service(self):
        """Wait until the service is on this broker (again)."""
        wait_for(lambda: self.ask("hello", timeout=0.2), lambda: "the service:\n" + self.service.text())

    def ask(self, verb, timeout=PATIENCE / 3, **members):
        """An operator verb without a process of its own: for what is looked at often. None if nobody answers."""
        self._request += 1
        request = {"verb": verb, "reply": self._reply, "id": self._request, **members}
        self._operator.publish("iot-jobs-sim/request", json.dumps(request))
        mine = self._operator.wait(lambda m: json.loads(m.payload)["id"] == request["id"], timeout)
        del self._operator.messages[:]
        return json.loads(mine.payload) if mine else None

    def describe(self, job, thing=None):
        """The latest execution as the service has it, or None."""
        answer = self.ask("describe", thing=thing or self.thing, job=job)
        return answer["execution"] if answer and answer["ok"] else None

    def status(self, job):
        x = self.describe(job)
        return x["status"] if x else None

    def details(self, job):
        x = self.describe(job)
        return (x or {}).get("statusDetails", {})

    def wait_status(self, job, *wanted, timeout=None):
        """Wait for one of the statuses; fails at once on another terminal one. Returns the execution."""
        last = [None]

        def look():
            last[0] = self.describe(job)
            status = last[0] and last[0]["status"]
            if status in TERMINAL and status not in wanted:
                raise AssertionError(f"{job} became {last[0]}, not {wanted}")
            return status in wanted and last[0]
        return wait_for(look, lambda: f"{job} to become {wanted}; it is {last[0]}", timeout)

    # -- agent --

    def config(self, **changes):
        cert, key = self.device_cert
        return merged({
            "thing_name": self.thing, "endpoint": LOCALHOST, "port": self.tls_port,
            "connection": {"reconnect_min": 1, "reconnect_max": 1, "connect_timeout": 5},
            "credentials": {"ca_file": self.authority.cert, "cert_file": cert, "key_file": key},
            "handlers": {"directories": [self.handlers], "kill_grace": 1},
            "state_directory": self.state, "runtime_directory": self.runtime,
            # Not the runner of this machine, should it be installed.
            "runner": {"socket": self.directory / "no-runner.sock"},
            "log": {"level": "debug"},
        }, changes)

    def write_config(self, name="agent.conf", **changes):
        path = self.directory / name
        text = "".join(f"{k} = {libconfig(v)};\n" for k, v in self.config(**changes).items())
        path.write_text(text)
        path.chmod(0o600)
        return path

    def start_agent(self, *options, config=None, env=None, online=True, **changes):
        """Start the agent; online: wait until it is connected and subscribed."""
        path = config or self.write_config(**changes)
        agent = self._program("iot-jobs-agent", [AGENT, "--config", path, "--log=stderr", *options],
                              self.directory / "agent.log", clean_environment(**(env or {})))
        if online:
            self.wait_online(agent)
        return agent

    def wait_online(self, agent, since=None):
        """Wait for the agent's first request: it comes when every subscription is granted."""
        since = agent.started if since is None else since

        def look():
            if not agent.running():
                raise AssertionError(f"the agent ended with {agent.popen.returncode}:\n{agent.text()}")
            return self.requests(since=since)
        wait_for(look, lambda: "the agent to come online:\n" + agent.text()[-4000:])

    # -- handlers --

    def handler(self, name, body, mode=0o755, interpreter="/bin/sh"):
        """Write a handler; @EVIDENCE@ and @LAB@ in it become directories of the lab."""
        path = self.handlers / name
        text = f"#!{interpreter}\n{body}\n".replace("@EVIDENCE@", str(self.evidence)).replace("@LAB@", str(self.directory))
        path.write_text(text)
        path.chmod(mode)
        return path

    def witness(self, name):
        """Lines that handlers appended to the evidence file `name`."""
        path = self.evidence / name
        return path.read_text().splitlines() if path.exists() else []

    def wait_witness(self, name, lines=1):
        return wait_for(lambda: len(self.witness(name)) >= lines and self.witness(name),
                        lambda: f"{lines} lines in evidence {name}")

    def job_processes(self, job=None):
        """Living processes of handlers, by IOT_JOB_KEY in their environment (all of the thing, or one job's)."""
        found = []
        for pid, (_, state) in process_table().items():
            key = environment_of(pid).get(b"IOT_JOB_KEY", b"").decode() if state != "Z" else ""
            if self.thing in key and (job is None or job in key):
                found.append(pid)
        return found

    def runners(self):
        """Living runner processes of this lab."""
        return [p for p in descendants() if str(RUNNER) in command_of(p) or "iot-jobs-runner" in command_of(p).split(" ")[0]]

    def runner_of(self, job):
        """The runner that has the processes of a job below it; others may be about to end."""
        mine = set(self.job_processes(job))
        return wait_for(lambda: next((r for r in self.runners() if mine & set(descendants(r))), None), f"the runner of {job}")

    # -- the end --

    def _program(self, name, command, log, env=None):
        p = Program(name, command, log, env)
        self.programs.append(p)
        return p

    def logs(self, lines=60):
        out = []
        for log in sorted(self.directory.glob("*.log")):
            if log.name != "mosquitto.log":
                out.append(f"---- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
        return "\n".join(out)

    def tmpfs(self, path, options):
        """Mount a small file system (root only); unmounted at the end."""
        pathlib.Path(path).mkdir(exist_ok=True)
        run_quietly("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
        self.mounts.append(path)

    def close(self):
        for m in self.clients:
            m.close()
        for p in reversed(self.programs):
            if p.running():
                p.popen.kill()
        end_descendants(self.programs)
        for path in reversed(self.mounts):
            subprocess.run(["umount", "-l", str(path)], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


class FakeService:
    """A Jobs service that sends exactly the bytes it is told to: documents that iot-jobs-sim would refuse to store."""

    def __init__(self, lab):
        self.lab, self.jobs = lab, {}
        self.refuse = lambda job, request: None  # an error code for an update, "silence" for no answer, None = as usual
        self.client = Mqtt(lab.plain_port, on_message=self._handle)
        lab.clients.append(self.client)
        self.client.subscribe(*(lab.topic(t) for t in ("get", "start-next", "+/get", "+/update")))

    def add(self, job, document, queued_at=1700000000, announce=True):
        """Queue an execution; `document` is the text as it goes into the messages."""
        self.jobs[job] = {"status": "QUEUED", "version": 1, "document": document, "queuedAt": queued_at + len(self.jobs),
                          "details": {}}
        if announce:
            self.announce()

    def status(self, job):
        return self.jobs[job]["status"]

    def wait_status(self, job, *wanted):
        wait_for(lambda: self.status(job) in wanted, lambda: f"{job} to become {wanted}: {self.jobs[job]}")
        return self.jobs[job]

    def announce(self):
        self._send("notify", '{"timestamp":1,"jobs":%s}' % json.dumps(self._list("IN_PROGRESS", "QUEUED")))
        self._send("notify-next", '{"timestamp":1%s}' % self._execution(self._next()))

    def _pending(self, status):
        return sorted((j for j, x in self.jobs.items() if x["status"] == status), key=lambda j: self.jobs[j]["queuedAt"])

    def _next(self):
        return next(iter(self._pending("IN_PROGRESS") + self._pending("QUEUED")), None)

    def _list(self, *statuses):
        return {s: [{"jobId": j, "queuedAt": self.jobs[j]["queuedAt"], "lastUpdatedAt": 1, "executionNumber": 1,
                     "versionNumber": self.jobs[j]["version"]} for j in self._pending(s)] for s in statuses}

    def _execution(self, job):
        if job is None:
            return ""
        x = self.jobs[job]
        head = {"jobId": job, "status": x["status"], "queuedAt": x["queuedAt"], "lastUpdatedAt": 1,
                "versionNumber": x["version"], "executionNumber": 1}
        if x["details"]:
            head["statusDetails"] = x["details"]
        return ',"execution":' + json.dumps(head)[:-1] + ',"jobDocument":' + x["document"] + "}"

    def _send(self, tail, text):
        self.client.publish(self.lab.topic(tail), text, qos=0)

    def _handle(self, message):
        tail = message.topic[len(self.lab.topic("")):]
        request = json.loads(message.payload or b"{}")
        stamp = '{"timestamp":1,"clientToken":%s' % json.dumps(request.get("clientToken", ""))
        job = tail.split("/")[0]
        if tail == "get":
            lists = self._list("IN_PROGRESS", "QUEUED")
            self._send("get/accepted", '%s,"inProgressJobs":%s,"queuedJobs":%s}' % (
                stamp, json.dumps(lists["IN_PROGRESS"]), json.dumps(lists["QUEUED"])))
        elif tail.endswith("/get") and (job == "$next" or job in self.jobs):
            self._send(tail + "/accepted", stamp + self._execution(self._next() if job == "$next" else job) + "}")
        elif tail.endswith("/update") and job in self.jobs:
            self._update(job, tail, request, stamp)
        else:
            self._send(tail + "/rejected", stamp + ',"code":"ResourceNotFound","message":"no such job"}')

    def _update(self, job, tail, request, stamp):
        x = self.jobs[job]
        state = {"status": x["status"], "statusDetails": x["details"], "versionNumber": x["version"]}
        told = self.refuse(job, request)
        if told == "silence":
            return
        if told:
            refusal = told
        elif str(request.get("expectedVersion", x["version"])) != str(x["version"]):
            refusal = "VersionMismatch"
        elif x["status"] in TERMINAL:
            refusal = "InvalidStateTransition"
        else:
            x["status"], x["version"] = request["status"], x["version"] + 1
            x["details"] = request.get("statusDetails", x["details"])
            self._send(tail + "/accepted", stamp + "}")
            if x["status"] in TERMINAL:
                self.announce()
            return
        self._send(tail + "/rejected", '%s,"code":"%s","message":"no","executionState":%s}' % (stamp, refusal, json.dumps(state)))


class LabTest(unittest.TestCase):
    """A test with a lab: broker and service are up unless the class says otherwise."""

    broker = True
    service = ()  # options of `serve`; None = no service

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        if self.broker:
            self.lab.start_broker()
            if self.service is not None:
                self.lab.start_service(*self.service)
        self.addCleanup(self.check_sanitizers)

    def check_sanitizers(self):
        """A sanitizer's report in any log fails the test, whatever it was about."""
        for log in self.lab.directory.glob("*.log"):
            m = re.search(r"(?m)^.*(Sanitizer: |runtime error: ).*$", log.read_text(errors="replace"))
            if m:
                raise AssertionError(f"{log.name}: {m.group()}")
