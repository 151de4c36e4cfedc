"""Measure the cost of the checkpoints of a training: the share of its time, and the trainings with and without.

    python -m benchmarks.checkpoints

Each row is one app with its default settings and few epochs. The share is the time that a training spends in writing
states, of its whole time. Then trainings with a checkpoint and without one alternate. `docs/reliability.md` has the
table.
"""

import contextlib
import io
import statistics
import tempfile
import time
from importlib import import_module
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from common import App, training
from common.training.checkpoint import Checkpoint, Stopwatch

APPS = {"mnist_mlp": 4, "lenet5": 3, "lstm_mnist": 1, "alexnet": 1, "logistic_regression": 40, "table_mlp": 20}
"""Epochs of each app."""


class Timed(Checkpoint):
    """A checkpoint that adds up the seconds of its writing, and counts the files."""

    spent, files = 0.0, 0

    def _write(self, step: int = 0) -> None:
        began = time.perf_counter()
        super()._write(step)
        self.spent += time.perf_counter() - began
        self.files += 1


def main(rounds: int = 3, limit: int = 10_000) -> None:
    """Train every app with and without a checkpoint alternately, and print a table.

    Args:
        rounds: Trainings of each kind. The medians are printed.
        limit: Number of training examples.
    """
    table = Table("app", "state, MB", "files", "share of the time", "wall s without", "ratio", "CPU s without", "ratio")
    for name, epochs in APPS.items():
        own: App = import_module(f"apps.{name}").app
        config = own.settings(epochs=epochs, limit=limit)
        data = own.load_data(config)
        app = own.for_data(data)
        spent: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        shares, files, size = [], 0, 0.0
        with tempfile.TemporaryDirectory() as folder:
            for index in range(2 * rounds + 1):  # the first one loads libraries, and is not counted
                file = Path(folder) / f"{index}.npz"
                timed = Timed(file) if index % 2 else None
                model = app.build_model(config, data)
                stopwatch = Stopwatch()
                with contextlib.redirect_stdout(io.StringIO()):
                    training.fit(model, data, config, app.task, training.FitOptions(checkpoint=timed))
                wall, cpu = stopwatch.seconds()
                if index:
                    spent[timed is not None].append((wall, cpu))
                if timed:
                    shares.append(timed.spent / wall)
                    files, size = timed.files, file.stat().st_size / 1e6
        (wall, cpu), (wall_with, cpu_with) = (
            [statistics.median(seconds) for seconds in zip(*spent[kind], strict=True)] for kind in (False, True)
        )
        row = (f"{size:.1f}", f"{files} of {epochs}", f"{statistics.median(shares):.2%}")
        table.add_row(name, *row, f"{wall:.1f}", f"{wall_with / wall:.2f}", f"{cpu:.1f}", f"{cpu_with / cpu:.2f}")
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
