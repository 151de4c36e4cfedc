"""Workers on a Ray cluster: Ray places them, and restarts them elsewhere if their node is lost."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import ray

from common import cluster
from tuning.search import workers

T = TypeVar("T")


class RayWorkers:
    """Workers on a cluster. Each is a Ray actor with a GPU, or with a share of the cores.

    Ray starts an actor that is lost again, as soon as there is room for it. Its trial does not wait for that, but goes
    to the first worker that is free.

    Raises:
        UserError: If there is no such cluster, or it has nothing to compute with.
    """

    lost = cluster.LOST
    patience = 20.0  # until Ray notices that a node is lost, it starts workers there in vain

    def __init__(self, count: int, folder: Path, address: str) -> None:
        self.names = [f"worker-{index}" for index in range(count)]
        self.folder = folder
        self.resources = cluster.shares(count, cluster.connect(address))
        self.actors: dict[str, Any] = {}

    def start(self, name: str, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        if name not in self.actors:
            environment = cluster.environment(self.resources)
            actor = ray.remote(_Worker).options(max_restarts=-1, **self.resources)
            self.actors[name] = actor.remote(self.folder / f"{name}.log", environment)
        else:
            ray.kill(self.actors[name], no_restart=False)
        # This call waits until there is room for the actor; without a repetition, Ray refuses it until then.
        call = self.actors[name].call.options(max_task_retries=1)
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
        if "CHECKPOINTS" in os.environ:  # else the nodes have the folder in common
            log.parent.mkdir(parents=True, exist_ok=True)
        if log.parent.exists():
            workers.write_into(log)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        return function(*arguments)
