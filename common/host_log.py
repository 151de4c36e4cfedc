"""Copy stderr from a process of a training on several hosts, and say in a line that another one has ended.

JAX's native code ends the process then, and writes its reasons and a stack, which Python cannot prevent. This file runs
as a program of its own, so it imports nothing of the suite.
"""

import re
import signal
import sys

LOST = (
    "another host of this training has ended or does not answer; see its messages, and go on with train --resume on "
    "all hosts"
)
_NATIVE = re.compile(r"[IWE]\d{4} |WARNING: All log messages before absl")
_FATAL = re.compile(r"F\d{4} ")


def main() -> None:
    """Copy stdin to stderr until its end, also after a signal that a cluster sends to all processes of a job."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    said = False
    for line in iter(sys.stdin.readline, ""):
        if _FATAL.match(line) or LOST in line:
            if not said:
                print(f"error: {LOST}", file=sys.stderr, flush=True)
            said = True
        elif not said and not _NATIVE.match(line):
            print(line, end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
