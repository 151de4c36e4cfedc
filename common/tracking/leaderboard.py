"""Finished runs in the order of their validation metrics, and the pages of MLflow's UI that show them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import quote

import mlflow
import pandas as pd

from common import legacy
from common.errors import UserError
from common.tracking import store
from common.tracking.models import CHAMPION
from common.tracking.runs import Kind, Run, digest, find


@dataclass(frozen=True)
class Leaderboard:
    """Runs that compare: on the same data, judged by the same metric."""

    digest: str
    """Fingerprint of the data before the split."""
    metric: str
    metric_mode: str
    """Whether the highest (`max`) or the lowest (`min`) values of the metric are better."""
    runs: pd.DataFrame
    """A row a run, the best on validation first; last those that were not measured on it."""


def leaderboards(data: str, kinds: Sequence[Kind]) -> list[Leaderboard]:
    """The finished runs of these `kinds` on the data set called `data`; the leaderboard with the newest run first.

    Raises:
        UserError: where there is no such data set, or no such run on it.
    """
    client = store.connect()
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


def finished_runs(experiment: str, kinds: Sequence[Kind]) -> list[Run]:
    """The runs of these `kinds` in an experiment, by its id, that have finished, the newest first."""
    runs = [run for kind in kinds for run in find({"kind": kind}, experiment)]
    # Runs of before 2026-11-22 do not say what they are judged by.
    finished = [run for run in runs if run.info.status == "FINISHED" and "metric" in legacy.tags(run.data.tags)]
    return sorted(finished, key=lambda run: run.info.start_time, reverse=True)


def _models(client: mlflow.MlflowClient) -> dict[str, str]:
    """What `--model` takes for the registered model of each run, by the run's id."""
    champions = {
        (model.name, str(model.aliases[CHAMPION]))
        for model in client.search_registered_models()
        if CHAMPION in model.aliases
    }
    return {
        str(one.run_id): f"{one.name}@{CHAMPION}"
        if (one.name, str(one.version)) in champions
        else f"{one.name}/{one.version}"
        for one in client.search_model_versions()
    }


def _table(runs: Sequence[Run], metric: str, metric_mode: str, models: dict[str, str]) -> pd.DataFrame:
    settings, validation, test = _differing(runs), f"val_{metric}", f"test_{metric}"
    rows = [
        {
            "run": run.info.run_name,
            "kind": run.data.tags["kind"],
            validation: run.data.metrics.get(f"best_{validation}"),
            test: run.data.metrics.get(test),
            "seconds": run.data.metrics.get("train_seconds"),
            "parameters": run.data.metrics.get("trainable_parameters"),
            "begun": datetime.fromtimestamp(run.info.start_time / 1000).strftime("%Y-%m-%d %H:%M"),
            "model": models.get(run.info.run_id),
            "settings that differ": settings[run.info.run_id],
            "id": run.info.run_id,
        }
        for run in runs
    ]
    table = pd.DataFrame(rows).astype({validation: float, test: float, "seconds": float, "parameters": "Int64"})
    return table.sort_values(validation, ascending=metric_mode == "min", kind="stable", ignore_index=True)


def _differing(runs: Sequence[Run]) -> dict[str, str]:
    """For each run, by its id, the settings in which the runs of its app differ."""
    words = {}

    def app(run: Run) -> str:
        return run.data.tags["app"]

    for _, several in groupby(sorted(runs, key=app), app):
        own = list(several)
        names = [name for name in own[0].data.params if len({run.data.params.get(name) for run in own}) > 1]
        for run in own:
            words[run.info.run_id] = ", ".join(f"{name} {run.data.params.get(name)}" for name in names)
    return words


VIEW = "leaderboard"
"""Name of the view in the UI's menu of views, and its key in addresses."""
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
"""The tag of an experiment that the UI reads the view from; its layout is that of MLflow 3.17's own saved views."""
MODEL_TRAINING = "workflowType=machine_learning"
"""Without it the UI opens where traces of language models are looked at."""
Pages = Mapping[str, Mapping[str, str]]
"""For each data set, the one with the newest run first: what a page shows, and its address."""


def pages(server: str) -> Pages:
    """The pages of every data set that has a finished run, in the UI that `server` serves.

    They open with columns and charts of the data set's own figures: the view is written into the store, over the last
    one of its name.
    """
    client, found = store.connect(), []
    for experiment in client.search_experiments():
        runs = finished_runs(experiment.experiment_id, ("train", "baseline"))
        if not runs:
            continue
        _write_view(client, experiment, runs[0])
        table = f"{server}/#/experiments/{experiment.experiment_id}/runs?{MODEL_TRAINING}&viewStateShareKey={VIEW}"
        addresses = {"table": table, "charts": f"{table}&compareRunsMode=CHART"}
        # The newest run of each app comes last, and so stays.
        latest = {run.data.tags["app"]: run.info.run_id for run in runs[::-1] if run.data.tags["kind"] == "train"}
        if len(latest) > 1:
            chosen, of = (quote(json.dumps(ids)) for ids in (list(latest.values()), [experiment.experiment_id]))
            addresses["compare"] = f"{server}/#/compare-runs?runs={chosen}&experiments={of}&{MODEL_TRAINING}"
        found.append((runs[0].info.start_time, experiment.name, addresses))
    return {name: addresses for _, name, addresses in sorted(found, key=lambda one: one[0], reverse=True)}


def _write_view(client: mlflow.MlflowClient, experiment: mlflow.entities.Experiment, run: Run) -> None:
    """Save the view of the experiment's runs that suits what `run` is judged by."""
    tags = legacy.tags(run.data.tags)
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
    state = {
        "orderByKey": validation,
        "orderByAsc": tags["metric_mode"] == "min",
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "columnWidths": columns,
        "compareRunCharts": charts,
        "compareRunSections": [{"uuid": VIEW, "name": "Learning curves", "display": True}],
    }
    view = {"name": VIEW, "createdAt": experiment.creation_time, "state": json.dumps(state)}
    client.set_experiment_tag(experiment.experiment_id, VIEW_TAG, json.dumps(view))


def _chart(name: str, kind: str, **what: Any) -> dict[str, Any]:
    """A chart of up to 100 runs; MLflow's own charts of the other figures follow below."""
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
        **what,
    }
