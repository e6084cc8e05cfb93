# SPDX-License-Identifier: Apache-2.0
"""A web server on a loopback address that answers ranges, and fails as it is told to."""

import http.server
import ssl
import threading


class Site:
    """One resource and how it is served; a test changes the attributes at any time."""

    def __init__(self, data, certificate=None):
        self.data = data
        self.etag = '"v1"'          # None: no ETag
        self.last_modified = None
        self.ranges = True          # False: answers 200 with everything
        self.conditions = False     # honour If-Match; many servers do not
        self.length = True          # tell Content-Length
        self.break_after = []       # bytes of the body after which each of the next answers breaks off; None: it does not
        self.statuses = []          # of the next answers, instead of the file
        self.redirect = None        # Location of the next answers below /redirect
        self.hold = None            # threading.Event: wait for it in the middle of the body
        self.seen = []              # [(path, Range)]
        self.on_break = lambda: None
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                site.answer(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass
        self.server = Server(("127.0.0.1", 0), Handler)
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def url(self, path="/file.bin", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.server.server_address[1]}{path}"

    def close(self):
        if self.hold:
            self.hold.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request):
        self.seen.append((request.path, request.headers.get("Range")))
        request.close_connection = True
        if request.path.startswith("/redirect") and self.redirect:
            request.send_response(302)
            request.send_header("Location", self.redirect)
            request.send_header("Content-Length", "0")
            return request.end_headers()
        if self.statuses:
            status = self.statuses.pop(0)
            request.send_response(status)
            request.send_header("Content-Length", "9")
            request.end_headers()
            return request.wfile.write(b"no, sorry")
        start, wanted = 0, request.headers.get("Range")
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            if start >= len(self.data):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(self.data)}")
                request.send_header("Content-Length", "0")
                return request.end_headers()
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        else:
            request.send_response(200)
        for name, value in (("ETag", self.etag), ("Last-Modified", self.last_modified)):
            if value:
                request.send_header(name, value)
        body = self.data[start:]
        if self.length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        limit = self.break_after.pop(0) if self.break_after else None
        if limit is not None:
            request.wfile.write(body[:limit])
            request.wfile.flush()
            self.on_break()
            return
        if self.hold:
            request.wfile.write(body[:len(body) // 2])
            request.wfile.flush()
            self.hold.wait(60)
            body = body[len(body) // 2:]
        request.wfile.write(body)
