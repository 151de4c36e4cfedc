"""KerasTuner's oracles, made to survive: what one knows is written after every change, whole or not at all."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from common.config import Config
from common.errors import UserError
from tuning.search import space
from tuning.search.options import Search
from tuning.search.space import Settings

NEVER = 10**9
"""Failed trials in a row after which KerasTuner would end a search: failures are told at its end."""


class Durable(keras_tuner.Oracle):
    """An oracle whose file `path` always holds all it knows.

    KerasTuner's own files are written one by one and in place, so a kill leaves them torn, and the order of a grid is
    in none of them. A worker that comes back, by its name, is given the trial that it was given before.
    `given` settings are tried before those of the algorithm, which does not see them.
    """

    path: Path
    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]
    given: Sequence[str] = ()

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            self.write()
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        number = trial.trial_id
        if number in self._retry_queue:  # its worker was thought to be gone
            self._retry_queue.remove(number)
        if number not in self.end_order:
            super().end_trial(trial)
        self.ongoing_trials = {name: one for name, one in self.ongoing_trials.items() if one.trial_id != number}
        self.write()

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        tried = len(self.trials)
        if tried < len(self.given):
            # KerasTuner would fill in what is missing, unseeded.
            defaults = {parameter.name: parameter.default for parameter in self.hyperparameters.space}
            return {"status": TrialStatus.RUNNING, "values": {**defaults, space.GIVEN: self.given[tried]}}
        every = self.trials
        self.trials = {key: trial for key, trial in every.items() if space.GIVEN not in trial.hyperparameters.values}
        try:
            proposed: dict[str, Any] = super().populate_space(trial_id)
            return proposed
        finally:
            self.trials = every

    def write(self) -> None:
        """Write all that the oracle knows."""
        temporary = self.path.with_suffix(".partial")
        temporary.write_bytes(cloudpickle.dumps(self))
        temporary.replace(self.path)

    def save(self) -> None:
        """Nothing: KerasTuner's files are not read again."""

    @keras_tuner.synchronized
    def finished(self) -> list[Any]:
        """The trials that have ended, in that order."""
        return [self.trials[key] for key in self.end_order]


class Random(Durable, keras_tuner.oracles.RandomSearchOracle):
    """Random search."""


class Grid(Durable, keras_tuner.oracles.GridSearchOracle):
    """Grid search."""


class Bayesian(Durable, keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian optimisation with a Gaussian process."""


class Hyperband(Durable, keras_tuner.oracles.HyperbandOracle):
    """Hyperband (Li et al. 2018)."""


def begin(
    search: Search, settings: Settings, objective: keras_tuner.Objective, path: Path, given: Sequence[Config] = ()
) -> Durable:
    """A new oracle, which is written to `path` from its first trial on."""
    options: dict[str, Any] = {
        "objective": objective,
        "hyperparameters": space.explore(settings.space),
        "seed": search.seed + 1,  # KerasTuner takes 0 for none
        "max_consecutive_failed_trials": NEVER,
    }
    oracle: Durable
    match search.algorithm:
        case "random":
            oracle = Random(**options)
        case "grid":
            oracle = Grid(**options)
        case "bayesian":
            oracle = Bayesian(**options)
        case "hyperband":
            epochs = space.epochs(settings, search.algorithm)
            oracle = Hyperband(**options, max_epochs=epochs, hyperband_iterations=NEVER)
    oracle.path = path
    oracle.given = [json.dumps(vars(config)) for config in given]
    oracle.verbose = 0
    return oracle


def read(path: Path) -> Durable:
    """The oracle that `path` holds.

    Raises:
        UserError: where it cannot be read by these versions of the libraries.
    """
    try:
        oracle: Durable = cloudpickle.loads(path.read_bytes())
    except Exception as error:  # whatever a change of a library's classes makes of it
        raise UserError(f"{path}: this search cannot be gone on with ({error}); --fresh starts it over") from error
    oracle.path = path
    return oracle


def give_back(oracle: Durable, workers: Sequence[str]) -> None:
    """Let the running trials of all but these `workers` be given to any: theirs will not come back."""
    for name in set(oracle.ongoing_trials) - set(workers):
        oracle._retry_queue.append(oracle.ongoing_trials.pop(name).trial_id)
    oracle.tuner_ids &= set(workers)


# What KerasTuner's chief says of every call.
logging.getLogger("grpc").setLevel(logging.ERROR)
