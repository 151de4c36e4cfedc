"""Record runs, and find them again."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import io
import shutil
import subprocess
import tempfile
import textwrap
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import mlflow
import mlflow.data.numpy_dataset
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from common.app import App
from common.config import changed
from common.data import Data
from common.errors import UserError, first_line, print_notes
from common.files import ROOT
from common.tracking import processes, store

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance
    from matplotlib.figure import Figure


Kind = Literal["train", "search", "trial", "fold", "baseline"]
"""Purpose of a run."""
NAME_LENGTH = 80
"""Longest name of a run in characters."""
SETTINGS_FOLLOW = ": "
"""Stands in the name of a run before its settings."""
ERROR_LENGTH = 500
"""Characters of an error that a tag records; the traceback is an artifact."""
DESCRIPTION_LENGTH = 5000
"""Characters that a tag can have in every store."""
PACKAGES = ("keras", "tensorflow", "numpy", "scikit-learn", "mlflow")
"""Packages that decide the results of a run; also the requirements of a saved model."""
PROCESS = "process"
"""Tag with the process that records a run."""
HEARTBEAT = "heartbeat"
"""Tag with the last time, in seconds since 1970, at which this process recorded that it runs."""
FOR_TRAININGS = {"mlflow.experimentKind": "custom_model_development"}
"""Tag of an experiment for which MLflow's UI opens the pages of trainings, and not those of language models."""
SETTINGS = "settings.json"
"""Artifact with all settings. MLflow's parameters show them too, but cut long values."""
REPORT = "report.html"
"""Artifact with the page of a run."""
Run = mlflow.entities.Run
"""A recorded run."""


class Artifacts:
    """The figures, texts and tables of a run."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str) -> None:
        self.client, self.id = client, run_id
        self.images = dict[str, bytes]()
        """The recorded figures as PNG or SVG, by name."""

    def log_figure(self, figure: "Figure", name: str, vector: bool = False) -> None:
        """Record a figure as the artifact `name`.png, with its label as the description in the file.

        Args:
            figure: The figure.
            name: Name of the artifact, without its ending.
            vector: Whether `images` has it as SVG.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        folder, _, file = name.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary, f"{file}.png")
            # `figure.savefig` would draw the figure twice.
            FigureCanvasAgg(figure).print_png(path, metadata={"Description": figure.get_label()})
            self.client.log_artifact(self.id, str(path), folder or None)
            self.images[name] = svg(figure) if vector else path.read_bytes()

    def find_figures(self) -> None:
        """Read the figures that an earlier process recorded in this run, for its page."""
        with tempfile.TemporaryDirectory() as temporary:
            for artifact in self.client.list_artifacts(self.id):
                if artifact.path.endswith(".png"):
                    file = Path(self.client.download_artifacts(self.id, artifact.path, temporary))
                    self.images[file.stem] = file.read_bytes()

    def log_text(self, text: str, name: str) -> None:
        """Record a text as the artifact `name`.txt."""
        self.client.log_text(self.id, text, f"{name}.txt")

    def log_report(self, html: str) -> None:
        """Record the page of the run."""
        self.client.log_text(self.id, html, REPORT)

    def log_table(self, table: "pd.DataFrame", name: str) -> None:
        """Record a table as the artifact `name`.csv."""
        self.client.log_text(self.id, table.to_csv(index=False), f"{name}.csv")


def svg(figure: "Figure") -> bytes:
    """Return a figure as SVG, with its label as the description in the file. Its text is text, not outlines."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with io.BytesIO() as file, matplotlib.rc_context({"svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Description": figure.get_label(), "Date": None})
        return file.getvalue()


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


def checkpoints(run_id: str) -> Path:
    """Return the folder of a run's checkpoints, on this machine."""
    return store.local_folder() / "checkpoints" / run_id


def delete_checkpoints(run_id: str) -> None:
    """Delete the checkpoints of a run."""
    shutil.rmtree(checkpoints(run_id), ignore_errors=True)


def finished(kind: Kind, key: RunKey) -> Mapping[str, float] | None:
    """Return the final metrics of the run of this kind with this key, or None if it has not finished."""
    for run in find({"kind": kind, **key.tags}):
        if run.info.status == "FINISHED":
            metrics = run.data.metrics
            return {name: value for name, value in metrics.items() if f"best_{name}" not in metrics}
    return None


def attach(
    run_id: str | None, folder: str, figures: Mapping[str, "Figure"], tables: Mapping[str, "pd.DataFrame"]
) -> bool:
    """Record figures and tables in a folder of the artifacts of a finished run.

    Returns:
        Whether the run is in this store.

    Raises:
        UserError: if the store cannot be written.
    """
    client = store.connect()
    try:
        artifacts = Artifacts(client, client.get_run(run_id or "").info.run_id)
    except MlflowException:
        return False
    store.check_writable()
    with store.recording():
        for name, figure in figures.items():
            artifacts.log_figure(figure, f"{folder}/{name}")
        for name, table in tables.items():
            artifacts.log_table(table, f"{folder}/{name}")
    return True


def curve(client: mlflow.MlflowClient, run_id: str, metric: str) -> list[float]:
    """Return the recorded values of a metric of a run, by epoch."""
    return [point.value for point in sorted(client.get_metric_history(run_id, metric), key=lambda point: point.step)]


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


def name_of(run: Run) -> str:
    """Return the name of a run without the settings in it."""
    return str(run.info.run_name).partition(SETTINGS_FOLLOW)[0]


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
