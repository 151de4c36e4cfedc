"""What a search is told on the command line."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from annotated_types import Ge

from common.app import App
from common.config import Count, Mode, check_bounds
from common.errors import UserError

Algorithm = Literal["random", "grid", "bayesian", "hyperband"]


@dataclass(frozen=True)
class Search:
    """What makes a search the one it is: with another of these it is another search."""

    algorithm: Algorithm = "random"
    """How settings are chosen: at random; all in turn; where a Gaussian process expects the best; or many for few
    epochs, of which the best go on."""
    objective: str | None = None
    """Validation figure that is sought, such as val_accuracy or val_loss; by default the app's own."""
    folds: Count = 1
    """Parts that training and validation set together are dealt to, each in turn for validation; 1 keeps the split."""
    executions: Count = 1
    """Trainings of each setting, with one seed after another; the objective is the mean of all."""
    prune: Literal["none", "median"] = "none"
    """Whether a trial ends early whose figure is worse than the median of the finished trials' at the same epoch."""
    warm_start: bool = False
    """Try the app's own settings first, and those of the champion."""
    seed: Annotated[int, Ge(0)] = 0
    """Draws the settings, and deals the folds."""

    def __post_init__(self) -> None:
        """Hold the fields to their bounds, and to one another.

        Raises:
            UserError: naming the flags that cannot be together.
        """
        check_bounds(self)
        if self.algorithm == "grid" and self.warm_start:
            raise UserError("--warm-start: a grid has an order of its own; leave one of the two out")
        if self.algorithm == "hyperband" and self.prune != "none":
            raise UserError("--prune: hyperband ends the worse trials itself; leave one of the two out")
        if self.algorithm == "hyperband" and self.folds * self.executions > 1:
            raise UserError(
                "--folds, --executions: hyperband goes on with one training of each setting; leave them out"
            )


@dataclass(frozen=True)
class Work:
    """How the search is done; it finds the same whatever these are."""

    trials: Count = 20
    """Settings that are tried, at most; a finished search goes on with a larger number."""
    workers: Count = 1
    """Processes that train at once, with one GPU or a share of the cores each."""
    chief: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """Address at which workers of other machines can ask for trials; by default none can."""
    join: bool = False
    """Work for the search of the --chief on another machine, which was begun by the same command."""
    fresh: bool = False
    """Start over, where trials of this search are finished already; asks first."""
    dry_run: bool = False
    """Only show the space, its size, and the first settings that would be tried."""

    def __post_init__(self) -> None:
        """Hold the fields to their bounds.

        Raises:
            UserError: naming the flag.
        """
        check_bounds(self)
        if self.join and not self.chief:
            raise UserError("--join needs the address of the chief: --chief HOST:PORT")
        if self.chief:
            self.address()

    def address(self) -> tuple[str, int]:
        """Host and port of the chief; without --chief this machine alone, at a port that the system picks."""
        host, colon, port = (self.chief or "127.0.0.1:0").rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:
            raise UserError(f"--chief {self.chief}: must be HOST:PORT")
        return host, int(port)


def judged_by(app: App, objective: str | None) -> App:
    """The app with another objective than its own."""
    if objective in (None, app.task.monitor):
        return app
    if not objective.startswith("val_"):
        raise UserError(f"--objective {objective}: must be a validation figure, val_NAME")
    return dataclasses.replace(app, task=dataclasses.replace(app.task, monitor=objective, mode=direction(objective)))


def direction(objective: str) -> Mode:
    """Which values of an objective are better: high ones of what counts successes, low ones of all others."""
    gains = ("accuracy", "auc", "precision", "recall", "f1", "r2", "similarity")
    return "max" if any(gain in objective.lower() for gain in gains) else "min"
