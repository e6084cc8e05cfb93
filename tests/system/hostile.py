# SPDX-License-Identifier: Apache-2.0
"""Runs as the agent's user and sends the runner what a taken agent might; prints what came of it as one JSON object.

usage: hostile.py requests THING | hostile.py flood SECONDS"""

import json
import socket
import sys
import time

SOCKET = "/run/iot-jobs/runner.sock"
PACKET_MAX = 96 * 1024
answers, number = {}, 0


def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(20)
    s.connect(SOCKET)
    return s


def exchange(*packets):
    """Types of the answers until the runner closes; `go` follows a plan."""
    seen = []
    try:
        s = connect()
        for p in packets:
            s.send(p if isinstance(p, bytes) else json.dumps(p).encode())
        while packet := s.recv(PACKET_MAX):
            seen.append(json.loads(packet.split(b"\n")[0])["type"])
            if seen[-1] == "plan":
                s.send(b'{"type":"go"}')
            if seen[-1] in ("result", "rejected", "unable", "noRecord", "runs"):
                break
        s.close()
    except (OSError, ValueError) as e:
        seen.append(type(e).__name__)
    return seen


def note(kind, seen):
    answers.setdefault(kind, []).append(seen)


def key(thing, job=None, execution=1, queued=1800000000):
    global number
    number += 1
    return {"thing": thing, "job": job or f"hostile-{number}", "number": execution, "queuedAt": queued}


def prepare(document, k):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return json.dumps({"type": "prepare", "key": k, "documentBytes": len(text)}).encode() + b"\n" + text


def step(handler="fine.sh", user=None, path=None, **more):
    given = {"handler": handler, **({"path": path} if path else {}), **more}
    return {"version": "1.0", "steps": [{"action": {"name": "x", "type": "runHandler", "input": given,
                                                    **({"runAsUser": user} if user else {})}}]}


def forbidden():
    """Documents that policy or trust forbid."""
    for name in ("../../../opt/evil.sh", "/opt/evil.sh", "..", ".", "", ".hidden.sh", "loose.sh", "link.sh", "foreign.sh", "plain.sh",
                 "fifo", "directory", "fine.sh/../loose.sh", "fine.sh\0", "fine.sh;/opt/evil.sh", "$(/opt/evil.sh)", "evil.sh", "sh",
                 "f" * 65, "ｆｉｎｅ.sh", "fine.sh.dpkg-new", " fine.sh"):
        yield {"operation": name}
        yield step(name)
    for path in ("/opt", "/tmp", "/", "/etc/iot-jobs/handlers.d/..", "/etc/iot-jobs/handlers.d/../../../opt", "opt", "..", "/proc/self/cwd",
                 "/var/tmp"):
        yield step("evil.sh", path=path)
        yield {"operation": "evil", "path": path}
    for user in ("daemon", "nobody", "iot-jobs", "mosquitto", "0", "1", "-1", "root ", "ROOT", "no-such-user", "../root", "root\n", "0x0"):
        yield step(user=user)
    for command in ("/opt/evil.sh", "/bin/sh,-c,/opt/evil.sh", "", ",", "/opt/evil.sh,\\,"):
        yield {"version": "1.0", "steps": [{"action": {"name": "x", "type": "runCommand", "input": {"command": command}}}]}
    yield {"jws": "e30.e30.e30"}
    yield {"operation": "fine", "runAsUser": "daemon"}


def malformed(thing):
    good = {"type": "prepare", "key": key(thing), "documentBytes": 2}
    yield from (b"", b"\0", b"{", b"[]", b"null", b"{}", b"\xff" * 100, b"{" * 5000, b'{"type":"prepare"}', b"x" * (PACKET_MAX - 1))
    for name in ("go", "told", "plan", "result", "progress", "attached", "runs", "nothing", "", "PREPARE"):
        yield json.dumps({**good, "type": name}).encode() + b"\n{}"
    for change in ({"key": None}, {"key": {}}, {"key": []}, {"documentBytes": -1}, {"documentBytes": 3}, {"documentBytes": 1 << 40},
                   {"documentBytes": "2"}, {"documentBytes": None}):
        yield json.dumps({**good, **change}).encode() + b"\n{}"
    for change in ({"thing": "../x"}, {"thing": "a/b"}, {"thing": ""}, {"thing": "other"}, {"thing": "x" * 200}, {"job": "../../etc"},
                   {"job": "."}, {"job": ".."}, {"job": "a/b"}, {"job": ""}, {"job": "x" * 65}, {"job": "a\0b"}, {"number": 0},
                   {"number": -1}, {"number": 1 << 70}, {"queuedAt": 0}, {"queuedAt": "1"}, {"queuedAt": -5}):
        yield json.dumps({**good, "key": {**good["key"], **change}}).encode() + b"\n" + b'{"operation":"evil"}'
    yield json.dumps(good).encode()
    yield json.dumps(good).encode() + b"\n{}{}"
    yield json.dumps({"type": "inventory", "thing": "other"}).encode()
    yield json.dumps({"type": "inventory"}).encode()
    whole = prepare({"operation": "evil"}, key(thing))
    yield from (whole[:n] for n in range(1, len(whole), 3))  # cut off anywhere
    for verb in ("attach", "cancel", "ack", "drop"):
        yield json.dumps({"type": verb, "key": key(thing, "never-there")}).encode()
        yield json.dumps({"type": verb, "key": {**key("other"), "job": "../x"}}).encode()


def requests(thing):
    for document in forbidden():
        note("forbidden", exchange(prepare(document, key(thing))))
    for packet in malformed(thing):
        note("malformed", exchange(packet))
    for size in (32 * 1024 + 1, 64 * 1024):
        note("oversized", exchange(prepare(b'{"operation":"fine","x":"' + b"x" * size + b'"}', key(thing))))
    note("another thing", exchange(prepare({"operation": "fine"}, key("other"))))
    # What is allowed, once; then the same again and again.
    k = key(thing, "replayed")
    note("allowed", exchange(prepare({"operation": "fine"}, k)))
    for _ in range(20):
        note("replayed", exchange(prepare({"operation": "fine"}, k)))
        note("replayed", exchange({"type": "attach", "key": k}))


def flood(seconds):
    """As many connections as can be had, held open; some say something."""
    held, refused, end = [], 0, time.monotonic() + seconds
    for i in range(1000):
        try:
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.setblocking(False)
            s.connect(SOCKET)
            if i % 3 == 0:
                s.send(b'{"type":')
            held.append(s)
        except OSError:
            refused += 1
    time.sleep(max(0, end - time.monotonic()))
    answers["held"], answers["refused"] = len(held), refused


if sys.argv[1] == "requests":
    requests(sys.argv[2])
else:
    flood(float(sys.argv[2]))
print(json.dumps(answers))
