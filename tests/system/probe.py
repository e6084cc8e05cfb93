# SPDX-License-Identifier: Apache-2.0
"""Runs inside the agent's sandbox and tries what must not work there; prints what did, one name a line. Each attempt is made in a
process of its own, as some are answered with death."""

import ctypes
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWPID = 0x20000, 0x10000000, 0x40000000, 0x20000000
NUMBERS = {  # x86_64, aarch64
    "bpf": (321, 280), "perf_event_open": (298, 241), "add_key": (248, 217), "keyctl": (250, 219), "kexec_load": (246, 104),
    "init_module": (175, 105), "delete_module": (176, 106), "swapon": (167, 224), "acct": (163, 89), "pivot_root": (155, 41),
    "userfaultfd": (323, 282), "open_by_handle_at": (304, 265), "quotactl": (179, 60), "process_vm_readv": (310, 270),
    "io_uring_setup": (425, 425), "settimeofday": (164, 170), "clock_settime": (227, 112), "sethostname": (170, 161),
    "ptrace": (101, 117), "lookup_dcookie": (212, 18), "syslog": (103, 116), "mount_setattr": (442, 442), "fsopen": (430, 430),
}


def call(name, *args):
    number = NUMBERS[name][os.uname().machine == "aarch64"]
    if libc.syscall(ctypes.c_long(number), *args) < 0:
        raise OSError(ctypes.get_errno(), name)


def must(r):
    if r != 0:
        raise OSError(ctypes.get_errno(), "refused")


def write(path):
    with open(path, "a", encoding="utf-8"):
        pass


def other_processes():
    seen = [p for p in os.listdir("/proc") if p.isdigit() and os.stat(f"/proc/{p}").st_uid != os.getuid()]
    if not seen:
        raise OSError("none")


def writable_code():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def setuid_file():
    path = f"/tmp/probe-{os.getpid()}"
    write(path)
    os.chmod(path, 0o4755)


def many_processes():
    children = []
    try:
        for _ in range(32):
            children.append(subprocess.Popen(["/bin/sleep", "5"], stderr=subprocess.DEVNULL))
    finally:
        for c in children:
            c.kill()


def systemctl(*args):
    subprocess.run(["/bin/systemctl", "--no-ask-password", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def raise_limit():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))


ATTEMPTS = {
    **{f"write {d}": (lambda d=d: write(f"{d}/probe")) for d in (
        "/", "/etc", "/etc/iot-jobs", "/etc/iot-jobs/handlers.d", "/usr/bin", "/usr/lib/iot-jobs", "/usr/libexec/iot-jobs", "/var/lib",
        "/var/lib/iot-jobs", "/var/tmp/..", "/run", "/run/iot-jobs", "/run/iot-jobs/runs", "/boot", "/opt", "/srv", "/home", "/root",
        "/run/systemd/system", "/etc/systemd/system", "/dev", "/proc/sys/kernel", "/sys/fs/cgroup")},
    **{f"list {d}": (lambda d=d: os.listdir(d)) for d in ("/var/lib/iot-jobs", "/run/iot-jobs", "/run/iot-jobs/runs", "/root")},
    "read /etc/shadow": lambda: open("/etc/shadow", encoding="utf-8"),
    "write /proc/sys/kernel/hostname": lambda: open("/proc/sys/kernel/hostname", "w", encoding="utf-8"),
    "write /proc/sysrq-trigger": lambda: open("/proc/sysrq-trigger", "w", encoding="utf-8"),
    "read /dev/kmsg": lambda: open("/dev/kmsg", "rb"),
    "read /dev/mem": lambda: open("/dev/mem", "rb"),
    "replace the socket": lambda: os.unlink("/run/iot-jobs/runner.sock"),
    "see others' processes": other_processes,
    "setuid": lambda: os.setresuid(0, 0, 0),
    "setgid": lambda: os.setresgid(0, 0, 0),
    "setgroups": lambda: os.setgroups([0]),
    "chown": lambda: (write("/tmp/probe-chown"), os.chown("/tmp/probe-chown", 0, 0)),
    "setuid file": setuid_file,
    "mknod": lambda: os.mknod("/tmp/probe-node", 0o020600, os.makedev(1, 1)),
    "chroot": lambda: os.chroot("/tmp"),
    "mount": lambda: must(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None)),
    "umount": lambda: must(libc.umount2(b"/tmp", 2)),
    "new mount namespace": lambda: must(libc.unshare(CLONE_NEWNS)),
    "new user namespace": lambda: must(libc.unshare(CLONE_NEWUSER)),
    "new network namespace": lambda: must(libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)),
    "new process namespace": lambda: must(libc.unshare(CLONE_NEWUSER | CLONE_NEWPID)),
    "signal init": lambda: os.kill(1, signal.SIGCONT),
    "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "vsock socket": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "low port": lambda: socket.create_server(("127.0.0.1", 79)),
    "realtime": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
    "writable code": writable_code,
    "personality": lambda: must(libc.personality(8)),
    "more descriptors": raise_limit,
    "many processes": many_processes,
    "start a unit": lambda: systemctl("start", "systemd-tmpfiles-clean.service"),
    "reboot": lambda: systemctl("reboot"),
    **{f"system call {n}": (lambda n=n: call(n, 0, 0, 0, 0, 0)) for n in NUMBERS if n not in ("settimeofday", "clock_settime")},
    "set the clock": lambda: call("settimeofday", 0, 0),
}
# The agent's own trade: what works here shows that the others were refused for a reason.
NEEDED = {
    "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "the runner": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect("/run/iot-jobs/runner.sock"),
    "own directory": lambda: write(os.environ["RUNTIME_DIRECTORY"] + "/probe"),
    "configuration": lambda: open("/etc/iot-jobs/agent.conf", encoding="utf-8"),
    "key": lambda: open("/etc/iot-jobs/device.key", encoding="utf-8"),
}


def worked(attempt):
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
            os._exit(0)
        except BaseException:  # whatever it is, it did not work
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def main():
    skipped = set(sys.argv[1:])
    for name, attempt in NEEDED.items():
        if not worked(attempt):
            print(f"needed: {name}")
    for name, attempt in ATTEMPTS.items():
        if name not in skipped and worked(attempt):
            print(f"worked: {name}")
    print(f"{len(ATTEMPTS) - len(skipped)} attempts")


if __name__ == "__main__":
    main()
