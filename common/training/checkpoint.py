"""Checkpoints: an interrupted training resumes after its last saved epoch and ends in the same weights."""

import pickle
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
"""Largest share of the training time that writing may take. If epochs are very short, not every epoch is written."""
COUNTED = ("wait", "best", "best_epoch", "best_weights", "cooldown_counter")
"""Attributes of Keras's callbacks that count across epochs. Keras resets them when training begins."""


class Stopwatch:
    """Elapsed wall and processor seconds, the latter over all threads of this process.

    Args:
        wall: Wall seconds that are already spent, as before an interruption.
        cpu: Processor seconds that are already spent.
    """

    def __init__(self, wall: float = 0.0, cpu: float = 0.0) -> None:
        self._wall, self._cpu = time.perf_counter() - wall, time.process_time() - cpu

    def seconds(self) -> tuple[float, float]:
        """Return the wall and the processor seconds so far."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


@dataclass(frozen=True)
class State:
    """The state of a training after an epoch."""

    variables: Sequence[Array] = ()
    """Variables of the network, including the states of its random generators."""
    optimizer: Sequence[Array] = ()
    callbacks: Sequence[dict[str, Any]] = ()
    """For each counting callback, the values of those `COUNTED` attributes that it has."""
    history: dict[str, list[float]] = field(default_factory=dict)
    """Metrics of every epoch, by name."""
    stopped: bool = False
    """Whether a callback ended the training."""
    wall: float = 0.0
    cpu: float = 0.0
    """Seconds of training so far."""

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(next(iter(self.history.values()), []))


class Checkpoint(keras.callbacks.Callback):
    """A callback that saves the state of a training and restores it into the same network.

    The callbacks in `counting` come before this one in `fit`; their counts are saved too.

    Args:
        path: File of the state. If it exists, training resumes from it.
        earlier: File that another training with the same settings left. It is read if `path` does not exist.
    """

    def __init__(self, path: Path, earlier: Path | None = None) -> None:
        super().__init__()
        self.path, self.counting = path, list[keras.callbacks.Callback]()
        found = next((file for file in (path, earlier) if file and file.exists()), None)
        self.state: State = pickle.loads(found.read_bytes()) if found else State()
        self.history = {name: list(values) for name, values in self.state.history.items()}
        self.stopwatch = Stopwatch(self.state.wall, self.state.cpu)
        self.written, self.cost = 0.0, 0.0

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
        # A longer training with the same settings starts from the last epoch.
        last = self.model.stop_training or epoch + 1 == self.params["epochs"]
        if last or self.cost <= SHARE * (now - self.written):
            self._write()
            self.written = time.perf_counter()
            self.cost = self.written - now

    def _write(self) -> None:
        """Write the state; if the process is killed meanwhile, the file stays as it was."""
        counts = [
            {name: vars(callback)[name] for name in COUNTED if name in vars(callback)} for callback in self.counting
        ]
        state = State(
            [ops.convert_to_numpy(variable) for variable in self.model.variables],
            [ops.convert_to_numpy(variable) for variable in self.model.optimizer.variables],
            counts,
            self.history,
            self.model.stop_training,
            *self.stopwatch.seconds(),
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        files.write(self.path, pickle.dumps(state))
