# SPDX-License-Identifier: Apache-2.0
"""The agent on each way to the broker that its configuration knows: versions of MQTT, an HTTP proxy, a WebSocket, both."""

import base64
import shutil
import signal
import socket
import subprocess
import threading
import unittest

from harness import AGENT, LOCALHOST, LabTest, LoopbackServer, clean_environment, run_quietly, wait_for
from websocket import AWS, needs_websockify, start_websocket

AWS_FILE = "[default]\naws_access_key_id = AKIDFROMFILE\naws_secret_access_key = not-a-secret\n"


class ConnectProxy(LoopbackServer):
    """An HTTP proxy that knows CONNECT; user: "name:password", or None for a proxy that is open to all."""

    def __init__(self, user=None):
        self.user, self.asked = user, []
        super().__init__()

    def serve(self, s):
        head = b""
        while b"\r\n\r\n" not in head:
            part = s.recv(4096)
            if not part:
                return
            head += part
        line, *headers = head.decode().split("\r\n")
        self.asked.append(line)
        wanted = self.user and "Proxy-Authorization: Basic " + base64.b64encode(self.user.encode()).decode()
        if wanted and wanted not in headers:
            s.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"\r\n"
                      b"Content-Length: 0\r\n\r\n")
            return
        host, port = line.split()[1].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as server:
            s.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            other = threading.Thread(target=self._pump, args=(server, s), daemon=True)
            other.start()
            self._pump(s, server)
            other.join()

    @staticmethod
    def _pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Way(LabTest):
    def setUp(self):
        super().setUp()
        self.lab.handler("ok.sh", "exit 0")

    def run_job(self, name="job"):
        self.lab.create(name, {"operation": "ok"})
        self.lab.wait_status(name, "SUCCEEDED")

    def check_config(self, env=None, **changes):
        path = self.lab.write_config(**changes)
        r = subprocess.run([AGENT, "--config", path, "--check-config"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=60, env=clean_environment(**(env or {})))
        return r.returncode, r.stderr

    def proxy(self, user=None):
        proxy = ConnectProxy(user)
        self.addCleanup(proxy.close)
        return proxy

    def password(self, text, name="password"):
        path = self.lab.directory / name
        path.write_text(text)
        path.chmod(0o600)
        return path


class Plain(Way):
    def test_versions_of_mqtt(self):
        for i, protocol in enumerate(("3.1", "3.1.1", "5")):
            with self.subTest(protocol):
                agent = self.lab.start_agent(connection={"protocol": protocol, "clean_session": i != 1, "qos": i % 2})
                self.run_job(f"job-{i}")
                self.assertEqual(agent.kill(signal.SIGTERM), 0)

    def test_proxy(self):
        proxy = self.proxy()
        agent = self.lab.start_agent(connection={"proxy": f"http://127.0.0.1:{proxy.port}"})
        self.run_job()
        self.assertEqual(proxy.asked, [f"CONNECT {LOCALHOST}:{self.lab.tls_port} HTTP/1.1"])
        self.assertEqual(agent.kill(signal.SIGTERM), 0)

    def test_proxy_with_a_password(self):
        """First the wrong one: said, and never shown. The right one is taken up by a reload."""
        proxy = self.proxy("pump@7:se cret")
        connection = {"proxy": f"http://pump%407@127.0.0.1:{proxy.port}", "proxy_password_file": self.password("wr0ng-one\n")}
        agent = self.lab.start_agent(online=False, connection=connection)
        agent.wait_text(r"not connected: .*407")
        self.assertNotIn("wr0ng-one", agent.text())
        self.password("se cret\n")
        agent.popen.send_signal(signal.SIGHUP)
        self.lab.wait_online(agent)
        self.run_job()
        self.assertNotIn("se cret", agent.text())

    @unittest.skipUnless(shutil.which("softhsm2-util"), "softhsm2 is not installed")
    def test_key_in_a_token(self):
        """The device's key moves into a PKCS#11 token and its file goes; a wrong PIN is named and not shown."""
        tokens = self.lab.directory / "tokens"
        tokens.mkdir()
        conf = self.lab.directory / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        env = {"SOFTHSM2_CONF": str(conf)}
        key = self.lab.device_cert[1]
        for args in (["--init-token", "--free", "--label", "device", "--pin", "1234", "--so-pin", "5678"],
                     ["--import", key, "--token", "device", "--label", "key", "--id", "01", "--pin", "1234"]):
            run_quietly("softhsm2-util", *args, env=clean_environment(**env))
        kept = self.lab.authority.issue("service")
        key.unlink()
        pin = self.password("9753", "pin")
        uri = f"pkcs11:token=device;object=key;type=private?pin-source=file:{pin}"
        changes = {"credentials": {"key_file": None, "key_uri": uri}}
        code, err = self.check_config(env=env, **changes)
        self.assertEqual(code, 1)
        self.assertIn("key_uri", err)
        self.assertNotIn("9753", err)
        pin.write_text("1234")
        self.assertEqual(self.check_config(env=env, **changes), (0, ""))
        agent = self.lab.start_agent(env=env, **changes)
        self.lab.device_cert = kept  # for the operator
        self.run_job()
        self.assertEqual(agent.kill(signal.SIGTERM), 0)

    def test_check_config_of_a_proxy(self):
        code, err = self.check_config(connection={"proxy": "http://u@127.0.0.1:1", "proxy_password_file": "/nowhere"})
        self.assertEqual(code, 1)
        self.assertIn("connection.proxy_password_file: value \"/nowhere\"", err)


@needs_websockify
class WebSocket(Way):
    def setUp(self):
        super().setUp()
        self.port, self.server = start_websocket(self.lab)
        self.changes = {"port": self.port, "connection": {"transport": "websocket"},
                        "credentials": {"cert_file": None, "key_file": None, "region": "eu-west-1"}}

    def test_credentials_of_the_environment(self):
        self.lab.start_agent(env=AWS, **self.changes)
        self.run_job()
        self.assertIn("X-Amz-Credential=AKIDEXAMPLE%2F", self.server.text())

    def test_credentials_of_a_file(self):
        self.changes["credentials"]["aws_credentials_file"] = self.password(AWS_FILE, "aws")
        agent = self.lab.start_agent(**self.changes)
        self.run_job()
        self.assertIn("X-Amz-Credential=AKIDFROMFILE%2F", self.server.text())
        # Read again at each connect, with a signature of its own.
        (self.lab.directory / "aws").write_text(AWS_FILE.replace("FROMFILE", "RENEWED"))
        self.lab.stop_broker()
        self.lab.start_broker()
        self.server.wait_text("X-Amz-Credential=AKIDRENEWED%2F")
        self.lab.wait_online(agent)
        self.run_job("again")

    def test_through_a_proxy(self):
        proxy = self.proxy("u:p")
        self.changes["connection"].update(proxy=f"http://u@127.0.0.1:{proxy.port}", proxy_password_file=self.password("p"))
        self.lab.start_agent(env=AWS, **self.changes)
        self.run_job()
        self.assertEqual(proxy.asked, [f"CONNECT {LOCALHOST}:{self.port} HTTP/1.1"])

    def test_from_one_transport_to_the_other(self):
        """A reload changes the transport under a running job."""
        self.lab.handler("slow.sh", "while [ ! -e @EVIDENCE@/go-on ]; do sleep 0.05; done")
        agent = self.lab.start_agent(env=AWS)
        self.lab.create("slow", {"operation": "slow"})
        self.lab.wait_status("slow", "IN_PROGRESS")
        self.lab.write_config(**self.changes)
        agent.popen.send_signal(signal.SIGHUP)
        self.server.wait_text("X-Amz-Credential=AKIDEXAMPLE%2F")
        wait_for(lambda: agent.text().count("every subscription granted") == 2, agent.text)
        (self.lab.evidence / "go-on").touch()
        self.lab.wait_status("slow", "SUCCEEDED")

    def test_check_config(self):
        home = {"HOME": str(self.lab.directory)}
        self.assertEqual(self.check_config(env={**home, **AWS}, **self.changes), (0, ""))
        code, err = self.check_config(env=home, **self.changes)
        self.assertEqual(code, 1)
        self.assertIn("AWS_ACCESS_KEY_ID", err)
        self.changes["credentials"]["region"] = None
        code, err = self.check_config(env={**home, **AWS}, **self.changes)
        self.assertEqual(code, 1)
        self.assertRegex(err, r"agent\.conf:\d+: credentials\.region: missing")
