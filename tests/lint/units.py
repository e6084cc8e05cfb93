#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The unit files are what systemd understands, and the agent's sandbox is as tight as promised.

usage: units.py SOURCE_ROOT
Paths of our programs are replaced by one that exists: nothing needs to be installed, and no systemd needs to run."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from tap import Tap

EXPOSURE_MAX = 12  # tenths: systemd-analyze's own scale goes to 100


def render(root, directory):
    units = []
    for path in sorted((root / "systemd").iterdir()):
        name = path.name.removesuffix(".in")
        if name.endswith((".service", ".socket", ".slice")):
            text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", path.read_text())
            text = text.replace("User=iot-jobs", "User=daemon").replace("SocketUser=iot-jobs", "SocketUser=daemon")
            (directory / name).write_text(text.replace("@sysconfdir@", "/etc"))
            units.append(directory / name)
    return units


def verify(units):
    units = [str(u).replace("@.service", "@1.service") if "@." in u.name else str(u) for u in units]
    r = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units], capture_output=True, text=True)
    return [line for line in (r.stdout + r.stderr).splitlines() if "iot-jobs" in line] + \
           ([f"exit {r.returncode}: {r.stderr.strip()}"] if r.returncode else [])


def exposure(unit):
    r = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(unit)],
                       capture_output=True, text=True)
    return [] if r.returncode == 0 else (r.stdout + r.stderr).strip().splitlines()[-1:] or ["systemd-analyze failed"]


def main():
    root = pathlib.Path(sys.argv[1])
    tap = Tap()
    if not shutil.which("systemd-analyze"):
        tap.skip("units", "systemd-analyze is not installed")
        tap.done()
    with tempfile.TemporaryDirectory() as tmp:
        units = render(root, pathlib.Path(tmp))
        tap.check("units are understood", verify(units) if len(units) == 4 else [f"only {units}"])
        agent = next(u for u in units if u.name == "iot-jobs-agent.service")
        tap.check(f"the agent's exposure is at most {EXPOSURE_MAX / 10}", exposure(agent))
        text = agent.read_text()
        agent.write_text(text.replace("WatchdogSec=60", "WatchdogSec=soon"))
        tap.check("a planted mistake is found", [] if verify([agent]) else ["WatchdogSec=soon was not found"])
        agent.write_text(text.replace("CapabilityBoundingSet=\n", ""))
        tap.check("a planted hole is found", [] if exposure(agent) else ["an agent with every capability was not found"])
    tap.done()


if __name__ == "__main__":
    main()
