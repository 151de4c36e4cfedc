"""Start commands of the suite in processes that are forked from one that has imported Keras.

The import takes a fresh process 6 s of CPU time. In all other respects a forked process is one of its own.
"""

import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from common.files import ROOT

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


class Process:
    """A command `python -m MODULE ARGUMENTS`, with the interface of `subprocess.Popen`.

    Its standard output can be read while it runs, `communicate` returns its errors.
    Before the command, it calls `first`.
    """

    def __init__(
        self, module: str, *arguments: str, first: Callable[[], None] | None = None, **environment: str
    ) -> None:
        reader, writer = multiprocessing.Pipe(duplex=False)
        self.errors = tempfile.NamedTemporaryFile("r", prefix="errors")  # noqa: SIM115 - deleted with this object
        command = (module, arguments, os.environ | environment, writer, self.errors.name, first)
        self.process = CONTEXT.Process(target=_execute, args=command)
        self.process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()))

    @property
    def pid(self) -> int:
        assert self.process.pid
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self.process.join(timeout)
        return self.process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; returns the rest of the output, and all errors."""
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(self.stdout.read)
            try:
                output = reading.result(timeout)
            finally:
                if not reading.done():
                    self.kill()
        self.process.join()
        errors = self.errors.read()
        self._close()
        return output, errors

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error:
            self.kill()
        self.process.join()
        self._close()

    def _close(self) -> None:
        self.stdout.close()
        self.errors.close()


def run_forked(
    module: str, *arguments: str, first: Callable[[], None] | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    with Process(module, *arguments, first=first, **environment) as process:
        output, errors = process.communicate()
        assert process.returncode is not None
    return subprocess.CompletedProcess([module, *arguments], process.returncode, output, errors)


def give_up_override() -> None:
    """Give up the power of the superuser to write where permissions forbid it."""
    if os.geteuid() == 0:
        kernel = ctypes.CDLL(None)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of Linux's capabilities, of this thread
        sets = (ctypes.c_uint32 * 6)()
        assert kernel.capget(header, sets) == 0
        for effective_and_permitted in (0, 1):
            sets[effective_and_permitted] &= ~(1 << 1)  # CAP_DAC_OVERRIDE
        assert kernel.capset(header, sets) == 0


def _execute(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: Connection,
    errors: str,
    first: Callable[[], None] | None,
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the process that forks ignores it
    # A search that starts here forks its workers from the same process. Python would start another one, which imports
    # Keras again.
    forkserver._forkserver.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign]
    os.dup2(output.fileno(), 1)
    with Path(errors).open("ab") as file:
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering) for number, buffering in ((1, -1), (2, 1)))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = [module, *arguments]
    if first:
        first()
    runpy.run_module(module, run_name="__main__", alter_sys=True)
