# SPDX-License-Identifier: Apache-2.0
"""What the tests of the shipped handlers share: a handler is called as the runner calls it (contract section 3).

$IOT_JOBS_TEST_SHELL names another shell to run them with ("bash --posix"); "busybox" stands for its shell and all of its
tools. Without it they are executed as they are."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
HANDLERS = ROOT / "conf/handlers.d"
NAMES = sorted(p.name for p in HANDLERS.iterdir())
SHELL = os.environ.get("IOT_JOBS_TEST_SHELL", "").split()
PATIENCE = 120
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What the handlers may take for granted: POSIX utilities, and mktemp and stat, which coreutils and busybox both have.
TOOLS = "sh awk cat chmod chown cut date df grep head id kill ln ls mktemp mv rm sed sha256sum sha512sum sleep sort stat sync " \
        "tail tr wc".split()
# Strings that must not be expanded, split, executed or taken for an option anywhere.
HOSTILE = ["$(touch WITNESS)", "`touch WITNESS`", "a;touch WITNESS", "a|touch WITNESS", "a&touch WITNESS", "a>WITNESS", "*", "?",
           "[a-z]", "~root", "$HOME", "${IFS}", "a'b", 'a"b', "a\\b c\\", "--help", "-y", "-rf/", "--", "../../etc/passwd",
           "/etc/passwd", "./x.deb", "a\rb", "a\x1b[31mb", "\u202egnp.sh", "pumр", "a%s%n", "\x7f", "!!", "#a", "=", "a/b",
           "@group", "a" * 300, "é", "\ud7ff", "a-"]

# Descriptor 3 of this process must be something, so that subprocess hands on what a child makes of it.
try:
    os.fstat(3)
except OSError:
    os.dup2(os.open("/dev/null", os.O_RDWR), 3)


class Result:
    def __init__(self, code, out, err, progress, work):
        self.code, self.out, self.err, self.work = code, out, err, work
        self.progress = progress.splitlines()
        self.details = dict(p.split("=", 1) for p in self.progress if "=" in p)

    def __str__(self):
        return f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}\nprogress: {self.progress}"


class HandlerTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="iot-jobs-handlers-"))
        self.addCleanup(shutil.rmtree, self.tmp, True)
        self.work = self.tmp / "work"
        self.work.mkdir(mode=0o700)
        self.bin = self.tmp / "bin"
        self.bin.mkdir()
        self.key = "key-" + os.urandom(8).hex()
        self.path = None

    # -- what the handler finds --

    def tools(self, *more):
        """PATH becomes a directory with the basic tools, `more`, and what fake() adds: nothing else is there."""
        for name in (*TOOLS, *more):
            link = self.bin / name
            if SHELL == ["busybox"] and name not in ("curl", "apt-get", "dpkg-query"):
                link.symlink_to(shutil.which("busybox"))
            else:
                link.symlink_to(shutil.which(name, path=STANDARD_PATH))
        self.path = str(self.bin)

    def program(self, name, text):
        """A program in the first directory of PATH. What stands there may be a link to one of this machine's: it goes first."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        with open(path, "x", encoding="utf-8") as f:
            f.write(text)
        path.chmod(0o755)

    def fake(self, name, body="", record=True):
        """A program that notes its name and arguments, one call a line as JSON, and then does `body`."""
        self.program(name, f"#!{sys.executable}\nimport json, os, sys\n" + (
            f"print(json.dumps([{name!r}, *sys.argv[1:]]), file=open({str(self.tmp / 'calls')!r}, 'a'))\n" if record else "") +
            "def say(*a): print(*a, file=sys.stderr)\n" + body)
        if self.path is None:
            self.path = f"{self.bin}:{STANDARD_PATH}"

    def calls(self, *programs):
        log = self.tmp / "calls"
        found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [c for c in found if not programs or c[0] in programs]

    # -- the call --

    def command(self, handler, args):
        path = handler if isinstance(handler, pathlib.Path) else HANDLERS / handler
        shell = [shutil.which("busybox"), "sh"] if SHELL == ["busybox"] else [*map(shutil.which, SHELL[:1]), *SHELL[1:]]
        return [*shell, str(path), *args]

    def start(self, handler, *args, params=None, phase="run", attempt=1, step=1, document=b"{}", progress=True, env=None,
              command=None):
        """→ Popen with .progress, the reading end of descriptor 3."""
        reading, writing = os.pipe()
        if SHELL == ["busybox"] and self.path is None:
            self.tools()
            self.path = f"{self.bin}:{STANDARD_PATH}"
        environment = {"PATH": self.path or STANDARD_PATH, "LANG": "C.UTF-8", "HOME": "/", "USER": "root", "LOGNAME": "root",
                       "SHELL": "/bin/sh", "IOT_JOB_ID": "test", "IOT_JOB_KEY": self.key, "IOT_JOB_EXECUTION": "1",
                       "IOT_JOB_THING": "thing", "IOT_JOB_OPERATION": "test", "IOT_JOB_STEP": str(step),
                       "IOT_JOB_ATTEMPT": str(attempt), "IOT_JOB_PHASE": phase, "IOT_JOB_DOCUMENT": str(self.tmp / "document"),
                       "IOT_JOB_WORKDIR": str(self.work), "IOT_JOB_PROGRESS_FD": "3",
                       **{"IOT_JOB_PARAM_" + k: v for k, v in (params or {}).items()}, **(env or {})}
        (self.tmp / "document").write_bytes(document)

        def child():
            os.umask(0o022)
            if progress:
                os.dup2(writing, 3)
            else:
                os.close(3)
        with open(self.tmp / "document", "rb") as stdin:
            p = subprocess.Popen(command or self.command(handler, args), stdin=stdin, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, cwd=self.work, env=environment, preexec_fn=child,
                                 start_new_session=True, pass_fds=[3])
        os.close(writing)
        p.reading = reading
        return p

    def finish(self, p, timeout=PATIENCE):
        try:
            out, err = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, err = p.communicate()
            self.fail(f"still running after {timeout} s\n{out!r}\n{err!r}")
        progress = b""
        while chunk := os.read(p.reading, 65536):
            progress += chunk
        os.close(p.reading)
        result = Result(p.returncode, out.decode(errors="replace"), err.decode(errors="replace"),
                        progress.decode(errors="replace"), self.work)
        self.assertEqual(self.left_behind(), [], f"processes left behind\n{result}")
        return result

    def run_handler(self, *args, **kwargs):
        return self.finish(self.start(*args, **kwargs))

    def left_behind(self):
        mine = f"IOT_JOB_KEY={self.key}".encode()
        left = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mine in pathlib.Path("/proc", pid, "environ").read_bytes().split(b"\0"):
                    if pathlib.Path("/proc", pid, "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                        left.append(pathlib.Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                pass
        return left

    def expect(self, code, *args, **kwargs):
        result = self.run_handler(*args, **kwargs)
        self.assertEqual(result.code, code, f"{args} {kwargs}\n{result}")
        return result


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class PrivateApt:
    """The machine's own apt-get and dpkg, on a root directory and a repository of their own: env makes them use these."""

    def __init__(self, directory):
        directory.mkdir()
        self.directory, self.root, self.repository = directory, directory / "root", directory / "repository"
        for d in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
                  "etc/apt", "var/log"):
            (self.root / d).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "var/lib/dpkg/available").touch()
        self.repository.mkdir()
        self.source = self.root / "etc/apt/sources.list"
        self.source.write_text(f"deb [trusted=yes] file:{self.repository} ./\n")
        configuration = self.directory / "apt.conf"
        configuration.write_text(f"""\
Dir "{self.root}";
Dir::Bin::Methods "/usr/lib/apt/methods/";
Dir::Bin::dpkg "/usr/bin/dpkg";
Dir::State::status "{self.root}/var/lib/dpkg/status";
Dir::Log "{self.root}/var/log";
Acquire::Languages "none";
APT::Sandbox::User "root";
DPkg::Options {{ "--root={self.root}"; "--force-not-root"; "--force-script-chrootless"; "--log={self.directory}/dpkg.log"; }};
""")
        self.env = {"APT_CONFIG": str(configuration), "DPKG_ROOT": str(self.root), "DPKG_ADMINDIR": str(self.root / "var/lib/dpkg")}

    def package(self, name, version="1.0", **fields):
        tree = self.directory / "tree" / f"{name}_{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        more = "".join(f"{k.replace('_', '-')}: {v}\n" for k, v in fields.items())
        (tree / "DEBIAN/control").write_text(f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
                                             f"Maintainer: Test <test@example.org>\n{more}Description: made by a test\n")
        share = tree / "usr/share" / name
        share.mkdir(parents=True)
        (share / "version").write_text(version)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, self.repository / f"{name}_{version}.deb"], check=True,
                       capture_output=True)
        self.index()

    def index(self):
        entries = []
        for deb in sorted(self.repository.glob("*.deb")):
            control = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout
            digest = subprocess.run(["sha256sum", deb], check=True, capture_output=True, text=True).stdout.split()[0]
            entries.append(f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n")
        (self.repository / "Packages").write_text("\n".join(entries))

    def installed(self):
        out = subprocess.run(["dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f",
                              "${Package} ${Version} ${db:Status-Status}\n"], capture_output=True, text=True).stdout
        return sorted(line.rsplit(" ", 1)[0] for line in out.splitlines() if line.endswith(" installed"))


class TapResult(unittest.TestResult):
    count = 0

    def _line(self, ok, test, more="", text=""):
        self.count += 1
        print(f"{'ok' if ok else 'not ok'} {self.count} - {test.id().removeprefix('__main__.')}{more}")
        for line in text.splitlines():
            print(f"# {line}")
        sys.stdout.flush()

    def addSuccess(self, test):
        self._line(True, test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line(False, test, text=self.failures[-1][1])

    def addError(self, test, err):
        super().addError(test, err)
        self._line(False, test, text=self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._line(False, subtest, text=self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        self._line(True, test, f" # SKIP {reason}")


def main():
    """Run the tests of the calling program, or those whose name has one of the arguments in it; TAP on stdout."""
    def flat(suite):
        for t in suite:
            yield from flat(t) if isinstance(t, unittest.TestSuite) else [t]
    chosen = [t for t in flat(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
              if len(sys.argv) < 2 or any(a in t.id() for a in sys.argv[1:])]
    result = TapResult()
    unittest.TestSuite(chosen).run(result)
    print(f"1..{result.count}")
    sys.exit(0 if result.wasSuccessful() and result.count else 1)
