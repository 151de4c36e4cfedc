"""A Ray cluster: connect to it, divide it, and run a process on each of several of its hosts."""

import contextlib
import logging
import math
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from common import interruption
from common.errors import UserError, first_line, print_notes

PASSED = ("CHECKPOINTS", "JAX_", "KERAS_", "MLFLOW_", "TF_", "XLA_")
"""Beginnings of the names of environment variables that processes on the cluster have from the command."""
INTERVAL = 0.5
"""Seconds after which a wait looks for a signal."""
LOST = (NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError)
"""Errors of a call whose process has ended."""
NAMES = {"num_cpus": "CPU", "num_gpus": "GPU"}
"""Names of resources by the options of Ray that ask for them."""
BUSY = 10
"""Seconds without room after which the cluster counts as busy."""
PROGRAM = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a module as `python -m` does, and ends with the process at the other end of its stdin."""


class LostHostError(Exception):
    """A host of a training, or its process, is lost."""


Part = tuple[Literal["output", "errors", "status"], Any]
"""A line that a process has written, or its exit status; None if it was lost with its host."""


def connect(address: str) -> list[Mapping[str, float]]:
    """Connect this process to a Ray cluster.

    Args:
        address: Address of the cluster, or auto for that of this machine.

    Returns:
        The resources of each node, by Ray's names.

    Raises:
        UserError: if no cluster answers.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"`cluster` {address}: no Ray cluster answers there ({first_line(error)}); start one with "
            "`ray start --head`, or run this command on one of its nodes"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray replaces it by its own
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def shares(count: int, nodes: Sequence[Mapping[str, float]], gpus: int | None = 1) -> dict[str, float]:
    """Divide the GPUs of a cluster, or else its cores, among `count` processes, each of which is on one node.

    Args:
        count: Number of processes.
        nodes: Resources of each node, by Ray's names.
        gpus: Most GPUs of a process; None for as many as there are.

    Returns:
        Options of Ray for each process.

    Raises:
        UserError: if there are neither GPUs nor cores.
    """
    found, cores = [[int(node.get(name, 0)) for node in nodes] for name in ("GPU", "CPU")]
    if sum(found):
        return {"num_cpus": 0, "num_gpus": min(gpus or math.inf, _share(count, found))}
    if sum(cores):
        return {"num_cpus": _share(count, cores)}
    raise UserError("`cluster`: its nodes have neither GPUs nor cores; start one with `ray start --num-cpus`")


def _share(count: int, nodes: Sequence[int]) -> float:
    """Return the largest share of which `nodes` have `count`: whole units, or the same fraction of each."""
    for units in range(max(nodes), 0, -1):
        if sum(node // units for node in nodes) >= count:
            return units
    return 1 / math.ceil(count / sum(nodes))


def environment(resources: Mapping[str, float]) -> dict[str, str]:
    """Return the variables of the environment for a process with a share of the cluster."""
    passed = {key: value for key, value in os.environ.items() if key.startswith(PASSED)}
    if cores := int(resources["num_cpus"]):
        passed |= {"TF_NUM_INTRAOP_THREADS": str(cores), "NPROC": str(cores)}  # the latter is for JAX
    return passed


class Hosts:
    """Hosts of a cluster, on each of which a process can run. An actor of Ray on each one starts it.

    If an actor ends, as with its node or with the command that made it, its process ends too.

    Args:
        actors: The actors.
        places: Address and free port of each.
    """

    def __init__(self, actors: Sequence[Any], places: Sequence[tuple[str, int]]) -> None:
        self.actors = actors
        self.addresses = [address for address, _ in places]
        one = len(set(self.addresses)) == 1
        self.free = f"{'127.0.0.1' if one else self.addresses[0]}:{places[0][1]}"
        """An address of the first host, with a free port."""

    def run(self, commands: Sequence[Sequence[str]], variables: Mapping[str, str]) -> Iterator[tuple[int, Part]]:
        """Run a module with arguments on each host, in this folder.

        Args:
            commands: The module and the arguments, for each host.
            variables: More variables of the environment.

        Yields:
            The number of a host and what its process has written, as it comes; an empty output now and then.
        """
        running: dict[Any, int] = {
            actor.run.remote(command, Path.cwd(), variables): index
            for index, (actor, command) in enumerate(zip(self.actors, commands, strict=True))
        }
        while running:
            ready: Sequence[Any] = ray.wait(list(running), timeout=INTERVAL)[0]
            for process in ready:
                index = running[process]
                try:
                    yield index, ray.get(next(process))
                except StopIteration:
                    del running[process]
                except LOST:
                    del running[process]
                    yield index, ("status", None)
            yield 0, ("output", "")

    def terminate(self, index: int) -> None:
        """Send SIGTERM to the process of a host."""
        self.actors[index].terminate.remote()


@contextlib.contextmanager
def reserved(count: int, resources: Mapping[str, float], seconds: float) -> Iterator[Hosts | None]:
    """Reserve a share of `count` hosts in this block, each on a node of its own if there are enough.

    Args:
        count: Number of hosts.
        resources: Options of Ray for each, as `shares` returns them.
        seconds: Longest wait for room.

    Yields:
        The hosts; None if there was no room.

    Raises:
        LostHostError: if a host was lost meanwhile.
        InterruptionError: after Ctrl-C or SIGTERM.
    """
    until = time.monotonic() + seconds
    while True:
        group = _group(count, resources)
        try:
            hosts = _start(group, count, resources, until)
            break
        except LOST as error:  # for some seconds, Ray counts a lost node as alive
            remove_placement_group(group)
            if not time.monotonic() < until < math.inf:
                raise LostHostError(f"a host was lost when it started ({first_line(error)})") from error
            time.sleep(INTERVAL)
    try:
        yield hosts
    finally:
        remove_placement_group(group)  # which ends its actors


def _group(count: int, resources: Mapping[str, float]) -> Any:
    """Return a placement group of `count` hosts."""
    bundle = {NAMES[option]: number for option, number in resources.items() if number}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fitting = sum(all(node.get(name, 0) >= number for name, number in bundle.items()) for node in nodes)
    return placement_group([bundle] * count, "STRICT_SPREAD" if fitting >= count else "SPREAD")


def _start(group: Any, count: int, resources: Mapping[str, float], until: float) -> Hosts | None:
    """Start an actor on each host of a placement group; returns None if there is no room for it in time."""
    each = ", ".join(f"{number:g} {NAMES[option]}" for option, number in resources.items() if number)
    words = f"{count} hosts with {each} each"
    if not _wait(group, words, until):
        return None
    actors: list[Any] = [
        ray.remote(_Host)
        .options(
            max_concurrency=2,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index),
            **resources,
        )
        .remote()
        for index in range(count)
    ]
    places = [actor.place.remote() for actor in actors]
    while len(ray.wait(places, num_returns=count, timeout=INTERVAL)[0]) < count:
        interruption.check()
        if not _wait(group, words, until):  # the group has lost a node
            return None
    return Hosts(actors, ray.get(places))


def _wait(group: Any, words: str, until: float) -> bool:
    """Wait for a placement group; returns whether it has room. A note says after a while for what it waits."""
    began, noted = time.monotonic(), False
    while not group.wait(INTERVAL):
        interruption.check()
        if time.monotonic() > until:
            return False
        if time.monotonic() - began > BUSY and not noted:
            print_notes([f"waits until the cluster has room for {words}"])
            noted = True
    return True


class _Host:
    """A host: starts a process there, and hands on what it writes."""

    process: "subprocess.Popen[str] | None" = None

    def place(self) -> tuple[str, int]:
        """Return the address of the node, and a free port."""
        with socket.create_server(("", 0)) as free:
            return ray.util.get_node_ip_address(), free.getsockname()[1]

    def run(self, command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Iterator[Part]:
        if not folder.exists():
            yield "errors", f"error: {folder}: not on {socket.gethostname()}; all nodes must share this folder\n"
            yield "status", 2
            return
        self.process = process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *command],
            cwd=folder,
            env=os.environ | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        written = queue.SimpleQueue[Part | None]()

        def read(name: Literal["output", "errors"], file: IO[str]) -> None:
            for line in file:
                written.put((name, line))
            written.put(None)

        files = {"output": process.stdout, "errors": process.stderr}
        for name, file in files.items():
            threading.Thread(target=read, args=(name, file), daemon=True).start()
        yield from (part for _ in files for part in iter(written.get, None))  # a generator, as Ray requires
        yield "status", process.wait()

    def terminate(self) -> None:
        if self.process:
            self.process.terminate()
