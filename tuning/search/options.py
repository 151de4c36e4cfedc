"""The search space and the command-line options of a search."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Ge

from common.app import App
from common.config import Config, Count, Mode, check_bounds
from common.errors import UserError

Algorithm = Literal["random", "grid", "bayesian", "hyperband"]

Space = Callable[[Any], Config]
"""The function that a tuning file defines: from KerasTuner's hyperparameters to settings of the app."""


@dataclass(frozen=True)
class SearchOptions:
    """Options that identify the search. Other values start another search."""

    algorithm: Algorithm = "random"
    """How settings are proposed: at random; all of a grid; by Bayesian optimisation with a Gaussian process; or by
    Hyperband, which trains many for a few epochs and continues the best."""
    objective: str | None = None
    """Validation metric to optimise, such as val_accuracy or val_loss; by default the app's own."""
    folds: Count = 1
    """Folds of the cross-validation on the training and validation sets; 1 keeps the app's own split."""
    executions: Count = 1
    """Trainings of each setting, with consecutive seeds; the objective is their mean."""
    prune: Literal["none", "median"] = "none"
    """Whether to stop a trial that is worse than the median of the finished trials at the same epoch."""
    warm_start: bool = False
    """Try the app's own settings and the champion's first."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the proposals and of the folds."""

    def __post_init__(self) -> None:
        """Check the bounds of the fields and their combinations.

        Raises:
            UserError: If a value is out of bounds or flags exclude each other.
        """
        check_bounds(self)
        if self.algorithm == "grid" and self.warm_start:
            raise UserError("--warm-start: a grid has its own order; leave out --warm-start or --algorithm grid")
        if self.algorithm == "hyperband" and self.prune != "none":
            raise UserError("--prune: hyperband stops the worse trials itself; leave out one of the two")
        if self.algorithm == "hyperband" and self.folds * self.executions > 1:
            raise UserError("--folds, --executions: hyperband continues one training of each setting; leave them out")


@dataclass(frozen=True)
class ExecutionOptions:
    """Execution options. They do not affect which trials are run, only how many and where."""

    trials: Count = 20
    """Maximum number of trials. A larger number continues a finished search."""
    workers: Count = 1
    """Processes that train in parallel. Each has a GPU or a share of the CPU cores."""
    cluster: Annotated[str | None, tyro.conf.arg(metavar="auto|ADDRESS")] = None
    """Run the workers on the Ray cluster at this address, or on the one that this machine is part of (auto)."""
    fresh: bool = False
    """Delete the finished trials of this search, after confirmation, and start over."""
    dry_run: bool = False
    """Only show the space, its size, and the first proposals."""

    def __post_init__(self) -> None:
        """Check the bounds of the fields.

        Raises:
            UserError: If a value is out of bounds.
        """
        check_bounds(self)


def with_objective(app: App, objective: str | None) -> App:
    """Return the app with another objective; None keeps its own.

    Raises:
        UserError: If the objective is not a validation metric.
    """
    if objective in (None, app.task.monitor):
        return app
    if not objective.startswith("val_"):
        raise UserError(f"--objective {objective}: must be a validation metric, val_NAME")
    return dataclasses.replace(app, task=dataclasses.replace(app.task, monitor=objective, mode=direction(objective)))


def direction(objective: str) -> Mode:
    """Return "max" for a metric that counts successes, and "min" for all others."""
    gains = ("accuracy", "auc", "precision", "recall", "f1", "r2", "similarity")
    return "max" if any(gain in objective.lower() for gain in gains) else "min"
