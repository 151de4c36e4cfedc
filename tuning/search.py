"""KerasTuner meets the store: a search is a run, each of its trials a run below it, with the app's own settings."""

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from annotated_types import Ge
from rich.console import Console
from rich.table import Table

from common import cli
from common.app import App, Config, check_bounds

Space = Callable[[Any], Config]
"""What a tuning file defines: KerasTuner's hyperparameters to settings of the app."""

SHOWN = 5
"""Trials in the table at the end."""


@dataclass(frozen=True)
class Search:
    """Settings of a random search."""

    trials: Annotated[int, Ge(1)] = 20
    """Settings that are drawn and trained, at most; the same settings are not trained twice."""
    seed: Annotated[int, Ge(0)] = 0
    """Draws the settings."""

    def __post_init__(self) -> None:
        """Hold the fields to their bounds, as an app's settings are."""
        check_bounds(self)


def main(app: App, space: Space, description: str | None = None) -> None:
    """The command line of a search: `python -m tuning.NAME --trials 20`."""
    with cli.plain_errors():
        run(app, space, tyro.cli(Search, prog=f"python -m tuning.{app.name}", description=description))


def run(app: App, space: Space, search: Search) -> None:
    """Train every trial on one split, record it, and show the best by validation; the test set is not read."""
    from common import lazy, tracking, training

    with lazy.quiet_native_log():
        import keras_tuner
    data = app.load_data(app.config())

    class Tuner(keras_tuner.RandomSearch):
        def run_trial(self, trial: Any, *_arguments: Any, **_options: Any) -> dict[str, float]:
            return training.trial(app, space(trial.hyperparameters), data)

    with tracking.run(app, "search", search, data), tempfile.TemporaryDirectory() as folder:
        objective = keras_tuner.Objective(f"best_{app.task.objective}", app.task.direction)
        # KerasTuner takes the seed 0 for none.
        tuner = Tuner(objective=objective, max_trials=search.trials, seed=search.seed + 1, directory=folder)
        tuner.search()
        best = tuner.oracle.get_best_trials(SHOWN)
    _show(app, [(trial.score, space(trial.hyperparameters)) for trial in best])


def _show(app: App, trials: list[tuple[float, Config]]) -> None:
    """The best trials, and the command that trains with the first one's settings."""
    table = Table(f"best {app.task.objective}", "settings that differ from the defaults")
    for score, config in trials:
        table.add_row(f"{score:.4g}", _flags(app, config))
    Console().print(table)
    print(f"next: python -m apps.{app.name} train {_flags(app, trials[0][1])}")


def _flags(app: App, config: Config) -> str:
    """The flags that give `config`."""
    default = dataclasses.asdict(app.config())
    changed = {name: value for name, value in dataclasses.asdict(config).items() if value != default[name]}
    words = []
    for name, value in changed.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            values = value if isinstance(value, tuple) else [value]
            words += [f"--{flag}", *map(str, values)]
    return " ".join(words)
