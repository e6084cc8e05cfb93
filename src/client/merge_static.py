#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One static library out of many, whose only global names are those of default visibility.

usage: merge_static.py CC OBJCOPY AR OUTPUT LIBRARY...
Everything is linked into one relocatable object first, so that the library's own modules find each other, and what is hidden
becomes local to it: a program may have a buf_append() of its own."""

import pathlib
import subprocess
import sys
import tempfile


def main():
    cc, objcopy, ar, output, libraries = *sys.argv[1:5], sys.argv[5:]
    with tempfile.TemporaryDirectory() as tmp:
        merged = pathlib.Path(tmp, "iotjobs.o")
        subprocess.run([*cc.split(), "-r", "-nostdlib", "-o", merged, "-Wl,--whole-archive", *libraries,
                        "-Wl,--no-whole-archive"], check=True)
        subprocess.run([objcopy, "--localize-hidden", merged], check=True)
        pathlib.Path(output).unlink(missing_ok=True)
        subprocess.run([ar, "rcsD", output, merged], check=True)


if __name__ == "__main__":
    main()
