# SPDX-License-Identifier: Apache-2.0
"""The smallest TAP producer: one line a check, details as comments, exit code at the end."""

import sys


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, name, problems=()):
        """One test case: passed if there are no problems. Returns whether it passed."""
        problems = list(problems)
        self.count += 1
        self.failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.count} - {name}")
        for p in problems:
            print(f"# {p}")
        return not problems

    def skip(self, name, why):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {why}")

    def done(self):
        print(f"1..{self.count}")
        sys.exit(1 if self.failed else 0)
