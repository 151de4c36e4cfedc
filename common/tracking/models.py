"""Save models with their run, register them, and load them again."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import keras
import mlflow
import numpy as np
import pydantic
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.utils import requirements_utils
from mlflow.utils.file_utils import local_file_uri_to_path

from common import legacy
from common.data import ColumnFormat, Formats, SavedModel, Version
from common.errors import UserError, first_line, print_notes
from common.files import ROOT
from common.lazy import register_layers, without_tensorflow
from common.tracking import store
from common.tracking.recording import ActiveRun, versions
from common.tracking.runs import REPORT, open_store

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

    from common import tasks


CHAMPION = "champion"
FORMATS = pydantic.TypeAdapter(Formats)
COMPLETE = ("image", "sequence", "ratings")
"""Kinds of data without missing numbers."""
OTHER = "choose another, or train again"
"""Advice for a model that cannot be read."""
KERAS_FILE = "data/model.keras"
"""File of the network in the folder of a model."""


@dataclass(frozen=True)
class InputSpec:
    """One input in a saved model's signature."""

    name: str | None
    """None if the model has one input, which has no name."""
    dtype: np.dtype[Any]
    """Type of the values; `object` for text."""
    shape: tuple[int | None, ...]
    """Shape of a batch: None for the number of examples."""


@dataclass(frozen=True)
class ServedModel:
    """A saved model that can be served."""

    label: str
    """The registered name and version, the run's id, or the path."""
    folder: Path
    """Contains the model and a valid request."""
    inputs: tuple[InputSpec, ...]
    takes_missing: bool
    """Whether a number of an example may be missing, as NaN."""
    outputs: tuple[str, ...]
    """Names of the outputs."""
    task: Mapping[str, Any]
    """Values of the task that were chosen on the validation set."""
    columns: Mapping[str, ColumnFormat] = field(default_factory=dict)
    """Formats of the columns of the table that it was trained on."""

    @property
    def example(self) -> Path:
        """The file of a valid request, in JSON."""
        return self.folder / "serving_input_example.json"

    def load(self) -> keras.Model:
        """Load the network.

        Returns:
            The network, which is not compiled.

        Raises:
            UserError: if it cannot be read.
        """
        return _load(str(self.folder), self.label, "model")


def save(
    run: ActiveRun, model: keras.Model, metrics: Mapping[str, float], task: tasks.Task, description: str = ""
) -> Version:
    """Save and register the model of `run`; it becomes champion if its task's `monitor` is the best on this data.

    The saved model includes its signature, an example, the code of `common`, and the facts that `load` returns.

    Args:
        run: The run that trained the model.
        model: The network.
        metrics: Metrics of the run, by name, with the task's `monitor` as `best_…`.
        task: The app's task, with the values that were chosen on the validation set.
        description: Description of the version in Markdown. A link to the page of the run follows.

    Returns:
        The registered version.
    """
    return _register(run, log_model(run, model, task), metrics[f"best_{run.app.task.monitor}"], description)


def log_model(run: ActiveRun, model: keras.Model, task: tasks.Task) -> ModelInfo:
    """Save the model with `run`, without registering it; arguments as for `save`.

    Returns:
        MLflow's description.
    """
    example = keras.tree.map_structure(lambda part: part[:2], run.data.validation[0])
    metadata = {
        "app": run.app.name,
        "data": run.data.name,
        "kind": run.data.kind,
        "digest": run.data.digest,
        "outputs": list(run.data.outputs),
        "formats": FORMATS.dump_python(run.data.formats, mode="json"),
        "settings": dataclasses.asdict(run.config),
        "task": dataclasses.asdict(task),
    }
    with tempfile.TemporaryDirectory() as folder, _without_checks(), without_tensorflow():
        file = Path(folder, Path(KERAS_FILE).name)
        model.save(file)
        return mlflow.pyfunc.log_model(
            name="model",
            loader_module="common.nn.pyfunc",
            data_path=str(file),
            signature=infer_signature(example, model.predict(example, verbose=0)),
            input_example=example,
            pip_requirements=[f"{package}=={version}" for package, version in versions().items()],
            code_paths=[str(ROOT / "common")],
            metadata=metadata,
        )


def _without_checks() -> contextlib.ExitStack:
    """Skip two checks of `log_model`, for which it has no option.

    It reads the metadata of all installed packages, to compare the installed versions with the model's, which are the
    same; and it loads the saved model and predicts for the example. Together they take longer than saving.
    """
    # Private names of MLflow, whose version pyproject.toml pins; `patch.object` fails if they are gone.
    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(requirements_utils, "_MODULES_TO_PACKAGES", {}))
    stack.enter_context(patch.object(mlflow.models.utils, "_validate_serving_input"))
    return stack


def _register(run: ActiveRun, info: ModelInfo, value: float, description: str) -> Version:
    name = f"{run.app.name}-{run.data.name}"
    tags = {"app": run.app.name, "digest": run.data.digest, run.app.task.monitor: repr(value)}
    with store.lock():  # two runs that end at once must not both become champion
        with contextlib.suppress(MlflowException):  # the name is already registered
            run.client.create_registered_model(name, tags={"app": run.app.name, "data": run.data.name})
        # A resumed run may have been interrupted after this line.
        found = run.client.search_model_versions(f"run_id = '{run.id}'")
        version = (
            found[0]
            if found
            else run.client.create_model_version(name, info.model_uri, run.id, tags, model_id=info.model_id)
        )
        champion = run.client.get_registered_model(name).aliases.get(CHAMPION)
        if np.isfinite(value) and (champion is None or _is_better(run, name, champion, value)):
            champion = str(version.version)
            run.client.set_registered_model_alias(name, CHAMPION, champion)
        described = f"{description}\n\n{_link(run)}"
        run.client.update_model_version(name, version.version, described)
        if champion == str(version.version):
            words = f"{run.app.summary}\n\n{run.app.name} on {run.data.name}, compared by {run.app.task.monitor}, "
            words += f"which is {value:.4g} for the champion, version {champion}."
            run.client.update_registered_model(name, f"{words}\n\n{described}")
    return Version(name, int(version.version), int(champion) if champion else None)


def _link(run: ActiveRun) -> str:
    """Return a link, in Markdown, from a page of MLflow's UI to the page of the run."""
    experiment = run.client.get_run(run.id).info.experiment_id
    address = f"#/experiments/{experiment}/runs/{run.id}/artifacts/{REPORT}?workflowType=machine_learning"
    return f"[Report of the run]({address})"


def _is_better(run: ActiveRun, name: str, champion: str, value: float) -> bool:
    """Return whether `value` of the task's `monitor` is better than the champion's, and on the same data.

    A champion without a finite value is replaced in any case.
    """
    tags = run.client.get_model_version(name, champion).tags
    other = float(tags.get(run.app.task.monitor, "nan"))
    better = value > other if run.app.task.mode == "max" else value < other
    return not np.isfinite(other) or (tags.get("digest") == run.data.digest and better)


def load(app: str, which: str | None, setting: str = "model") -> SavedModel:
    """Load a saved model of an app.

    Args:
        app: Name of the app.
        which: A run's id, `NAME` for its champion, `NAME@ALIAS`, `NAME/VERSION`, or a path; None for the champion on
            the data that the newest registered model was trained on.
        setting: Field that the user set, for the error.

    Raises:
        UserError: if there is no such model, it cannot be read, or it belongs to another app.
    """
    uri, label, description = _describe(app, which, setting)
    model = _load(uri, label, setting)
    metadata = description.metadata or {}
    kind = metadata.get("kind") or legacy.kind(model, app)
    return SavedModel(
        model=model,
        label=label,
        data=metadata["data"],
        kind=kind,
        outputs=tuple(metadata["outputs"]),
        settings=legacy.settings(metadata["settings"]),
        formats=FORMATS.validate_python(metadata.get("formats") or legacy.formats(kind, metadata["data"])),
        digest=metadata["digest"],
        task=legacy.task(metadata["task"]),
        run_id=description.run_id,
    )


def served(app: str, which: str | None) -> ServedModel:
    """Find the model to serve, named as for `load`. A model in the store of another machine is copied to this one.

    Returns:
        The model, which is not loaded yet.

    Raises:
        UserError: as `load`.
    """
    uri, label, description = _describe(app, which, "model")
    inputs = tuple(
        InputSpec(spec.name, spec.type, tuple(None if size == -1 else size for size in spec.shape))
        for spec in description.get_input_schema().inputs
    )
    metadata = description.metadata or {}
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    outputs, task = tuple(metadata["outputs"]), legacy.task(metadata["task"])
    formats = FORMATS.validate_python(metadata["formats"]) if metadata.get("formats") else Formats()
    complete = metadata.get("kind") in COMPLETE
    return ServedModel(label, folder, inputs, not complete, outputs, task, formats.columns)


def champions(app: str) -> Iterator[Mapping[str, Any]]:
    """Yield the settings of the app's champion on each data set that has one; a note names one that cannot be read."""
    client = store.connect()
    for model in client.search_registered_models():
        if model.tags.get("app") == app and CHAMPION in model.aliases:
            try:
                _, _, description = _describe(app, f"{model.name}@{CHAMPION}", "model")
            except UserError as error:
                print_notes([f"{error}; it is left out"])
            else:
                yield legacy.settings((description.metadata or {})["settings"])


def _load(uri: str, label: str, setting: str) -> keras.Model:
    """Load the network at `uri`, without its optimizer and loss."""
    try:
        file = Path(mlflow.artifacts.download_artifacts(uri)) / KERAS_FILE
        if file.exists() and not zipfile.is_zipfile(file):
            raise ValueError(f"{file} is damaged")
        register_layers()
        return keras.saving.load_model(file, compile=False)
    except Exception as error:  # reading a damaged file can raise anything
        raise UserError(f"`{setting}` {label}: this model cannot be read ({first_line(error)}); {OTHER}") from error


def _describe(app: str, which: str | None, setting: str) -> tuple[str, str, mlflow.models.Model]:
    """Return the address, the label and MLflow's description of the model of `app` that `which` names."""
    uri, label = (which, which) if which and Path(which).exists() else _find(open_store(), app, which, setting)
    try:
        uri = _location(uri)
        description = mlflow.models.Model.load(uri)  # unlike get_model_info, this reads other stores too
    except MlflowException as error:
        raise UserError(f"`{setting}` {label}: no saved model here ({first_line(error)}); {OTHER}") from error
    except Exception as error:  # parsing a damaged file can raise anything
        raise _damaged(uri, label, setting, first_line(error)) from error
    origin = (description.metadata or {}).get("app", "another origin")
    if origin != app:
        raise UserError(f"`{setting}` {label}: a model of {origin}, not of {app}; choose one of {app}")
    if description.signature is None:  # it comes after all that the suite reads
        raise _damaged(uri, label, setting, "its end is missing")
    return uri, label, description


def _damaged(uri: str, label: str, setting: str, reason: str) -> UserError:
    return UserError(f"`{setting}` {label}: {Path(uri) / 'MLmodel'} is damaged ({reason}); {OTHER}")


def _location(uri: str) -> str:
    """Return the address of the artifacts of a registered model; MLflow would write a file beside them."""
    if not uri.startswith("models:/"):
        return uri
    client, which = mlflow.MlflowClient(), uri.removeprefix("models:/")
    name, _, number = which.rpartition("/")
    if "@" in which:
        version = client.get_model_version_by_alias(*which.rsplit("@", 1))
        name, number = version.name, str(version.version)
    return local_file_uri_to_path(client.get_model_version_download_uri(name, number))


def _find(client: mlflow.MlflowClient, app: str, which: str | None, setting: str) -> tuple[str, str]:
    """Return the address and the label of the registered or recorded model that `which` names."""
    if which is None:
        name, version = _default(client, app)
        return f"models:/{name}/{version}", f"{name} version {version}"
    if "@" in which or "/" in which:
        return f"models:/{which}", which
    with contextlib.suppress(MlflowException):
        client.get_registered_model(which)
        return f"models:/{which}@{CHAMPION}", f"{which}@{CHAMPION}"
    try:
        client.get_run(which)
    except MlflowException as error:
        raise UserError(
            f"`{setting}` {which}: no such file, run, or registered model (NAME, NAME@ALIAS or NAME/VERSION)"
        ) from error
    return f"runs:/{which}/model", which


def registered(app: str) -> bool:
    """Return whether a model of the app is registered."""
    return bool(_versions(open_store(), app))


def _versions(client: mlflow.MlflowClient, app: str) -> list[ModelVersion]:
    return [version for version in client.search_model_versions() if version.tags.get("app") == app]


def _default(client: mlflow.MlflowClient, app: str) -> tuple[str, str]:
    """Return the name and the version of the champion on the data of the app's newest model.

    It is the newest model if there is no champion on this data, as after trainings without a finite metric. A note says
    which one is used if the two differ.
    """
    versions = _versions(client, app)
    if not versions:
        raise UserError(f"no model of {app} is registered yet; first: python -m apps.{app} train")
    newest = max(versions, key=lambda version: version.creation_timestamp)
    number = client.get_registered_model(newest.name).aliases.get(CHAMPION)
    champion = next((one for one in versions if one.name == newest.name and str(one.version) == str(number)), newest)
    if champion.tags.get("digest") != newest.tags.get("digest"):
        reason = f"the newest; the champion, version {number}, was trained on other data of this name"
        champion = newest
    else:
        reason = f"the champion; the newest, version {newest.version}, is worse on the validation set"
    if str(number) != str(newest.version) and number:
        print_notes([f"{newest.name} version {champion.version} is used, {reason}"])
    return newest.name, str(champion.version)
