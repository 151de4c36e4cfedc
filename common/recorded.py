"""Load the settings, the data, the model and the curves of a run by its id, as in a notebook.

    from common import recorded

    config = recorded.config(run_id)    # an instance of the app's settings
    data = recorded.data(run_id)        # loaded with these settings
    model = recorded.model(run_id)      # a Keras model
    curves = recorded.curves(run_id)    # a pandas DataFrame, one row per epoch

A tag of the run names its app, which is imported by that name: no file of common has an import of an app.
"""

import importlib
import typing
from dataclasses import fields
from typing import Any

import keras
import pandas as pd

from common import legacy, tracking
from common.app import App
from common.config import Config
from common.data import Data
from common.errors import UserError

TRAININGS = ("train", "trial", "fold", "baseline")
"""Kinds of runs that record an app's settings."""


def app(run_id: str) -> App:
    """Return the app of the run.

    Raises:
        UserError: if there is no such run, or no such app any more.
    """
    return _app(tracking.get(run_id))


def _app(run: tracking.Run) -> App:
    run_id, tags = run.info.run_id, run.data.tags
    if tags.get("kind") not in TRAININGS:
        raise UserError(f"run {run_id}: a {tags.get('kind', 'run of another origin')}; choose the run of a training")
    try:
        found: App = importlib.import_module(f"apps.{tags['app']}").app
    except ModuleNotFoundError as error:
        raise UserError(f"run {run_id}: of {tags['app']}, which is not in apps/; choose another run") from error
    return found


def config(run_id: str) -> Any:
    """Return the settings of the run as an instance of its app's class; settings that are newer have their defaults.

    Raises:
        UserError: if there is no such run, or the app no longer has one of its settings.
    """
    return _config(tracking.get(run_id))


def _config(run: tracking.Run) -> Any:
    return settings_of(run, _app(run).settings)


def settings_of(run: tracking.Run, settings: type[Config]) -> Config:
    """Return the settings of the run as an instance of its app's class `settings`.

    Raises:
        UserError: if the app no longer has one of its settings.
    """
    recorded = tracking.settings(run)
    if recorded is None:
        recorded = legacy.parameters(run.data.params, typing.get_type_hints(settings))
    if gone := sorted(set(recorded) - {field.name for field in fields(settings)}):
        raise UserError(f"run {run.info.run_id}: recorded with {', '.join(gone)}, which the app no longer has")
    return settings.from_dict(recorded)


def data(run_id: str) -> Data:
    """Load the data of the run again, with the same split.

    Raises:
        UserError: if the data cannot be loaded or has changed.
    """
    run = tracking.get(run_id)
    loaded = _app(run).load_data(_config(run))
    if (known := tracking.digest(run)) and loaded.digest != known:
        raise UserError(f"{loaded.name} has changed since run {run_id}: its split is a different one now")
    return loaded


def model(run_id: str) -> "keras.Model":
    """Load the network that the run saved.

    Raises:
        UserError: if the run saved none, as a trial, or it cannot be read.
    """
    return tracking.load(app(run_id).name, run_id, "run").model


def curves(run_id: str) -> pd.DataFrame:
    """Return the metrics of every epoch: one row per epoch, from 1, and one column per metric.

    Raises:
        UserError: if there is no such run.
    """
    metrics, client = tracking.get(run_id).data.metrics, tracking.connect()
    # Metrics of the whole run have no value at the best epoch.
    names = [name for name in metrics if f"best_{name}" in metrics or "best_epoch" not in metrics]
    frame = pd.DataFrame({name: pd.Series(tracking.curve(client, run_id, name)) for name in names})
    return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="epoch"))
