# SPDX-License-Identifier: Apache-2.0
"""iot-jobsctl, without a broker, a service or an agent."""

import base64
import json
import os
import pathlib
import re
import signal
import subprocess

from harness import BUILD, PATIENCE, LabTest, clean_environment, descendants, wait_for

CTL = BUILD / "src/ctl/iot-jobsctl"


def cmdline(pid):
    try:
        return pathlib.Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""


class Ctl(LabTest):
    broker = False

    def setUp(self):
        super().setUp()
        self.lab.tls_port = 1  # nobody connects

    def ctl(self, *args, check=None, **config):
        path = self.lab.write_config(**config)
        r = subprocess.run([CTL, *map(str, args), *(["--config", path] if args[:1] in (("run",), ("handlers",)) else [])],
                           capture_output=True, text=True, timeout=PATIENCE * 2, env=clean_environment(), check=False)
        if check is not None:
            self.assertEqual(r.returncode, check, r.stdout + r.stderr)
        return r

    def document(self, content):
        return self.lab.document("x", content)

    def nothing_left(self):
        return [p for d in ("state/runs", "state/work", "run/runs") for p in (self.lab.directory / d).iterdir()]

    def test_run_shows_output_as_it_is(self):
        self.lab.handler("a.sh", r"""echo "out: IOT_JOB_ID=x IOT_JOB_STREAM=stderr $IOT_JOB_PARAM_p"; echo err >&2; exit "$1" """)
        document = self.document({"operation": "a", "args": ["${aws:iot:parameter:code}"], "parameters": {"p": "${aws:iot:parameter:left}"}})
        r = self.ctl("run", document, "--set", "code=0", check=0)
        self.assertEqual(r.stdout, "out: IOT_JOB_ID=x IOT_JOB_STREAM=stderr \n")
        self.assertIn("\nerr\n", r.stderr)
        self.assertIn("iot-jobsctl: SUCCEEDED\n", r.stderr)
        r = self.ctl("run", document, "--set", "code=3", check=1)
        self.assertIn("iot-jobsctl: FAILED\n", r.stderr)
        self.assertIn("  exitCode: 3\n", r.stderr)
        self.assertEqual(self.nothing_left(), [])

    def test_run_json(self):
        self.lab.handler("a.sh", "echo out; echo note=x >&3; exit 65")
        r = self.ctl("run", "--json", self.document({"operation": "a", "includeStdOut": True}), check=1)
        result = json.loads(r.stdout)
        self.assertEqual(result["status"], "REJECTED")
        self.assertEqual((result["statusDetails"]["exitCode"], result["statusDetails"]["note"]), ("65", "x"))
        r = self.ctl("run", "--json", self.document({"operation": "absent"}), check=1)
        result = json.loads(r.stdout)
        self.assertEqual(result["status"], "REJECTED")
        self.assertRegex(result["reason"], "^operation: missing: no absent or absent.sh in ")

    def test_run_is_run_by_the_same_policy(self):
        command = {"version": "1.0", "steps": [{"action": {"name": "c", "type": "runCommand", "input": {"command": "echo,x"}}}]}
        r = self.ctl("run", self.document(command), check=1)
        self.assertIn("REJECTED: steps[0].action.type: runCommand is not allowed (policy.run_command)", r.stderr)
        self.assertEqual(self.ctl("run", self.document(command), check=0, policy={"run_command": True}).stdout, "x\n")

    def test_run_tries_again(self):
        self.lab.handler("a.sh", 'echo "$IOT_JOB_ATTEMPT $IOT_JOB_PHASE"; [ "$IOT_JOB_ATTEMPT" = 3 ] || exit 75')
        r = self.ctl("run", self.document({"operation": "a"}), check=0, handlers={"retry_delay": 1})
        self.assertEqual(r.stdout, "1 run\n2 retry\n3 retry\n")

    def test_run_does_not_reboot(self):
        self.lab.handler("a.sh", "exit 194")
        r = self.ctl("run", self.document({"operation": "a"}), check=1,
                     handlers={"reboot_command": ["/bin/sh", "-c", f"touch {self.lab.evidence}/rebooted"]})
        self.assertIn("asks for a reboot", r.stderr)
        self.assertFalse((self.lab.evidence / "rebooted").exists())
        self.assertEqual(self.nothing_left(), [])

    def start(self, *args):
        p = subprocess.Popen([CTL, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
        self.addCleanup(p.communicate)
        self.addCleanup(p.kill)
        return p

    def test_run_survives_its_runner(self):
        """Killed in mid-handler: what it left is ended, and the run has a verdict."""
        self.lab.handler("k.sh", 'setsid sh -c "trap \'\' TERM; touch @EVIDENCE@/left; exec sleep 987" & '
                                 'while [ ! -e @EVIDENCE@/left ]; do sleep 0.05; done; kill -9 $PPID; sleep 987')
        r = self.ctl("run", self.document({"operation": "k"}), check=1)
        self.assertIn("iot-jobsctl: the runner went away, asking another one\n", r.stderr)
        self.assertRegex(r.stderr, "(?s)iot-jobsctl: FAILED\n.*reason: interrupted: .*its runner was killed")
        self.check_all_gone()
        r = self.ctl("run", self.document({"operation": "k"}), check=1, handlers={"override": [{"name": "k", "on_interrupt": "rerun"}]})
        self.assertIn("iot-jobsctl: 3 runners went away without a result\n", r.stderr)
        self.check_all_gone()

    def check_all_gone(self):
        self.assertEqual([p for p in descendants() if b"987" in cmdline(p)], [])
        self.assertEqual(self.nothing_left(), [])

    def test_interrupt_cancels(self):
        self.lab.handler("a.sh", "trap 'echo term >>@EVIDENCE@/log; exit' TERM; echo up >>@EVIDENCE@/log; while :; do sleep 0.1; done")
        p = self.start("run", "--config", self.lab.write_config(), self.document({"operation": "a"}))
        self.lab.wait_witness("log")
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=PATIENCE)
        self.assertEqual(p.returncode, 1)
        self.assertIn("iot-jobsctl: CANCELED: cancelled", err)
        self.assertEqual(self.lab.witness("log"), ["up", "term"])
        self.assertEqual(self.nothing_left(), [])

    def test_agent_is_not_told_of_it(self):
        """A live one goes on; what a killed one left is forgotten with the next inventory."""
        self.lab.tls_port = None
        self.lab.start_broker()
        self.lab.start_service()
        self.lab.handler("a.sh", "echo $IOT_JOB_ID >>@EVIDENCE@/up; while [ ! -e @EVIDENCE@/go ]; do sleep 0.05; done; echo done >>@EVIDENCE@/up")
        config = self.lab.write_config(jobs={"max_concurrent": 3})
        killed = self.start("run", "--config", config, self.lab.document("killed", {"operation": "a"}))
        self.lab.wait_witness("up")
        runner = wait_for(self.lab.runners, "the runner")[0]
        os.kill(runner, signal.SIGKILL)
        self.assertEqual(killed.wait(PATIENCE), 1)
        live = self.start("run", "--config", config, self.lab.document("live", {"operation": "a"}))
        self.lab.wait_witness("up", 2)
        self.lab.start_agent(config=config)
        job = self.lab.witness("up")[0]
        wait_for(lambda: not [p for p in (self.lab.state / "runs").iterdir() if job in p.name], "the killed run to be forgotten")
        self.assertEqual(self.lab.job_processes(job), [])
        (self.lab.evidence / "go").touch()
        self.assertEqual(live.wait(PATIENCE), 0)
        self.assertEqual(self.lab.requests(f"{job}/get"), [])

    def test_handlers(self):
        second = self.lab.directory / "second"
        third = self.lab.directory / "third"
        for d in (second, third):
            d.mkdir()
            (d / "a.sh").write_text("#!/bin/sh\n")
            (d / "a.sh").chmod(0o755)
        self.lab.handler("a.sh", "exit 0")
        self.lab.handler("b", "exit 0", mode=0o775)
        self.lab.handler("c~", "exit 0")
        self.lab.handler("ghost", "exit 0")
        self.lab.handler("games", "exit 0")
        (self.lab.handlers / "masked.sh").symlink_to("/dev/null")
        third.chmod(0o777)
        config = {"handlers": {"directories": [self.lab.handlers, second, self.lab.directory / "absent"],
                               "override": [{"name": "ghost", "user": "no-such"}, {"name": "games", "user": "games"}]},
                  "policy": {"paths": [third]}}
        r = self.ctl("handlers", "--json", check=0, **config)
        listing = {d["directory"]: d for d in json.loads(r.stdout)}
        first = {h["name"]: h for h in listing[str(self.lab.handlers)]["handlers"]}
        self.assertEqual({n: h["runs"] for n, h in first.items()},
                         {"a.sh": True, "b": False, "c~": False, "games": os.geteuid() == 0, "ghost": False, "masked.sh": False})
        self.assertIn("writable by others", first["b"]["reason"])
        self.assertIn("leftover", first["c~"]["reason"])
        self.assertIn("masked", first["masked.sh"]["reason"])
        if os.geteuid() == 0:
            self.assertEqual(first["games"]["user"], "games")
            self.assertIn('no user "no-such"', first["ghost"]["reason"])
        self.assertEqual(listing[str(second)]["handlers"][0]["reason"], f"hidden by {self.lab.handlers}/a.sh")
        self.assertIn("No such file", listing[str(self.lab.directory / "absent")]["reason"])
        self.assertTrue(listing[str(third)]["byPathOnly"])
        self.assertIn("writable by others", listing[str(third)]["reason"])
        text = self.ctl("handlers", check=0, **config).stdout
        self.assertRegex(text, r"(?m)^  a\.sh +runs as ")
        self.assertRegex(text, r"(?m)^  b +refused: writable by others")

    def test_handlers_of_an_untrusted_configuration(self):
        path = self.lab.write_config()
        path.chmod(0o666)
        r = subprocess.run([CTL, "handlers", "--config", path], capture_output=True, text=True, env=clean_environment(), check=False)
        self.assertEqual(r.returncode, 1)
        self.assertIn("the runner refuses this configuration", r.stderr)

    def test_sign(self):
        key, keys = self.lab.directory / "release.key", self.lab.directory / "keys"
        keys.mkdir()
        for algorithm in (["-algorithm", "ed25519"], ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]):
            subprocess.run(["openssl", "genpkey", *algorithm, "-out", key], check=True, capture_output=True)
            subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", keys / "release.pem"], check=True, capture_output=True)
            self.lab.handler("a.sh", "cat")
            document = self.document('{ "operation":"a", "x": [1.50] }')
            policy = {"trusted_keys": keys}
            plain = self.ctl("sign", "--key", key, document, check=0).stdout
            self.assertEqual(self.ctl("run", self.lab.document("s", plain), check=0, policy=policy).stdout, document.read_text() + "\n")
            signed = self.ctl("sign", "--key", key, "--kid", "release", "--thing", self.lab.thing, "--expires", "+60", document, check=0).stdout
            own = '"operation":"a", "parameters":{ "ratio":0.1, "v":1.50, "n":1e3, "z":-0 } }'
            claimed = self.ctl("sign", "--key", key, "--thing", self.lab.thing, "--job", "x", "--expires", "2000000000",
                               self.document(" { " + own), check=0).stdout
            payload = json.loads(claimed)["jws"].split(".")[1]
            self.assertEqual(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode(),
                             f'{{"thing":"{self.lab.thing}","job":"x","expires":2000000000, {own}')
            policy["require_signature"] = True
            self.ctl("run", self.lab.document("s", signed), check=0, policy=policy)
            self.ctl("run", self.lab.document("s", plain), check=1, policy=policy)
            late = self.ctl("sign", "--key", key, "--thing", self.lab.thing, "--expires", "1000000000", document, check=0).stdout
            r = self.ctl("run", self.lab.document("s", late), check=1, policy=policy)
            self.assertIn("REJECTED: jws.payload.expires", r.stderr)
            r = self.ctl("sign", "--key", key, "--job", "x", self.document({"operation": "a", "job": "y"}), check=1)
            self.assertIn('has a member "job" already', r.stderr)

    def test_usage(self):
        self.ctl("--help", check=0)
        self.assertRegex(self.ctl("--version", check=0).stdout, r"^iot-jobsctl \d")
        document = self.document({})
        for args in ((), ("bogus",), ("run",), ("run", "a", "b"), ("sign", document), ("handlers", "--set", "a=b"), ("run", "--set", "x", document),
                     ("sign", "--json"), ("run", "--bogus", document)):
            r = subprocess.run([CTL, *map(str, args)], capture_output=True, text=True, env=clean_environment(), check=False)
            self.assertEqual(r.returncode, 2, args)
            self.assertIn("usage: iot-jobsctl", r.stderr)
        for args, said in ((("run", "/absent"), "/absent: No such file"), (("run", document, "--set", "x=1"), "parameter x"),
                           (("sign", "--key", "/absent", document), "/absent"), (("sign", "--key", document, document), "no private key"),
                           (("run", self.lab.document("bad", "[1]")), "object")):
            r = self.ctl(*args)
            self.assertEqual(r.returncode, 1, args)
            self.assertRegex(r.stderr, re.escape(said))
        r = self.ctl("run", document, thing_name="a/b")
        self.assertEqual(r.returncode, 1)
        self.assertIn("thing_name", r.stderr)
