"""A process that asks the chief for trials and trains them, one after another."""

import math
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine import base_tuner
from keras_tuner.errors import FailedTrialError

from common import tracking, training
from common.app import App
from common.config import Config
from common.data import Data
from common.preprocessing import splits
from common.training.checkpoint import Checkpoint
from tuning.search import crew, oracle
from tuning.search.options import Search
from tuning.search.space import Settings

GROWTH = 150
"""MiB by which a process may grow after its first trial, before another takes its place: each trial leaves some behind,
in Keras and TensorFlow, that cannot be freed."""
POLL = 0.2
"""Seconds before each request for a trial, so that one who has to wait does not storm the chief."""
STANDARD = 3
"""Finished trials from which on one is measured by their median."""


@dataclass(frozen=True)
class Part:
    """One training of a trial: with a seed, and on a fold."""

    number: int
    config: Config
    data: Data


class Worker(base_tuner.BaseTuner):
    """Trains trials as the app does, and records each as a run below the search's."""

    def __init__(
        self, app: App, settings: Settings, search: Search, assignment: crew.Assignment, **options: Any
    ) -> None:
        super().__init__(**options)
        self.app, self.settings, self.options, self.assignment = app, settings, search, assignment
        self.key = tracking.RunKey(assignment.search, {"search": assignment.search})
        self.peak = 0.0

    def pre_create_trial(self) -> None:
        time.sleep(POLL)

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)
        self.peak = self.peak or peak_memory()
        if peak_memory() > self.peak + GROWTH:
            sys.exit(crew.MORE)

    def run_trial(self, trial: Any, *_arguments: Any, **_options: Any) -> dict[str, float]:
        """Train the trial, or go on with it; gives the objective.

        Raises:
            FailedTrialError: where the objective is no number, or the trial killed the process before.
        """
        with self.assignment.at(trial.trial_id) as deadly:
            values, config = trial.hyperparameters.values, self.settings(trial.hyperparameters)
            key = replace(self.key, tags={**self.key.tags, "trial": trial.trial_id})
            done = tracking.finished("trial", key)
            if not done:
                done = self._train(config, key, values, deadly)
            return {self.app.task.monitor: done[f"best_{self.app.task.monitor}"]}

    def _train(
        self, config: Config, key: tracking.RunKey, values: Mapping[str, Any], deadly: str | None
    ) -> Mapping[str, float]:
        data, number = self.app.load_data(config), key.tags["trial"]
        with tracking.run(self.app, "trial", config, data, f"trial {number}", key) as run:
            if deadly:
                raise FailedTrialError(deadly)
            parts = list(divided(self.app, self.options, config, data))
            if len(parts) == 1:
                measured = self._fit(parts[0], run, number, values)
            else:
                every = [self._fit_part(part, run, key) for part in parts]
                measured = means([one for one in every if one])
                run.log_metrics(measured)
            for name in ("loss", self.app.task.monitor):
                if not math.isfinite(value := measured[f"best_{name}"]):
                    raise FailedTrialError(f"{name} is {value}")
        return measured

    def _fit_part(self, part: Part, above: tracking.ActiveRun, key: tracking.RunKey) -> Mapping[str, float] | None:
        """Train one of several parts as a run of its own below the trial's; None where the trial is pruned already."""
        if above.tags().get("pruned"):
            return None
        key = key.below(above, part=str(part.number))
        measured = tracking.finished("fold", key)
        if not measured:
            label = f"trial {key.tags['trial']} part {part.number}"
            with tracking.run(self.app, "fold", part.config, part.data, label, key) as run:
                measured = self._fit(part, run, key.tags["trial"], {})
        (recorded,) = tracking.find({"kind": "fold", **key.tags})
        if pruned := recorded.data.tags.get("pruned"):
            above.tag("pruned", pruned)
        return measured

    def _fit(self, part: Part, run: tracking.ActiveRun, trial: str, values: Mapping[str, Any]) -> dict[str, float]:
        """Train a part to where it is to go, from where it is."""
        file = state_file(self.assignment.folder, trial, part.number)
        earlier = values.get("tuner/trial_id")
        before = state_file(self.assignment.folder, earlier, part.number) if earlier else None
        callbacks: list[keras.callbacks.Callback] = [Finite()]
        if self.options.prune == "median":
            callbacks.append(Pruning(self.app, run, finished_curves(self.app, self.key, part.number, run)))
        options = training.FitOptions(values.get("tuner/epochs"), Checkpoint(file, before), callbacks)
        try:
            return training.trial(self.app, part.config, part.data, run, options)
        finally:
            keras.backend.clear_session()


def work(app: App, settings: Settings, search: Search, assignment: crew.Assignment) -> None:
    """Train trials until the chief has no more, or until the process is to be replaced by a new one."""
    threading.Thread(target=_end_with_parent, args=(assignment.parent,), daemon=True).start()
    objective = keras_tuner.Objective(app.task.monitor, app.task.mode)
    with tempfile.TemporaryDirectory() as folder:
        # KerasTuner asks the chief, whose oracle this one is not; it wants one to begin with.
        mine = oracle.begin(search, settings, objective, Path(folder) / "oracle")
        Worker(app, settings, search, assignment, oracle=mine, directory=folder).search()


def peak_memory() -> float:
    """MiB of memory that this process has occupied at most."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _end_with_parent(parent: int) -> None:
    """End the process when the one that watches over it is gone, for the search may be begun again at once."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def state_file(folder: Path, trial: str, part: int) -> Path:
    """Where the state of a training is kept."""
    return folder / f"trial_{trial}" / f"{part}.state"


def divided(app: App, search: Search, config: Config, data: Data) -> Iterator[Part]:
    """The trainings of a trial: each fold with each seed."""
    dealt = (
        [data] if search.folds == 1 else list(splits.k_folds(data, search.folds, app.task.fold_strategy, search.seed))
    )
    for fold, one in enumerate(dealt):
        for execution in range(search.executions):
            seed = config.seed + execution
            yield Part(1 + fold * search.executions + execution, replace(config, seed=seed), one)


def means(every: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over several trainings, and the standard error of those of the best epoch."""
    measured = {}
    for name in every[0]:
        values = [figures[name] for figures in every]
        measured[name] = statistics.fmean(values)
        if name.startswith("best_") and len(values) > 1:
            measured[f"{name}_se"] = statistics.stdev(values) / math.sqrt(len(values))
    return measured


def finished_curves(app: App, key: tracking.RunKey, part: int, run: tracking.ActiveRun) -> list[list[float]]:
    """The curves of the objective that the finished trials' trainings of this number left.

    Those of pruned trials count as far as they go: without them the median would be that of the best alone.
    """
    parts = tracking.find({**key.tags, "kind": "fold", "part": str(part)})
    others = parts or tracking.find({**key.tags, "kind": "trial"})
    return [
        tracking.curve(run.client, other.info.run_id, app.task.monitor)
        for other in others
        if other.info.status == "FINISHED" and other.info.run_id != run.id
    ]


class Finite(keras.callbacks.Callback):
    """Ends a training whose loss is no number any more."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            self.model.stop_training = True


class Pruning(keras.callbacks.Callback):
    """Ends a training whose objective is worse than the median of other curves at the same epoch, and marks its run."""

    def __init__(self, app: App, run: tracking.ActiveRun, curves: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.task, self.run, self.curves = app.task, run, curves

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = [curve[epoch] for curve in self.curves if len(curve) > epoch]
        value = (logs or {})[self.task.monitor]
        if len(values) >= STANDARD and self.worse(value, statistics.median(values)):
            self.model.stop_training = True
            self.run.tag("pruned", f"epoch {epoch + 1}")

    def worse(self, value: float, median: float) -> bool:
        """Whether a value of the objective is worse than the median."""
        return value < median if self.task.mode == "max" else value > median
