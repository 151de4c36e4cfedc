"""Train on several hosts, on JAX: one process on each, which all run the same command.

The first process leads: it records the run, writes the checkpoints and tests the network. Every process reads its share
of every batch. `jax.distributed` joins them, and ends them if one does not answer.
"""

import atexit
import contextlib
import functools
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal

import keras
import numpy as np

from common import host_log
from common.errors import DivergenceError, UserError
from common.interruption import InterruptionError
from common.nn import programs

COUNT = ("JAX_NUM_PROCESSES", "SLURM_NTASKS")
INDEX = ("JAX_PROCESS_ID", "SLURM_PROCID", "JOB_COMPLETION_INDEX")
ADDRESS = ("JAX_COORDINATOR_ADDRESS",)
"""Variables of the environment that say how many processes there are, which one this is, and where the first is."""
CONNECTING = 300
"""Seconds in which all processes must have started."""
SILENCE = 30
"""Seconds without an answer after which a process counts as ended."""
OF_A_CONNECTION = re.compile("gloo|nccl|coordination|connection|socket", re.IGNORECASE)


class LostHostError(UserError):
    """The connection to another host is lost."""


@contextlib.contextmanager
def joined(count: int | Literal["auto"], index: int | None, address: str | None) -> Iterator[None]:
    """Join the other processes of a training in this block.

    Args:
        count: Number of processes; auto for that of the environment.
        index: Number of this process, from 0; by default that of the environment.
        address: Host and port at which the first process listens; by default that of the environment.

    Raises:
        UserError: if one of them is not known, or Keras runs on TensorFlow.
        LostHostError: if another process ends.
    """
    if count == 1:
        yield
        return
    if keras.backend.backend() != "jax":
        raise UserError("`hosts`: a training on several hosts needs `backend` jax")
    import jax

    number = int(_setting("hosts", None if count == "auto" else str(count), COUNT))
    own = int(_setting("host", None if index is None else str(index), INDEX))
    place = _setting("coordinator", address, ADDRESS)
    if own >= number:
        raise UserError(f"`host` {own}: must be less than `hosts` {number}, because the first host is number 0")
    if not re.fullmatch(r".+:\d+", place):
        raise UserError(f"`coordinator` {place}: must be the address and a port of host 0, as HOST:PORT")
    _filter_stderr()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM, at which the checkpoint is written
    if os.environ.get("JAX_COMPILATION_CACHE_DIR") == programs.default_folder():
        # JAX writes programs on host 0 only. Hosts that compile may wait for one that has found its program.
        jax.config.update("jax_enable_compilation_cache", False)
    jax.distributed.initialize(
        place,
        number,
        own,
        cluster_detection_method="deactivate",  # on Slurm, it would use one device of each host
        coordinator_bind_address=place if place.startswith(("127.", "localhost:")) else None,
        initialization_timeout=CONNECTING,
        heartbeat_timeout_seconds=SILENCE,
    )
    try:
        yield
    except BaseException as error:
        atexit.register(functools.partial(_end, error))
        if OF_A_CONNECTION.search(str(error)) and not isinstance(error, UserError | InterruptionError):
            raise LostHostError(host_log.LOST) from error
        raise


def _setting(name: str, given: str | None, variables: tuple[str, ...]) -> str:
    value = given or next((os.environ[variable] for variable in variables if variable in os.environ), None)
    if value is None:
        raise UserError(f"`{name}` is not known; add it, or set {' or '.join(variables)}")
    return value


def _filter_stderr() -> None:
    """Send stderr through another process, which replaces the messages of JAX's native code by one line."""
    program = [sys.executable, "-I", host_log.__file__]
    writer = subprocess.Popen(program, stdin=subprocess.PIPE, start_new_session=True)
    assert writer.stdin
    sys.stderr.flush()
    os.dup2(writer.stdin.fileno(), 2)
    writer.stdin.close()


def _end(error: BaseException) -> None:
    """End this process without JAX's shutdown, which waits for the other processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    match error:
        case InterruptionError():
            status = 128 + error.number
        case DivergenceError():
            status = 1
        case _:
            status = 2
    os._exit(status)


def leave() -> None:
    """Leave the group of processes; each of them goes on alone."""
    import jax

    jax.distributed.shutdown()


def together() -> bool:
    """Return whether this process trains with others."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return bool(jax.distributed.is_initialized())


def number() -> int:
    """Return the number of processes that train together."""
    if not together():
        return 1
    import jax

    return int(jax.process_count())


def follows() -> bool:
    """Return whether another process leads."""
    if not together():
        return False
    import jax

    return int(jax.process_index()) > 0


def from_leader(value: Any) -> Any:
    """Return the value that the first process gives this function in place of `value`."""
    from jax.experimental import multihost_utils

    content = np.frombuffer(pickle.dumps(value), "uint8")
    with _quiet_stdout():  # Gloo writes there that it is connected
        size = int(multihost_utils.broadcast_one_to_all(np.array(len(content))))
        content = multihost_utils.broadcast_one_to_all(np.resize(content, size))
    return pickle.loads(np.asarray(content).tobytes())


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    sys.stdout.flush()
    saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)
