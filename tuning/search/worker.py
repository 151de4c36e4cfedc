"""Train trials in a worker process, each recorded as a child run of the search."""

import functools
import gc
import importlib
import math
import statistics
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from common import interruption, tracking, training
from common.app import App
from common.config import Config
from common.data import Data
from common.errors import DivergenceError, first_line
from common.preprocessing import splits
from common.training.checkpoint import SUFFIX, Checkpoint
from tuning.search.options import SearchOptions, with_objective
from tuning.search.specs import Outcome, SearchSpec, TrialSpec

MAX_GROWTH = 150 * 2**20
"""Bytes of memory growth since the first trial after which a new process takes over: Keras and TensorFlow do not free
all memory of a trial."""
MIN_CURVES = 3
"""Finished trials that median pruning needs."""


class FailedTrialError(Exception):
    """A trial that has no objective."""


@dataclass(frozen=True)
class Part:
    """One training of a trial: one seed on one fold."""

    number: int
    config: Config
    data: Data


@functools.cache
def trainer(search: SearchSpec) -> "Trainer":
    """Return the trainer of a search in this process, which loads the data once."""
    found = Trainer(search)
    gc.freeze()  # `clear_session` collects garbage after each trial, and need not search the libraries' objects
    return found


class Trainer:
    """Trains the trials of a search as the app does.

    Raises:
        UserError: If the data cannot be loaded.
    """

    def __init__(self, search: SearchSpec) -> None:
        app = with_objective(importlib.import_module(search.module).app, search.options.objective)
        self.app = app.for_data(app.load_data(search.default))
        self.options, self.folder = search.options, tracking.checkpoints(search.run)
        self.key = tracking.RunKey(search.run, {"search": search.run})
        self.first_peak = 0

    def train(self, trial: TrialSpec) -> Outcome:
        """Train a trial, or resume it. Its errors are part of the outcome."""
        key = replace(self.key, tags={**self.key.tags, "trial": trial.number})
        score = error = None
        try:
            with interruption.handled():
                metrics = tracking.finished("trial", key) or self._train(trial, key)
            score = metrics[f"best_{self.app.task.monitor}"]
        except Exception as failure:
            traceback.print_exc()
            error = f"{type(failure).__name__}: {first_line(failure)}"
        self.first_peak = self.first_peak or tracking.peak_memory()
        return Outcome(score, error, tracking.peak_memory() > self.first_peak + MAX_GROWTH)

    def _train(self, trial: TrialSpec, key: tracking.RunKey) -> Mapping[str, float]:
        data, config, number = self.app.load_data(trial.config), trial.config, trial.number
        with tracking.run(self.app, "trial", config, data, f"trial {number}", key) as run:
            if trial.error:
                raise FailedTrialError(trial.error)
            parts = list(split(self.app, self.options, config, data))
            if len(parts) == 1:
                metrics = self._fit(parts[0], run, number, trial.values)
            else:
                fitted = [self._fit_part(part, run, key) for part in parts]
                metrics = means([one for one in fitted if one])
                run.log_metrics(metrics)
            for name in ("loss", self.app.task.monitor):
                if not math.isfinite(value := metrics[f"best_{name}"]):
                    raise FailedTrialError(f"{name} is {value}")
        return metrics

    def _fit_part(self, part: Part, trial_run: tracking.ActiveRun, key: tracking.RunKey) -> Mapping[str, float] | None:
        """Train one of several parts in a child run of the trial; None if the trial has been pruned."""
        if trial_run.tags().get("pruned"):
            return None
        key = key.below(trial_run, part=str(part.number))
        metrics = tracking.finished("fold", key)
        if not metrics:
            label = f"trial {key.tags['trial']} part {part.number}"
            with tracking.run(self.app, "fold", part.config, part.data, label, key) as run:
                metrics = self._fit(part, run, key.tags["trial"], {})
        (recorded,) = tracking.find({"kind": "fold", **key.tags})
        if pruned := recorded.data.tags.get("pruned"):
            trial_run.tag("pruned", pruned)
        return metrics

    def _fit(self, part: Part, run: tracking.ActiveRun, trial: str, values: Mapping[str, Any]) -> dict[str, float]:
        """Train a part from its checkpoint, or from that of the trial that Hyperband continues."""
        previous = values.get("tuner/trial_id")
        checkpoint = Checkpoint(
            state_file(self.folder, trial, part.number),
            state_file(self.folder, previous, part.number) if previous else None,
        )
        callbacks = list[keras.callbacks.Callback]()
        if self.options.prune == "median":
            callbacks.append(MedianPruning(self.app, run, finished_curves(self.app, self.key, part.number, run)))
        options = training.FitOptions(values.get("tuner/epochs"), checkpoint, callbacks)
        try:
            return training.trial(self.app, part.config, part.data, run, options)
        except DivergenceError as error:
            raise FailedTrialError(str(error)) from error
        finally:
            keras.backend.clear_session()


def state_file(folder: Path, trial: str, part: int) -> Path:
    """Return the file of a part's checkpoint, in the folder of those of the search."""
    return folder / f"trial_{trial}" / f"{part}{SUFFIX}"


def split(app: App, options: SearchOptions, config: Config, data: Data) -> Iterator[Part]:
    """Yield the trainings of a trial: every seed on every fold, counted from 1."""
    parts = [data]
    if options.folds > 1:
        parts = list(splits.k_folds(data, options.folds, app.task.fold_strategy, options.seed))
    for fold, part in enumerate(parts):
        for execution in range(options.executions):
            seed = config.seed + execution
            yield Part(1 + fold * options.executions + execution, replace(config, seed=seed), part)


def means(trainings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each metric over several trainings, and add the standard error of those of the best epoch."""
    averaged = {}
    for name in trainings[0]:
        values = [metrics[name] for metrics in trainings]
        averaged[name] = statistics.fmean(values)
        if name.startswith("best_") and len(values) > 1:
            averaged[f"{name}_se"] = statistics.stdev(values) / math.sqrt(len(values))
    return averaged


def finished_curves(app: App, key: tracking.RunKey, part: int, run: tracking.ActiveRun) -> list[list[float]]:
    """Return the objective's curves of this part in all finished trials but that of `run`.

    The shorter curves of pruned trials are included: without them the median would be that of the best trials alone.
    """
    parts = tracking.find({**key.tags, "kind": "fold", "part": str(part)})
    others = parts or tracking.find({**key.tags, "kind": "trial"})
    return [
        tracking.curve(run.client, other.info.run_id, app.task.monitor)
        for other in others
        if other.info.status == "FINISHED" and other.info.run_id != run.id
    ]


class MedianPruning(keras.callbacks.Callback):
    """Stops a training whose objective is worse than the median of `curves` at the same epoch, and tags its run."""

    def __init__(self, app: App, run: tracking.ActiveRun, curves: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.task, self.run, self.curves = app.task, run, curves

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = [curve[epoch] for curve in self.curves if len(curve) > epoch and math.isfinite(curve[epoch])]
        if len(values) < MIN_CURVES:
            return
        value, median = (logs or {})[self.task.monitor], statistics.median(values)
        if value < median if self.task.mode == "max" else value > median:
            self.model.stop_training = True
            self.run.tag("pruned", f"epoch {epoch + 1}")
