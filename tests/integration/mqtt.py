# SPDX-License-Identifier: Apache-2.0
"""A small MQTT 3.1.1 client over plain TCP: to watch a broker and to put any bytes on any topic.

It is written out here so that the tests see the wire with eyes that are not libmosquitto's."""

import collections
import os
import socket
import struct
import threading
import time

Message = collections.namedtuple("Message", "time topic payload retained")


def _length(n):
    out = b""
    while True:
        n, digit = divmod(n, 128)
        out += bytes([digit | (0x80 if n else 0)])
        if not n:
            return out


def _text(s):
    data = s if isinstance(s, bytes) else s.encode()
    return struct.pack(">H", len(data)) + data


class Mqtt:
    """Connected from construction to close(). Received messages are in `messages`, oldest first."""

    def __init__(self, port, client_id=None, host="127.0.0.1", on_message=None):
        """on_message(message) is called in the reading thread; it may publish with QoS 0."""
        self.messages = []
        self._on_message = on_message
        self._sending = threading.Lock()
        self.changed = threading.Condition()
        self._acks = {}
        self._packet_id = 0
        self._sock = socket.create_connection((host, port), timeout=10)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client_id = client_id or "eyes-" + os.urandom(6).hex()
        self._send(0x10, _text("MQTT") + b"\x04\x02\x00\x00" + _text(client_id))
        kind, body = self._read()
        if kind != 0x20 or body[1] != 0:
            raise ConnectionError(f"CONNACK {kind:#x} {body.hex()}")
        self._sock.settimeout(None)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _send(self, kind, body):
        with self._sending:
            self._sock.sendall(bytes([kind]) + _length(len(body)) + body)

    def _exactly(self, n):
        out = b""
        while len(out) < n:
            part = self._sock.recv(n - len(out))
            if not part:
                raise ConnectionError("closed by the broker")
            out += part
        return out

    def _read(self):
        kind, n, shift = self._exactly(1)[0], 0, 0
        while True:
            digit = self._exactly(1)[0]
            n |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                return kind, self._exactly(n)

    def _loop(self):
        try:
            while True:
                kind, body = self._read()
                if kind & 0xF0 == 0x30:
                    self._message(kind, body)
                elif kind in (0x40, 0x90, 0xB0):  # PUBACK, SUBACK, UNSUBACK
                    with self.changed:
                        self._acks[struct.unpack(">H", body[:2])[0]] = body[2:]
                        self.changed.notify_all()
        except (OSError, ConnectionError):
            pass

    def _message(self, kind, body):
        n = struct.unpack(">H", body[:2])[0]
        topic, rest = body[2:2 + n].decode(errors="replace"), body[2 + n:]
        if kind & 0x06:
            self._send(0x40, rest[:2])
            rest = rest[2:]
        message = Message(time.monotonic(), topic, rest, bool(kind & 1))
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()
        if self._on_message:
            self._on_message(message)

    def _await_ack(self, packet_id, what):
        with self.changed:
            if not self.changed.wait_for(lambda: packet_id in self._acks, 20):
                raise TimeoutError(f"no acknowledgement of {what}")
            return self._acks.pop(packet_id)

    def _next_id(self):
        self._packet_id = self._packet_id % 65535 + 1
        return self._packet_id

    def subscribe(self, *filters, qos=1):
        """Returns the list of SUBACK codes."""
        i = self._next_id()
        self._send(0x82, struct.pack(">H", i) + b"".join(_text(f) + bytes([qos]) for f in filters))
        return list(self._await_ack(i, f"SUBSCRIBE {filters}"))

    def publish(self, topic, payload, qos=1, retain=False):
        """QoS 1 returns after the PUBACK."""
        payload = payload.encode() if isinstance(payload, str) else payload
        if qos == 0:
            self._send(0x30 | retain, _text(topic) + payload)
            return
        i = self._next_id()
        self._send(0x32 | retain, _text(topic) + struct.pack(">H", i) + payload)
        self._await_ack(i, f"PUBLISH {topic}")

    def wait(self, predicate, timeout=20):
        """The first message for which predicate(message) holds, also among those already received; None after timeout."""
        seen, found, end = 0, None, time.monotonic() + timeout
        with self.changed:
            while True:
                while seen < len(self.messages) and found is None:
                    if predicate(self.messages[seen]):
                        found = self.messages[seen]
                    seen += 1
                left = end - time.monotonic()
                if found is not None or left <= 0:
                    return found
                self.changed.wait(left)

    def close(self):
        try:
            self._send(0xE0, b"")
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()
        self._thread.join(5)
