"""Find recorded runs, and read what they have."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from common.errors import UserError, first_line
from common.tracking import processes, store
from common.tracking.checkpoint_files import checkpoints

Kind = Literal["train", "search", "trial", "fold", "baseline"]
"""Purpose of a run."""
SETTINGS_FOLLOW = ": "
"""Stands in the name of a run before its settings."""
PROCESS = "process"
"""Tag with the process that records a run."""
HEARTBEAT = "heartbeat"
"""Tag with the last time, in seconds since 1970, at which this process recorded that it runs."""
SETTINGS = "settings.json"
"""Artifact with all settings. MLflow's parameters show them too, but cut long values."""
REPORT = "report.html"
"""Artifact with the page of a run."""
Run = mlflow.entities.Run
"""A recorded run."""


def find(tags: Mapping[str, str], experiment: str | None = None) -> list[Run]:
    """Return the runs with all of `tags`, the newest first, in one experiment, given by its id, or in all."""
    store.connect()
    words = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    within = [experiment] if experiment else None
    return list(mlflow.search_runs(within, words, output_format="list", search_all_experiments=not experiment))


def get(run_id: str) -> Run:
    """Return the run with this id.

    Raises:
        UserError: if there is none.
    """
    try:
        return store.connect().get_run(run_id)
    except MlflowException as error:
        raise UserError(f"run {run_id}: there is none in {store.folder()}; use an id that train printed") from error


def end_stale(tags: Mapping[str, str]) -> None:
    """Mark the runs with `tags`, and their children, as killed if they are still marked as running."""
    client = store.connect()
    for run in find(tags):
        for one in [run, *find({MLFLOW_PARENT_RUN_ID: run.info.run_id})]:
            if one.info.status == "RUNNING":
                client.set_terminated(one.info.run_id, "KILLED")


def open_store() -> mlflow.MlflowClient:
    """Return a client of the store, in which no run of a process that has ended is marked as running.

    Raises:
        UserError: as `store.connect`.
    """
    client = store.connect()
    database = store.database_of(mlflow.get_tracking_uri())
    if not database or store.is_writable(database):
        _end_dead(mlflow.get_tracking_uri())
    return client


@functools.cache
def _end_dead(store_uri: str) -> None:
    """Mark the running runs of a store whose process has ended as killed; once for each store.

    A process that is killed at once, or whose machine stops, cannot do so itself.
    """
    client = mlflow.MlflowClient(store_uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    for run in client.search_runs(experiments, "attributes.status = 'RUNNING'"):
        process = run.data.tags.get(PROCESS)
        if process and processes.is_gone(process, run.data.tags.get(HEARTBEAT)):
            client.set_terminated(run.info.run_id, "KILLED")


def interrupted(app: str, run_id: str | None) -> Run:
    """Return a run of `train` that was interrupted: the one with this id, or else the newest of the app.

    Raises:
        UserError: if there is none.
    """
    open_store()
    if run_id:
        run = get(run_id)
        if run.data.tags.get("app") != app or run.data.tags.get("kind") != "train":
            raise UserError(f"`resume` {run_id}: not a training of {app}; choose the run of one")
        if "search" in run.data.tags:
            raise UserError(f"`resume` {run_id}: a training of a search; the command of the search resumes it")
        if run.info.status in ("FINISHED", "RUNNING"):
            raise UserError(f"`resume` {run_id}: {run.info.status.lower()}; choose a run that was interrupted")
        return run
    for run in find({"kind": "train", "app": app}):
        resumable = run.info.status == "KILLED" or checkpoints(run.info.run_id).exists()
        if resumable and run.info.status not in ("FINISHED", "RUNNING") and "search" not in run.data.tags:
            return run
    raise UserError(f"`resume`: {store.folder()} has no interrupted training of {app}; leave it out")


def curve(client: mlflow.MlflowClient, run_id: str, metric: str) -> list[float]:
    """Return the recorded values of a metric of a run, by epoch."""
    return [point.value for point in sorted(client.get_metric_history(run_id, metric), key=lambda point: point.step)]


def name_of(run: Run) -> str:
    """Return the name of a run without the settings in it."""
    return str(run.info.run_name).partition(SETTINGS_FOLLOW)[0]


def digest(run: Run) -> str:
    """Return the fingerprint of the data of a run; empty if the run has none."""
    parts = run.inputs.dataset_inputs if run.inputs else []
    return str(parts[0].dataset.digest).rsplit("-", 2)[0] if parts else ""


def settings(run: Run) -> dict[str, Any] | None:
    """Return the settings of a run as JSON values; None for a run of release 0.1.0, which has only parameters.

    Raises:
        UserError: if the file of the settings is damaged.
    """
    artifacts = store.connect().list_artifacts(run.info.run_id)
    if SETTINGS not in {artifact.path for artifact in artifacts}:
        return None
    file = f"{run.info.artifact_uri}/{SETTINGS}"
    try:
        found: dict[str, Any] = mlflow.artifacts.load_dict(file)
    except (MlflowException, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({first_line(error)}); train again") from error
    return found


def report(run: Run) -> Path:
    """Return the file with the page of a run. If it is in the storage of another machine, it is downloaded.

    Raises:
        UserError: if the run has no page.
    """
    if REPORT not in {artifact.path for artifact in store.connect().list_artifacts(run.info.run_id)}:
        kind, status = run.data.tags.get("kind", "run of another origin"), run.info.status.lower()
        reason = "only trainings and searches have one, from when they finish; choose another run"
        raise UserError(f"run {run.info.run_id}: this {kind}, {status}, has no report; {reason}")
    return Path(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/{REPORT}"))


def newest() -> Run:
    """Return the training or search that began last.

    Raises:
        UserError: if there is none.
    """
    runs = [run for kind in ("train", "search") for run in find({"kind": kind})[:1]]
    if not runs:
        raise UserError(f"no runs are recorded in {store.folder()} yet; first: make train")
    return max(runs, key=lambda run: run.info.start_time)
