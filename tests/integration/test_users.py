# SPDX-License-Identifier: Apache-2.0
"""Who a handler runs as: runAsUser of a document, handlers.user, overrides. Needs root, as the runner does for this."""

import os
import pathlib
import pwd
import shutil
import stat
import subprocess
import unittest

from harness import AGENT, ROOT, LabTest, clean_environment, wait_for

# Who is on every Debian machine; neither may do anything here.
USER, OTHER = "games", "nobody"
WHO = r"""
{ id -u; id -ru; id -g; id -G | tr ' ' ','; grep ^Cap[IPE] /proc/self/status | tr -d '\n\t '; echo; } | tr '\n' ' '
echo "$HOME $USER $LOGNAME $SHELL"
"""


def entry(user):
    return pwd.getpwnam(user)


@unittest.skipIf(os.geteuid() != 0, "only root may become somebody else")
class Users(LabTest):
    def setUp(self):
        super().setUp()
        self.lab.evidence.chmod(0o777)
        for name in ("who", "seen", "peek"):  # where several users write
            (self.lab.evidence / name).touch()
            (self.lab.evidence / name).chmod(0o666)

    def steps(self, *steps):
        """(handler, runAsUser or None)…"""
        return {"version": "1.0", "steps": [
            {"action": {"name": f"s{i}", "type": "runHandler", "input": {"handler": h}, **({"runAsUser": u} if u is not None else {})}}
            for i, (h, u) in enumerate(steps)]}

    def run_job(self, job, document, status="SUCCEEDED"):
        self.lab.create(job, document)
        return self.lab.wait_status(job, status).get("statusDetails", {})

    def who(self, user):
        """What WHO prints for a user without rights of root."""
        u = entry(user)
        groups = subprocess.run(["id", "-G", user], capture_output=True, text=True, check=True).stdout.strip().replace(" ", ",")
        return f"{u.pw_uid} {u.pw_uid} {u.pw_gid} {groups} CapInh:{'0' * 16}CapPrm:{'0' * 16}CapEff:{'0' * 16} " \
               f"{u.pw_dir} {user} {user} {u.pw_shell or '/bin/sh'}"

    def test_everything_of_the_user_and_nothing_of_root(self):
        self.lab.handler("who.sh", f"{{ {WHO} }} >>@EVIDENCE@/who")
        self.lab.start_agent(policy={"run_as": [USER, OTHER]})
        self.run_job("j", self.steps(("who.sh", USER), ("who.sh", OTHER)))
        self.assertEqual(self.lab.witness("who"), [self.who(USER), self.who(OTHER)])

    def test_groups_of_the_user(self):
        """Supplementary groups are those of /etc/group; here in a copy of /etc of the test's own."""
        etc = self.lab.directory / "etc"
        etc.mkdir()
        (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\npump:x:4711:4712:,,,:/srv/pump:\nbad:x:1\n:x:0:0:::\n")
        (etc / "group").write_text("root:x:0:\npump:x:4712:\nvalves:x:4713:root,pump\nother:x:4714:pumpe,ump\nlast:x:4715:pump\nbad:x\n")
        self.lab.handler("who.sh", "{ id -u; id -g; id -G; } | tr '\\n' ' ' >>@EVIDENCE@/who; echo \"$HOME $USER $SHELL\" >>@EVIDENCE@/who")
        path = self.lab.write_config(policy={"run_as": ["pump"]}, endpoint="127.0.0.1")
        # The programs of this lab see these files, nobody else does.
        self.lab._program("iot-jobs-agent", ["unshare", "--mount", "sh", "-c",
                                             f"mount --bind {etc}/passwd /etc/passwd && mount --bind {etc}/group /etc/group && "
                                             f"exec {AGENT} --config {path} --log=stderr"], self.lab.directory / "agent.log",
                          clean_environment())
        self.run_job("j", self.steps(("who.sh", "pump")))
        self.assertEqual(self.lab.witness("who"), ["4711 4712 4712 4713 4715 /srv/pump pump /bin/sh"])

    def test_work_directory_and_document_belong_to_the_user(self):
        self.lab.handler("look.sh", r"""
cat >stdin; cmp stdin "$IOT_JOB_DOCUMENT" || exit 3
stat -c '%U %a' . "$IOT_JOB_DOCUMENT" | tr '\n' ' ' >>@EVIDENCE@/owners; echo "$PWD" >>@EVIDENCE@/owners
echo mine >"$IOT_JOB_WORKDIR/file" && cat file >/dev/stderr && echo 50 >/dev/fd/3 || exit 4""")
        self.lab.start_agent(policy={"run_as": [USER]})
        self.run_job("j", self.steps(("look.sh", USER)))
        line = self.lab.witness("owners")[0]
        self.assertTrue(line.startswith(f"{USER} 700 {USER} 600 {self.lab.state}/work/"), line)
        wait_for(lambda: not list((self.lab.runtime / "runs").iterdir()), "the document's copy to be removed")
        self.assertEqual(list((self.lab.state / "work").iterdir()), [])

    def test_steps_of_different_users_share_the_directory_and_no_more(self):
        """The directory changes hands; what is in it stays whose it is, links are never followed."""
        secret = self.lab.directory / "secret"
        secret.write_text("root's own")
        secret.chmod(0o600)
        self.lab.handler("first.sh", "echo a >plain; (umask 077; echo b >private); ln -s @LAB@/secret link; ln @LAB@/secret hard")
        self.lab.handler("second.sh", r"""
stat -c '%U %a' . >>@EVIDENCE@/seen; cat plain >>@EVIDENCE@/seen
cat private >>@EVIDENCE@/seen 2>/dev/null || echo no >>@EVIDENCE@/seen
cat link hard >>@EVIDENCE@/seen 2>/dev/null || echo no >>@EVIDENCE@/seen
chmod 0777 .""")
        self.lab.handler("third.sh", "stat -c '%U %a' . >>@EVIDENCE@/seen")
        self.lab.start_agent(policy={"run_as": [USER, OTHER]})
        self.run_job("j", self.steps(("first.sh", None), ("second.sh", USER), ("third.sh", OTHER), ("third.sh", "")))
        self.assertEqual(self.lab.witness("seen"), [f"{USER} 700", "a", "no", "no", f"{OTHER} 700", "root 700"])
        self.assertEqual((secret.stat().st_uid, stat.S_IMODE(secret.stat().st_mode)), (0, 0o600))

    def test_other_runs_stay_closed(self):
        """A user may pass through the runner's directories to its own, and list, read, or reach nothing else there."""
        self.lab.handler("nosy.sh", r"""
for d in @LAB@/state @LAB@/state/work @LAB@/state/runs @LAB@/run/runs @LAB@/run/slots; do
  ls "$d" >/dev/null 2>&1 && echo "lists $d" >>@EVIDENCE@/nosy
  touch "$d/x" 2>/dev/null && echo "writes $d" >>@EVIDENCE@/nosy
done
k=$IOT_JOB_KEY
for f in @LAB@/state/runs/$k.record @LAB@/state/tombstones @LAB@/run/runs/$k.lock @LAB@/run/slots/0 @LAB@/run/agent.lock; do
  cat "$f" >/dev/null 2>&1 && echo "reads $f" >>@EVIDENCE@/nosy
  echo x 2>/dev/null >>"$f" && echo "writes $f" >>@EVIDENCE@/nosy
done
echo done >>@EVIDENCE@/nosy""")
        self.lab.handler("plain.sh", "exit 0")
        self.lab.start_agent(policy={"run_as": [USER]})
        self.run_job("before", self.steps(("plain.sh", None)))
        self.run_job("j", self.steps(("nosy.sh", USER)))
        self.assertEqual(self.lab.witness("nosy"), ["done"])

    @unittest.skipUnless(shutil.which("systemd-tmpfiles"), "there is no systemd-tmpfiles")
    def test_an_upgrade_does_not_close_the_way(self):
        """Packages have systemd-tmpfiles make the directories whenever they are configured, this one or another: what was opened for a
        step of another user stays open while it runs, and what is new is closed."""
        self.lab.handler("long.sh", r"""
echo up >>@EVIDENCE@/peek; while [ ! -e @EVIDENCE@/go ]; do sleep 0.05; done
echo x >"$IOT_JOB_WORKDIR/file" && cat "$IOT_JOB_DOCUMENT" >/dev/null""")
        rules = (ROOT / "systemd/iot-jobs.tmpfiles").read_text()
        for path, here in (("/run/iot-jobs", self.lab.runtime), ("/var/lib/iot-jobs", self.lab.state)):
            self.assertIn(path, rules)
            rules = rules.replace(path, str(here))
        conf = self.lab.directory / "iot-jobs.conf"
        conf.write_text(rules)
        make = ["systemd-tmpfiles", "--create", conf]
        subprocess.run(make, check=True)
        for d, mode in ((self.lab.state, 0o700), (self.lab.runtime / "runs", 0o700), (self.lab.runtime, 0o711)):
            self.assertEqual(stat.S_IMODE(d.stat().st_mode), mode, d)
        self.lab.start_agent(policy={"run_as": [USER]})
        self.lab.create("j", self.steps(("long.sh", USER), ("long.sh", USER)))
        self.lab.wait_witness("peek")
        subprocess.run(make, check=True)
        (self.lab.evidence / "go").touch()
        self.lab.wait_status("j", "SUCCEEDED")

    def test_configured_users(self):
        """An override before handlers.user; naming the user one gets anyway changes nothing; being root again needs policy."""
        self.lab.handler("a.sh", 'echo "$IOT_JOB_OPERATION $(id -un)" >>@EVIDENCE@/who')
        self.lab.handler("b.sh", 'echo "$IOT_JOB_OPERATION $(id -un)" >>@EVIDENCE@/who')
        self.lab.start_agent(handlers={"user": USER, "override": [{"name": "b", "user": OTHER}]})
        self.run_job("j", self.steps(("a.sh", None), ("a.sh", USER), ("b.sh", ""), ("b.sh", OTHER)))
        self.assertEqual(self.lab.witness("who"), [f"s0 {USER}", f"s1 {USER}", f"s2 {OTHER}", f"s3 {OTHER}"])
        d = self.run_job("root", self.steps(("a.sh", None), ("a.sh", "root")), "REJECTED")
        self.assertIn("steps[1].action.runAsUser", d["reason"])
        d = self.run_job("other", self.steps(("b.sh", USER)), "REJECTED")
        self.assertIn("steps[0].action.runAsUser", d["reason"])

    def test_refusals(self):
        """Never the runner's own rights instead: what is not allowed, or not there, is REJECTED by its path."""
        self.lab.handler("a.sh", "id -un >>@EVIDENCE@/who")
        self.lab.start_agent(policy={"run_as": ["ghost", USER]})
        d = self.run_job("ghost", self.steps(("a.sh", None), ("a.sh", "ghost")), "REJECTED")
        self.assertEqual(d["reason"], 'steps[1].action.runAsUser: there is no user "ghost" in /etc/passwd')
        d = self.run_job("no", self.steps(("a.sh", OTHER)), "REJECTED")
        self.assertIn("steps[0].action.runAsUser", d["reason"])
        self.assertIn("policy.run_as", d["reason"])
        for i, name in enumerate(("0", "ROOT", "root ", " games", "games\n", "../games", "ga\u043ces")):
            d = self.run_job(f"odd-{i}", self.steps(("a.sh", name)), "REJECTED")
            self.assertIn("steps[0].action.runAsUser", d["reason"])
        self.assertEqual(self.lab.witness("who"), [])

    def test_unknown_user_in_the_configuration(self):
        self.lab.handler("a.sh", "id -un >>@EVIDENCE@/who")
        self.lab.start_agent(handlers={"user": "ghost"})
        d = self.run_job("j", {"operation": "a"}, "REJECTED")
        self.assertEqual(d["reason"], 'runAsUser: there is no user "ghost" in /etc/passwd (handlers.user)')
        self.assertEqual(self.lab.witness("who"), [])

    def test_handler_that_the_user_may_not_execute(self):
        self.lab.handler("closed.sh", "id -un >>@EVIDENCE@/who", mode=0o700)
        self.lab.start_agent(policy={"run_as": [USER]})
        d = self.run_job("j", self.steps(("closed.sh", USER)), "FAILED")
        self.assertRegex(d["reason"], f'permission denied: user "{USER}" may not execute .*closed.sh')
        self.assertEqual(self.lab.witness("who"), [])

    def test_cancel_ends_the_users_processes(self):
        """T7 for another user: root ends what is not its own, too."""
        self.lab.handler("long.sh", "trap '' TERM; (trap '' TERM; sleep 600) & echo up >>@EVIDENCE@/up; wait; sleep 600")
        self.lab.start_agent(policy={"run_as": [USER]})
        self.lab.create("j", self.steps(("long.sh", USER)))
        self.lab.wait_witness("up")
        self.assertTrue(all(os.stat(f"/proc/{p}").st_uid == entry(USER).pw_uid for p in self.lab.job_processes("j")))
        self.lab.cancel("j", "--force")
        wait_for(lambda: not self.lab.job_processes("j"), "the end of the user's processes")

    def test_no_memory_of_the_runner_is_shared(self):
        """While the child waits at its gate, and after: another user must not be able to look into the runner through it."""
        self.lab.handler("peek.sh", r"""
p=$(awk '/^PPid/{print $2}' /proc/$$/status)
for f in mem environ maps; do head -c1 /proc/$p/$f >/dev/null 2>&1 && echo "reads $f" >>@EVIDENCE@/peek; done
ls -l /proc/$p/fd >/dev/null 2>&1 && echo "lists fd" >>@EVIDENCE@/peek
echo done >>@EVIDENCE@/peek""")
        self.lab.start_agent(policy={"run_as": [USER]})
        self.run_job("j", self.steps(("peek.sh", USER)))
        self.assertEqual(self.lab.witness("peek"), ["done"])

    def test_runner_that_is_not_root(self):
        """It is its own user's, refuses others by name, and never runs as itself what was asked for somebody else."""
        home = self.lab.directory / "home"
        home.mkdir()
        (home / "handlers").mkdir()
        script = home / "handlers/a.sh"
        script.write_text("#!/bin/sh\nid -un >>who\nmv who ../../../who\n")
        u = entry(USER)
        for p in (home, home / "handlers", script, self.lab.device_cert[1], self.lab.device_cert[1].parent):
            os.chown(p, u.pw_uid, u.pw_gid)
        script.chmod(0o755)
        path = self.lab.write_config("user.conf", handlers={"directories": [home / "handlers"]}, state_directory=home / "state",
                                     runtime_directory=home / "run", policy={"run_as": [OTHER, USER]}, agent_user=USER)
        os.chown(path, u.pw_uid, u.pw_gid)
        agent = self.lab._program("iot-jobs-agent", ["setpriv", f"--reuid={u.pw_uid}", f"--regid={u.pw_gid}", "--clear-groups", AGENT,
                                                     "--config", path, "--log=stderr"], self.lab.directory / "agent.log",
                                  clean_environment())
        self.lab.wait_online(agent)
        self.run_job("own", self.steps(("a.sh", USER)))
        self.assertEqual((home / "who").read_text(), f"{USER}\n")
        d = self.run_job("other", self.steps(("a.sh", OTHER)), "REJECTED")
        self.assertEqual(d["reason"], f'steps[0].action.runAsUser: cannot run as user "{OTHER}": the runner is user "{USER}", not root')
        self.assertEqual(stat.S_IMODE(pathlib.Path(home / "state").stat().st_mode), 0o700)
