#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""download-file.sh against a web server on this machine, by curl, by GNU wget, and by busybox's wget.

usage: test_download.py CLIENT [PATTERN...]   CLIENT: curl, wget or busybox"""

import os
import pathlib
import pwd
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import rig
from rig import HOSTILE, HandlerTest, sha256
from server import Site

CLIENT = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in ("curl", "wget", "busybox") else "curl"
DATA = bytes((i * 7 + i // 251) % 256 for i in range(300_000))


class Download(HandlerTest):
    def setUp(self):
        super().setUp()
        self.tools(*({"curl": ["curl"], "wget": ["wget"], "busybox": []}[CLIENT]))
        if CLIENT == "busybox":
            (self.bin / "wget").symlink_to(shutil.which("busybox"))
        elif CLIENT == "wget" and rig.SHELL == ["busybox"]:
            (self.bin / "wget").unlink()
            (self.bin / "wget").symlink_to(shutil.which("wget", path=rig.STANDARD_PATH))
        self.site = self.serve(DATA)
        self.target = self.tmp / "target"
        self.target.mkdir()
        self.file = self.target / "file"

    def serve(self, *args, **kwargs):
        site = Site(*args, **kwargs)
        self.addCleanup(site.close)
        return site

    def fetch(self, code, *options, url=None, path=None, **kwargs):
        return self.expect(code, "download-file.sh", url or self.site.url(), str(path or self.file), *options, **kwargs)

    def check_file(self, data=DATA, mode=0o644):
        self.assertEqual(self.file.read_bytes(), data)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), mode)
        self.assertEqual([p.name for p in self.target.iterdir()], ["file"], "something was left beside the file")

    def check_nothing(self):
        self.assertEqual(list(self.target.iterdir()), [])

    # -- the plain case --

    def test_plain(self):
        r = self.fetch(0)
        self.check_file()
        self.assertEqual(r.details["size"], str(len(DATA)))
        self.assertEqual(r.progress[-1], "100%")

    def test_digest_owner_and_mode(self):
        options = [f"sha256={sha256(DATA).upper()}", "mode=0600"]
        if os.getuid() == 0:
            options.append("owner=daemon:bin" if rig.SHELL != ["busybox"] else "owner=daemon")
        self.fetch(0, *options)
        self.check_file(mode=0o600)
        if os.getuid() == 0:
            self.assertEqual(self.file.stat().st_uid, pwd.getpwnam("daemon").pw_uid)

    def test_operation_form(self):
        """Without arguments the parameters count, with arguments they do not."""
        params = {"url": self.site.url(), "path": str(self.file), "sha256": sha256(DATA), "mode": "640"}
        self.expect(0, "download-file.sh", params=params)
        self.check_file(mode=0o640)
        other = self.target / "other"
        self.fetch(0, path=other, params=params | {"sha256": "0" * 64})
        self.assertEqual(other.read_bytes(), DATA)

    def test_device_client_args(self):
        """An empty first argument is the document's user: it changes nothing. Optional arguments may be empty."""
        self.expect(0, "download-file.sh", "", self.site.url(), str(self.file), "", "")
        self.check_file()

    def test_it_is_there_already(self):
        self.file.write_bytes(DATA)
        self.fetch(0, f"sha256={sha256(DATA)}")
        self.assertEqual(self.site.seen, [])
        self.fetch(0)
        self.assertEqual(len(self.site.seen), 1)

    def test_replaced_as_it_was(self):
        """The old file's mode and owner stay; whoever has the old one open still reads the old one."""
        self.file.write_bytes(b"old")
        self.file.chmod(0o4600)
        if os.getuid() == 0:
            os.chown(self.file, 1, 1)
            self.file.chmod(0o4600)
        with open(self.file, "rb") as old:
            self.fetch(0)
            self.assertEqual(old.read(), b"old")
        self.check_file(mode=0o600)
        if os.getuid() == 0:
            self.assertEqual((self.file.stat().st_uid, self.file.stat().st_gid), (1, 1))

    def test_a_link_is_replaced_and_not_followed(self):
        victim = self.tmp / "victim"
        victim.write_bytes(b"mine")
        self.file.symlink_to(victim)
        self.fetch(0)
        self.assertEqual(victim.read_bytes(), b"mine")
        self.check_file()

    def test_into_a_directory(self):
        """AWS IoT Device Client's handler of this name takes a directory too: the file's name is the one that the URL ends in."""
        for path in (self.target, f"{self.target}/", f"{self.target}/."):
            self.fetch(0, url=self.site.url("/a/fw-1.2~rc.tar.gz?X-Amz-Signature=x/y#z/w"), path=path)
            self.assertEqual([(p.name, p.read_bytes()) for p in self.target.iterdir()], [("fw-1.2~rc.tar.gz", DATA)])
        del self.site.seen[:]
        (self.target / "folder").mkdir()
        for tail in ("", "/", "?/x", "/a/", "/a/..", "/.profile", "/a%2fb", "/a%20b", "/a;b", "/$(id)", "/*", "/folder"):
            with self.subTest(tail):
                self.assertIn("is a directory", self.fetch(65, url=self.site.url(tail), path=self.target).err)
        self.assertEqual(self.site.seen, [])
        self.assertEqual(len(list(self.target.iterdir())), 2)

    def test_by_hand(self):
        """Neither a work directory nor a progress channel."""
        self.fetch(0, progress=False, env={"IOT_JOB_WORKDIR": "", "TMPDIR": str(self.tmp)})
        self.check_file()
        self.assertEqual(list(self.tmp.glob("download-file.*")), [])

    def test_empty_file(self):
        self.site.data = b""
        self.fetch(0)
        self.check_file(b"")

    def test_size_is_not_told(self):
        self.site.length = False
        self.fetch(0)
        self.check_file()

    def test_progress(self):
        """While it comes: percent, or what has come where the server does not tell the size."""
        for length, said in ((True, rb"(?m)^(4\d|50)%$"), (False, rb"(?m)^1[34]\d KiB$")):
            with self.subTest(said):
                site = self.serve(DATA)
                site.length, site.hold = length, threading.Event()
                p = self.start("download-file.sh", site.url(), str(self.file))
                seen, end = b"", time.monotonic() + 30
                while not re.search(said, seen):
                    self.assertTrue(select.select([p.reading], [], [], max(0, end - time.monotonic()))[0], seen)
                    seen += os.read(p.reading, 4096)
                site.hold.set()
                self.assertEqual(self.finish(p).progress[-1], "100%")
                self.check_file()

    def test_names_with_blanks_and_dashes(self):
        for name in ("a file", "-rf", "*", "$(id)", "ä", "a'b\"c"):
            with self.subTest(name):
                self.fetch(0, path=self.target / name)
                self.assertEqual((self.target / name).read_bytes(), DATA)

    def test_other_file_system(self):
        shm = pathlib.Path("/dev/shm")
        if not os.access(shm, os.W_OK) or shm.stat().st_dev == self.work.stat().st_dev:
            self.skipTest("/dev/shm is no other file system")
        target = shm / self.key
        target.mkdir()
        self.addCleanup(shutil.rmtree, target, True)
        self.fetch(0, "mode=600", path=target / "file")
        self.assertEqual([(p.name, p.read_bytes(), stat.S_IMODE(p.stat().st_mode)) for p in target.iterdir()],
                         [("file", DATA, 0o600)])

    # -- transfers that break off --

    def test_resumed_within_one_attempt(self):
        self.site.break_after = [100_000, 50_000]
        digest = [f"sha256={sha256(DATA)}"] if CLIENT == "busybox" else []
        self.fetch(0, *digest)
        self.check_file()
        self.assertEqual([r for _, r in self.site.seen], [None, "bytes=100000-", "bytes=150000-"])

    def test_resumed_by_the_next_attempt(self):
        """Exit 75 keeps what has come; the next attempt, with a new presigned URL, asks for the rest."""
        self.site.break_after = [200_000, 0, 0, 0, 0]
        self.fetch(75, f"sha256={sha256(DATA)}", url=self.site.url("/file.bin?signature=one"))
        self.check_nothing()
        del self.site.seen[:], self.site.break_after[:]
        self.fetch(0, f"sha256={sha256(DATA)}", url=self.site.url("/file.bin?signature=two"), phase="retry", attempt=2)
        self.assertEqual(self.site.seen, [("/file.bin?signature=two", "bytes=200000-")])
        self.check_file()

    def test_resumed_after_a_kill(self):
        """A power cut in the middle: the part is there, and goes on."""
        self.site.hold = threading.Event()
        options = (self.site.url(), str(self.file), f"sha256={sha256(DATA)}")
        p = self.start("download-file.sh", *options)
        part = self.work / "download-1.part"
        end = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size >= len(DATA) // 3):
            self.assertLess(time.monotonic(), end, "nothing arrives")
            time.sleep(0.02)
        os.killpg(p.pid, signal.SIGKILL)
        self.assertEqual(self.finish(p).code, -signal.SIGKILL)
        self.site.hold.set()
        del self.site.seen[:]
        self.expect(0, "download-file.sh", *options, phase="rerun", attempt=2)
        self.assertEqual(len(self.site.seen), 1)
        self.assertRegex(self.site.seen[0][1], r"bytes=\d{5,}-")
        self.check_file()

    def test_another_step_does_not_resume_it(self):
        self.site.break_after = [200_000, 0, 0, 0, 0]
        self.fetch(75)
        del self.site.seen[:], self.site.break_after[:]
        self.fetch(0, url=self.site.url("/other.bin"), step=2)
        self.assertEqual(self.site.seen, [("/other.bin", None)])
        self.fetch(0, url=self.site.url("/third.bin"), step=1)
        self.assertEqual(self.site.seen[1:], [("/third.bin", None)])

    def test_the_file_has_changed_meanwhile(self):
        """What does not belong together is not put together: not by ETag, not by Last-Modified, not by digest."""
        new = bytes(reversed(DATA))
        for how in ("etag", "last_modified", "digest", "nothing to go by"):
            with self.subTest(how):
                site = self.serve(DATA)
                site.etag, site.last_modified = ('"v1"' if how == "etag" else None,
                                                 "Mon, 02 Jan 2023 00:00:00 GMT" if how == "last_modified" else None)
                site.break_after = [100_000]

                def change():
                    site.data = new
                    if how == "etag":
                        site.etag = '"v2"'
                    elif how == "last_modified":
                        site.last_modified = "Tue, 03 Jan 2023 00:00:00 GMT"
                site.on_break = change
                self.fetch(0, *([f"sha256={sha256(new)}"] if how == "digest" else []), url=site.url())
                self.check_file(new)

    def test_weak_etag_is_not_trusted(self):
        self.site.etag = 'W/"v1"'
        self.site.break_after = [100_000]
        self.fetch(0)
        self.assertEqual([r for _, r in self.site.seen], [None, None])
        self.check_file()

    def test_server_without_ranges(self):
        self.site.ranges = False
        self.site.break_after = [100_000]
        self.fetch(0)
        self.check_file()

    def test_server_without_ranges_and_never_whole(self):
        """It ends, with what the contract says for a network that is away."""
        self.site.ranges = False
        self.site.break_after = [100_000] * 50
        self.fetch(75)
        self.assertLess(len(self.site.seen), 10)
        self.check_nothing()

    def test_part_was_complete_already(self):
        """The power went between the last byte and the rename."""
        (self.work / "download-1.part").write_bytes(DATA)
        (self.work / "download-1.url").write_text(self.site.url() + "\n")
        (self.work / "download-1.headers").write_text(
            f"HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: {len(DATA)}\r\n\r\n")
        self.fetch(0, f"sha256={sha256(DATA)}", phase="rerun")
        self.assertEqual(self.site.seen, [])
        self.check_file()

    def test_part_is_too_long(self):
        (self.work / "download-1.part").write_bytes(DATA + b"more")
        (self.work / "download-1.url").write_text(self.site.url() + "\n")
        (self.work / "download-1.headers").write_text('HTTP/1.1 200 OK\r\nETag: "v1"\r\n\r\n')
        self.fetch(0, phase="rerun")
        self.check_file()

    # -- failures --

    def test_statuses(self):
        for status, attempt, code in ((404, 1, 1), (410, 1, 1), (403, 1, 75), (403, 2, 1), (400, 1, 75), (401, 1, 1),
                                      (500, 1, 75), (503, 1, 75), (429, 1, 75)):
            with self.subTest(status=status, attempt=attempt):
                self.site.statuses = [status] * 10
                r = self.fetch(code, attempt=attempt)
                if CLIENT != "busybox" or status != 401:
                    self.assertIn(str(status), r.err)
                self.check_nothing()

    def test_a_server_that_recovers(self):
        self.site.statuses = [503, 500]
        self.fetch(0)
        self.check_file()

    def test_network_away(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.fetch(75, url=f"http://127.0.0.1:{port}/file")
        self.check_nothing()

    def test_unknown_host(self):
        self.fetch(75, url="http://no-such-host.invalid/file")
        self.check_nothing()

    def test_wrong_digest(self):
        r = self.fetch(1, f"sha256={'0' * 64}")
        self.assertIn("sha256", r.err)
        self.check_nothing()
        self.file.write_bytes(b"old")
        self.fetch(1, f"sha512={'0' * 128}")
        self.assertEqual(self.file.read_bytes(), b"old")

    def test_directory_missing_or_not_writable(self):
        self.fetch(1, path=self.tmp / "no/such/file")
        self.assertEqual(self.site.seen, [])

    def test_disk_full(self):
        if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", self.target],
                                              stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("cannot mount a small file system")
        self.addCleanup(subprocess.run, ["umount", "-l", self.target], check=False)
        self.fetch(1)
        self.check_nothing()

    def test_work_directory_full(self):
        if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", self.work],
                                              stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("cannot mount a small file system")
        self.addCleanup(subprocess.run, ["umount", "-l", self.work], check=False)
        self.fetch(1)
        self.check_nothing()

    def test_stopped(self):
        """SIGTERM as the runner sends it, to everything: nothing is left, the part stays for another attempt."""
        self.site.hold = threading.Event()
        p = self.start("download-file.sh", self.site.url(), str(self.file))
        part = self.work / "download-1.part"
        end = time.monotonic() + 30
        while not part.exists():
            self.assertLess(time.monotonic(), end, "nothing arrives")
            time.sleep(0.02)
        os.killpg(p.pid, signal.SIGTERM)
        r = self.finish(p, timeout=20)
        self.assertNotEqual(r.code, 0)
        self.check_nothing()
        self.assertTrue(part.exists())

    # -- safety --

    def test_redirects(self):
        self.site.redirect = "/file.bin"
        self.fetch(0, url=self.site.url("/redirect"))
        self.check_file()
        for target in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "/redirect"):
            with self.subTest(target):
                self.site.redirect = target
                (self.target / "other").unlink(missing_ok=True)
                r = self.run_handler("download-file.sh", self.site.url("/redirect"), str(self.target / "other"))
                self.assertIn(r.code, (1, 75), r)
                self.assertFalse((self.target / "other").exists(), r)

    def certificate(self):
        key, cert = self.tmp / "key.pem", self.tmp / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
                       check=True, capture_output=True)
        return cert, key

    def test_https(self):
        """A certificate nobody vouches for is refused; a redirect from https to http too."""
        cert, key = self.certificate()
        site = self.serve(DATA, certificate=(cert, key))
        if CLIENT == "busybox":
            self.fetch(1, url=site.url())
            self.assertEqual(site.seen, [])
            return
        self.fetch(1, url=site.url())
        self.check_nothing()
        self.trusting(0, cert, site.url())
        self.check_file()
        self.file.unlink()
        site.redirect = self.site.url()
        r = self.trusting(1, cert, site.url("/redirect"))
        self.check_nothing()
        if CLIENT == "curl":
            self.assertEqual(self.site.seen, [])
        else:  # it has no such setting: what comes is thrown away
            self.assertIn("from https to http", r.err)
            self.assertFalse((self.work / "download-1.part").exists())

    def trusting(self, code, cert, url):
        """Fetch where the machine trusts one more authority. GnuTLS has no variable for that: it gets a file system of its own."""
        if CLIENT == "curl":
            return self.fetch(code, url=url, env={"CURL_CA_BUNDLE": str(cert)})
        if os.getuid():
            self.skipTest("only root can give wget another authority")
        authorities = self.tmp / "authorities"
        authorities.mkdir(exist_ok=True)
        shutil.copy(cert, authorities / "ca-certificates.crt")
        private = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", '/bin/mount --bind "$0" /etc/ssl/certs && exec "$@"', str(authorities)]
        return self.fetch(code, url=url, command=[*private, *self.command("download-file.sh", [url, str(self.file)])])

    def test_secrets_stay_out_of_the_output(self):
        for status in (200, 404, 403, 500):
            with self.subTest(status):
                self.site.statuses = [status] * 10 if status != 200 else []
                r = self.run_handler("download-file.sh", self.site.url("/f?X-Amz-Signature=geheim#tail").replace(
                    "://", "://user:passwort@"), str(self.file))
                self.assertNotRegex(r.out + r.err + "".join(r.progress), "geheim|passwort|tail")

    def test_settings_of_the_user_do_not_count(self):
        """No ~/.curlrc, ~/.wgetrc, ~/.netrc."""
        home = self.tmp / "home"
        home.mkdir()
        (home / ".curlrc").write_text("output = /dev/null\n")
        (home / ".wgetrc").write_text("output_document = /dev/null\n")
        self.fetch(0, env={"HOME": str(home)})
        self.check_file()

    def test_bad_arguments(self):
        url, path = self.site.url(), str(self.file)
        bad = [(), ("",), (url,), ("", url), (url, ""), ("", ""), ("", "", ""), (url, "relative"), (url, "../x"),
               (url, f"{self.target}/absent/"), (url, f"{self.target}/absent/."), (url, f"{self.target}/a\nb"),
               (url, "/dev/null"), (url, "/proc/self/fd/1"),
               ("file:///etc/passwd", path), ("FTP://x/y", path), ("http://", path), ("http:///x", path), ("//x/y", path),
               ("-o/etc/passwd", path), ("http://x/a b", path), ("http://x/\n-o\n/x", path), ('http://x/"', path),
               ("http://x/\\", path), ("http://x/ä", path), ("-K/etc/passwd", path),
               (url, path, "sha256="), (url, path, "sha256=12"), (url, path, "sha256=" + "g" * 64), (url, path, "sha256=" + "0" * 65),
               (url, path, "sha256=" + "0" * 64, "sha512=" + "0" * 128), (url, path, "md5=" + "0" * 32), (url, path, "mode=4755"),
               (url, path, "mode=u+s"), (url, path, "mode=888"), (url, path, "mode=7777"), (url, path, "owner=-R"),
               (url, path, "owner=a:b:c"), (url, path, "owner=root:"), (url, path, "owner=no-such-user-here"), (url, path, "what"),
               (url, path, "--output=/etc/passwd")]
        for args in bad:
            with self.subTest(args=args):
                self.expect(65, "download-file.sh", *args)
        self.assertEqual(self.site.seen, [])
        self.check_nothing()

    def test_hostile_arguments(self):
        for value in HOSTILE:
            with self.subTest(value=value):
                self.expect(65, "download-file.sh", value, str(self.file))
                self.expect(65, "download-file.sh", self.site.url(), value) if not value.startswith("/etc") else None
                self.expect(65, "download-file.sh", self.site.url(), str(self.file), value)
        self.assertEqual(self.site.seen, [])
        self.assertEqual(sorted(p.name for p in self.work.iterdir()), [])


if __name__ == "__main__":
    rig.main()
