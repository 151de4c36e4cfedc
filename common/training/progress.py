"""Show the progress of a training: one moving line in a terminal, one line per epoch in a log file."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from common.config import Mode


class Progress(keras.callbacks.Callback):
    """A callback that shows epoch, step, the time that is left at most, and the best value so far.

    It is used as a context, because `fit` calls no callback if it ends with an exception.

    Args:
        epochs: Last epoch, from 1.
        monitor: Metric whose best value is shown.
        mode: Whether its highest or its lowest value is the best.
        history: Metrics of the epochs before an interruption.
        step: First step of the first epoch, from 0.
    """

    def __init__(
        self, epochs: int, monitor: str, mode: Mode, history: Mapping[str, Sequence[float]], step: int = 0
    ) -> None:
        super().__init__()
        self.epochs, self.monitor, self.mode, self.step = epochs, monitor, mode, step
        self.values = list(history.get(monitor, []))
        self.bar: Bar | None = None
        if sys.stdout.isatty():
            self.bar = Bar(
                TextColumn("Epoch {task.fields[epoch]}/{task.fields[epochs]}"),
                BarColumn(bar_width=None),
                TextColumn("step {task.fields[step]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[best]}"),
                console=Console(),  # Rich's own one keeps the terminal of its first use
                expand=True,
            )
            self.task = self.bar.add_task("", total=None, epoch=1, epochs=epochs, step=step, best=self.best())

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def best(self) -> str:
        """Return words for the best value so far; none before the first epoch."""
        if not self.values:
            return ""
        value = (max if self.mode == "max" else min)(self.values)
        return f"best {self.monitor} {value:.4g}"

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch, self.started = epoch, time.perf_counter()
        self._show(0)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._show(min(batch + 1, self.params["steps"]))  # Keras counts whole executions

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        if self.monitor in logs:
            self.values.append(logs[self.monitor])
        if self.bar:
            self._show(self.params["steps"])
        else:
            metrics = ", ".join(f"{name} {value:.4g}" for name, value in logs.items())
            seconds = time.perf_counter() - self.started
            print(f"Epoch {epoch + 1}/{self.epochs}: {metrics}, {seconds:.1f} s", flush=True)

    def _show(self, done: int) -> None:
        """Show that so many steps of this epoch have ended in this process."""
        if self.bar:
            steps = self.step + self.params["steps"]
            done += self.step
            completed, total = self.epoch * steps + done, self.epochs * steps
            facts: dict[str, Any] = {"epoch": self.epoch + 1, "step": f"{done}/{steps}", "best": self.best()}
            self.bar.update(self.task, completed=completed, total=total, **facts)
