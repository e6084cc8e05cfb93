# SPDX-License-Identifier: Apache-2.0
"""Runs as the agent's user and sends the runner what a taken agent might; prints what came of it as one JSON object.

usage: hostile.py requests THING JOB QUEUED_AT | hostile.py flood SECONDS | hostile.py storm THING SECONDS
JOB is one that runs meanwhile."""

import json
import resource
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


def about_running(k):
    """A run that is live: other documents, other users, the same again, one execution further, words out of turn. To stop it, by
    cancel, ack or drop with its very key, is the agent's right: what the cloud has ended must end."""
    for document in ({"operation": "evil"}, {"operation": "fine"}, step("fine.sh", user="daemon"), step("evil.sh", path="/opt"), b"", b"{"):
        yield prepare(document, k)
        yield prepare(document, {**k, "queuedAt": k["queuedAt"] + 1, "thing": "other"})
    for _ in range(5):
        yield json.dumps({"type": "attach", "key": k}).encode()
    for verb in ("go", "told", "result", "rejected", "pause", "nothing"):
        yield json.dumps({"type": verb, "key": k}).encode()
    for verb in ("cancel", "ack", "drop"):
        for change in ({"number": 2}, {"queuedAt": k["queuedAt"] - 1}, {"thing": k["thing"] + "-"}):
            yield json.dumps({"type": verb, "key": {**k, **change}}).encode()


def first_answer(packet):
    """Only the first one: a live run has no last."""
    try:
        s = connect()
        s.settimeout(8)
        s.send(packet)
        answer = s.recv(PACKET_MAX)
        s.close()
        return [json.loads(answer.split(b"\n")[0])["type"]] if answer else []
    except (OSError, ValueError) as e:
        return [type(e).__name__]


def requests(thing, job, queued_at):
    for document in forbidden():
        note("forbidden", exchange(prepare(document, key(thing))))
    for packet in malformed(thing):
        note("malformed", exchange(packet))
    for size in (32 * 1024 + 1, 64 * 1024):
        note("oversized", exchange(prepare(b'{"operation":"fine","x":"' + b"x" * size + b'"}', key(thing))))
    note("another thing", exchange(prepare({"operation": "fine"}, key("other"))))
    for packet in about_running({"thing": thing, "job": job, "number": 1, "queuedAt": queued_at}):
        note("about what runs", first_answer(packet))
    # What is allowed, once; then the same again and again.
    k = key(thing, "replayed")
    note("allowed", exchange(prepare({"operation": "fine"}, k)))
    for _ in range(20):
        note("replayed", exchange(prepare({"operation": "fine"}, k)))
        note("replayed", exchange({"type": "attach", "key": k}))


def sockets(n, packet):
    """n connections at once; every third says something → (those that stand, how many were not to be had)."""
    held, refused = [], 0
    for i in range(n):
        try:
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.setblocking(False)
            s.connect(SOCKET)
            if i % 3 == 0:
                s.send(packet)
            held.append(s)
        except OSError:
            refused += 1
    return held, refused


def closed(s):
    try:
        return not s.recv(PACKET_MAX)
    except BlockingIOError:
        return False
    except OSError:
        return True


def flood(seconds):
    """As many connections as can be had, held open; some say something."""
    end = time.monotonic() + seconds
    held, refused = sockets(1000, b'{"type":')
    time.sleep(max(0, end - time.monotonic()))
    answers.update(connections=1000, refused=refused, closed=sum(map(closed, held)))


def storm(thing, seconds):
    """Requests that policy forbids, as fast as they go, without waiting for the answers."""
    end, sent, refused = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        held, away = sockets(30, prepare({"operation": "evil"}, key(thing)))
        sent, refused = sent + len(held), refused + away
        for s in held:
            s.close()
    answers.update(connections=sent + refused, refused=refused)


resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))
if sys.argv[1] == "requests":
    requests(sys.argv[2], sys.argv[3], int(sys.argv[4]))
elif sys.argv[1] == "storm":
    storm(sys.argv[2], float(sys.argv[3]))
else:
    flood(float(sys.argv[2]))
print(json.dumps(answers))
