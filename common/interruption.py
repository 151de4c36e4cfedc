"""Stop a command after Ctrl-C or SIGTERM, a training at the end of a step.

An exception that a signal's handler raises is lost if Python runs the handler inside a destructor, and leaves a library
in an unknown state if it runs inside one of its transactions. Within `deferred` the handler raises nothing, and the
block calls `check` where it can stop. A second signal ends the process at once.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptionError(KeyboardInterrupt):
    """A signal that asks this process to stop. As for `KeyboardInterrupt`, `except Exception` does not catch it."""

    run_id: str | None = None
    """The run that was interrupted and can be resumed."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class _State:
    """The signal that this process has received, and whether it is to wait for `check`."""

    received: int | None = None
    deferred = False


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Raise `InterruptionError` in this block after Ctrl-C or SIGTERM; at its end if the exception was lost.

    Raises:
        InterruptionError: if a signal has been received.
    """
    before = {number: signal.signal(number, _receive) for number in SIGNALS}
    try:
        yield
        check()
    finally:
        _State.received = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let a signal wait in this block until `check` is called, or until the block ends.

    Raises:
        InterruptionError: if a signal has been received.
    """
    check()
    _State.deferred = True
    try:
        yield
        check()
    finally:
        _State.deferred = False


def requested() -> bool:
    """Return whether a signal has asked this process to stop."""
    return _State.received is not None


def check() -> None:
    """Stop if a signal has asked for it.

    Raises:
        InterruptionError: if a signal has been received.
    """
    if _State.received is not None:
        raise InterruptionError(_State.received)


def end(status: int) -> NoReturn:
    """End this process with a status, after an interruption.

    Python's own ending may crash it: threads of native libraries go on with the work that was interrupted.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def end_with_parent() -> None:
    """End this process of `multiprocessing` once its parent is gone, also if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _receive(number: int, _frame: FrameType | None) -> None:
    if requested():
        os._exit(128 + number)
    _State.received = number
    if not _State.deferred:
        raise InterruptionError(number)
    # `print` may have been interrupted itself, and cannot be called again.
    os.write(2, b"stopping after this step; a second signal ends the process at once\n")
