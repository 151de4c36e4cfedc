"""The process of a host in `test_launching.py`: `--ends 0 kill` says how those of the hosts end.

A number is a status; `kill` is a signal, and `lost` the message that another host has ended. With a folder `--starts`,
in which each start makes a file, the second start ends well.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from common import host_log

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for flag in ("--ends", "--hosts", "--host", "--coordinator", "--starts"):
        parser.add_argument(flag, nargs="*" if flag == "--ends" else None)
    given, others = parser.parse_known_args()
    end = given.ends[int(given.host)]
    print(f"host {given.host} of {given.hosts} in {Path.cwd()}", " ".join(others), sep="\n", flush=True)
    if given.starts:
        Path(given.starts, given.coordinator).touch()
        if len(list(Path(given.starts).iterdir())) > 1:
            sys.exit()
    match end:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "lost":
            sys.exit(f"error: {host_log.LOST}")
        case status:
            print(f"error: on host {given.host}", file=sys.stderr)
            sys.exit(int(status))
