"""A training that was cut off is taken up after its last whole epoch, and ends as if it had not been."""

import pickle
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
from keras import ops

from common import files
from common.data import Array

SHARE = 0.02
"""Of the time of training, what writing may take: after very short epochs not every one is written."""
COUNTED = ("wait", "best", "best_epoch", "best_weights", "cooldown_counter")
"""What Keras's callbacks keep from epoch to epoch, and forget when training begins."""


@dataclass(frozen=True)
class State:
    """All that a training has come to after an epoch."""

    variables: Sequence[Array] = ()
    """The network's, the states of its random generators among them."""
    optimizer: Sequence[Array] = ()
    callbacks: Sequence[dict[str, Any]] = ()
    """Of each callback that counts, the values of `COUNTED` that it has."""
    history: dict[str, list[float]] = field(default_factory=dict)
    """Every epoch's figures, by name."""
    stopped: bool = False
    """Whether a callback ended the training."""
    wall: float = 0.0
    cpu: float = 0.0
    """Seconds that it took."""

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(next(iter(self.history.values()), []))


class Checkpoint(keras.callbacks.Callback):
    """Keeps the state of a training in the file `path`, and brings a training of the same network to it.

    `state` is what the file holds when this is made; where there is none, what the file `earlier` holds, which another
    training of the same settings left. `counting` are the callbacks whose counts are kept: they come before this one
    in `fit`.
    """

    def __init__(self, path: Path, earlier: Path | None = None) -> None:
        super().__init__()
        self.path, self.counting = path, list[keras.callbacks.Callback]()
        begun = next((file for file in (path, earlier) if file and file.exists()), None)
        self.state: State = pickle.loads(begun.read_bytes()) if begun else State()
        self.history = {name: list(values) for name, values in self.state.history.items()}
        self.begun, self.begun_cpu = time.perf_counter(), cpu_seconds()
        self.written, self.cost = 0.0, 0.0

    def spent(self) -> tuple[float, float]:
        """Wall and processor seconds of the training so far, those before it was cut off included."""
        return (
            self.state.wall + time.perf_counter() - self.begun,
            self.state.cpu + cpu_seconds() - self.begun_cpu,
        )

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self.state.epochs:
            return
        optimizer = self.model.optimizer
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        for variable, value in zip(
            [*self.model.variables, *optimizer.variables], [*self.state.variables, *self.state.optimizer], strict=True
        ):
            variable.assign(value)
        for callback, counts in zip(self.counting, self.state.callbacks, strict=True):
            vars(callback).update(counts)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        now = time.perf_counter()
        # The last epoch is what a longer training of the same settings begins with.
        last = self.model.stop_training or epoch + 1 == self.params["epochs"]
        if last or self.cost <= SHARE * (now - self.written):
            self._write()
            self.written = time.perf_counter()
            self.cost = self.written - now

    def _write(self) -> None:
        """Write the state; a kill leaves the file as it was before."""
        counts = [
            {name: vars(callback)[name] for name in COUNTED if name in vars(callback)} for callback in self.counting
        ]
        state = State(
            [ops.convert_to_numpy(variable) for variable in self.model.variables],
            [ops.convert_to_numpy(variable) for variable in self.model.optimizer.variables],
            counts,
            self.history,
            self.model.stop_training,
            *self.spent(),
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        files.write(self.path, pickle.dumps(state))


def cpu_seconds() -> float:
    """Processor time that this process has used, over all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
