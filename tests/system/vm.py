# SPDX-License-Identifier: Apache-2.0
"""A machine with a kernel of its own, in QEMU: for what a container cannot show. Control groups of version 2 with every controller,
suspend, a clock that is wrong at boot, power that is cut.

With KVM where the processor has it, else emulated: that takes half a minute for a boot, and is the same machine. Its one network
interface leads to the loopback of the test, where broker and Jobs service stand; what it asks of its own 127.0.0.1 at their
ports is passed on there. Commands go in by a socket, to a shell that systemd starts for each."""

import base64
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import socket
import subprocess
import tempfile

from harness import free_port, run_quietly, wait_for
from machine import CACHE, PATIENCE

KERNEL = "linux-image-cloud-amd64"  # names the package of the newest kernel; its NVMe and ext4 are no modules, so that no initrd is needed
MODULES = ["drivers/virtio", "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko", "net/core/failover.ko", "fs/autofs"]
BOOT_PATIENCE = 240
HOST = "10.0.2.2"  # the test's loopback, as the machine sees it
# What a device has no use for, and half of the boot is spent with.
MASKED = ["kmod-static-nodes.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "getty@tty1.service",
          "serial-getty@ttyS0.service", "dev-hugepages.mount", "systemd-udev-settle.service", "e2scrub_reap.service",
          "sys-kernel-debug.mount", "sys-kernel-tracing.mount"]
UNITS = {
    "vm-network.service": """\
[Unit]
DefaultDependencies=no
After=systemd-modules-load.service
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip link set lo up; for d in $(ls /sys/class/net); do [ $d = lo ] || { ip addr add 10.0.2.15/24 dev $d; ip link set $d up; }; done'
[Install]
WantedBy=sysinit.target
""",
    "vm-shell.socket": """\
[Socket]
ListenStream=999
Accept=yes
MaxConnections=64
TriggerLimitIntervalSec=0
[Install]
WantedBy=sockets.target
""",
    "vm-shell@.service": """\
[Unit]
CollectMode=inactive-or-failed
[Service]
ExecStart=/bin/sh -s
StandardInput=socket
StandardOutput=socket
StandardError=socket
Environment=HOME=/root LANG=C.UTF-8 SYSTEMD_PAGER= DEBIAN_FRONTEND=noninteractive
""",
}


def why_not():
    """Why there cannot be such a machine here; "" if there can."""
    if platform.machine() != "x86_64":
        return f"no machine is described for {platform.machine()}"
    missing = [p for p in ("qemu-system-x86_64", "mkfs.ext4", "depmod", "dpkg") if not shutil.which(p)]
    if missing:
        return f"{', '.join(missing)} missing"
    return "" if kernel() else "its kernel could not be fetched"


def accelerator():
    """KVM is only worth something where the processor helps: without, it runs kernels that were made for it."""
    helps = re.search(r"(?m)^flags\s*:.*\b(vmx|svm)\b", open("/proc/cpuinfo", encoding="utf-8").read())
    return ["-accel", "kvm", "-cpu", "host"] if helps and os.access("/dev/kvm", os.R_OK | os.W_OK) else \
        ["-accel", "tcg,thread=multi", "-cpu", "max"]


def kernel():
    """The unpacked kernel package, or None."""
    found = sorted((CACHE / "kernel").glob("boot/vmlinuz-*"))
    return CACHE / "kernel" if found else None


def fetch_kernel():
    """Download it, with apt, unless it is there. Without a network, or apt, there is none: why_not() says so."""
    if kernel() or platform.machine() != "x86_64" or not shutil.which("apt-get"):
        return
    new = CACHE / "kernel.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    depends = subprocess.run(["apt-cache", "depends", KERNEL], capture_output=True, text=True, check=False).stdout
    name = re.search(r"Depends: (linux-image-\S+)", depends)
    with open(CACHE / "kernel.log", "wb") as log:
        if name:
            subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", "download", name.group(1)], cwd=new, stdin=subprocess.DEVNULL,
                           stdout=log, stderr=log, check=False)
    for deb in new.glob("*.deb"):
        run_quietly("dpkg", "-x", deb, new / "tree")
        shutil.rmtree(CACHE / "kernel", ignore_errors=True)
        (new / "tree").rename(CACHE / "kernel")
    shutil.rmtree(new)


def make_image(layers, image):
    """A disk with what the layers have, the uppermost first, and what makes it this machine."""
    with tempfile.TemporaryDirectory(prefix="image-") as d:
        root, upper, work = (pathlib.Path(d, n) for n in ("root", "upper", "work"))
        for p in (root, upper, work):
            p.mkdir()
        run_quietly("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={':'.join(map(str, layers))},upperdir={upper},workdir={work}", root)
        try:
            furnish(root)
            run_quietly("mkfs.ext4", "-q", "-F", "-d", root, "-L", "root", image, "1500M")
        finally:
            run_quietly("umount", root)


def furnish(root):
    (version,) = [p.name for p in (kernel() / "lib/modules").iterdir()]
    modules = root / "lib/modules" / version
    for name in MODULES:
        source, target = kernel() / "lib/modules" / version / "kernel" / name, modules / "kernel" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy2(kernel() / "lib/modules" / version / name, modules)
    run_quietly("depmod", "-b", root, version)
    (root / "etc/modules-load.d/vm.conf").write_text("virtio_net\n")
    system = root / "etc/systemd/system"
    for name, text in UNITS.items():
        (system / name).write_text(text)
        for target in re.findall(r"(?m)^WantedBy=(\S+)", text):
            (system / f"{target}.wants").mkdir(exist_ok=True)
            (system / f"{target}.wants" / name).symlink_to(f"../{name}")
    for name in MASKED:
        (system / name).unlink(missing_ok=True)
        (system / name).symlink_to("/dev/null")


class VirtualMachine:
    """As Machine in machine.py, as far as tests need it."""

    def __init__(self, directory, image):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir()
        self.disk = self.directory / "disk"
        run_quietly("cp", "--sparse=always", image, self.disk)
        self.qemu = None
        self.boots = 0

    # -- power --

    def boot(self, clock=None):
        """Switch on, and wait until everything that starts at boot has started. clock: what the machine's own says, UTC."""
        assert self.qemu is None, "it is on already"
        self.boots += 1
        self.port = free_port()
        (vmlinuz,) = (kernel() / "boot").glob("vmlinuz-*")
        with open(self.directory / "qemu.log", "ab") as log:
            self.qemu = subprocess.Popen(
                ["qemu-system-x86_64", *accelerator(), "-m", "512", "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot",
                 "-serial", f"file:{self._console()}", "-rtc", f"base={clock or 'utc'}", "-kernel", vmlinuz,
                 "-append", "console=ttyS0 root=/dev/nvme0n1 rw loglevel=4 panic=-1 mitigations=off systemd.show_status=0",
                 "-drive", f"if=none,id=disk,file={self.disk},format=raw,cache=unsafe", "-device", "nvme,drive=disk,serial=disk",
                 "-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{self.port}-:999",
                 "-qmp", f"unix:{self.directory / 'qmp'},server=on,wait=off"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(self._is_up, lambda: "the machine to come up:\n" + self._said(), BOOT_PATIENCE)

    def _console(self):
        return self.directory / f"console-{self.boots}"

    def _said(self):
        return (self.directory / "qemu.log").read_text(errors="replace") + self._console().read_text(errors="replace")[-3000:]

    def _is_up(self):
        if self.qemu.poll() is not None:
            raise AssertionError(f"QEMU ended with {self.qemu.returncode}\n{self._said()}")
        try:
            return self.run("systemctl", "is-system-running", check=False, timeout=20).stdout.strip() in ("running", "degraded")
        except (OSError, ValueError):  # no shell yet
            return False

    def wait_off(self, timeout=PATIENCE):
        wait_for(lambda: self.qemu.poll() is not None, lambda: "the machine to go off:\n" + self._said(), timeout)
        self.qemu = None

    def power_cut(self):
        self.qemu.kill()
        self.wait_off()

    def power_off(self):
        self.run_to_silence("systemctl", "poweroff", "--no-block", "--no-wall")
        self.wait_off()

    def close(self):
        if self.qemu:
            self.power_cut()
        shutil.rmtree(self.directory)

    def monitor(self, command):
        """One command of QEMU's machine protocol → its answer."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(str(self.directory / "qmp"))
            with s.makefile("rw", encoding="utf-8") as f:
                f.readline()
                for execute in ("qmp_capabilities", command):
                    f.write(json.dumps({"execute": execute}) + "\n")
                    f.flush()
                    while "event" in (answer := json.loads(f.readline())):
                        pass
        return answer["return"]

    def suspend(self):
        """Until it sleeps."""
        self.run_to_silence("systemctl", "suspend", "--no-block")
        wait_for(lambda: self.monitor("query-status")["status"] == "suspended", lambda: "the machine to sleep:\n" + self._said())

    def wake(self):
        self.monitor("system_wakeup")
        wait_for(self._is_up, lambda: "the machine to wake up:\n" + self._said(), BOOT_PATIENCE)

    # -- inside --

    def run(self, *command, check=True, timeout=120, **kwargs):
        assert not kwargs.keys() - {"input"}, kwargs
        given = base64.b64encode(kwargs.get("input", "").encode()).decode()
        script = (f"f=$(mktemp -d); cd /; echo {given} | base64 -d >$f/in; {shlex.join(map(str, command))} <$f/in >$f/out 2>$f/err; c=$?\n"
                  'echo "$c $(wc -c <$f/out)"; cat $f/out $f/err; rm -r $f; exit\n')
        with socket.create_connection(("127.0.0.1", self.port), timeout) as s:
            s.settimeout(timeout)
            s.sendall(script.encode())
            s.shutdown(socket.SHUT_WR)
            said = b""
            while part := s.recv(65536):
                said += part
        head, _, rest = said.partition(b"\n")
        code, length = map(int, head.split())
        r = subprocess.CompletedProcess(command, code, rest[:length].decode(errors="replace"), rest[length:].decode(errors="replace"))
        if check and code:
            raise AssertionError(f"{' '.join(map(str, command))}: exit {code}\n{r.stdout}{r.stderr}")
        return r

    def run_to_silence(self, *command):
        """What may silence the machine before it can answer. Whether it did, the caller sees for itself."""
        try:
            self.run(*command, timeout=20)
        except (OSError, ValueError):
            pass

    def shell(self, script, **kwargs):
        return self.run("/bin/sh", "-c", script, **kwargs).stdout

    def write(self, inside, content, mode=0o644):
        data = base64.b64encode(content if isinstance(content, bytes) else content.encode()).decode()
        self.shell(f'mkdir -p "$(dirname {inside})"; base64 -d >{inside}; chmod {mode:o} {inside}; sync {inside}', input=data)

    def read(self, inside):
        """The lines of a file; none if it is not there."""
        return self.run("cat", inside, check=False).stdout.splitlines()

    def unit(self, name, *properties):
        out = self.run("systemctl", "show", *(f"--property={p}" for p in properties), "--", name).stdout
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def journal(self, *options):
        return self.run("journalctl", "--no-pager", "--quiet", "--output=cat", *options).stdout.splitlines()

    def forward(self, port):
        """Its own 127.0.0.1 at a port leads to the test's, through reboots."""
        self.write(f"/etc/systemd/system/forward-{port}.socket", f"[Socket]\nListenStream=127.0.0.1:{port}\n[Install]\nWantedBy=sockets.target\n")
        self.write(f"/etc/systemd/system/forward-{port}.service", f"[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd {HOST}:{port}\n")
        self.run("systemctl", "enable", "--now", "--quiet", f"forward-{port}.socket")

    def logs(self):
        if not self.qemu or self.qemu.poll() is not None:
            return "the machine is off\n" + self._said()
        try:
            return self.run("journalctl", "--no-pager", "--quiet", "--lines=150", check=False, timeout=30).stdout
        except (OSError, ValueError):
            return "the machine does not answer\n" + self._said()
