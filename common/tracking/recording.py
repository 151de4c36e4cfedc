"""Record a run: settings, tags and data at its start, metrics and artifacts, and its status at its end."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import subprocess
import textwrap
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import mlflow
import mlflow.data.numpy_dataset
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from common.app import App
from common.config import changed
from common.data import Data
from common.errors import UserError, print_notes
from common.files import ROOT
from common.tracking import processes, store
from common.tracking.artifacts import Artifacts
from common.tracking.runs import HEARTBEAT, PROCESS, SETTINGS, SETTINGS_FOLLOW, Kind, digest, find, get, open_store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


NAME_LENGTH = 80
"""Longest name of a run in characters."""
ERROR_LENGTH = 500
"""Characters of an error that a tag records; the traceback is an artifact."""
DESCRIPTION_LENGTH = 5000
"""Characters that a tag can have in every store."""
PACKAGES = ("keras", "tensorflow", "numpy", "scikit-learn", "mlflow")
"""Packages that decide the results of a run; also the requirements of a saved model."""
FOR_TRAININGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tag of an experiment for which MLflow's UI opens the pages of trainings, and not those of language models."""


class ActiveRun(Artifacts):
    """A run that is being recorded."""

    def __init__(
        self, client: mlflow.MlflowClient, app: App, config: "DataclassInstance", data: Data, run_id: str
    ) -> None:
        super().__init__(client, run_id)
        self.app, self.config, self.data = app, config, data

    def tag(self, name: str, value: str) -> None:
        """Set a tag of the run; runs can be filtered by their tags."""
        self.client.set_tag(self.id, name, value)

    def describe(self, text: str) -> None:
        """Set the description of the run, in Markdown, which MLflow's UI shows above its metrics."""
        self.tag(MLFLOW_RUN_NOTE, text[:DESCRIPTION_LENGTH])

    def tags(self) -> dict[str, str]:
        """Return the tags of the run."""
        return dict(self.client.get_run(self.id).data.tags)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record metrics at an epoch."""
        mlflow.log_metrics({name: float(value) for name, value in metrics.items()}, step=step, run_id=self.id)


@dataclass(frozen=True)
class RunKey:
    """The identity of a run that may be resumed."""

    parent: str | None
    """Id of the parent run."""
    tags: Mapping[str, str]
    """Tags that together identify the run."""

    def below(self, run: ActiveRun, **tags: str) -> "RunKey":
        """Return the key of a child of `run`, whose own key this is, with more `tags`."""
        return RunKey(run.id, {**self.tags, **tags})


def finished(kind: Kind, key: RunKey) -> Mapping[str, float] | None:
    """Return the final metrics of the run of this kind with this key, or None if it has not finished."""
    for run in find({"kind": kind, **key.tags}):
        if run.info.status == "FINISHED":
            metrics = run.data.metrics
            return {name: value for name, value in metrics.items() if f"best_{name}" not in metrics}
    return None


@contextlib.contextmanager
def run(
    app: App,
    kind: Kind,
    config: "DataclassInstance",
    data: Data,
    label: str | None = None,
    key: RunKey | None = None,
    resumed: str | None = None,
) -> Iterator[ActiveRun]:
    """Record the block as a run: settings, tags and data set at the start; FINISHED, FAILED or KILLED at the end.

    Args:
        app: The app.
        kind: Kind of the run.
        config: The settings.
        data: The data.
        label: Second part of the run's name; by default the kind.
        key: If a run of this kind with this key exists, that run is resumed.
        resumed: Id of a run to resume.

    Raises:
        UserError: if the store cannot be opened or written, before or during the run, or the data of a resumed run has
            changed.
    """
    client = open_store()
    store.check_writable()
    earlier = get(resumed) if resumed else next(iter(find({"kind": kind} | dict(key.tags)) if key else []), None)
    if earlier and digest(earlier) not in ("", data.digest):
        raise UserError(f"{data.name} has changed since the run {earlier.info.run_id}; train again")
    with store.recording():
        started = mlflow.start_run(
            run_id=earlier.info.run_id if earlier else None,
            experiment_id=_experiment(client, data.name),
            run_name=_name(app, kind, config, label),
            nested=True,
            parent_run_id=key.parent if key else None,
            tags=_tags(app, kind) | dict(key.tags if key else {}),
        )
        recorded = ActiveRun(client, app, config, data, started.info.run_id)
        with _status(recorded), processes.heartbeat(functools.partial(recorded.tag, HEARTBEAT)):
            settings = dataclasses.asdict(config)
            known = earlier.data.params if earlier else {}  # MLflow's parameters cannot be changed
            mlflow.log_params({name: value for name, value in settings.items() if name not in known})
            client.log_dict(recorded.id, settings, SETTINGS)
            if not earlier or not digest(earlier):
                _log_data(data)
            yield recorded


def _name(app: App, kind: Kind, config: "DataclassInstance", label: str | None) -> str:
    """Return the name of a run: its app, its label or kind, and the settings that differ from the defaults."""
    name = app.name if kind == "train" and not label else f"{app.name} {label or kind}"
    words = ", ".join(
        f"{setting} {' '.join(map(str, value)) if isinstance(value, tuple) else value}"
        for setting, value in changed(config).items()
    )
    return textwrap.shorten(f"{name}{SETTINGS_FOLLOW}{words}", NAME_LENGTH, placeholder=" …") if words else name


@contextlib.contextmanager
def _status(run: ActiveRun) -> Iterator[None]:
    """Record how the block ends, and its error. If the store is full or gone, both are lost."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    except store.OUTAGES:
        raise
    except Exception as error:
        with contextlib.suppress(*store.OUTAGES):
            run.tag("error", f"{type(error).__name__}: {error}"[:ERROR_LENGTH])
            run.log_text(traceback.format_exc(), "error")
        raise
    finally:
        with contextlib.suppress(*store.OUTAGES):
            mlflow.end_run(status)


def _log_data(data: Data) -> None:
    """Record the parts of the data as inputs of the run."""
    parts = {"training": data.train, "validation": data.validation, "testing": data.test}
    for context, (inputs, targets) in parts.items():
        # MLflow keeps one input per digest, so each part of each size has its own digest.
        digest = f"{data.digest}-{context}-{len(targets)}"
        part = mlflow.data.numpy_dataset.from_numpy(inputs, targets=targets, name=data.name, digest=digest)
        with store.lock():  # MLflow fails if two runs record the same new data set at once
            mlflow.log_input(part, context=context)


def _experiment(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of the experiment `name`; create it if it does not exist, restore it if it was deleted.

    Two processes may do so at once.
    """
    try:
        return client.create_experiment(name, store.artifacts(name), FOR_TRAININGS)
    except MlflowException:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        if found.lifecycle_stage == LifecycleStage.DELETED:
            client.restore_experiment(found.experiment_id)
            print_notes([f"the experiment {name} had been deleted; it is restored"])
        return str(found.experiment_id)


def _tags(app: App, kind: Kind) -> dict[str, str]:
    return {
        "app": app.name,
        "kind": kind,
        PROCESS: processes.this_process(),
        HEARTBEAT: processes.now(),
        "monitor": app.task.monitor,
        "mode": app.task.mode,
        "metric": app.task.metric,
        "metric_mode": app.task.metric_mode,
        "backend": keras.backend.backend(),
        "device": ", ".join(keras.distribution.list_devices()),
        **{f"version.{package}": version for package, version in versions().items()},
        **_git(),
    }


def versions() -> dict[str, str]:
    """Return the installed version of each of `PACKAGES`."""
    return {package: importlib.metadata.version(package) for package in PACKAGES}


def _git() -> dict[str, str]:
    """Return the current commit and whether files differ from it; nothing outside a git checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout

    try:
        dirty = bool(git("status", "--porcelain").strip())
        return {"git.commit": git("rev-parse", "HEAD").strip(), "git.dirty": str(dirty).lower()}
    except (OSError, subprocess.CalledProcessError):
        return {}
