"""The page of a search."""

import html
import shlex
from collections.abc import Mapping, Sequence

import pandas as pd

from common import tracking
from common.app import App
from common.config import Config, as_flags, changed
from common.report import page
from common.report.page import Section, command
from common.report.training import page_facts


def write(
    app: App,
    run: tracking.ActiveRun,
    facts: Mapping[str, str],
    tables: Mapping[str, pd.DataFrame],
    best: Config,
    final: tracking.Run,
    fixed: Sequence[str],
    trials: Sequence[Mapping[str, float]],
) -> str:
    """Return the page of a search as HTML.

    Args:
        app: The app.
        run: The run of the search, with the figures that are recorded in it.
        facts: Facts about the trials, by name.
        tables: Tables of the results by name, the best trials first.
        best: The best settings.
        final: The run of the final training with them.
        fixed: Command-line flags of the settings that are the same in all trials.
        trials: Metrics of each trial, by name.
    """
    images, left = page.fitting(run.images)
    best_trials, *others = (
        Section(name.replace("_", " ").capitalize(), tables=[page.table(frame)]) for name, frame in tables.items()
    )
    tags, results = run.tags(), app.task.summary(final.data.metrics, len(run.data.test[1]))
    return page.render(
        *_title(app, run),
        [
            Section("Search", facts={**facts, **{name: str(value) for name, value in changed(run.config).items()}}),
            best_trials,
            Section("Final model", facts={**results, "run": final.info.run_id}),
            *others,
            Section("Trials", text=left, images=images),
            Section("Cost", facts=_cost(trials, tags)),
            Section("Commands", commands=_commands(app, run, best, final, fixed)),
        ],
    )


def write_failed(app: App, run: tracking.ActiveRun, errors: pd.DataFrame, fixed: Sequence[str]) -> str:
    """Return the page of a search whose trials all failed as HTML.

    Args:
        app: The app.
        run: The run of the search.
        errors: The settings and the error of each trial, one row a trial.
        fixed: Command-line flags of the settings that are the same in all trials.
    """
    options = as_flags(changed(run.config)), shlex.join(fixed)
    return page.render(
        *_title(app, run),
        [
            Section("This search has no result", ["every trial failed"]),
            Section("Search", facts={name: str(value) for name, value in changed(run.config).items()}),
            Section("Trials", tables=[page.table(errors)]),
            Section(
                "Commands",
                commands={
                    "train with the default settings": command(f"apps.{app.name}", "train", shlex.join(fixed)),
                    "search again": command(f"tuning.{app.name}", *options, "--fresh"),
                    "show this page": f"make report RUN={run.id}",
                },
            ),
        ],
    )


def _title(app: App, run: tracking.ActiveRun) -> tuple[str, str, list[str]]:
    """Return the title and the subtitle of a search's page, and facts about its run."""
    return f"search of {app.name} on {run.data.name}", app.summary, page_facts(run.id, run.tags())


def description(facts: Mapping[str, str]) -> str:
    """Return facts about a search in Markdown."""
    return "\n\n".join(html.escape(f"{name}: {words}") for name, words in facts.items())


def _cost(trials: Sequence[Mapping[str, float]], tags: Mapping[str, str]) -> dict[str, str]:
    wall, cpu = (sum(trial.get(name, 0.0) for trial in trials) for name in ("train_seconds", "train_cpu_seconds"))
    return {
        "trials": f"{len(trials)}, {wall / max(1, len(trials)):,.1f} s each",
        "time": f"{wall:,.1f} s, {cpu:,.1f} s of processor time, without the final training",
        "device": f"{tags['device']}, {tags['backend']}",
    }


def _commands(
    app: App, run: tracking.ActiveRun, best: Config, final: tracking.Run, fixed: Sequence[str]
) -> dict[str, str]:
    name, model = f"apps.{app.name}", final.info.run_id
    options = as_flags(changed(run.config)), shlex.join(fixed)
    return {
        "predict": command(name, "predict", "FILE", "--model", model),
        "serve": command(name, "serve", "--model", model),
        "show the page of the final model": f"make report RUN={model}",
        "train with the best settings": command(name, "train", as_flags(changed(best))),
        "continue the search": command(f"tuning.{app.name}", *options, "--trials", "N"),
        "show this page": f"make report RUN={run.id}",
    }
