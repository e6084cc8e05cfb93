# SPDX-License-Identifier: Apache-2.0
"""What the world may put in the way of a connection, told through the public API: by the agent, which tries on, and by an example
program, whose blocking connect ends with it.

    what                                          where it is shown
    each configure call and parameter             unit: test-client-configure; on a shared handle test-client-shared
    use before connect                            unit: test-client-configure (before_connecting)
    WebSocket with a client key only, no CA,      unit: test-client-configure (combinations, websocket_combinations);
      region not derivable                          the agent's words: test_transports (test_check_config)
    every answer of proxies and upgrades          unit: test-links, test-http; fuzz: fuzz-http
    the same through the whole program            here
"""

import email.utils
import time

from harness import BUILD, LOCALHOST, LabTest, LoopbackServer, clean_environment, free_port, wait_for
from test_transports import ConnectProxy
from websocket import AWS

ENDLESS_MAX = 64 << 20  # whoever still listens then would listen for 2 GB


class HttpServer(LoopbackServer):
    """Answers each request with the same bytes; `endless`: and goes on with header lines until the client hangs up."""

    def __init__(self, lab, answer, tls=True, endless=False):
        self.answer, self.endless, self.sent = answer, endless, []
        super().__init__(lab.server_cert if tls else None)

    def serve(self, s):
        head = b""
        while b"\r\n\r\n" not in head:
            part = s.recv(4096)
            if not part:
                return
            head += part
        s.sendall(self.answer)
        if self.endless:
            self._go_on(s)
        while s.recv(4096):
            pass

    def _go_on(self, c):
        lines, sent = b"X-And-On: and on and on and on and on and on and on\r\n" * 300, 0
        try:
            while sent < ENDLESS_MAX:
                c.sendall(lines)
                sent += len(lines)
        finally:
            self.sent.append(sent)


class BadInput(LabTest):
    broker = False

    def server(self, *args, **kwargs):
        server = HttpServer(self.lab, *args, **kwargs)
        self.addCleanup(server.close)
        return server

    def agent(self, port=None, proxy=None, websocket=False):
        self.lab.tls_port = self.lab.tls_port or 1
        changes = {"connection": {"proxy": proxy and f"http://127.0.0.1:{proxy}"}}
        if websocket:
            changes = {"port": port, "connection": {"transport": "websocket"},
                       "credentials": {"cert_file": None, "key_file": None, "region": "eu-west-1"}}
        return self.lab.start_agent(online=False, env=AWS, **changes)

    def example(self, port):
        p = self.lab._program("example", [BUILD / "conf/examples/example-notifications", "--host", LOCALHOST, "--port", port, "--ca",
                                          self.lab.authority.cert, "--thing", self.lab.thing, "--websocket", "--region", "eu-west-1"],
                              self.lab.directory / "example.log", clean_environment(**AWS))
        self.assertEqual(p.wait_exit(), 1, p.text())
        return p.text()

    def check_both(self, server, pattern):
        """Said by the agent at every attempt, and by the example's connect."""
        agent = self.agent(server.port, websocket=True)
        agent.wait_text("^warning not connected: .*" + pattern)
        self.assertTrue(agent.running())
        self.assertRegex(self.example(server.port), "^connect: .*" + pattern)

    def check_hung_up(self, server):
        """Long before there was anything to fear."""
        wait_for(lambda: server.sent, "the end of the headers")
        self.assertLess(max(server.sent), ENDLESS_MAX)

    def test_unreachable_proxy(self):
        port = free_port()
        agent = self.agent(proxy=port)
        agent.wait_text(rf"not connected: .*cannot connect to the proxy 127\.0\.0\.1:{port}.*Connection refused")
        self.assertTrue(agent.running())

    def test_proxy_asks_for_a_password(self):
        proxy = ConnectProxy("somebody:secret")
        self.addCleanup(proxy.close)
        agent = self.agent(proxy=proxy.port)
        agent.wait_text(r"not connected: .*proxy.*asks for a user name and password \(407\)")
        self.assertTrue(agent.running())

    def test_upgrade_refused_with_a_body(self):
        body = b'{"message":"Forbidden","traceId":"6f1c"}'
        server = self.server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        self.check_both(server, r'403 Forbidden: "\{"message":"Forbidden","traceId":"6f1c"\}"')

    def test_endless_headers_of_the_server(self):
        server = self.server(b"HTTP/1.1 101 Switching Protocols\r\n", endless=True)
        self.check_both(server, "more than 16384 bytes of HTTP header")
        self.check_hung_up(server)

    def test_endless_headers_of_the_proxy(self):
        server = self.server(b"HTTP/1.1 200 OK\r\n", tls=False, endless=True)
        agent = self.agent(proxy=server.port)
        agent.wait_text("not connected: .*the proxy.*more than 16384 bytes of HTTP header")
        self.check_hung_up(server)

    def test_clock_is_wrong(self):
        """As AWS does: 403, and a Date that shows by how much."""
        date = email.utils.formatdate(time.time() + 7200, usegmt=True).encode()
        server = self.server(b"HTTP/1.1 403 Forbidden\r\nDate: %s\r\nContent-Length: 0\r\n\r\n" % date)
        self.check_both(server, r"the clock of this machine is (119|120) minutes slow")
