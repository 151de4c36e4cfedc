"""Record runs, and find them again."""

import contextlib
import dataclasses
import importlib.metadata
import subprocess
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import keras
import mlflow
import mlflow.data.numpy_dataset
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from common.app import App
from common.data import Data
from common.errors import UserError, first_line
from common.tracking import store
from common.tracking.store import ROOT

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance
    from matplotlib.figure import Figure


Kind = Literal["train", "search", "trial", "fold", "baseline"]
"""What a recorded run was for."""
BATCH = 1000
"""Numbers that MLflow takes at once."""
ERROR_LENGTH = 500
"""Characters of an error that are kept as a tag; its traceback is an artifact."""
PACKAGES = ("keras", "tensorflow", "numpy", "scikit-learn", "mlflow")
"""Those that decide what a run computes; also what a served model is told to install."""
Run = mlflow.entities.Run
"""A run as the store gives it back."""


class Artifacts:
    """Where pictures, words and tables of a run are kept."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str) -> None:
        self.client, self.id = client, run_id

    def log_figure(self, figure: "Figure", name: str) -> None:
        """Record a picture, as `name`.png among the run's artifacts."""
        self.client.log_figure(self.id, figure, f"{name}.png")

    def log_text(self, text: str, name: str) -> None:
        """Record words, as `name`.txt among the run's artifacts."""
        self.client.log_text(self.id, text, f"{name}.txt")

    def log_table(self, table: "pd.DataFrame", name: str) -> None:
        """Record a table, as `name`.csv among the run's artifacts."""
        self.client.log_text(self.id, table.to_csv(index=False), f"{name}.csv")


class ActiveRun(Artifacts):
    """A run that is being recorded."""

    def __init__(
        self, client: mlflow.MlflowClient, app: App, config: "DataclassInstance", data: Data, run_id: str
    ) -> None:
        super().__init__(client, run_id)
        self.app, self.config, self.data = app, config, data

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


@dataclass(frozen=True)
class RunKey:
    """Where a run stands among others: below which one, and the tags that tell it from all others there."""

    parent: str | None
    tags: Mapping[str, str]

    def below(self, run: ActiveRun, **tags: str) -> "RunKey":
        """The place of a run below `run`, which stands here."""
        return RunKey(run.id, {**self.tags, **tags})


def find(tags: Mapping[str, str], experiment: str | None = None) -> list[Run]:
    """The runs that have all of `tags`, the newest first; of one experiment, by its id, or of all."""
    store.connect()
    words = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    within = [experiment] if experiment else None
    return list(mlflow.search_runs(within, words, output_format="list", search_all_experiments=not experiment))


def get(run_id: str) -> Run:
    """The run of this id.

    Raises:
        UserError: where there is none.
    """
    try:
        return store.connect().get_run(run_id)
    except MlflowException as error:
        raise UserError(f"run {run_id}: there is none in {store.folder()}; take an id that `train` has said") from error


def end_stale(tags: Mapping[str, str]) -> None:
    """Mark the runs that have `tags`, and those below them, as killed where they still count as running."""
    client = store.connect()
    for run in find(tags):
        for one in [run, *find({MLFLOW_PARENT_RUN_ID: run.info.run_id})]:
            if one.info.status == "RUNNING":
                client.set_terminated(one.info.run_id, "KILLED")


def finished(kind: Kind, key: RunKey) -> Mapping[str, float] | None:
    """What the run of this kind at `place` measured, its curves left out, if it has finished."""
    for run in find({"kind": kind, **key.tags}):
        if run.info.status == "FINISHED":
            metrics = run.data.metrics
            return {name: value for name, value in metrics.items() if f"best_{name}" not in metrics}
    return None


def attach(
    run_id: str | None, folder: str, figures: Mapping[str, "Figure"], tables: Mapping[str, "pd.DataFrame"]
) -> bool:
    """Put pictures and tables into a folder of the artifacts of a run that is over; False where it is in no store here.

    Raises:
        UserError: where the store cannot be written.
    """
    client = store.connect()
    try:
        artifacts = Artifacts(client, client.get_run(run_id or "").info.run_id)
    except MlflowException:
        return False
    try:
        for name, figure in figures.items():
            artifacts.log_figure(figure, f"{folder}/{name}")
        for name, table in tables.items():
            artifacts.log_table(table, f"{folder}/{name}")
    except (OSError, MlflowException) as error:
        raise UserError(f"{store.folder()}: cannot record ({first_line(error)})") from error
    return True


def curve(client: mlflow.MlflowClient, run_id: str, metric: str) -> list[float]:
    """The values of a metric that a run has recorded, by epoch."""
    return [point.value for point in sorted(client.get_metric_history(run_id, metric), key=lambda point: point.step)]


def curves(run_id: str) -> "pd.DataFrame":
    """The figures of every epoch that a run has recorded: a row an epoch, counted from 1, and a column a figure.

    Raises:
        UserError: where there is no such run.
    """
    import pandas as pd

    metrics, client = get(run_id).data.metrics, store.connect()
    # What is measured at the end has no best epoch.
    names = [name for name in metrics if f"best_{name}" in metrics or "best_epoch" not in metrics]
    frame = pd.DataFrame({name: pd.Series(curve(client, run_id, name)) for name in names})
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="epoch"))


@contextlib.contextmanager
def run(
    app: App,
    kind: Kind,
    config: "DataclassInstance",
    data: Data,
    label: str | None = None,
    key: RunKey | None = None,
) -> Iterator[ActiveRun]:
    """Record what happens inside: settings, tags and data set first; FINISHED, FAILED or KILLED last.

    The run is called after the app, and after `label`, by default its kind. Where one stands in its `place` already,
    which was cut off, that one goes on.

    Raises:
        UserError: where the store cannot be opened or written, before or during the run.
    """
    client = store.connect()
    name = app.name if kind == "train" and not label else f"{app.name} {label or kind}"
    begun = find({"kind": kind} | dict(key.tags)) if key else []
    started = mlflow.start_run(
        run_id=begun[0].info.run_id if begun else None,
        experiment_id=_experiment(client, data.name),
        run_name=name,
        nested=True,
        parent_run_id=key.parent if key else None,
        tags=_tags(app, kind) | dict(key.tags if key else {}),
    )
    recorded = ActiveRun(client, app, config, data, started.info.run_id)
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
        raise UserError(f"{store.folder()}: cannot record ({first_line(error)})") from error
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
        with store.lock():  # MLflow fails where two runs record the same new data set at once
            mlflow.log_input(part, context=context)


def digest(run: Run) -> str:
    """The fingerprint of the data that a run was recorded with; empty where it has none."""
    parts = run.inputs.dataset_inputs if run.inputs else []
    return str(parts[0].dataset.digest).rsplit("-", 2)[0] if parts else ""


def _experiment(client: mlflow.MlflowClient, name: str) -> str:
    """The id of the experiment called `name`, which is made where there is none, even by two processes at once."""
    database = store.database_of(mlflow.get_tracking_uri())
    # Beside its database; a server knows its own place.
    artifacts = (database.parent / "artifacts" / name).as_uri() if database else None
    try:
        return client.create_experiment(name, artifacts)
    except MlflowException:
        return str(mlflow.set_experiment(name).experiment_id)


def _tags(app: App, kind: Kind) -> dict[str, str]:
    return {
        "app": app.name,
        "kind": kind,
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
    """The installed version of each package that decides what a run computes."""
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

    def __init__(self, run: ActiveRun, begun: Mapping[str, Sequence[float]] = MappingProxyType({})) -> None:
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
