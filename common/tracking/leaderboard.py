"""Rank finished runs by their validation metrics, and set up the pages of MLflow's UI that show them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import mlflow
import pandas as pd

from common import legacy
from common.errors import UserError
from common.tracking import store
from common.tracking.models import CHAMPION
from common.tracking.recording import ActiveRun
from common.tracking.runs import Kind, Run, digest, find, name_of, open_store

LARGEST = 1e300
"""Absolute metrics from here on are infinite: a database has no infinity."""


@dataclass(frozen=True)
class Leaderboard:
    """Comparable runs: on the same data, with the same metric."""

    digest: str
    """Fingerprint of the data before the split."""
    metric: str
    metric_mode: str
    """Whether the highest (`max`) or the lowest (`min`) value of the metric is best."""
    runs: pd.DataFrame
    """One row per run, the best on validation first. Runs without this validation metric come last."""


def leaderboards(data: str, kinds: Sequence[Kind]) -> list[Leaderboard]:
    """Rank the finished runs of these kinds on a data set, given by its name.

    Returns:
        One leaderboard per version of the data and metric, the one with the newest run first.

    Raises:
        UserError: if there is no such data set, or no such run on it.
    """
    client = open_store()
    names = {one.name: one.experiment_id for one in client.search_experiments() if one.name != "Default"}
    if not names:
        raise UserError(f"no runs are recorded in {store.folder()} yet; first: make train")
    if data not in names:
        raise UserError(f"no runs on {data}; there are runs on {', '.join(sorted(names))}")
    models = _models(client)
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in finished_runs(names[data], kinds):
        tags = legacy.tags(run.data.tags)
        groups.setdefault((digest(run), tags["metric"], tags["metric_mode"]), []).append(run)
    if not groups:
        raise UserError(f"no finished run on {data} is a {' or '.join(kinds)}; choose others with `kind`")
    return [
        Leaderboard(fingerprint, metric, metric_mode, _table(runs, metric, metric_mode, models))
        for (fingerprint, metric, metric_mode), runs in groups.items()
    ]


def standing(run: ActiveRun) -> Leaderboard:
    """Rank a run among the newest baseline of each name and the champions, on the same data and with the same metric.

    Returns:
        The leaderboard of these runs and of `run`, which need not have finished.
    """
    own = run.client.get_run(run.id)
    metric, metric_mode = own.data.tags["metric"], own.data.tags["metric_mode"]
    models, shown = _models(run.client), {run.id: own}
    for other in finished_runs(own.info.experiment_id, ("train", "baseline")):
        same = digest(other) == run.data.digest and legacy.tags(other.data.tags)["metric"] == metric
        if same and other.data.tags["kind"] == "baseline":
            shown.setdefault(name_of(other), other)
        elif same and models.get(other.info.run_id, "").endswith(f"@{CHAMPION}"):
            shown.setdefault(other.info.run_id, other)
    return Leaderboard(run.data.digest, metric, metric_mode, _table([*shown.values()], metric, metric_mode, models))


def finished_runs(experiment: str, kinds: Sequence[Kind]) -> list[Run]:
    """Return the finished runs of these `kinds` in an experiment, given by its id, the newest first."""
    runs = [run for kind in kinds for run in find({"kind": kind}, experiment)]
    # Runs before 2026-11-22 have no tag that names their metric.
    finished = [run for run in runs if run.info.status == "FINISHED" and "metric" in legacy.tags(run.data.tags)]
    return sorted(finished, key=lambda run: run.info.start_time, reverse=True)


def _models(client: mlflow.MlflowClient) -> dict[str, str]:
    """Return the name of each run's registered model, as `load` takes it, by the run's id."""
    names = {str(one.run_id): f"{one.name}/{one.version}" for one in client.search_model_versions()}
    aliases = {
        f"{model.name}/{model.aliases[CHAMPION]}": f"{model.name}@{CHAMPION}"
        for model in client.search_registered_models()
        if CHAMPION in model.aliases
    }
    return {run_id: aliases.get(name, name) for run_id, name in names.items()}


def _table(runs: Sequence[Run], metric: str, metric_mode: str, models: dict[str, str]) -> pd.DataFrame:
    settings, validation, test = _differing(runs), f"val_{metric}", f"test_{metric}"
    rows = [
        {
            "run": name_of(run),
            "kind": run.data.tags["kind"],
            validation: run.data.metrics.get(f"best_{validation}"),
            test: run.data.metrics.get(test),
            "seconds": run.data.metrics.get("train_seconds"),
            "parameters": run.data.metrics.get("trainable_parameters"),
            "started": datetime.fromtimestamp(run.info.start_time / 1000).strftime("%Y-%m-%d %H:%M"),
            "model": models.get(run.info.run_id),
            "settings that differ": settings[run.info.run_id],
            "id": run.info.run_id,
        }
        for run in runs
    ]
    table = pd.DataFrame(rows).astype({validation: float, test: float, "seconds": float, "parameters": "Int64"})
    table[validation] = table[validation].where(table[validation].abs() < LARGEST)  # a run without a value is last
    return table.sort_values(validation, ascending=metric_mode == "min", kind="stable", ignore_index=True)


def _differing(runs: Sequence[Run]) -> dict[str, str]:
    """Return for each run, by its id, its values of the settings that differ between the runs of its app."""
    varying = _varying(runs)
    return {
        run.info.run_id: ", ".join(f"{name} {run.data.params.get(name)}" for name in varying[run.data.tags["app"]])
        for run in runs
    }


def _varying(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return for each app the names of the settings that differ between its runs."""
    apps = dict[str, list[Mapping[str, str]]]()
    for run in runs:
        apps.setdefault(run.data.tags["app"], []).append(run.data.params)
    return {
        app: [name for name in params[0] if len({one.get(name) for one in params}) > 1] for app, params in apps.items()
    }


VIEW = "leaderboard"
"""Name of the view in the UI's menu, and its key in addresses."""
TRIALS = "trials"
"""Name of the view of the trials of searches."""
VIEW_TAG = "mlflow.sharedViewState.{}"
"""Tag of an experiment from which the UI reads a view, in the format of MLflow 3.17's own saved views."""
MODEL_TRAINING = "workflowType=machine_learning"
"""Without this, the UI opens the page of language-model traces."""
Pages = Mapping[str, Mapping[str, str]]
"""For each data set, the one with the newest run first: the content of each page, and its address."""


def pages(server: str) -> Pages:
    """Return the pages of every data set that has a finished run, in the UI at the address `server`.

    The pages open with columns and charts of the data set's own metrics: this view is written into the store, where it
    replaces the last one.
    """
    client, found = open_store(), []
    for experiment in client.search_experiments():
        runs = finished_runs(experiment.experiment_id, ("train", "baseline"))
        if not runs:
            continue
        table = f"{server}/#/experiments/{experiment.experiment_id}/runs?{MODEL_TRAINING}&viewStateShareKey={{}}"
        charts = f"{table}&compareRunsMode=CHART"
        _write_view(client, experiment, VIEW, "tags.kind != 'trial' AND tags.kind != 'fold'", runs)
        addresses = {"table": table.format(VIEW), "charts": charts.format(VIEW)}
        if trials := finished_runs(experiment.experiment_id, ("trial",)):
            _write_view(client, experiment, TRIALS, "tags.kind = 'trial'", trials)
            addresses["trials"] = charts.format(TRIALS)
        # Oldest first, so that the newest run of each app stays.
        latest = {run.data.tags["app"]: run.info.run_id for run in runs[::-1] if run.data.tags["kind"] == "train"}
        if len(latest) > 1:
            chosen, of = (quote(json.dumps(ids)) for ids in (list(latest.values()), [experiment.experiment_id]))
            addresses["compare"] = f"{server}/#/compare-runs?runs={chosen}&experiments={of}&{MODEL_TRAINING}"
        found.append((runs[0].info.start_time, experiment.name, addresses))
    return {name: addresses for _, name, addresses in sorted(found, key=lambda one: one[0], reverse=True)}


def _write_view(
    client: mlflow.MlflowClient, experiment: mlflow.entities.Experiment, name: str, condition: str, runs: Sequence[Run]
) -> None:
    """Save a view of the experiment's `runs`, which the condition selects, for the metrics of the first one."""
    tags = legacy.tags(runs[0].data.tags)
    metric, monitor = tags["metric"], tags["monitor"]
    validation, test = f"metrics.`best_val_{metric}`", f"test_{metric}"
    columns = {
        "tags.`app`": 140,
        "tags.`kind`": 80,
        validation: 160,
        f"metrics.`{test}`": 120,
        "metrics.`train_seconds`": 110,
        "metrics.`trainable_parameters`": 170,
    }
    watched = dict.fromkeys([monitor, monitor.removeprefix("val_"), "val_loss", "loss"])
    charts = [_chart(name, "LINE", metricKey=name) for name in watched]
    axes = {
        side: {"key": name, "type": "METRIC"} for side, name in (("xaxis", "trainable_parameters"), ("yaxis", test))
    }
    charts.append(_chart("size", "SCATTER", **axes))
    settings = list(dict.fromkeys(name for names in _varying(runs).values() for name in names))
    if settings:
        charts.append(_chart("settings", "PARALLEL", selectedParams=settings, selectedMetrics=[f"best_val_{metric}"]))
    state = {
        "searchFilter": condition,
        "runsHiddenMode": "SHOW_ALL",  # by default, charts have the first ten runs
        "orderByKey": validation,
        "orderByAsc": tags["metric_mode"] == "min",
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": columns,
        "compareRunCharts": charts,
        "compareRunSections": [{"uuid": VIEW, "name": "Learning curves", "display": True}],
    }
    view = {"name": name, "createdAt": experiment.creation_time, "state": json.dumps(state)}
    client.set_experiment_tag(experiment.experiment_id, VIEW_TAG.format(name), json.dumps(view))


def _chart(name: str, kind: str, **content: Any) -> dict[str, Any]:
    """Return a chart of up to 100 runs. MLflow shows its own charts of the other metrics below."""
    return {
        "uuid": name,
        "type": kind,
        "metricSectionId": VIEW,
        "runsCountToCompare": 100,
        "isGenerated": True,
        "deleted": False,
        "xAxisKey": "step",
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "lineSmoothness": 0,
        "range": {},
        **content,
    }
