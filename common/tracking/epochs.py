"""Record the metrics of every epoch. Apart from the other modules, because a callback needs Keras."""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import keras
from mlflow.entities import Metric

from common.tracking.runs import ActiveRun, curve

BATCH = 1000
"""Largest number of metrics that MLflow takes in one request."""


class EpochLogger(keras.callbacks.Callback):
    """A callback that records every epoch's metrics in the store, at most once per second, because a write is slow.

    Args:
        run: The run.
        history: Metrics of the epochs before an interruption. Epochs that the run has are not recorded again.
    """

    def __init__(self, run: ActiveRun, history: Mapping[str, Sequence[float]] = MappingProxyType({})) -> None:
        super().__init__()
        self.run, self.pending, self.written = run, list[Metric](), time.monotonic()
        self.recorded = len(curve(run.client, run.id, "loss"))
        for epoch, values in enumerate(zip(*history.values(), strict=True)):
            self._add(epoch, dict(zip(history, values, strict=True)))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._add(epoch, logs or {})
        if time.monotonic() - self.written >= 1 or len(self.pending) >= BATCH:
            self._write()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._write()

    def _add(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Add an epoch's metrics to those that are not written yet."""
        if epoch >= self.recorded:
            now = int(1000 * time.time())
            self.pending += [Metric(name, float(value), now, epoch + 1) for name, value in logs.items()]

    def _write(self) -> None:
        for start in range(0, len(self.pending), BATCH):
            self.run.client.log_batch(self.run.id, metrics=self.pending[start : start + BATCH])
        self.pending, self.written = [], time.monotonic()
