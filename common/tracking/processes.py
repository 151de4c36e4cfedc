"""Tell whether the process that records a run still runs, on this machine or another one."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

NAMESPACE = Path("/proc/self/ns/pid")
"""Names the container, whose numbers of processes differ from those outside it."""
TOLERANCE = 2.0
"""Seconds by which the recorded start of a process may differ: it is computed from the start of the machine."""
MINUTE = 60.0
"""Seconds between two heartbeats."""
SILENCE = 15
"""Minutes without a heartbeat after which a process of another machine has ended. Clocks may differ by less."""


def this_process() -> str:
    """Return JSON that identifies this process among those of all machines and times."""
    return json.dumps({"machine": _machine(), "pid": os.getpid(), "started": psutil.Process().create_time()})


def now() -> str:
    """Return the current time in seconds since 1970, as a heartbeat records it."""
    return str(int(time.time()))


@contextlib.contextmanager
def heartbeat(record: Callable[[str], None]) -> Iterator[None]:
    """Record a heartbeat every minute of this block; one that the store does not take is left out."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(MINUTE):
            with contextlib.suppress(Exception):
                record(now())

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def is_gone(identity: str, last: str | None = None) -> bool:
    """Return whether the process that `this_process` identified has ended.

    A process of another machine or container has ended if its `last` heartbeat is `SILENCE` minutes old. Without one it
    counts as running, because this machine cannot know.
    """
    process = json.loads(identity)
    if process["machine"] != _machine():
        return last is not None and time.time() - float(last) > SILENCE * MINUTE
    try:
        started: float = psutil.Process(process["pid"]).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(started - process["started"]) > TOLERANCE  # its number has been given to another process


def _machine() -> str:
    namespace = f" {NAMESPACE.readlink()}" if NAMESPACE.exists() else ""
    return socket.gethostname() + namespace


def peak_memory() -> int:
    """Return the largest size of this process in memory so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # Windows has no such module

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024  # Linux counts KiB
