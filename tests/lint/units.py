#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The unit files are what systemd understands, the agent's sandbox is as tight as promised, and each kind of event has an entry in
the message catalog.

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
            instances = {name: "agent", name.replace(".", "@."): "%i"} if "@name@" in text else {name: ""}
            for instance, configuration in instances.items():
                at = "@%i" if configuration == "%i" else ""
                (directory / instance).write_text(text.replace("@name@", configuration).replace("@of@", "").replace("@at@", at))
                units.append(directory / instance)
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


def catalog_problems(root, text):
    """Every MESSAGE_ID explained, once, with nothing that is no longer there, and no field that no line carries."""
    ids = dict(re.findall(r'#define MESSAGE_ID_(\w+)\s+"(\w{32})"', (root / "src/base/message_id.h").read_text()))
    entries = re.findall(r"(?m)^# (\w+)\n-- (\w{32})\nSubject: \S.*\nDefined-By: iot-jobs-agent\nDocumentation: \S+\n\n(?=\S)", text)
    problems = [f"{n} {i}: no entry" for n, i in ids.items() if (n, i) not in entries]
    problems += [f"{n} {i}: no such MESSAGE_ID" for n, i in entries if ids.get(n) != i]
    problems += [] if len(entries) == len(re.findall("(?m)^-- ", text)) else ["an entry is malformed, or is there twice"]
    known = {"_SYSTEMD_UNIT", "IOT_JOB_ID", "IOT_JOB_STEP", "IOT_JOB_HANDLER", "IOT_JOB_ATTEMPT", "IOT_JOB_STREAM", "IOT_JOB_STATUS"}
    return problems + [f"@{f}@: no such field" for f in set(re.findall(r"@(\w+)@", text)) - known]


def compiled(path):
    """journalctl itself takes the file."""
    with tempfile.TemporaryDirectory() as tmp:
        directory = pathlib.Path(tmp, "usr/lib/systemd/catalog")
        directory.mkdir(parents=True)
        shutil.copy(path, directory)
        pathlib.Path(tmp, "var/lib/systemd/catalog").mkdir(parents=True)
        r = subprocess.run(["journalctl", f"--root={tmp}", "--update-catalog"], capture_output=True, text=True)
        n = subprocess.run(["journalctl", f"--root={tmp}", "--list-catalog"], capture_output=True, text=True).stdout.splitlines()
    return [] if r.returncode == 0 and len(n) == path.read_text().count("\n-- ") else [f"{len(n)} entries; {r.stderr}"]


def main():
    root = pathlib.Path(sys.argv[1])
    tap = Tap()
    catalog = root / "systemd/iot-jobs.catalog"
    tap.check("every kind of event is in the catalog", catalog_problems(root, catalog.read_text()))
    bad = catalog.read_text().replace("# ONLINE\n", "# INLINE\n").replace("@IOT_JOB_STREAM@", "@IOT_JOB_STEAM@")
    tap.check("planted mistakes are found", [] if len(catalog_problems(root, bad)) == 3 else [str(catalog_problems(root, bad))])
    if shutil.which("journalctl"):
        tap.check("the catalog is understood", compiled(catalog))
    else:
        tap.skip("the catalog is understood", "journalctl is not installed")
    if not shutil.which("systemd-analyze"):
        tap.skip("units", "systemd-analyze is not installed")
        tap.done()
    with tempfile.TemporaryDirectory() as tmp:
        units = render(root, pathlib.Path(tmp))
        tap.check("units are understood", verify(units) if len(units) == 7 else [f"only {units}"])
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
