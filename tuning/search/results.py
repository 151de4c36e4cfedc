"""The progress of a search and its results: the best trials, the importance of settings, and the final model."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from common import tracking, training
from common.app import App
from common.cli import terminal
from common.config import Config, as_flags, changed
from common.plots.search import best_so_far, parallel_coordinates
from common.training.checkpoint import SUFFIX, Checkpoint
from tuning.search import page, space
from tuning.search.oracle import PersistentOracle
from tuning.search.space import ConfigBuilder

SHOWN = 5
"""Trials in the final table, whose checkpoints are kept."""
MIN_TRIALS = 6
"""Trials that the importance of settings needs."""


class Progress:
    """Shows the progress of a search: a bar in a terminal, one line a trial in a log file."""

    def __init__(self, oracle: PersistentOracle, trials: int) -> None:
        self.oracle, self.trials, self.start = oracle, trials, time.monotonic()
        self.resumed = self.shown = len(oracle.finished())
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self.bar = ProgressBar(*columns)
        self.task = self.bar.add_task("searching", total=trials, completed=self.shown)

    def __enter__(self) -> Self:
        if self.bar.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self) -> bool:
        """Show the trials that have finished since the last call; returns whether there are any."""
        finished, objective, shown = self.oracle.finished(), self.oracle.objective, self.shown
        for count, trial in enumerate(finished[shown:], start=shown + 1):
            scores = [one.score for one in finished[:count] if one.status == "COMPLETED"]
            best = f"best {(max if objective.direction == 'max' else min)(scores):.4g}" if scores else "no success yet"
            result = f"{trial.score:.4g}" if trial.status == "COMPLETED" else "failed"
            left = (time.monotonic() - self.start) / (count - self.resumed) * (self.trials - count)
            text = f"{objective.name} {result}, {best}, {_duration(left)} left"
            self.bar.update(self.task, completed=count, description=text)
            if not self.bar.console.is_terminal:
                print(f"trial {trial.trial_id} ({count} of {self.trials}): {text}", flush=True)
        self.shown = len(finished)
        return self.shown > shown


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


@dataclass(frozen=True)
class TrialResult:
    """A trial that succeeded."""

    number: str
    score: float
    config: Config
    metrics: Mapping[str, float]
    """The final metrics of its run."""


def conclude(app: App, own: App, configs: ConfigBuilder, oracle: PersistentOracle, run: tracking.ActiveRun) -> bool:
    """Print and record the results of a search, and train the final model with the best settings.

    Args:
        app: The app with the objective of the search.
        own: The app with its own objective, by which its champion is chosen.
        configs: The search space, with the settings that are fixed.
        oracle: The oracle with all finished trials.
        run: The run of the search.

    Returns:
        Whether any trial has succeeded.
    """
    recorded = {one.data.tags["trial"]: one.data for one in tracking.find({"search": run.id, "kind": "trial"})}
    finished = oracle.finished()
    succeeded = [trial for trial in finished if trial.status == "COMPLETED"]
    failed = [trial for trial in finished if trial.status != "COMPLETED"]
    pruned = [trial for trial in succeeded if "pruned" in recorded[trial.trial_id].tags]
    errors = [_error(trial, recorded.get(trial.trial_id)) for trial in failed]
    if failed:
        print(f"failed: {_numbers(failed, finished)}; {errors[0]}")
    if pruned:
        print(f"pruned: {_numbers(pruned, finished)}")
    ranked = [
        TrialResult(trial.trial_id, trial.score, configs(trial.hyperparameters), recorded[trial.trial_id].metrics)
        for trial in succeeded
        if trial not in pruned
    ]
    ranked.sort(key=lambda trial: trial.score, reverse=app.task.mode == "max")
    if not ranked:
        run.tag("error", "every trial failed")
        rows = [
            {"trial": trial.trial_id, **trial.hyperparameters.values, "error": error}
            for trial, error in zip(failed, errors, strict=True)
        ]
        run.log_report(page.write_failed(own, run, pd.DataFrame(rows), configs.flags))
        print(f"every trial failed; their runs below {run.id} have the errors: make report RUN={run.id}")
        return False
    delete_checkpoints(run.id, oracle)
    figure = best_so_far([trial.score for trial in finished], app.task.monitor, app.task.mode)
    run.log_figure(figure, "best_so_far")
    if names := space.varied([trial.config for trial in ranked]):
        settings = pd.DataFrame([{name: getattr(trial.config, name) for name in names} for trial in ranked])
        scores = [trial.score for trial in ranked]
        run.log_figure(parallel_coordinates(settings, scores, app.task.monitor), "settings")
    measured = {"best_trials": _best_trials(app, ranked), "importance": importance(ranked)}
    tables = {name: table for name, table in measured.items() if len(table)}
    for name, table in tables.items():
        run.log_table(table, name)
        Console().print(terminal.table(table, name.replace("_", " ")))
    best = ranked[0]
    run.log_metrics({f"best_{app.task.monitor}": best.score, "trials": len(finished), "failed": len(failed)})
    _train_best(app, own, best, run)
    (final,) = tracking.find({"kind": "train", "search": run.id, "tuned": best.number})
    facts = {
        f"best {app.task.monitor}": f"{best.score:.5g}, in trial {best.number}",
        "trials": f"{len(finished)}, of which {len(failed)} failed and {len(pruned)} were pruned",
    }
    run.describe(page.description(facts))
    metrics = [data.metrics for data in recorded.values()]
    run.log_report(page.write(own, run, facts, tables, best.config, final, configs.flags, metrics))
    flags = as_flags(changed(best.config))
    print(f"alone, with the same settings: {terminal.this_python()} -m apps.{app.name} train {flags}")
    return True


def _error(trial: Any, recorded: Any) -> str:
    """Return the error of a failed trial in words: of its run, or the last line that KerasTuner kept."""
    message: str = (trial.message or "no error was recorded").strip().splitlines()[-1]
    return str(recorded.tags.get("error", message)) if recorded else message


def _numbers(some: Sequence[Any], trials: Sequence[Any]) -> str:
    return f"{len(some)} of {len(trials)} trials ({', '.join(trial.trial_id for trial in some)})"


def _train_best(app: App, own: App, best: TrialResult, run: tracking.ActiveRun) -> None:
    key = tracking.RunKey(run.id, {"search": run.id, "tuned": best.number})
    if tracking.finished("train", key):
        print(f"trial {best.number}, the best, has its final training already")
        return
    print(f"trial {best.number}, the best, is trained once more for the final model")
    file = tracking.checkpoints(run.id) / f"final_{best.number}{SUFFIX}"
    terminal.summarise(app, training.retrain(own, best.config, best.metrics, key, Checkpoint(file)))
    tracking.delete_checkpoint(file)


def _best_trials(app: App, ranked: Sequence[TrialResult]) -> pd.DataFrame:
    """Return the first trials as a table, with the settings in which trials differ."""
    name, names = app.task.monitor, space.varied([trial.config for trial in ranked])
    rows = []
    for trial in ranked[:SHOWN]:
        row = {"trial": trial.number, name: trial.score}
        if f"best_{name}_se" in trial.metrics:
            row["standard error"] = trial.metrics[f"best_{name}_se"]
        row |= {"epoch": round(trial.metrics["best_epoch"], 1), "s": round(trial.metrics["train_seconds"], 1)}
        rows.append(row | {setting: getattr(trial.config, setting) for setting in names})
    return pd.DataFrame(rows)


def importance(ranked: Sequence[TrialResult]) -> pd.DataFrame:
    """Measure the permutation importance (Breiman 2001, section 10) of each setting in trials, the best of them first.

    A random forest predicts the objective from the settings. The importance of a setting is the decrease of R² when its
    values are permuted among the trials.

    Returns:
        A row for each setting that varies, the most important first; empty if there are too few trials.
    """
    names = space.varied([trial.config for trial in ranked])
    if len(ranked) < MIN_TRIALS or not names:
        return pd.DataFrame()
    columns = {name: [getattr(trial.config, name) for trial in ranked] for name in names}
    # A setting that is not a number is coded by the order in which its values first appear.
    features = pd.DataFrame(
        {
            name: values
            if all(isinstance(value, int | float) for value in values)
            else pd.factorize(pd.Series(list(map(str, values))))[0]
            for name, values in columns.items()
        }
    )
    scores = [trial.score for trial in ranked]
    forest = RandomForestRegressor(random_state=0).fit(features, scores)
    measured = permutation_importance(forest, features, scores, n_repeats=10, random_state=0)
    best = [f"{value:.5g}" if isinstance(value, float) else str(value) for value, *_ in columns.values()]
    table = pd.DataFrame({"setting": names, "importance": measured.importances_mean, "in the best trial": best})
    return table.sort_values("importance", ascending=False)


def delete_checkpoints(search: str, oracle: PersistentOracle) -> None:
    """Delete the checkpoints of all finished trials of the search with the run `search`, but the best."""
    kept = {trial.trial_id for trial in oracle.get_best_trials(SHOWN)}
    for trial in oracle.finished():
        if trial.trial_id not in kept:
            tracking.delete_checkpoint(tracking.checkpoints(search) / f"trial_{trial.trial_id}")
