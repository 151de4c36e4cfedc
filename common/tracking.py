"""Where runs, models and pictures are recorded. The only file that imports mlflow.

The store is `mlruns/mlflow.db` beside this package, or what MLFLOW_TRACKING_URI names.
"""

import contextlib
import dataclasses
import importlib.metadata
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import keras
import mlflow
import mlflow.data.numpy_dataset
from filelock import FileLock
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from common.app import App, Data
from common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance
    from matplotlib.figure import Figure
    from mlflow.models.model import ModelInfo

    from common.tasks import Task

Kind = Literal["train", "search", "trial", "fold", "baseline"]

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / "mlruns"
CHAMPION = "champion"
NEEDED_MEGABYTES = 100
"""Free space below which no run is begun: a model, its pictures and the database's journal."""

BATCH = 1000
"""Numbers that MLflow takes at once."""
ERROR_LENGTH = 500
"""Characters of an error that are kept as a tag; its traceback is an artifact."""

# Of the packages that decide what a run computes; also what a served model is told to install.
PACKAGES = ("keras", "tensorflow", "numpy", "scikit-learn", "mlflow")

# What MLflow logs as an error it also raises.
logging.getLogger("mlflow").setLevel(logging.CRITICAL)
logging.getLogger("alembic").setLevel(logging.ERROR)


def connect() -> mlflow.MlflowClient:
    """A client of the store, which is made first where it is a database file that is not there yet.

    Raises:
        UserError: where the store cannot be opened or written.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE / 'mlflow.db'}"
    database = _database(uri)
    if database:
        _make(database)
    try:
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    except Exception as error:  # whatever the store's driver raises: the address is the user's
        raise UserError(f"MLFLOW_TRACKING_URI {uri}: cannot open this store ({_reason(error)})") from error
    return client


def _database(uri: str) -> Path | None:
    """The file of a store that is a SQLite database; None for a server or another database."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def _make(database: Path) -> None:
    """Create the database where there is none, and see that it can be written.

    A process that dies while MLflow creates its tables, or two that create them at once, leave a database that never
    opens: the tables are made in a temporary file, under a lock, which then takes its place in one step.
    """
    folder = database.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < NEEDED_MEGABYTES * 2**20:
            raise UserError(f"{folder}: disk full; free at least {NEEDED_MEGABYTES} MB")
        with FileLock(folder / ".lock"):
            if not database.exists():
                temporary = database.with_suffix(".new")
                temporary.unlink(missing_ok=True)
                store = SqlAlchemyStore(f"sqlite:///{temporary}", (folder / "artifacts").as_uri())
                store.engine.dispose()
                temporary.replace(database)
        with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{folder}: cannot record here ({_reason(error)}); make it writable") from error


def folder() -> str:
    """Where the store is: the folder of a database file, or the address of a server."""
    uri = mlflow.get_tracking_uri()
    database = _database(uri)
    return str(database.parent) if database else uri


def local_folder() -> Path:
    """A folder of this machine beside the store: that of its database, or the suite's own where it is a server."""
    connect()
    database = _database(mlflow.get_tracking_uri())
    return database.parent if database else STORE


def _lock() -> contextlib.AbstractContextManager[Any]:
    """One process at a time in this store; a server is left to itself."""
    database = _database(mlflow.get_tracking_uri())
    return FileLock(database.parent / ".lock") if database else contextlib.nullcontext()


def _reason(error: Exception) -> str:
    """The first line of what went wrong."""
    return next(iter(str(error).splitlines()), type(error).__name__)


class Run:
    """A run that is being recorded."""

    def __init__(
        self, client: mlflow.MlflowClient, app: App, config: "DataclassInstance", data: Data, run_id: str
    ) -> None:
        self.client, self.app, self.config, self.data, self.id = client, app, config, data, run_id

    def tag(self, name: str, value: str) -> None:
        """Say something of the run that can be filtered by."""
        self.client.set_tag(self.id, name, value)

    def tags(self) -> dict[str, str]:
        """What is said of the run."""
        return dict(self.client.get_run(self.id).data.tags)

    def curve(self, metric: str) -> list[float]:
        """The values of a metric that are recorded, by epoch."""
        return curve(self.client, self.id, metric)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record numbers, at an epoch."""
        mlflow.log_metrics({name: float(value) for name, value in metrics.items()}, step=step, run_id=self.id)

    def log_figure(self, figure: "Figure", name: str) -> None:
        """Record a picture, as `name`.png among the run's artifacts."""
        self.client.log_figure(self.id, figure, f"{name}.png")

    def log_text(self, text: str, name: str) -> None:
        """Record words, as `name`.txt among the run's artifacts."""
        self.client.log_text(self.id, text, f"{name}.txt")

    def log_table(self, table: "pd.DataFrame", name: str) -> None:
        """Record a table, as `name`.csv among the run's artifacts."""
        self.client.log_text(self.id, table.to_csv(index=False), f"{name}.csv")

    def log_model(self, model: keras.Model, metrics: Mapping[str, float], task: "Task") -> "Version":
        """Save and register the model; it becomes champion where its task's objective is the best on this data.

        The saved model carries its input's signature, an example, this package's code, and what `load` asks for.
        """
        example = keras.tree.map_structure(lambda part: part[:2], self.data.validation[0])
        metadata = {
            "app": self.app.name,
            "data": self.data.name,
            "digest": self.data.digest,
            "outputs": list(self.data.outputs),
            "settings": dataclasses.asdict(self.config),
            "task": dataclasses.asdict(task),
        }
        keras.utils.disable_interactive_logging()  # MLflow tries the example out, with a progress bar
        info = mlflow.tensorflow.log_model(
            model,
            name="model",
            signature=infer_signature(example, model.predict(example)),
            input_example=example,
            pip_requirements=[f"{package}=={version}" for package, version in _versions().items()],
            code_paths=[str(ROOT / "common")],
            metadata=metadata,
        )
        keras.utils.enable_interactive_logging()
        return self._register(info, metrics[f"best_{self.app.task.objective}"])

    def _register(self, info: "ModelInfo", value: float) -> "Version":
        name = f"{self.app.name}-{self.data.name}"
        tags = {"app": self.app.name, "digest": self.data.digest, self.app.task.objective: repr(value)}
        with _lock():  # two runs that end at once must not both find the champion's place free
            with contextlib.suppress(MlflowException):  # which says that the name is there already
                self.client.create_registered_model(name, tags={"app": self.app.name, "data": self.data.name})
            version = self.client.create_model_version(name, info.model_uri, self.id, tags, model_id=info.model_id)
            champion = self.client.get_registered_model(name).aliases.get(CHAMPION)
            if champion is None or self._beats(name, champion, value):
                self.client.set_registered_model_alias(name, CHAMPION, version.version)
                champion = None
        return Version(name, int(version.version), champion and int(champion))

    def _beats(self, name: str, champion: str, value: float) -> bool:
        """Whether `value` of the objective is better than the champion's, measured on the same data."""
        reigning = self.client.get_model_version(name, champion).tags
        other = float(reigning.get(self.app.task.objective, "nan"))
        better = value > other if self.app.task.direction == "max" else value < other
        return reigning.get("digest") == self.data.digest and better


@dataclass(frozen=True)
class Version:
    """A registered model: its name, its version, and the version that stays champion in its place, if one does."""

    name: str
    number: int
    champion: int | None


@dataclass(frozen=True)
class Place:
    """Where a run stands among others: below which one, and the tags that tell it from all others there."""

    parent: str | None
    tags: Mapping[str, str]

    def below(self, run: Run, **tags: str) -> "Place":
        """The place of a run below `run`, which stands here."""
        return Place(run.id, {**self.tags, **tags})


def find(tags: Mapping[str, str]) -> list[mlflow.entities.Run]:
    """The runs that have all of `tags`, the newest first."""
    client = connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    words = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    return list(client.search_runs(experiments, words, max_results=1000, order_by=["attributes.start_time DESC"]))


def end_stale(tags: Mapping[str, str]) -> None:
    """Mark the runs that have `tags`, and those below them, as killed where they still count as running."""
    client = connect()
    for run in find(tags):
        for one in [run, *find({MLFLOW_PARENT_RUN_ID: run.info.run_id})]:
            if one.info.status == "RUNNING":
                client.set_terminated(one.info.run_id, "KILLED")


def finished(kind: Kind, place: Place) -> Mapping[str, float] | None:
    """What the run of this kind at `place` measured, its curves left out, if it has finished."""
    for run in find({"kind": kind, **place.tags}):
        if run.info.status == "FINISHED":
            metrics = run.data.metrics
            return {name: value for name, value in metrics.items() if f"best_{name}" not in metrics}
    return None


def curve(client: mlflow.MlflowClient, run_id: str, metric: str) -> list[float]:
    """The values of a metric that a run has recorded, by epoch."""
    return [point.value for point in sorted(client.get_metric_history(run_id, metric), key=lambda point: point.step)]


@contextlib.contextmanager
def run(
    app: App,
    kind: Kind,
    config: "DataclassInstance",
    data: Data,
    label: str | None = None,
    place: Place | None = None,
) -> Iterator[Run]:
    """Record what happens inside: settings, tags and data set first; FINISHED, FAILED or KILLED last.

    The run is called after the app, and after `label`, by default its kind. Where one stands in its `place` already,
    which was cut off, that one goes on.

    Raises:
        UserError: where the store cannot be opened or written, before or during the run.
    """
    client = connect()
    name = app.name if kind == "train" and not label else f"{app.name} {label or kind}"
    begun = find({"kind": kind} | dict(place.tags)) if place else []
    started = mlflow.start_run(
        run_id=begun[0].info.run_id if begun else None,
        experiment_id=_experiment(client, data.name),
        run_name=name,
        nested=True,
        parent_run_id=place.parent if place else None,
        tags=_tags(app.name, kind) | dict(place.tags if place else {}),
    )
    recorded = Run(client, app, config, data, started.info.run_id)
    status = "FAILED"
    try:
        mlflow.log_params(dataclasses.asdict(config))
        if not begun:
            _log_data(data)
        yield recorded
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    except (OSError, MlflowException) as error:
        raise UserError(f"{folder()}: cannot record ({_reason(error)})") from error
    except Exception as error:
        recorded.tag("error", f"{type(error).__name__}: {error}"[:ERROR_LENGTH])
        recorded.log_text(traceback.format_exc(), "error")
        raise
    finally:
        with contextlib.suppress(MlflowException):  # a store that is full or gone cannot be told
            mlflow.end_run(status)


def _log_data(data: Data) -> None:
    """Record the parts of the data as inputs of the run."""
    parts = {"training": data.train, "validation": data.validation, "testing": data.test}
    for context, (inputs, targets) in parts.items():
        # MLflow keeps one input a digest, so each part of each size has its own.
        digest = f"{data.digest}-{context}-{len(targets)}"
        part = mlflow.data.numpy_dataset.from_numpy(inputs, targets=targets, name=data.name, digest=digest)
        with _lock():  # MLflow fails where two runs record the same new data set at once
            mlflow.log_input(part, context=context)


def _experiment(client: mlflow.MlflowClient, name: str) -> str:
    """The id of the experiment called `name`, which is made where there is none, even by two processes at once."""
    database = _database(mlflow.get_tracking_uri())
    # Beside its database; a server knows its own place.
    artifacts = (database.parent / "artifacts" / name).as_uri() if database else None
    try:
        return client.create_experiment(name, artifacts)
    except MlflowException:
        return str(mlflow.set_experiment(name).experiment_id)


def _tags(app: str, kind: Kind) -> dict[str, str]:
    devices = keras.distribution.list_devices()
    versions = {f"version.{package}": version for package, version in _versions().items()}
    return {
        "app": app,
        "kind": kind,
        "backend": keras.backend.backend(),
        "device": ", ".join(devices),
        **versions,
        **_git(),
    }


def _versions() -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in PACKAGES}


def _git() -> dict[str, str]:
    """The commit that runs, and whether files differ from it; nothing outside a git checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout

    try:
        dirty = bool(git("status", "--porcelain").strip())
        return {"git.commit": git("rev-parse", "HEAD").strip(), "git.dirty": str(dirty).lower()}
    except (OSError, subprocess.CalledProcessError):
        return {}


class EpochLogger(keras.callbacks.Callback):
    """Records every epoch's numbers while a model trains; of epochs that take less than a second, several at once.

    A write takes the store longer than such an epoch takes. `begun` is what a training that was cut off came to; an
    epoch that the run has already is not recorded twice.
    """

    def __init__(self, run: Run, begun: Mapping[str, Sequence[float]] = MappingProxyType({})) -> None:
        super().__init__()
        self.run, self.pending, self.written = run, list[Metric](), time.monotonic()
        self.recorded = len(run.curve("loss"))
        for epoch, values in enumerate(zip(*begun.values(), strict=True)):
            self._note(epoch, dict(zip(begun, values, strict=True)))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._note(epoch, logs or {})
        if time.monotonic() - self.written >= 1 or len(self.pending) >= BATCH:
            self._write()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._write()

    def _note(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Keep an epoch's numbers to be written."""
        if epoch >= self.recorded:
            now = int(1000 * time.time())
            self.pending += [Metric(name, float(value), now, epoch + 1) for name, value in logs.items()]

    def _write(self) -> None:
        for start in range(0, len(self.pending), BATCH):
            self.run.client.log_batch(self.run.id, metrics=self.pending[start : start + BATCH])
        self.pending, self.written = [], time.monotonic()


@dataclass(frozen=True)
class Saved:
    """A model that was saved earlier, with what it was trained on."""

    model: keras.Model
    label: str
    """What a person calls it: the registered name and version, the run, or the path."""
    data: str
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]
    digest: str = ""
    task: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What was settled on the validation set: fields of the app's task."""


def load(app: str, which: str | None, flag: str = "--model") -> Saved:
    """The newest registered model of `app`; or `which`: a run's id, `NAME@ALIAS`, `NAME/VERSION`, or a path.

    Raises:
        UserError: where there is no such model, it cannot be read, or it is another app's; it names the `flag`.
    """
    uri, label = (which, which) if which and Path(which).exists() else _find(connect(), app, which, flag)
    try:
        metadata = mlflow.models.Model.load(uri).metadata or {}  # unlike get_model_info, also from another store
    except MlflowException as error:
        raise UserError(f"{flag} {label}: no saved model here ({_reason(error)})") from error
    if metadata.get("app") != app:
        raise UserError(
            f"{flag} {label}: a model of {metadata.get('app', 'another origin')}, not of {app}; choose one of {app}"
        )
    try:
        model = mlflow.tensorflow.load_model(uri, keras_model_kwargs={"compile": False})
    except (MlflowException, OSError, ValueError) as error:
        raise UserError(f"{flag} {label}: this model cannot be read ({_reason(error)})") from error
    outputs, settings = tuple(metadata["outputs"]), metadata["settings"]
    return Saved(model, label, metadata["data"], outputs, settings, metadata["digest"], metadata["task"])


def champions(app: str) -> Iterator[Mapping[str, Any]]:
    """The settings of the app's champion on each data set that it has one for."""
    client = connect()
    for model in client.search_registered_models():
        if model.tags.get("app") == app and CHAMPION in model.aliases:
            saved = mlflow.models.Model.load(f"models:/{model.name}@{CHAMPION}")
            yield (saved.metadata or {})["settings"]


def _find(client: mlflow.MlflowClient, app: str, which: str | None, flag: str) -> tuple[str, str]:
    """The address and the label of the registered model, or the run's, that `which` names."""
    if which is None:
        versions = [version for version in client.search_model_versions() if version.tags.get("app") == app]
        if not versions:
            raise UserError(f"no model of {app} is registered yet; first: python -m apps.{app} train")
        newest = max(versions, key=lambda version: version.creation_timestamp)
        return f"models:/{newest.name}/{newest.version}", f"{newest.name} version {newest.version}"
    if "@" in which or "/" in which:
        return f"models:/{which}", which
    try:
        client.get_run(which)
    except MlflowException as error:
        raise UserError(
            f"{flag} {which}: no such file, run, or registered model (NAME@ALIAS or NAME/VERSION)"
        ) from error
    return f"runs:/{which}/model", which


def server_command(host: str, port: int) -> list[str]:
    """The command that serves the store, with MLflow's UI, at `host` and `port`."""
    connect()
    address = ["--host", host, "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", mlflow.get_tracking_uri(), *address]


def pages(server: str) -> dict[str, str]:
    """For each data set, the last used first, the address of its table of runs in the UI that `server` serves."""
    experiments = connect().search_experiments(order_by=["last_update_time DESC"])
    named = {experiment.name: experiment.experiment_id for experiment in experiments if experiment.name != "Default"}
    runs = {
        name: f"{server}/#/experiments/{number}/runs?workflowType=machine_learning" for name, number in named.items()
    }
    return runs or {"no runs yet": server}
