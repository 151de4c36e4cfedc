"""Delete old runs with their models, artifacts and checkpoints, so that a store does not grow without end."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import LifecycleStage, LoggedModel, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking._tracking_service.utils import _get_store
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from common.errors import UserError, first_line
from common.tracking import store
from common.tracking.checkpoint_files import checkpoints, delete_checkpoints
from common.tracking.runs import Run, open_store

DAY = 24 * 60 * 60 * 1000
"""Milliseconds of a day."""
PROXIED = "mlflow-artifacts:"
"""Begin of the addresses of artifacts that only a server can reach."""
UNFINISHED = ("RUNNING", "SCHEDULED")


@dataclass(frozen=True)
class OldRun:
    """A run that can be deleted."""

    run: Run
    data: str
    """Name of its data set."""
    models: Sequence[LoggedModel]
    bytes: int
    """Size of its artifacts, its models and its checkpoints on this machine."""


@dataclass(frozen=True)
class OldRuns:
    """The old runs of a store."""

    deletable: Sequence[OldRun]
    """The oldest first."""
    kept: int
    """Number of old runs that must stay."""


def old_runs(days: float) -> OldRuns:
    """Find the runs of the suite that ended more than `days` days ago and can be deleted.

    Kept are runs whose model is registered, as any version; running runs; the runs that are above a kept run, such as
    its search; and all runs below a running one. Runs that were deleted in the UI are found too.

    Raises:
        UserError: if the store cannot be opened, or its artifacts are out of reach.
    """
    client, limit = open_store(), 1000 * time.time() - days * DAY
    experiments = {one.experiment_id: one.name for one in mlflow.search_experiments(view_type=ViewType.ALL)}
    found = mlflow.search_runs(list(experiments), run_view_type=ViewType.ALL, output_format="list")
    runs: dict[str, Run] = {run.info.run_id: run for run in found}
    old = {name for name, run in runs.items() if "kind" in run.data.tags and (_ended(run) or limit) < limit}
    registered = _registered(client)
    kept = {name for name in runs if name not in old or name in registered}
    kept |= {above for name in kept for above in _above(runs, name)}
    unfinished = {name for name, run in runs.items() if run.info.status in UNFINISHED}
    chosen = sorted(
        (runs[name] for name in old - kept if not unfinished.intersection(_above(runs, name))),
        key=lambda run: run.info.end_time or run.info.start_time,
    )
    behind_server = any(run.info.artifact_uri.startswith(PROXIED) for run in chosen)
    if behind_server and not mlflow.get_tracking_uri().startswith("http"):
        raise UserError(f"{store.folder()}: a server keeps its artifacts; set MLFLOW_TRACKING_URI to its address")
    deletable = [_measured(client, run, experiments[run.info.experiment_id]) for run in chosen]
    return OldRuns(deletable, len(old) - len(deletable))


def delete(old: OldRun) -> bool:
    """Delete a run, its models, its artifacts and its checkpoints here and in the object storage.

    If this is interrupted, the run is found and deleted the next time.

    Returns:
        Whether it was deleted. It was not if it has been resumed, or its model registered, since `old_runs`.

    Raises:
        UserError: if it cannot be deleted.
    """
    client, run_id = mlflow.MlflowClient(), old.run.info.run_id
    store.check_writable()
    database = backend()
    try:
        with store.lock():  # nobody registers its model now
            run = client.get_run(run_id)
            if run.info.status in UNFINISHED or client.search_model_versions(f"run_id = '{run_id}'"):
                return False
            if database:
                database.get_run(run_id)  # fails if it is not the database of this store
            for model in old.models:
                _delete_artifacts(model.artifact_location)
                client.delete_logged_model(model.model_id)
                if database:
                    database._hard_delete_logged_model(model.model_id)
            _delete_artifacts(run.info.artifact_uri)
            delete_checkpoints(run_id)
            if run.info.lifecycle_stage != LifecycleStage.DELETED:
                client.delete_run(run_id)
            if database:
                database._hard_delete_run(run_id)
    except (OSError, MlflowException) as error:
        raise UserError(f"{store.folder()}: cannot delete the run {run_id} ({first_line(error)})") from error
    return True


def backend() -> SqlAlchemyStore | None:
    """Return the database of the store; None if a server has it and MLFLOW_BACKEND_STORE_URI does not name it.

    Only the database can delete rows, by methods that `mlflow gc` uses and that have no public name. That command would
    also delete all experiments that are marked as deleted, with the runs of registered models. Without the database the
    runs are marked as deleted.
    """
    uri = mlflow.get_tracking_uri()
    uri = os.environ.get("MLFLOW_BACKEND_STORE_URI", uri) if uri.startswith("http") else uri
    found = _get_store(uri)
    return found if isinstance(found, SqlAlchemyStore) else None


def _ended(run: Run) -> int | None:
    """Return the time at which a run ended, or began if that is unknown; None if it runs."""
    return None if run.info.status in UNFINISHED else run.info.end_time or run.info.start_time


def _above(runs: Mapping[str, Run], run_id: str) -> Iterator[str]:
    """Yield the ids of the run's parent, its parent, and so on."""
    while (run := runs.get(run_id)) and (run_id := run.data.tags.get(MLFLOW_PARENT_RUN_ID, "")):
        yield run_id


def _registered(client: mlflow.MlflowClient) -> set[str | None]:
    """Return the ids of the runs whose model is a version of a registered model."""
    found = set[str | None]()
    for version in mlflow.search_model_versions():
        if version.run_id:
            found.add(version.run_id)
        elif version.model_id:
            with contextlib.suppress(MlflowException):  # the model was deleted
                found.add(client.get_logged_model(version.model_id).source_run_id)
    return found


def _measured(client: mlflow.MlflowClient, run: Run, data: str) -> OldRun:
    where = f"source_run_id = '{run.info.run_id}'"
    models = client.search_logged_models([run.info.experiment_id], filter_string=where)
    places = [run.info.artifact_uri, *(model.artifact_location for model in models)]
    files = [path for path in checkpoints(run.info.run_id).rglob("*") if path.is_file()]
    size = sum(map(_artifact_bytes, places)) + sum(path.stat().st_size for path in files)
    return OldRun(run, data, models, size)


def _artifact_bytes(uri: str) -> int:
    """Return the size of all artifacts at an address."""
    repository, folders, size = get_artifact_repository(uri), [""], 0
    while folders:
        for item in repository.list_artifacts(folders.pop() or None):
            if item.is_dir:
                folders.append(item.path)
            else:
                size += item.file_size or 0
    return size


def _delete_artifacts(uri: str) -> None:
    """Delete all artifacts at an address, and the local folder that contained them alone."""
    repository = get_artifact_repository(uri)
    repository.delete_artifacts()
    if isinstance(repository, LocalArtifactRepository):
        with contextlib.suppress(OSError):  # it is not empty
            Path(repository.artifact_dir).parent.rmdir()
