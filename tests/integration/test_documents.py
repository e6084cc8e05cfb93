# SPDX-License-Identifier: Apache-2.0
"""What the configuration makes of a document: commands, signatures, conditions, conventions of AWS IoT Device Client, secrets.
The documents themselves: tests/unit/test-jobdoc-table.c; signatures: test-jws.c, test-verify.c."""

import base64
import json
import os
import pathlib
import platform
import subprocess
import time

from harness import LabTest

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def command(text, **more):
    return {"version": "1.0", "steps": [{"action": {"name": "Run-Command", "type": "runCommand", "input": {"command": text}, **more}}]}


def handlers(*names, **more):
    return {"version": "1.0", **more,
            "steps": [{"action": {"name": n, "type": "runHandler", "input": {"handler": n}}} for n in names]}


class DocumentTest(LabTest):
    def run_job(self, job, document, status="SUCCEEDED"):
        self.lab.create(job, document)
        return self.lab.wait_status(job, status).get("statusDetails", {})


class Commands(DocumentTest):
    def setUp(self):
        super().setUp()
        self.bin = self.lab.directory / "bin"
        self.bin.mkdir()

    def program(self, name, body='printf "%s|" "$0" "$@" >>@EVIDENCE@/calls; echo >>@EVIDENCE@/calls', mode=0o755):
        p = self.bin / name
        p.write_text("#!/bin/sh\n" + body.replace("@EVIDENCE@", str(self.lab.evidence)) + "\n")
        p.chmod(mode)
        return p

    def start(self, **changes):
        return self.lab.start_agent(policy={"run_command": True},
                                    handlers={"environment": [f"PATH={self.bin}:{STANDARD_PATH}"]}, **changes)

    def test_words_reach_the_program_as_they_are(self):
        p = self.program("tool")
        self.start()
        self.run_job("name", command("tool, one two ,a\\,b,$(touch /x);`id`,*"))
        self.run_job("path", command(f"{p},-x"))
        self.assertEqual(self.lab.witness("calls"), [f"{p}|one two|a,b|$(touch /x);`id`|*|", f"{p}|-x|"])

    def test_links_of_the_system_are_followed(self):
        """Its own name is what a program of many names goes by."""
        (self.bin / "say").symlink_to(self.program("real", 'exec sh -c "exit 0"'))
        self.start()
        self.run_job("link", command("say"))
        d = self.run_job("shell", command("sh,-c,exit 7"), "FAILED")
        self.assertEqual(d["exitCode"], "7")

    def test_policy(self):
        self.program("tool")
        self.lab.start_agent()
        d = self.run_job("no", command("tool"), "REJECTED")
        self.assertEqual(d["reason"], "steps[0].action.type: runCommand is not allowed (policy.run_command)")

    def test_programs_that_are_refused(self):
        """The first step's before the claim, a later one's when its step starts."""
        self.program("tool", mode=0o777)
        owned = self.program("owned")
        os.chown(owned, 12345, 0)
        (self.lab.directory / "open").mkdir()
        (self.lab.directory / "open").chmod(0o777)
        moved = self.program("moved").rename(self.lab.directory / "open/moved")
        (self.bin / "link").symlink_to(moved)
        self.program("plain", mode=0o644)
        self.start()
        for i, (text, reason) in enumerate((("tool", "writable by others"), ("owned", "wrong owner"), ("link", "directory .*/open is writable by others"),
                                            (f"{moved}", "directory .*/open is writable by others"), ("plain", "missing: no plain in "),
                                            ("/absent", "missing: there is no program /absent"),
                                            ("./tool", ".*neither an absolute path nor a name"),
                                            ("../bin/tool", ".*neither an absolute path nor a name"))):
            d = self.run_job(f"no-{i}", command(text), "REJECTED")
            self.assertRegex(d["reason"], r"^steps\[0\]\.action\.input\.command: " + reason.replace("(", r"\("))
        later = command("true")
        later["steps"] += command("absent-program")["steps"]
        d = self.run_job("later", later, "FAILED")
        self.assertIn("steps[1].action.input.command: missing: no absent-program in", d["reason"])
        self.assertEqual(self.lab.witness("calls"), [])

    def test_lines_are_marked_with_the_program(self):
        self.program("tool", "echo a line")
        agent = self.start()
        self.run_job("j", command("tool"))
        agent.wait_text(r"info tool: a line .*IOT_JOB_HANDLER=tool .*IOT_JOB_STREAM=stdout")


class Conventions(DocumentTest):
    def test_device_client_args(self):
        """AWS's own sample handlers take $1 for a user: it is there, and empty."""
        self.lab.handler("install.sh", 'printf "%s|" $# "$@" >>@EVIDENCE@/args; echo >>@EVIDENCE@/args')
        self.lab.start_agent(handlers={"device_client_args": True}, policy={"run_command": True})
        step = handlers("install.sh")
        step["steps"][0]["action"]["input"]["args"] = ["a", "b"]
        step["steps"][0]["action"]["runAsUser"] = "root"
        self.run_job("steps", step)
        self.run_job("operation", {"operation": "install"})
        self.run_job("command", command("sh,-c,exit $#,x"))
        self.assertEqual(self.lab.witness("args"), ["3||a|b|", "1||"])

    def test_fallback(self):
        self.lab.handler("any.sh", 'cat >>@EVIDENCE@/documents; echo " $IOT_JOB_OPERATION" >>@EVIDENCE@/documents')
        self.lab.start_agent(handlers={"fallback": "any"})
        self.run_job("own", '{"my":"format"}')
        self.assertEqual(self.lab.witness("documents"), ['{"my":"format"} any'])

    def test_without_a_fallback(self):
        self.lab.start_agent()
        self.assertIn("operation: missing", self.run_job("own", '{"my":"format"}', "REJECTED")["reason"])

    def test_conditions(self):
        self.lab.handler("ok.sh", "exit 0")
        self.lab.start_agent(facts={"site": "plant-7"})
        release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
        met = [("operatingSystem", release["ID"].strip('"'), "stringEqual"), ("kernel", os.uname().release, "stringEqual"),
               ("architecture", platform.machine(), "stringEqual"), ("site", "plant-*", "stringLike"),
               ("file", "/etc/passwd", "stringEqual")]
        def conditions(*wanted):
            return [{"key": k, "value": [v], "type": t} for k, v, t in wanted]
        self.run_job("met", handlers("ok.sh", conditions=conditions(*met)))
        escaped = json.dumps(handlers("ok.sh", conditions=conditions(*met))).replace('"conditions"', '"c\\u006fnditions"')
        self.run_job("escaped", escaped)
        for i, (key, _, kind) in enumerate(met):
            d = self.run_job(f"not-{i}", handlers("ok.sh", conditions=conditions(met[1], (key, "/no-such", kind))), "REJECTED")
            self.assertRegex(d["reason"], r"conditions\[1\]")

    def test_exit_codes(self):
        """An override's table before the general one, ranges, the first that fits."""
        self.lab.handler("a.sh", 'exit "$IOT_JOB_PARAM_code"')
        self.lab.handler("b.sh", 'exit "$IOT_JOB_PARAM_code"')
        self.lab.start_agent(handlers={
            "exit_codes": [{"code": 3, "outcome": "success"}, {"from": 3, "to": 9, "outcome": "reject"}, {"code": 65, "outcome": "failure"}],
            "override": [{"name": "c", "exit_codes": [{"from": 0, "to": 255, "outcome": "success"}]},
                         {"name": "b", "exit_codes": [{"from": 3, "to": 3, "outcome": "failure"}]}]})
        for handler, code, status in (("a", 3, "SUCCEEDED"), ("a", 4, "REJECTED"), ("a", 9, "REJECTED"), ("a", 10, "FAILED"),
                                      ("a", 65, "FAILED"), ("b", 3, "FAILED"), ("b", 5, "REJECTED"), ("b", 0, "SUCCEEDED")):
            d = self.run_job(f"{handler}-{code}", {"operation": handler, "parameters": {"code": code}}, status)
            if status != "SUCCEEDED":
                self.assertEqual(d["exitCode"], str(code))


class Secrets(DocumentTest):
    def test_T16_nothing_of_it_in_log_or_report(self):
        """T16: job document, arguments and presigned URLs went to the log in clear."""
        url = "https://bucket.example/fw.bin?X-Amz-Signature=hunter1&X-Amz-Credential=hunter2"
        self.lab.handler("leak.sh", r"""
cat; echo; echo "$@"; echo "url $IOT_JOB_PARAM_url token $IOT_JOB_PARAM_token" >&2
echo "fetching $IOT_JOB_PARAM_url" >&3; echo "note=with $IOT_JOB_PARAM_token" >&3
exit 1""")
        # Above debug: there the packets of the service are shown too, and that is what debug is for.
        agent = self.lab.start_agent(handlers={"report_output": "always"}, log={"level": "info", "redact": ["token"]})
        d = self.run_job("leak", {"operation": "leak", "args": [url, "-t"], "parameters": {"url": url, "token": "s3cr3t-hunter3"}},
                         "FAILED")
        text = agent.text() + json.dumps([u.get("statusDetails") for u in self.lab.updates("leak")]) + json.dumps(d)
        self.assertNotIn("hunter", text)
        self.assertIn("https://bucket.example/fw.bin?", text)
        self.assertIn("note", d)


    def test_T16_nor_where_a_line_is_cut(self):
        """Lines come in any pieces, and long ones are cut: an address whose question mark is in the next piece, a secret in two halves,
        a secret as it stands in the document."""
        self.lab.handler("leak.py", r"""
import os, sys, time
token = os.environ["IOT_JOB_PARAM_token"]
for fd in (1, 2, 3):
    for n in range(1990, 2060, 3):
        os.write(fd, b"x" * (n - 40) + (" https://bucket.example/fw.bin?X-Amz-Signature=hunter1 " + token + "\n").encode())
    for part in ("https", ":", "//b/f", "?", "sig=hun", "ter1 ", token[:4], token[4:], "\n"):
        os.write(fd, part.encode())
        time.sleep(0.01)
sys.stdout.write(sys.stdin.read())
sys.exit(1)""", interpreter="/usr/bin/env python3")
        agent = self.lab.start_agent(handlers={"report_output": "always"}, log={"level": "info", "redact": ["token"]})
        d = self.run_job("leak", {"operation": "leak.py", "parameters": {"token": 'hunter"2\\hunter'}}, "FAILED")
        text = agent.text() + json.dumps([u.get("statusDetails") for u in self.lab.updates("leak")]) + json.dumps(d)
        self.assertNotIn("hunter", text)
        self.assertIn("https://bucket.example/fw.bin?", text)

    def test_T16_nor_in_names_and_refusals(self):
        """What a report quotes from the document, too. A handler gets the name as it is."""
        url = "https://bucket.example/fw.bin?X-Amz-Signature=hunter1"
        self.lab.handler("name.sh", 'echo "$IOT_JOB_OPERATION" >>@EVIDENCE@/names; exit 1')
        agent = self.lab.start_agent(log={"level": "info", "redact": ["token"]})
        step = handlers("name.sh", parameters={"token": "hunter2"})
        step["steps"][0]["action"]["name"] = f"get hunter2 {url}"
        seen = [self.run_job("name", step, "FAILED")]
        self.assertEqual(self.lab.witness("names"), [f"get hunter2 {url}"])
        for i, member in enumerate(("path", "runAsUser", "operation")):
            seen.append(self.run_job(f"no-{i}", {"operation": "name", member: url}, "REJECTED"))
            self.assertIn("https://bucket.example/fw.bin?", seen[-1]["reason"])
        for i, member in enumerate(("path", "runAsUser", "operation"), 3):
            seen.append(self.run_job(f"no-{i}", {"operation": "name", member: "/hunter3", "parameters": {"token": "hunter3"}}, "REJECTED"))
        updates = [u.get("statusDetails") for j in ("name", *(f"no-{i}" for i in range(6))) for u in self.lab.updates(j)]
        self.assertNotIn("hunter", agent.text() + json.dumps(seen) + json.dumps(updates))


class Signatures(DocumentTest):
    def setUp(self):
        super().setUp()
        self.keys = self.lab.directory / "keys"
        self.keys.mkdir()
        self.private = self.lab.directory / "release.key"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", self.private, "-pubout", "-out", self.keys / "release.pem"], check=True,
                       capture_output=True)
        self.lab.handler("a.sh", "cat >>@EVIDENCE@/documents; echo >>@EVIDENCE@/documents; id -u >>@EVIDENCE@/uid")

    def encode(self, data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    def sign(self, payload, header=None):
        head = self.encode(json.dumps(header or {"alg": "EdDSA", "kid": "release"}).encode())
        text = head + b"." + self.encode(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
        message = self.lab.directory / "message"
        message.write_bytes(text)
        r = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.private, "-in", message], check=True,
                           capture_output=True)
        return {"jws": (text + b"." + self.encode(r.stdout)).decode()}

    def claims(self, **more):
        return {"thing": self.lab.thing, "expires": int(time.time()) + 3600, "operation": "a", **more}

    def start(self, **policy):
        return self.lab.start_agent(policy={"trusted_keys": self.keys, **policy})

    def test_the_handler_gets_what_was_signed(self):
        payload = json.dumps(self.claims(job="j"), indent=1).encode()
        self.start(require_signature=True)
        self.run_job("j", self.sign(payload))
        self.assertEqual("\n".join(self.lab.witness("documents")).strip(), payload.decode())

    def test_required(self):
        self.start(require_signature=True)
        d = self.run_job("plain", {"operation": "a"}, "REJECTED")
        self.assertIn("policy.require_signature", d["reason"])
        d = self.run_job("no-thing", self.sign({"operation": "a", "expires": int(time.time()) + 60}), "REJECTED")
        self.assertIn("jws.payload.thing", d["reason"])
        self.assertEqual(self.lab.witness("uid"), [])

    def test_optional(self):
        self.start()
        self.run_job("plain", {"operation": "a"})
        self.run_job("signed", self.sign({"operation": "a"}))
        for i, (document, reason) in enumerate((
                (self.sign(self.claims(thing="another")), "jws.payload.thing"), (self.sign(self.claims(job="another")), "jws.payload.job"),
                (self.sign(self.claims(expires=1)), "jws.payload.expires"),
                (self.sign({"operation": "a"}, {"alg": "none"}), "jws.header.alg"),
                (self.sign({"operation": "a"}, {"alg": "EdDSA", "kid": "other"}), "jws.header.kid"),
                ({"jws": self.sign({"operation": "a"})["jws"][:-4] + "AAAA"}, "jws.signature"),
                ({**self.sign({"operation": "a"}), "operation": "a"}, "jws"),
                (self.sign(self.sign({"operation": "a"})), "jws"), (self.sign({"operation": "../a"}), "operation"))):
            d = self.run_job(f"bad-{i}", document, "REJECTED")
            self.assertTrue(d["reason"].startswith(reason + ":"), d["reason"])
        self.assertEqual(len(self.lab.witness("uid")), 2)

    def test_keys_that_are_not_to_be_trusted(self):
        self.keys.chmod(0o777)
        self.start()
        d = self.run_job("open", self.sign({"operation": "a"}), "REJECTED")
        self.assertRegex(d["reason"], "^jws: policy.trusted_keys: directory .*keys is writable by others")
        self.keys.rename(self.lab.directory / "gone")
        d = self.run_job("gone", self.sign({"operation": "a"}), "REJECTED")
        self.assertRegex(d["reason"], "^jws: policy.trusted_keys: directory .*keys: No such file")
        self.assertEqual(self.lab.witness("uid"), [])
