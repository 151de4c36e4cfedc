"""Workers on a Ray cluster: Ray places them, and restarts them elsewhere if their node is lost."""

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError

from common.errors import UserError, first_line
from tuning.search import workers

PASSED = ("JAX_", "KERAS_", "MLFLOW_", "TF_", "XLA_")
"""Beginnings of the names of environment variables that the workers have from the command."""

T = TypeVar("T")


class RayWorkers:
    """Workers on a cluster. Each is a Ray actor with a GPU, or with a share of the cores.

    Ray starts an actor that is lost again, as soon as there is room for it. Its trial does not wait for that, but goes
    to the first worker that is free.

    Raises:
        UserError: If there is no such cluster, or it has nothing to compute with.
    """

    lost = (RayActorError, NodeDiedError, OutOfMemoryError)

    def __init__(self, count: int, folder: Path, address: str) -> None:
        self.names = [f"worker-{index}" for index in range(count)]
        self.folder = folder
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"`cluster` {address}: no Ray cluster answers there ({first_line(error)}); start one with "
                "`ray start --head`, or run this command on one of its nodes"
            ) from error
        self.resources = shares(count, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        self.actors: dict[str, Any] = {}

    def start(self, name: str, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        if name not in self.actors:
            environment = {key: value for key, value in os.environ.items() if key.startswith(PASSED)}
            if cores := int(self.resources["num_cpus"]):
                environment |= {"TF_NUM_INTRAOP_THREADS": str(cores), "NPROC": str(cores)}  # the latter is for JAX
            actor = ray.remote(_Worker).options(max_restarts=-1, **self.resources)
            self.actors[name] = actor.remote(self.folder / f"{name}.log", environment)
        else:
            ray.kill(self.actors[name], no_restart=False)
        # This call waits until there is room for the actor; without repetition, Ray refuses it until then.
        call = self.actors[name].call.options(max_task_retries=-1)
        future: Future[T] = call.remote(function, *arguments).future()
        return future

    def call(self, name: str, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        future: Future[T] = self.actors[name].call.remote(function, *arguments).future()
        return future

    def close(self) -> None:
        ray.shutdown()


class _Worker:
    """A worker's process."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        if log.parent.exists():
            workers.write_into(log)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        return function(*arguments)


def shares(count: int, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Divide the GPUs of a cluster, or else its cores, among `count` workers, each of which is on one node.

    Args:
        count: Number of workers.
        nodes: Resources of each node, by Ray's names.

    Returns:
        Options of Ray for each worker.

    Raises:
        UserError: If there are neither GPUs nor cores.
    """
    gpus, cores = [[int(node.get(name, 0)) for node in nodes] for name in ("GPU", "CPU")]
    if sum(gpus):
        return {"num_cpus": 0, "num_gpus": min(1, _share(count, gpus))}
    if sum(cores):
        return {"num_cpus": _share(count, cores)}
    raise UserError("`cluster`: its nodes have neither GPUs nor cores; start one with `ray start --num-cpus`")


def _share(count: int, nodes: Sequence[int]) -> float:
    """Return the largest share of which `nodes` have `count`: whole units, or the same fraction of each."""
    for units in range(max(nodes), 0, -1):
        if sum(node // units for node in nodes) >= count:
            return units
    return 1 / math.ceil(count / sum(nodes))
