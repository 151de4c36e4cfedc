"""Record the metrics of every epoch. Apart from the other modules, because a callback needs Keras."""

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import keras
import mlflow
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from common import interruption
from common.errors import first_line, print_notes
from common.tracking import store
from common.tracking.recording import ActiveRun
from common.tracking.runs import curve

BATCH = 1000
"""Largest number of metrics that MLflow takes in one request."""
MOST = 1_000_000
"""Largest number of metrics that are kept while a server does not answer."""
RETRY = 10
"""Seconds between two attempts to reach it."""
PATIENCE = 600
"""Seconds after training in which it may come back."""


class EpochLogger(keras.callbacks.Callback):
    """A callback that records every epoch's metrics in the store, at most once per second, because a write is slow.

    If a server or a database does not answer, training goes on. The metrics are kept and recorded in their order when
    it answers again, at the latest when training ends, which waits for it.

    Args:
        run: The run.
        history: Metrics of the epochs before an interruption. Epochs that the run has are not recorded again.
    """

    def __init__(self, run: ActiveRun, history: Mapping[str, Sequence[float]] = MappingProxyType({})) -> None:
        super().__init__()
        self.run, self.pending, self.tried = run, list[Metric](), time.monotonic()
        self.outage: float | None = None
        """Time at which the store stopped answering."""
        self.outages = list[str]()
        """A sentence about each outage."""
        self.recorded = len(curve(run.client, run.id, "loss"))
        for epoch, values in enumerate(zip(*history.values(), strict=True)):
            self._add(epoch, dict(zip(history, values, strict=True)))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._add(epoch, logs or {})
        waited = time.monotonic() - self.tried
        if waited >= (RETRY if self.outage else 1) or (len(self.pending) >= BATCH and not self.outage):
            self._write()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        deadline = time.monotonic() + PATIENCE
        self._write()
        while self.pending and time.monotonic() < deadline:
            interruption.check()
            time.sleep(1)
            self._write()
        if self.pending:
            raise MlflowException(f"the store has not answered for {PATIENCE} s after training")

    def _add(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Add an epoch's metrics to those that are not written yet."""
        if epoch >= self.recorded:
            now = int(1000 * time.time())
            self.pending += [Metric(name, float(value), now, epoch + 1) for name, value in logs.items()]

    def _write(self) -> None:
        """Record the pending metrics; those of a server that does not answer stay pending."""
        self.tried = time.monotonic()
        try:
            while self.pending:
                with store.impatient():
                    self.run.client.log_batch(self.run.id, metrics=self.pending[:BATCH])
                del self.pending[:BATCH]
        except MlflowException as error:
            if store.database_of(mlflow.get_tracking_uri()) or len(self.pending) > MOST:
                raise
            if not self.outage:
                self.outage = self.tried
                print_notes([f"{store.folder()} does not answer ({first_line(error)}); training goes on"])
        else:
            if self.outage:
                seconds, self.outage = time.monotonic() - self.outage, None
                self.outages.append(f"{store.folder()} did not answer for {seconds:.0f} s; no metric was lost")
                print_notes(self.outages[-1:])
