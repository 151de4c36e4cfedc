"""Checkpoints: an interrupted training resumes after its last saved step and ends in the same weights."""

import contextlib
import dataclasses
import json
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from common import files, interruption, tracking
from common.data import Array
from common.errors import UserError, first_line, print_notes

SHARE = 0.02
"""Largest share of the training time that writing may take. If epochs are very short, not every epoch is written."""
MINUTES = 10.0
"""Default of the longest time within an epoch without a checkpoint."""
COUNTED = ("wait", "best", "best_epoch", "best_weights", "cooldown_counter")
"""Attributes of Keras's callbacks that count across epochs. Keras resets them when training begins."""
WEIGHTS = "best_weights"
"""The only one of them that has arrays."""
SUFFIX = ".npz"


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
    """The state of a training after a step."""

    variables: Sequence[Array] = ()
    """Variables of the network, including the states of its random generators."""
    optimizer: Sequence[Array] = ()
    metrics: Sequence[Array] = ()
    """Sums and counts of the metrics in an epoch that is not finished."""
    callbacks: Sequence[Mapping[str, Any]] = ()
    """For each counting callback, the values of those `COUNTED` attributes that it has."""
    history: Mapping[str, list[float]] = field(default_factory=dict)
    """Metrics of every finished epoch, by name."""
    step: int = 0
    """Number of finished steps in the next epoch."""
    stopped: bool = False
    """Whether a callback ended the training."""
    wall: float = 0.0
    cpu: float = 0.0
    """Seconds of training so far."""

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(next(iter(self.history.values()), []))

    def write(self, path: Path) -> None:
        """Write the state as NumPy's arrays and JSON; if the process is killed meanwhile, the file stays as it was."""
        best = [counts.get(WEIGHTS) for counts in self.callbacks]
        groups = {"variables": self.variables, "optimizer": self.optimizer, "metrics": self.metrics}
        groups |= {f"{WEIGHTS}_{index}": weights for index, weights in enumerate(best) if weights}
        facts = {
            "arrays": {name: len(arrays) for name, arrays in groups.items()},
            "callbacks": [{name: counts[name] for name in counts if name != WEIGHTS} for counts in self.callbacks],
            **{name: getattr(self, name) for name in ("history", "step", "stopped", "wall", "cpu")},
        }
        content: dict[str, Any] = {
            f"{name}_{index}": array for name, arrays in groups.items() for index, array in enumerate(arrays)
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **content)

    @classmethod
    def read(cls, path: Path) -> "State":
        """Read a state; one that is damaged, as by a broken disk, is the beginning, which a note says."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                facts: dict[str, Any] = json.loads(str(content["facts"]))
                groups: dict[str, Any] = {
                    name: [content[f"{name}_{index}"] for index in range(count)]
                    for name, count in facts.pop("arrays").items()
                }
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            print_notes([f"{path}: this checkpoint cannot be read ({first_line(error)}); training begins again"])
            return cls()
        for index, counts in enumerate(facts["callbacks"]):
            if weights := groups.pop(f"{WEIGHTS}_{index}", None):
                counts[WEIGHTS] = weights
        return cls(**groups, **facts)


class Checkpoint(keras.callbacks.Callback):
    """A callback that saves the state of a training and restores it into the same network.

    The callbacks in `counting` come before this one in `fit`; their counts are saved too. After a signal, it saves the
    state at the end of the step and stops the training.

    Args:
        path: File of the state. If it exists, training resumes from it.
        earlier: File that another training with the same settings left. It is read if `path` does not exist.
        minutes: Longest time without a checkpoint within an epoch.
        state: State to resume from instead.
    """

    def __init__(
        self, path: Path, earlier: Path | None = None, minutes: float = MINUTES, state: State | None = None
    ) -> None:
        super().__init__()
        self.path, self.minutes, self.counting = path, minutes, list[keras.callbacks.Callback]()
        if state is None:
            found = next((file for file in (path, earlier) if file and tracking.has_checkpoint(file)), None)
            state = State.read(found) if found else State()
        self.state = state
        self.history = {name: list(values) for name, values in self.state.history.items()}
        self.stopwatch = Stopwatch(self.state.wall, self.state.cpu)
        self.written, self.cost = time.perf_counter(), 0.0

    def part(self, name: str) -> "Checkpoint":
        """Return the checkpoint of a training that is part of this one, in a file beside this one's."""
        return Checkpoint(self.path.with_name(f"{self.path.stem}-{name}{SUFFIX}"), minutes=self.minutes)

    def end_parts(self, model: keras.Model) -> None:
        """Save the network, whose parts have been trained, in place of their checkpoints."""
        if parts := list(self.path.parent.glob(f"{self.path.stem}-*{SUFFIX}")):
            self.set_model(model)
            self._write()
            for part in parts:
                tracking.delete_checkpoint(part)

    def restore(self, model: keras.Model) -> None:
        """Set the variables of the network and its optimizer.

        Raises:
            UserError: if the network is another one.
        """
        try:
            assign(model, [*self.state.variables, *self.state.optimizer])
        except ValueError as error:
            raise UserError(f"{self.path}: of another network; its code has changed since; train again") from error

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self.state.variables:
            return
        self.restore(self.model)
        for callback, counts in zip(self.counting, self.state.callbacks, strict=False):  # none before the first epoch
            vars(callback).update(counts)
        self.state = dataclasses.replace(self.state, variables=(), optimizer=(), callbacks=())  # frees their memory

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.state.step and epoch == self.state.epochs:  # Keras has just reset the metrics
            for variable, value in zip(self.model.metrics_variables, self.state.metrics, strict=True):
                variable.assign(value)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch + 1 >= self.params["steps"]:
            return  # the epoch's end follows
        if interruption.requested() or time.perf_counter() - self.written > 60 * self.minutes:
            self._write(self.state.step + batch + 1)
            interruption.check()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        # A longer training with the same settings starts from the last epoch.
        last = self.model.stop_training or epoch + 1 == self.params["epochs"] or interruption.requested()
        if last or self.cost <= SHARE * (time.perf_counter() - self.written):
            self._write()
        interruption.check()

    def save(self, state: State) -> None:
        """Write a state to the file, and to its copy."""
        state.write(self.path)
        tracking.copy_checkpoint(self.path)

    def _write(self, step: int = 0) -> None:
        """Save the state after an epoch, or after a step of the next one."""
        began, model = time.perf_counter(), self.model
        counts = [
            {name: vars(callback)[name] for name in COUNTED if name in vars(callback)} for callback in self.counting
        ]
        state = State(
            _numbers(model.variables),
            _numbers(_optimizer_variables(model)),
            _numbers(model.metrics_variables) if step else (),
            counts,
            {name: list(values) for name, values in self.history.items()},
            step,
            model.stop_training,
            *self.stopwatch.seconds(),
        )
        self.save(state)
        if self.state.step and not step:  # the rest of an epoch has ended; the next `fit` goes on from here
            self.state = state
        self.written = time.perf_counter()
        self.cost = self.written - began


class Followed(Checkpoint):
    """A callback that resumes from the state of another process, which writes it and decides when to stop."""

    def __init__(self, state: State) -> None:
        super().__init__(Path(os.devnull), state=state)

    def save(self, state: State) -> None:
        """Leave the state to the other process."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Leave the checkpoints within an epoch to the other process."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Go on after a signal: the other process needs this one until its checkpoint is written."""
        with contextlib.suppress(interruption.InterruptionError):
            super().on_epoch_end(epoch, logs)


def numbers(model: keras.Model) -> list[Array]:
    """Return the values of the variables of a network and of its optimizer."""
    return _numbers([*model.variables, *_optimizer_variables(model)])


def assign(model: keras.Model, values: Sequence[Array]) -> None:
    """Set the variables of a network and of its optimizer to what `numbers` returned.

    Raises:
        ValueError: if the network is another one.
    """
    for variable, value in zip([*model.variables, *_optimizer_variables(model)], values, strict=True):
        variable.assign(value)


def _optimizer_variables(model: keras.Model) -> Sequence[Any]:
    """Return the variables of the optimizer, which Keras creates before the first step at the latest."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    variables: Sequence[Any] = model.optimizer.variables
    return variables


def _numbers(variables: Sequence[Any]) -> list[Array]:
    return [ops.convert_to_numpy(variable) for variable in variables]
