"""Measure contestants alternately over several rounds, and train an app's network without a store."""

import contextlib
import io
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from common import App, Config, Data, training
from common.training.checkpoint import Stopwatch

import keras  # isort: skip - deferred by `common`


@dataclass(frozen=True)
class Trained:
    """A trained network and the time of its training."""

    model: keras.Model
    epochs: int
    """Number of epochs after which it stopped."""
    wall: float
    """Wall seconds."""
    cpu: float
    """CPU seconds."""


def train(app: App, config: Config, data: Data, fit: bool = True) -> Trained:
    """Train an app's network as `train` does, without a store and without output; without `fit`, pretrain it only."""
    app, stopwatch = app.for_data(data), Stopwatch()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        keras.utils.set_random_seed(config.seed)
        model = training.build(app, config, data)
        list(training.pretrain(app, model, config, data))
        losses = training.fit(model, data, config, app.task)["loss"] if fit else []
        if fit and app.calibrate:
            app.calibrate(model, config, data)
    return Trained(model, len(losses), *stopwatch.seconds())


def compare(title: str, contestants: Mapping[str, Callable[[], None]], rounds: int) -> None:
    """Run every contestant once per round and print the medians and their ratios to the first contestant's."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            stopwatch = Stopwatch()
            contestant()
            wall, cpu = stopwatch.seconds()
            spent[name].append((cpu, wall))
    medians = {
        name: [statistics.median(seconds) for seconds in zip(*runs, strict=True)] for name, runs in spent.items()
    }
    reference = next(iter(medians.values()))
    table = Table("", "CPU s", "wall s", "CPU ratio", "wall ratio", title=f"{title}, medians of {rounds}")
    for name, seconds in medians.items():
        ratios = [value / first for value, first in zip(seconds, reference, strict=True)]
        table.add_row(name, *(f"{value:.2f}" for value in seconds), *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(table)
