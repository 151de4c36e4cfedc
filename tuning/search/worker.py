"""A process that requests trials from the chief and trains them one by one."""

import math
import os
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
from common.errors import DivergenceError
from common.preprocessing import splits
from common.training.checkpoint import SUFFIX, Checkpoint
from tuning.search import oracle
from tuning.search.options import SearchOptions
from tuning.search.space import ConfigBuilder
from tuning.search.workers import RESTART, WorkerSpec

MAX_GROWTH = 150 * 2**20
"""Bytes of memory growth since the first trial after which a new process takes over: Keras and TensorFlow do not free
all memory of a trial."""
INTERVAL = 0.2
"""Seconds before each request for a trial: a worker that has to wait repeats it."""
MIN_CURVES = 3
"""Finished trials that median pruning needs."""


@dataclass(frozen=True)
class Part:
    """One training of a trial: one seed on one fold."""

    number: int
    config: Config
    data: Data


class Worker(base_tuner.BaseTuner):
    """A KerasTuner tuner that trains trials as the app does, each recorded as a child run of the search."""

    def __init__(
        self, app: App, configs: ConfigBuilder, options: SearchOptions, spec: WorkerSpec, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.app, self.configs, self.options, self.spec = app, configs, options, spec
        self.key = tracking.RunKey(spec.search, {"search": spec.search})
        self.first_peak = 0

    def pre_create_trial(self) -> None:
        time.sleep(INTERVAL)

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)
        self.first_peak = self.first_peak or tracking.peak_memory()
        if tracking.peak_memory() > self.first_peak + MAX_GROWTH:
            sys.exit(RESTART)

    def run_trial(self, trial: Any, *_arguments: Any, **_options: Any) -> dict[str, float]:
        """Train the trial, or resume it.

        Returns:
            The objective by its name.

        Raises:
            FailedTrialError: If the loss or the objective is not finite, or the trial killed its process before.
        """
        key = replace(self.key, tags={**self.key.tags, "trial": trial.trial_id})
        with self.spec.current_trial(trial.trial_id):
            metrics = tracking.finished("trial", key)
            if not metrics:
                metrics = self._train(self.configs(trial.hyperparameters), key, trial.hyperparameters.values)
        return {self.app.task.monitor: metrics[f"best_{self.app.task.monitor}"]}

    def _train(self, config: Config, key: tracking.RunKey, values: Mapping[str, Any]) -> Mapping[str, float]:
        data, trial = self.app.load_data(config), key.tags["trial"]
        with tracking.run(self.app, "trial", config, data, f"trial {trial}", key) as run:
            if error := self.spec.fatal_trials.get(trial):
                raise FailedTrialError(error)
            parts = list(split(self.app, self.options, config, data))
            if len(parts) == 1:
                metrics = self._fit(parts[0], run, trial, values)
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
            state_file(self.spec.folder, trial, part.number),
            state_file(self.spec.folder, previous, part.number) if previous else None,
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


def run(app: App, configs: ConfigBuilder, options: SearchOptions, spec: WorkerSpec) -> None:
    """Train trials until the chief has no more, or until the process asks to be replaced."""
    threading.Thread(target=_end_with_parent, args=(spec.parent,), daemon=True).start()
    app = app.for_data(app.load_data(configs.default))
    objective = keras_tuner.Objective(app.task.monitor, app.task.mode)
    with tempfile.TemporaryDirectory() as folder:
        # KerasTuner requires an oracle here and then replaces it with a client of the chief's.
        placeholder = oracle.create(options, configs, objective, Path(folder) / "oracle")
        Worker(app, configs, options, spec, oracle=placeholder, directory=folder).search()


def _end_with_parent(parent: int) -> None:
    """End this process once its parent is gone: the search may be resumed at once."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def state_file(folder: Path, trial: str, part: int) -> Path:
    """Return the file of a part's checkpoint."""
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
