"""KerasTuner's oracles, saved after every change."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import keras_tuner

from common import files
from common.config import Config
from common.errors import UserError
from common.tasks import Task
from tuning.search import space
from tuning.search.options import SearchOptions
from tuning.search.space import ConfigBuilder

NEVER = 10**9
"""A limit that no search reaches."""


class PersistentOracle(keras_tuner.Oracle):
    """An oracle whose file `path` always holds its whole state.

    KerasTuner writes several files in place, which an interruption corrupts, and none of them has the order of a grid.
    The `first_settings`, as JSON, are tried before the algorithm's proposals; the algorithm does not see them.

    `_retry_queue` and `_save_trial` are private to KerasTuner.
    """

    path: Path
    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]
    first_settings: Sequence[str] = ()

    def create_trial(self, tuner_id: str) -> Any:
        trial = super().create_trial(tuner_id)
        if trial.status == "RUNNING":
            self._write()
        return trial

    def end(self, trial: Any, score: float | None, error: str | None) -> None:
        """End a trial with its objective, or with an error."""
        if score is not None:
            self.update_trial(trial.trial_id, {self.objective.name: score})
        trial.status, trial.message = "FAILED" if score is None else "COMPLETED", error
        self.end_trial(trial)
        self._write()

    def requeue(self, worker: str) -> None:
        """Give the running trial of a worker that is gone to one that asks, before other trials."""
        self._retry_queue.insert(0, self.ongoing_trials.pop(worker).trial_id)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        trials = self.trials
        if len(trials) < len(self.first_settings):
            # KerasTuner would draw the missing values without the seed.
            values = {parameter.name: parameter.default for parameter in self.hyperparameters.space}
            return {"status": "RUNNING", "values": {**values, space.SETTINGS: self.first_settings[len(trials)]}}
        self.trials = {key: one for key, one in trials.items() if space.SETTINGS not in one.hyperparameters.values}
        try:
            proposal: dict[str, Any] = super().populate_space(trial_id)
            return proposal
        finally:
            self.trials = trials

    def finished(self) -> list[Any]:
        """Return the finished trials in the order in which they ended."""
        return [self.trials[key] for key in self.end_order]

    def _write(self) -> None:
        files.write(self.path, cloudpickle.dumps(self))

    def save(self) -> None:
        """Do nothing: KerasTuner's own files are not used."""

    def _save_trial(self, trial: Any) -> None:
        """Do nothing, as `save`."""


class RandomOracle(PersistentOracle, keras_tuner.oracles.RandomSearchOracle):
    """Random search."""


class GridOracle(PersistentOracle, keras_tuner.oracles.GridSearchOracle):
    """Grid search with parallel trials.

    KerasTuner's oracle proposes a trial only when the previous one has ended, because that one may extend the space.
    Here the space is explored beforehand, so the next proposal need not wait.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        proposal = super().populate_space(trial_id)
        if proposal["status"] == "RUNNING":
            self._populate_next.append(trial_id)  # private to KerasTuner: trials whose successor is to be proposed
        return proposal


class BayesianOracle(PersistentOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian optimisation with a Gaussian process."""


class HyperbandOracle(PersistentOracle, keras_tuner.oracles.HyperbandOracle):
    """Hyperband (Li et al. 2018)."""


ORACLES: dict[str, type[PersistentOracle]] = {
    "random": RandomOracle,
    "grid": GridOracle,
    "bayesian": BayesianOracle,
    "hyperband": HyperbandOracle,
}


def create(
    options: SearchOptions,
    configs: ConfigBuilder,
    task: Task,
    path: Path,
    first: Sequence[Config] = (),
) -> PersistentOracle:
    """Return a new oracle, which writes its state to `path` from its first trial on.

    Args:
        options: The algorithm and its seed.
        configs: The search space, with the settings that are fixed.
        task: The task, whose monitor is optimised.
        path: The file of its state.
        first: Settings to try before those that the algorithm proposes.
    """
    arguments: dict[str, Any] = {
        "objective": keras_tuner.Objective(task.monitor, task.mode),
        "hyperparameters": space.explore(configs.space),
        "seed": options.seed + 1,  # KerasTuner ignores seed 0
        "max_consecutive_failed_trials": NEVER,  # failures are reported at the end of the search
    }
    if options.algorithm == "hyperband":
        arguments |= {"max_epochs": space.epochs(configs), "hyperband_iterations": NEVER}
    oracle = ORACLES[options.algorithm](**arguments)
    oracle.path = path
    oracle.first_settings = [json.dumps(vars(config)) for config in first]
    oracle.verbose = 0
    return oracle


def load(path: Path) -> PersistentOracle:
    """Return the oracle whose state is in the file `path`.

    Raises:
        UserError: If the file is damaged or of other versions of this code or its libraries.
    """
    try:
        oracle: PersistentOracle = cloudpickle.loads(path.read_bytes())
    except Exception as error:  # unpickling can raise anything
        raise UserError(f"{path}: cannot resume this search ({error}); add --fresh to start it over") from error
    oracle.path = path
    return oracle
