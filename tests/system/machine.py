# SPDX-License-Identifier: Apache-2.0
"""A machine that boots: Debian with its own systemd in a container, which a test installs things in, switches off and on.

The system is fetched once (debootstrap) and kept; a machine is a layer over it, so that each starts untouched.
Who uses this runs in namespaces of its own (see run.py), where nothing outlives the run. Machine and test share the network
namespace: broker, Jobs service and web servers stand outside of the machine, as they do in life, and outlive its reboots."""

import contextlib
import ctypes
import fcntl
import hashlib
import inspect
import os
import pathlib
import shutil
import signal
import subprocess
import time

from harness import ROOT, run_quietly, wait_for

# What is fetched and built is kept here; another place (of a CI runner, say) can be named.
CACHE = pathlib.Path(os.environ.get("IOT_JOBS_SYSTEM_CACHE", ROOT / "build/system")).resolve()
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
# What a small device has, what our packages need, and python3 for tests that must act from inside.
PACKAGES = ["apt-utils", "bash-completion", "curl", "dbus", "e2fsprogs", "init-system-helpers", "iproute2", "libconfig9", "libjansson4",
            "libmosquitto1", "libnss-systemd", "libssl3", "libwslay1", "mosquitto", "openssl", "procps", "python3", "strace", "sudo",
            "systemd", "systemd-sysv", "udev"]
REBOOT_WANTED = 133  # exit status of a container that asks to be started again
PATIENCE = 60
FETCH_TRIES, FETCH_SECONDS = 4, 600
PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def alone(name):
    """One run at a time fetches or builds; the others wait and find it done."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / name, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def contained(*command, **kwargs):
    """Run a command whose mounts and processes end with it, or with us, however that comes → whether it succeeded."""
    prctl = ctypes.CDLL(None).prctl
    return subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", *command],
                          stdin=subprocess.DEVNULL, preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), check=False,
                          **kwargs).returncode == 0


def mirrors():
    """Where Debian may be fetched from: as told; else from where this machine has its packages, then from everybody's."""
    if told := os.environ.get("IOT_JOBS_MIRROR"):
        return [told]
    r = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"],
                       capture_output=True, text=True, check=False)
    own = [uri.rstrip("/") for uri, *rest in map(str.split, r.stdout.splitlines()) if rest == [SUITE, "main"]]
    return list(dict.fromkeys(own + [MIRROR]))


def debootstrap(directory, mirror, log):
    """One try, whose downloads the next one finds. apt's proxy is asked, too; nothing waits for a silent server for ever."""
    proxy = subprocess.run(["apt-config", "shell", "P", "Acquire::http::Proxy"], capture_output=True, text=True, check=False).stdout
    environment = {**({"http_proxy": proxy.strip()[3:-1]} if proxy else {}), **os.environ, "WGETRC": str(CACHE / "wgetrc")}
    (CACHE / "wgetrc").write_text("timeout = 30\ntries = 3\n")
    (CACHE / "archives").mkdir(exist_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    return contained("timeout", str(FETCH_SECONDS), "debootstrap", "--variant=minbase", f"--cache-dir={CACHE / 'archives'}",
                     "--include=" + ",".join(PACKAGES), SUITE, directory, mirror, env=environment, stdout=log, stderr=log)


def furnish(base):
    """What makes a fetched system a machine for tests."""
    (base / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (base / "etc/hostname").write_text("device\n")
    (base / "etc/machine-id").write_text("")
    (base / "var/log/journal").mkdir(exist_ok=True)
    # Nothing to fetch from: what a test installs it brings along. No broker: the tests' own stands outside.
    (base / "etc/apt/sources.list").unlink(missing_ok=True)
    for link in (base / "etc/systemd/system").glob("*.wants/*"):
        if link.name.startswith(("mosquitto", "apt-", "e2scrub", "dpkg-db", "fstrim", "systemd-timesyncd")):
            link.unlink()
            if not any(link.parent.iterdir()):
                link.parent.rmdir()
    for d in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(base / d)
        (base / d / "partial").mkdir(parents=True)


def fetch_debian():
    """The cached system; made when it is not there, or when what makes it changed."""
    want = hashlib.sha256("\n".join([SUITE, *PACKAGES, inspect.getsource(debootstrap), inspect.getsource(furnish)]).encode()).hexdigest()
    base, new, stamp = CACHE / "debian", CACHE / "debian.new", CACHE / "debian.stamp"
    with alone("debian.lock"):
        if stamp.exists() and stamp.read_text() == want:
            return base
        sources = mirrors()
        with open(CACHE / "debootstrap.log", "wb") as log:
            for i in range(FETCH_TRIES):
                mirror = sources[i % len(sources)]
                print(f"# fetching Debian {SUITE} from {mirror}", flush=True)
                if debootstrap(new, mirror, log):
                    break
                time.sleep(5)  # for the network to come back
            else:
                raise SystemExit(f"Debian {SUITE} cannot be fetched; the whole story is in {log.name}")
        furnish(new)
        stamp.unlink(missing_ok=True)
        shutil.rmtree(base, ignore_errors=True)
        new.rename(base)
        shutil.rmtree(CACHE / "archives")
        stamp.write_text(want)
    return base


class Machine:
    """directory: where its own files live. layers: what it stands on, the uppermost first."""

    def __init__(self, directory, layers):
        self.directory = pathlib.Path(directory)
        self.root, self.upper = self.directory / "root", self.directory / "upper"
        for d in (self.root, self.upper, self.directory / "work"):
            d.mkdir(parents=True)
        run_quietly("mount", "-t", "overlay", "overlay", "-o",
                    f"lowerdir={':'.join(map(str, layers))},upperdir={self.upper},workdir={self.directory / 'work'}", self.root)
        self.container = self.leader = None
        self.boots = 0

    # -- power --

    def boot(self, wait=True):
        """Switch on. wait: until everything that starts at boot has started."""
        assert self.container is None, "it is on already"
        self.boots += 1
        environment = {"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with open(self.directory / f"console-{self.boots}", "wb") as console:
            self.container = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--settings=no", "--link-journal=no",
                 "--resolv-conf=off", "--timezone=off", "--console=pipe", "--machine=device", "-D", self.root],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=environment)
        self.leader = wait_for(self._find_leader, self._console, PATIENCE)
        if wait:
            wait_for(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"),
                     lambda: "the machine to come up; " + self.run("systemctl", "list-jobs", "--no-pager", check=False).stdout, PATIENCE)

    def _console(self):
        return "the container to boot:\n" + (self.directory / f"console-{self.boots}").read_text(errors="replace")

    def _find_leader(self):
        """The first process of the container, once it is an init."""
        if self.container.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended with {self.container.returncode}\n{self._console()}")
        children = pathlib.Path(f"/proc/{self.container.pid}/task/{self.container.pid}/children").read_text().split()
        for pid in children:
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            if "Name:\tsystemd\n" in status and [l for l in status.splitlines() if l.startswith("NSpid:")][0].split()[-1] == "1":
                return int(pid)
        return None

    def wait_off(self, timeout=PATIENCE):
        """Until it is off; the exit status of the container."""
        wait_for(lambda: self.container.poll() is not None, "the machine to go off", timeout)
        code, self.container, self.leader = self.container.returncode, None, None
        return code

    def wait_reboot(self, timeout=PATIENCE):
        """Until it reboots by itself, and is up again."""
        code = self.wait_off(timeout)
        assert code == REBOOT_WANTED, f"it went off with {code} and does not ask to be started again"
        self.boot()

    def power_cut(self):
        """Off, at once: no process of the machine does anything more."""
        os.kill(self.leader, signal.SIGKILL)
        self.container.kill()
        self.wait_off()

    def power_off(self):
        self.run("systemctl", "poweroff", "--no-wall", check=False)
        self.wait_off()

    def close(self):
        if self.container:
            self.power_cut()
        # The kernel may still be about to let go of the last process's files.
        wait_for(lambda: subprocess.run(["umount", self.root], capture_output=True, check=False).returncode == 0, "umount")
        shutil.rmtree(self.directory)

    # -- inside --

    def command(self, *command):
        """What runs a command in the machine, as root, with a login's environment and nothing of the caller's."""
        return ["nsenter", "-t", str(self.leader), "--mount", "--uts", "--ipc", "--pid", "--root", "--wd", "--",
                "/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "SYSTEMD_PAGER=", *map(str, command)]

    def run(self, *command, check=True, timeout=120, **kwargs):
        r = subprocess.run(self.command(*command), stdin=kwargs.pop("stdin", subprocess.DEVNULL if "input" not in kwargs else None),
                           capture_output=True, text=True, errors="replace", timeout=timeout, check=False, **kwargs)
        if check and r.returncode:
            raise AssertionError(f"{' '.join(map(str, command))}: exit {r.returncode}\n{r.stdout}{r.stderr}")
        return r

    def shell(self, script, **kwargs):
        return self.run("/bin/sh", "-c", script, **kwargs).stdout

    def path(self, inside):
        """A file of the machine as seen from here; not below /run, /tmp, /proc, /dev, which are made at boot."""
        assert not str(inside).startswith(("/run", "/tmp", "/proc", "/dev", "/sys")), inside
        return self.root / str(inside).lstrip("/")

    def write(self, inside, content, mode=0o644):
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)

    def unit(self, name, *properties):
        """Properties of a unit, by name."""
        out = self.run("systemctl", "show", *(f"--property={p}" for p in properties), "--", name).stdout
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def pid(self, unit):
        """The main process of a unit as it is known here, outside; 0 if there is none."""
        inside = int(self.unit(unit, "MainPID")["MainPID"])
        return self.outside(inside) if inside else 0

    def outside(self, inside):
        """The process id that a process of the machine has here."""
        space = os.readlink(f"/proc/{self.leader}/ns/pid")
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{entry}/ns/pid") == space and \
                        f"\t{inside}\n" in next(l for l in open(f"/proc/{entry}/status") if l.startswith("NSpid:")):
                    return int(entry)
            except OSError:
                pass
        return 0

    def journal(self, *options):
        """Messages, one a line."""
        return self.run("journalctl", "--no-pager", "--quiet", "--output=cat", *options).stdout.splitlines()

    def logs(self):
        if not self.leader or self.container.poll() is not None:
            return "the machine is off\n" + self._console()[-4000:]
        try:
            journal = self.run("journalctl", "--no-pager", "--quiet", "--lines=2000", check=False, timeout=20).stdout.splitlines()
            return "\n".join([l for l in journal if "iot-jobs" in l or "systemd[1]" not in l][-150:]) + "\n" + \
                self.run("systemctl", "list-units", "--all", "--no-pager", "iot-jobs*", check=False, timeout=20).stdout
        except subprocess.TimeoutExpired:
            return "the machine does not answer"
