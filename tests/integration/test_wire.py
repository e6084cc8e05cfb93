# SPDX-License-Identifier: Apache-2.0
"""The agent as the broker sees it, against a service that answers in odd ways: nothing runs twice or without a claim, no verdict
is lost, nothing floods, and a normal job runs afterwards (P2, P3, P7, P8)."""

import json
import time

from harness import TERMINAL, FakeService, LabTest, wait_for

NOTE = 'echo "$IOT_JOB_ID" >>@EVIDENCE@/ran; echo 40 >&3'
EVERY_EXECUTION = ("notify-next", "/get/accepted")


class OddService(FakeService):
    """alter(request's tail or "", request, [(tail, text)]) says what is sent instead of what would be."""

    def __init__(self, lab):
        self.alter, self._held = None, None
        super().__init__(lab)

    def _handle(self, message):
        self._held = []
        super()._handle(message)
        held, self._held = self._held, None
        self._release(message.topic[len(self.lab.topic("")):], json.loads(message.payload or b"{}"), held)

    def _send(self, tail, text):
        if self._held is None:
            self._release("", {}, [(tail, text)])
        else:
            self._held.append((tail, text))

    def _release(self, tail, request, out):
        for t, text in self.alter(tail, request, out) if self.alter else out:
            super()._send(t, text)


def members(change, *tails):
    """Alter the decoded replies and notifications whose topic ends like one of `tails`."""
    def alter(tail, request, out):
        return [(t, json.dumps(change(json.loads(x))) if t.endswith(tails or "") else x) for t, x in out]
    return alter


def without(member):
    def change(o):
        o.get("execution", {}).pop(member, None)
        return o
    return members(change, *EVERY_EXECUTION)


def refusal(request, code, **more):
    return json.dumps({"clientToken": request.get("clientToken"), "timestamp": 1, "code": code, "message": "odd", **more})


def milliseconds(o):
    if isinstance(o, dict):
        return {k: v * 1000 if k in ("queuedAt", "lastUpdatedAt", "timestamp") else milliseconds(v) for k, v in o.items()}
    return [milliseconds(x) for x in o] if isinstance(o, list) else o


def fifteen(o):
    queued = o["queuedJobs"] if "queuedJobs" in o else o["jobs"].setdefault("QUEUED", [])
    queued += [{"jobId": f"ghost{i}", "queuedAt": 1800000000, "lastUpdatedAt": 1, "executionNumber": 1, "versionNumber": 1}
               for i in range(len(queued), 15)]
    return o


def hints(o):
    for entry in (e for entries in o["jobs"].values() for e in entries):
        for k in ("queuedAt", "executionNumber", "versionNumber"):
            del entry[k]
    return o


def foreign(tail, request, out):
    """Replies to others, and ours on topics they do not belong to, come first."""
    extra = []
    for t, x in out:
        if t.endswith("/accepted"):
            extra += [(t, json.dumps({**json.loads(x), "clientToken": "somebody-1"})),
                      (t.replace("accepted", "rejected"), refusal({"clientToken": "somebody-2"}, "ResourceNotFound")),
                      ("other/update/accepted", x), ("other/update/rejected", refusal(request, "ResourceNotFound")),
                      ("get/rejected" if tail != "get" else "start-next/rejected", refusal(request, "InvalidRequest"))]
    return extra + out


class Wire(LabTest):
    service = None

    def setUp(self):
        super().setUp()
        self.fake = OddService(self.lab)
        self.lab.handler("note.sh", NOTE)
        self.agent = self.lab.start_agent(connection={"operation_timeout": 1}, jobs={"progress_interval": 1, "poll_interval": 5})
        self.n = 0

    def add(self, document='{"operation":"note"}'):
        self.n += 1
        self.fake.add(f"j{self.n}", document)
        return f"j{self.n}"

    def finish(self, job, status="SUCCEEDED", runs=1):
        self.fake.wait_status(job, *TERMINAL)
        self.assertEqual(self.fake.status(job), status, self.fake.jobs[job])
        self.assertEqual(self.lab.witness("ran").count(job), runs)

    def works(self):
        self.fake.alter = None
        self.finish(self.add())
        self.assertTrue(self.agent.running())

    def calm(self, seconds=1.5, most=20):
        """A service that is wrong for ever is asked some times, not thousands."""
        since = time.monotonic()
        time.sleep(seconds)
        self.assertLess(len(self.lab.requests(since=since)), most)

    def test_odd_but_complete(self):
        """Order, repetition, foreign replies, times in milliseconds, fifteen listed, members left out: the job runs, once."""
        for alter in (lambda tail, request, out: out[::-1], lambda tail, request, out: [o for o in out for _ in range(3)], foreign,
                      members(milliseconds), members(fifteen, "get/accepted", "notify"), members(hints, "/notify"),
                      *(without(m) for m in ("versionNumber", "executionNumber", "queuedAt", "lastUpdatedAt", "status"))):
            self.fake.alter = alter
            self.finish(self.add())
        self.works()

    def test_no_document(self):
        """Asking for it again would bring the same."""
        since = time.monotonic()
        self.fake.alter = without("jobDocument")
        job = self.add()
        self.finish(job, "REJECTED", runs=0)
        self.assertEqual(self.fake.jobs[job]["details"]["reason"], "jobDocument: missing")
        self.assertLess(len(self.lab.requests(since=since)), 5)
        self.works()

    def test_no_reply_counts_without_its_token(self):
        """No claim is accepted by a reply that is not to it."""
        self.fake.alter = members(lambda o: {k: v for k, v in o.items() if k != "clientToken"}, "update/accepted")
        job = self.add()
        wait_for(lambda: self.fake.status(job) == "IN_PROGRESS", "the claim")
        self.assertEqual(self.lab.witness("ran"), [])
        self.fake.alter = None
        self.finish(job)

    def test_contradictions_do_not_flood(self):
        """Claims are refused with codes and states that fit nothing else the service says."""
        for code, more in (("VersionMismatch", {}), ("InvalidStateTransition", {}), ("TerminalStateReached", {}),
                           ("VersionMismatch", {"executionState": {"status": "QUEUED", "versionNumber": 9}}),
                           ("VersionMismatch", {"executionState": {"status": "QUEUED"}}),
                           ("InvalidStateTransition", {"executionState": {"status": "ODD", "versionNumber": 1}}),
                           ("VersionMismatch", {"executionState": {"status": "IN_PROGRESS", "versionNumber": 2,
                                                                   "statusDetails": {"claim": "zzzzzzzz"}}})):
            def refuse(job, request):
                return "silence" if request["status"] == "IN_PROGRESS" and self.fake.status(job) == "QUEUED" else None
            self.fake.refuse = refuse
            self.fake.alter = lambda tail, request, out: out or [(tail + "/rejected", refusal(request, code, **more))]
            job = self.add()
            wait_for(lambda: self.lab.requests(f"{job}/update"), "a claim")
            self.calm()
            self.assertNotIn(job, self.lab.witness("ran"))
            self.fake.alter, self.fake.refuse = None, lambda job, request: None
            self.finish(job)
        self.works()

    def test_a_verdict_survives_every_refusal(self):
        """Even the bare status is refused: kept, and told when it is taken."""
        refused = []

        def refuse(job, request):
            if request["status"] != "SUCCEEDED" or len(refused) >= 6:
                return None
            refused.append(request)
            return "InvalidJson"
        self.fake.refuse = refuse
        job = self.add()
        self.finish(job)
        self.assertEqual(len(refused), 6)
        self.assertTrue(any("statusDetails" not in r for r in refused))
        self.assertIn("claim", self.fake.jobs[job]["details"])
        self.works()

    def test_one_that_cannot_be_described_blocks_nothing(self):
        def alter(tail, request, out):
            if tail == "j1/get":
                return [(tail + "/rejected", refusal(request, "InternalError"))]
            return [o for o in out if o[0] != "notify-next"]  # its document would come with it
        self.fake.alter = alter
        first, second = self.add(), self.add()
        self.finish(second)
        self.assertEqual(self.fake.status(first), "QUEUED")
        self.fake.alter = None
        self.fake.announce()
        self.finish(first)
