"""What a run was made with and what came of it, by the run's id; for notebooks.

    from common import recorded

    config = recorded.config(run_id)    # the settings, of the app's own class
    data = recorded.data(run_id)        # as the app loads them with these settings
    model = recorded.model(run_id)      # a Keras model
    curves = recorded.curves(run_id)    # a pandas frame, a row an epoch

A run says by its tag which app it is of. The app is looked up by that name, as it is when its command is typed: no file
of common imports an app.
"""

import ast
import importlib
import typing
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

from common import legacy, tracking
from common.app import App
from common.data import Data
from common.errors import UserError

if TYPE_CHECKING:
    import keras
    import pandas as pd


TRAININGS = ("train", "trial", "fold", "baseline")
"""Kinds of runs whose parameters are an app's settings."""


def app(run_id: str) -> App:
    """The app that the run is of.

    Raises:
        UserError: where there is no such run, or the suite has no such app.
    """
    return _app(tracking.get(run_id))


def _app(run: tracking.Run) -> App:
    run_id, tags = run.info.run_id, run.data.tags
    if tags.get("kind") not in TRAININGS:
        raise UserError(f"run {run_id}: a {tags.get('kind', 'run of another origin')}; choose a run of one training")
    try:
        found: App = importlib.import_module(f"apps.{tags['app']}").app
    except ModuleNotFoundError as error:
        raise UserError(f"run {run_id}: of {tags['app']}, which is not in apps/; choose another run") from error
    return found


def config(run_id: str) -> Any:
    """The settings that the run was recorded with, of its app's own class; what it did not know has its default.

    Raises:
        UserError: where there is no such run, or the app has no such settings any more.
    """
    return _config(tracking.get(run_id))


def _config(run: tracking.Run) -> Any:
    settings, recorded = _app(run).settings, legacy.settings(run.data.params)
    hints = typing.get_type_hints(settings)
    if gone := sorted(set(recorded) - {field.name for field in fields(settings)}):
        raise UserError(f"run {run.info.run_id}: recorded with {', '.join(gone)}, which the app does not have any more")
    return settings.from_dict({name: _value(text, hints[name]) for name, text in recorded.items()})


def _value(text: str, hint: Any) -> Any:
    """The value of a setting of type `hint` that MLflow keeps as `text`."""
    kind, choices = typing.get_origin(hint), typing.get_args(hint)
    words = hint is str or (kind is Literal and isinstance(choices[0], str)) or (kind is not tuple and str in choices)
    if words and not (text == "None" and type(None) in choices):
        return text
    return ast.literal_eval(text)


def data(run_id: str) -> Data:
    """The data of the run, loaded again, split as it was.

    Raises:
        UserError: where they cannot be had or have changed.
    """
    run = tracking.get(run_id)
    loaded = _app(run).load_data(_config(run))
    if (known := tracking.digest(run)) and loaded.digest != known:
        raise UserError(f"{loaded.name} has changed since run {run_id}: its parts are others now")
    return loaded


def model(run_id: str) -> "keras.Model":
    """The network that the run saved, with the weights that it was measured with.

    Raises:
        UserError: where it saved none, as a trial does, or it cannot be read.
    """
    return tracking.load(app(run_id).name, run_id, "run").model


def curves(run_id: str) -> "pd.DataFrame":
    """The figures of every epoch, counted from 1, a column a figure.

    Raises:
        UserError: where there is no such run.
    """
    return tracking.curves(run_id)
