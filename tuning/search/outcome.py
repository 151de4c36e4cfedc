"""What a search shows while it runs, and what comes of it: the best trials, what mattered, and the best one's model."""

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from common import tracking, training
from common.app import App
from common.cli import terminal
from common.config import Config
from common.plots import results
from common.training.checkpoint import Checkpoint
from tuning.search import space
from tuning.search.oracle import Durable
from tuning.search.space import Settings

SHOWN = 5
"""Trials in the table at the end, whose states are kept."""
ENOUGH = 6
"""Finished trials from which on it can be said what mattered."""


class Progress:
    """Says how far the search is, as often as it is asked to look: a moving bar, or in a log file a line a trial."""

    def __init__(self, oracle: Durable, trials: int) -> None:
        self.oracle, self.trials, self.said, self.began = oracle, trials, len(oracle.finished()), time.monotonic()
        self.before = self.said
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self.bar = Bar(*columns)
        self.task = self.bar.add_task("searching", total=trials, completed=self.said)

    def __enter__(self) -> "Progress":
        if self.bar.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def look(self) -> bool:
        """Tell of the trials that have finished since; whether there are any."""
        finished = self.oracle.finished()
        for number in range(self.said, len(finished)):
            trial = finished[number]
            scores = [one.score for one in finished[: number + 1] if one.status == "COMPLETED"]
            pick = max if self.oracle.objective.direction == "max" else min
            best = f"best {pick(scores):.4g}" if scores else "none has succeeded"
            result = f"{trial.score:.4g}" if trial.status == "COMPLETED" else "failed"
            left = (time.monotonic() - self.began) / (number + 1 - self.before) * (self.trials - number - 1)
            words = f"{self.oracle.objective.name} {result}, {best}, {_duration(left)} left"
            self.bar.update(self.task, completed=number + 1, description=words)
            if not self.bar.console.is_terminal:
                print(f"trial {number + 1} of {self.trials}: {words}", flush=True)
        news = len(finished) > self.said
        self.said = len(finished)
        return news


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


@dataclass(frozen=True)
class Outcome:
    """A trial that has succeeded."""

    number: str
    score: float
    config: Config
    figures: Mapping[str, float]
    """What its run measured."""
    pruned: bool = False
    """Whether it was ended before its time."""


def conclude(app: App, own: App, settings: Settings, oracle: Durable, run: tracking.ActiveRun, folder: Path) -> bool:
    """Show and record what the search has found, and train the best settings for good; whether there are any.

    `app` is judged by the search's objective; `own` by its own, as its champions are.
    """
    recorded = {one.data.tags["trial"]: one.data for one in tracking.find({"search": run.id, "kind": "trial"})}
    finished = oracle.finished()
    failed = [trial for trial in finished if trial.status != "COMPLETED"]
    if failed:
        first = failed[0].trial_id
        message = (failed[0].message or "no reason was left").strip().splitlines()[-1]
        said = recorded[first].tags.get("error", message) if first in recorded else message
        print(f"failed: {_numbered([trial.trial_id for trial in failed], finished)}; {said}")
    trials = [
        Outcome(
            trial.trial_id,
            trial.score,
            settings(trial.hyperparameters),
            recorded[trial.trial_id].metrics,
            "pruned" in recorded[trial.trial_id].tags,
        )
        for trial in finished
        if trial.status == "COMPLETED"
    ]
    if pruned := [trial.number for trial in trials if trial.pruned]:
        print(f"pruned: {_numbered(pruned, finished)}")
    whole = [trial for trial in trials if not trial.pruned]
    ranked = sorted(whole, key=lambda trial: trial.score, reverse=app.task.mode == "max")
    if not ranked:
        run.tag("error", "every trial failed")
        print(f"every trial failed; their runs below {run.id} tell why")
        return False
    forget(folder, oracle)
    tables = {"best_trials": _best(app, ranked), "importance": importance(ranked)}
    figure = results.best_so_far([trial.score for trial in finished], app.task.monitor, app.task.mode)
    run.log_figure(figure, "best_so_far")
    for name, table in tables.items():
        if len(table):
            run.log_table(table, name)
            Console().print(terminal.table(table, name.replace("_", " ")))
    best = ranked[0]
    run.log_metrics({f"best_{app.task.monitor}": best.score, "trials": len(finished), "failed": len(failed)})
    final = folder / f"final_{best.number}.state"
    key = tracking.RunKey(run.id, {"search": run.id, "tuned": best.number})
    if tracking.finished("train", key):
        print(f"trial {best.number}, the best, has been trained for good already")
    else:
        print(f"trial {best.number}, the best, is trained for good with all but the test set")
        result = training.retrain(own, best.config, best.figures, key, Checkpoint(final))
        terminal.summarise(app, result)
        final.unlink(missing_ok=True)
    flags = space.flags(best.config, app.settings())
    print(f"alone, with the same settings: {terminal.this_python()} -m apps.{app.name} train {flags}")
    return True


def _numbered(some: Sequence[str], every: Sequence[object]) -> str:
    """How many trials these are of all, and which."""
    return f"{len(some)} of {len(every)} trials ({', '.join(some)})"


def _best(app: App, ranked: Sequence[Outcome]) -> pd.DataFrame:
    """The best trials, the best first, with the settings in which trials differ."""
    name, names = app.task.monitor, space.varied([trial.config for trial in ranked])
    rows = []
    for trial in ranked[:SHOWN]:
        row = {"trial": trial.number, name: trial.score}
        if f"best_{name}_se" in trial.figures:
            row["standard error"] = trial.figures[f"best_{name}_se"]
        row |= {"epoch": round(trial.figures["best_epoch"], 1), "s": round(trial.figures["train_seconds"], 1)}
        rows.append(row | {setting: getattr(trial.config, setting) for setting in names})
    return pd.DataFrame(rows)


def importance(ranked: Sequence[Outcome]) -> pd.DataFrame:
    """How much each setting mattered: what a random forest that foretells the objective loses in R² without it.

    The loss is measured by permuting the setting's values among the trials (Breiman 2001, section 10).
    """
    names = space.varied([trial.config for trial in ranked])
    if len(ranked) < ENOUGH or not names:
        return pd.DataFrame()
    columns = {name: [getattr(trial.config, name) for trial in ranked] for name in names}
    # A setting that is no number counts by the order in which its values first appear.
    numbers = pd.DataFrame(
        {
            name: values
            if all(isinstance(value, int | float) for value in values)
            else pd.factorize(pd.Series(list(map(str, values))))[0]
            for name, values in columns.items()
        }
    )
    scores = [trial.score for trial in ranked]
    forest = RandomForestRegressor(300, random_state=0).fit(numbers, scores)
    found = permutation_importance(forest, numbers, scores, n_repeats=30, random_state=0)
    table = pd.DataFrame(
        {
            "setting": names,
            "importance": found.importances_mean,
            "in the best trial": [str(getattr(ranked[0].config, name)) for name in names],
        }
    )
    return table.sort_values("importance", ascending=False)


def space_table(hyperparameters: Any) -> pd.DataFrame:
    """The space in words."""
    return pd.DataFrame(space.describe(hyperparameters), columns=["setting", "values", "only where"])


def forget(folder: Path, oracle: Durable) -> None:
    """Delete the states that finished trials have left, but for the best ones'."""
    kept = {trial.trial_id for trial in oracle.get_best_trials(SHOWN)}
    for trial in oracle.finished():
        if trial.trial_id not in kept:
            shutil.rmtree(folder / f"trial_{trial.trial_id}", ignore_errors=True)
