"""Tell whether the process that records a run still runs."""

import json
import os
import socket
from pathlib import Path

import psutil

NAMESPACE = Path("/proc/self/ns/pid")
"""Names the container, whose numbers of processes differ from those outside it."""
TOLERANCE = 2.0
"""Seconds by which the recorded start of a process may differ: it is computed from the start of the machine."""


def this_process() -> str:
    """Return JSON that identifies this process among those of all machines and times."""
    return json.dumps({"machine": _machine(), "pid": os.getpid(), "started": psutil.Process().create_time()})


def is_gone(identity: str) -> bool:
    """Return whether the process that `this_process` identified has ended.

    A process of another machine or container counts as running, because this one cannot know.
    """
    process = json.loads(identity)
    if process["machine"] != _machine():
        return False
    try:
        started: float = psutil.Process(process["pid"]).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(started - process["started"]) > TOLERANCE  # its number has been given to another process


def _machine() -> str:
    namespace = f" {NAMESPACE.readlink()}" if NAMESPACE.exists() else ""
    return socket.gethostname() + namespace
