# SPDX-License-Identifier: Apache-2.0
"""A WebSocket in front of the lab's broker: websockify, which nobody here wrote."""

import pathlib
import shutil
import unittest

from harness import free_port, wait_for

WEBSOCKIFY = shutil.which("websockify")
# Of the subprotocols that a client offers it knows "binary" only, and asks to be taught others by overriding this.
TEACH_MQTT = """
import sys
from websockify import websocketproxy, websocketserver
server = websocketproxy.ProxyRequestHandler.SocketClass
server.select_subprotocol = lambda self, offered: "mqtt" if "mqtt" in offered else ""
sys.exit(websocketproxy.websockify_init())
"""
AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_SESSION_TOKEN": "tok/en+="}

needs_websockify = unittest.skipUnless(WEBSOCKIFY, "websockify is not installed")


def start_websocket(lab):
    """→ (port, program). TLS with the lab's certificate; what comes goes to the broker's plain port."""
    port = free_port()
    cert, key = lab.server_cert
    python = pathlib.Path(WEBSOCKIFY).read_text().splitlines()[0].removeprefix("#!").split()
    program = lab._program("websockify", [*python, "-c", TEACH_MQTT, "-v", "--cert", cert, "--key", key, "--ssl-only",
                                          f"127.0.0.1:{port}", f"127.0.0.1:{lab.plain_port}"], lab.directory / "websockify.log")
    wait_for(lambda: "proxying from" in program.text() or not program.running(), program.text)
    return port, program
