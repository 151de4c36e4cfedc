"""Addresses in MLflow's UI that show what is worth comparing, and the view of the runs that they open."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import mlflow

from common.tracking import store
from common.tracking.leaderboard import finished_runs
from common.tracking.runs import Recorded

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


def _write_view(client: mlflow.MlflowClient, experiment: mlflow.entities.Experiment, run: Recorded) -> None:
    """Save the view of the experiment's runs that suits what `run` is judged by."""
    figure, objective = run.data.tags["figure"], run.data.tags["objective"]
    validation, test = f"metrics.`best_val_{figure}`", f"test_{figure}"
    columns = {
        "tags.`app`": 140,
        "tags.`kind`": 80,
        validation: 160,
        f"metrics.`{test}`": 120,
        "metrics.`train_seconds`": 110,
        "metrics.`trainable_parameters`": 170,
    }
    watched = dict.fromkeys([objective, objective.removeprefix("val_"), "val_loss", "loss"])
    charts = [_chart(name, "LINE", metricKey=name) for name in watched]
    axes = {
        side: {"key": name, "type": "METRIC"} for side, name in (("xaxis", "trainable_parameters"), ("yaxis", test))
    }
    charts.append(_chart("size", "SCATTER", **axes))
    state = {
        "orderByKey": validation,
        "orderByAsc": run.data.tags["better"] == "min",
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
