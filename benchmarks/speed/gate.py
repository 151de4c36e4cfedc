"""The pauses of a contestant: it trains one round for each line on its standard input, and answers with the seconds."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter, process_time
from types import SimpleNamespace
from typing import Any, TextIO

import numpy as np

from benchmarks.speed.rows import Row

Array = np.ndarray[Any, Any]


class Gate:
    """Stops the training after each round until the parent sends a line.

    A round lasts from this line to the end of its last epoch. The first one begins with the process.

    Args:
        channel: File for the answers, one line of JSON each.
        epochs: Epochs of a round.
        rounds: Rounds to measure after the first one.
    """

    def __init__(self, channel: TextIO, epochs: int, rounds: int) -> None:
        self.channel, self.per_round, self.epochs = channel, epochs, epochs * (1 + rounds)
        self.done, self.wall, self.cpu = 0, perf_counter(), process_time()

    def __call__(self, loss: float) -> None:
        """End an epoch with this mean training loss."""
        self.done += 1
        if self.done % self.per_round:
            return
        wall, cpu = perf_counter() - self.wall, process_time() - self.cpu
        print(json.dumps({"wall": wall, "cpu": cpu, "loss": float(loss)}), file=self.channel, flush=True)
        if self.done < self.epochs:
            if not sys.stdin.readline():
                sys.exit("the benchmark has ended")
            self.wall, self.cpu = perf_counter(), process_time()


@dataclass(frozen=True)
class Run:
    """A training to measure, with its settings and its data."""

    row: Row
    gate: Gate
    option: str
    """Option of the contestant's module."""
    folder: str
    """Folder of the benchmark's files."""
    config: SimpleNamespace
    """The app's settings."""
    data: Mapping[str, Array]
    """Arrays that the app's data consist of: x_train, y_train, x_test, y_test, and constants of the network."""

    @property
    def steps(self) -> int:
        """Number of whole batches of an epoch."""
        return max(1, len(self.data["y_train"]) // self.config.batch_size)

    @property
    def cosine(self) -> int:
        """Number of steps in which the learning rate decreases along half a cosine; 0 if it is constant."""
        return self.config.epochs * self.steps if self.config.schedule == "cosine" else 0
