"""Forecast a time series with an LSTM (Hochreiter and Schmidhuber 1997, "Long Short-Term Memory").

    python -m apps.lstm_forecast train                  # sunspots, a cycle of eleven years ahead
    python -m apps.lstm_forecast train --horizon 1      # one year ahead
    python -m apps.lstm_forecast predict sunspots --steps 30      # the years after the end of the series
    python -m apps.lstm_forecast train --data co2
    python -m apps.lstm_forecast train --csv sales.csv --time day --target sales --known holiday promo
    python -m apps.lstm_forecast train --csv shops.csv --time day --target sales --group store

The network takes a window of the series and predicts the steps after it: a linear forecast that is solved exactly, plus
the output of an LSTM, which is small at first. Season, window and horizon are found in the series. The series is split
by time and never shuffled. Intervals are as wide as the errors on the validation part. `baseline` forecasts the same
windows by the last value, by the value one season before, by an autoregression, and by a ridge regression.

`predict` takes the name of the built-in series, CSV files with the columns of training, or .npy files of windows, and
forecasts the steps after their end. Columns that are known in advance need rows for these steps, without a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from common import (
    App,
    Array,
    Config,
    Count,
    Data,
    Examples,
    Forecast,
    Fraction,
    Positive,
    PredictOptions,
    SavedModel,
    Share,
    Task,
    UserError,
    Whole,
    baselines,
    cli,
)
from common.data import WindowFormat
from common.nn import forecasting, losses, optimizers
from common.preprocessing import series, series_windows, storage

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the forecast."""

    data: Literal["sunspots", "co2"] = "sunspots"
    """Built-in series: yearly sunspots, 1700 to 2008, or monthly CO2 at Mauna Loa, 1958 to 2001."""
    csv: str | None = None
    """CSV file to use instead of a built-in series."""
    time: str | None = None
    """Column of --csv with the times, as dates or whole numbers; by default, the first, or if it only numbers the
    rows, the first one of dates."""
    time_format: str | None = None
    """Format of the times, such as %d/%m/%Y, with the directives of strptime and %q for a quarter; or number, unix,
    unix ms, unix us or unix ns. By default, the format in which the times have a regular step."""
    target: tuple[str, ...] = ()
    """Columns of --csv to forecast together, each from the past of all."""
    also: tuple[str, ...] = ()
    """Columns of --csv whose past is an input, too."""
    known: tuple[str, ...] = ()
    """Columns of --csv, of numbers or text, that are known in advance, such as holidays: their future is an input."""
    group: str | None = None
    """Column of --csv with the name of the series that a row belongs to, if the file has several. The network has it as
    an input."""
    calendar: bool = True
    """Use the hour, the weekday, the month or the time of the year as inputs, if the series has repeated them."""
    gaps: Literal["linear", "previous"] = "linear"
    """How missing values are filled: by linear interpolation, or with the previous value."""
    window: Whole = 0
    """Number of steps in the network's input; 0: two seasons, or 20 steps, if the series is long enough."""
    horizon: Whole = 0
    """Number of steps to forecast; 0: a season, or 10 steps, if the series is long enough."""
    season: Whole = 0
    """Period of the series in steps; 0: found in the training part, 1: none."""
    first_window: Literal["before", "within"] = "before"
    """Where the first windows of validation and test begin: before the part, so that its first step is forecast, or
    within it."""
    validation: Share = 0.2
    """Share of the series for validation, before the test part."""
    test: Share = 0.2
    """Share of the series for the test, at its end."""
    transform: Literal["auto", "none", "sqrt", "log"] = "auto"
    """Scale inside the network: the values, their square roots, or log(1 + value). Outputs are in the original unit.
    auto: the one with which the linear forecast has the least error on the validation part."""
    anchor: Literal["auto", "none", "last", "mean", "season"] = "auto"
    """Forecast that is corrected: none, the last value, the mean of the last season, or the value one season before.
    auto: as for --transform."""
    linear: bool = True
    """Add the LSTM's output to a linear forecast."""
    units: tuple[Count, ...] = (32,)
    """Number of cells of each LSTM layer."""
    dropout: Fraction = 0.0
    """Dropout rate after the last LSTM layer."""

    epochs: Count = 100
    batch_size: Count = 32
    patience: Count = 15
    learning_rate: Positive = 0.001


def columns_of(settings: Settings, targets: Sequence[str], form: WindowFormat | None = None) -> series.Columns:
    """Return the columns of a series; those of text are known after training, from its windows."""
    values, found = (form.values, form.time) if form else ({}, "")
    return series.Columns(tuple(targets), settings.time, settings.also, settings.known, settings.group, values, found)


def load_data(config: Settings) -> Data:
    """Load windows and the steps after them (n, horizon, variables), in the series' unit."""
    if config.window and config.season > config.window:
        raise UserError(f"`window` {config.window} must be at least `season` {config.season}")
    if config.csv and not config.target:
        raise UserError("`csv` needs `target`, the columns to forecast")
    for name in ("also", "known", "group"):
        if getattr(config, name) and not config.csv:
            raise UserError(f"`{name}` needs `csv`, a file with this column")
    if config.csv:
        named = columns_of(config, config.target)
        if repeated := [name for name in named.variables if named.variables.count(name) > 1]:
            raise UserError(f"the column {repeated[0]} is in two of `target`, `also` and `known`; name it once")
        found = series.read(Path(storage.local(config.csv)), named, config.time_format)
        named = found[0].columns
    else:
        found = [series.load(config.data)]
        named = columns_of(config, tuple(map(str, found[0].table.columns)))
    name = Path(config.csv).name if config.csv else config.data
    lowest = min(one.table[list(named.targets)].min().min() for one in found)
    if config.transform in ("sqrt", "log") and lowest < 0:
        raise UserError(f"{name} has values below 0, which `transform` {config.transform} does not allow; choose none")
    shares = (config.validation, config.test)
    asked = (config.window, config.horizon, config.season)
    form, notes = series_windows.choose_windows(found, len(named.targets), asked, shares, config.calendar)
    form = replace(form, values=named.values, time=named.found)
    if 1 < len(found) <= series.MOST_VALUES:
        form = replace(form, groups=tuple(sorted(one.name for one in found)))
        notes = [*notes, f"{config.group}: an input of the network"]
    data = series_windows.split(found, name, named, form, shares, config.gaps, config.first_window)
    if not config.csv:  # the reader's notes are about the user's files
        return data
    described = replace(data.description, notes=(*data.description.notes, *notes))
    return replace(data, description=described)


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the network: windows in, forecasts (horizon, variables) out, with scaling inside."""
    targets, form = data.train[1], windows_of(config, data.formats.windows)
    season: tuple[forecasting.Anchor, ...] = ("season",) if form.season > 1 else ()
    positive: tuple[forecasting.Transform, ...] = ("sqrt", "log") if targets.min() >= 0 else ()
    linear = forecasting.solve(
        data,
        ("none", *positive) if config.transform == "auto" else (config.transform,),
        ("last", "mean", *season) if config.anchor == "auto" else (config.anchor,),
        len(columns_of(config, data.outputs, form).known_numbers) + len(form.groups),
    )
    model = forecasting.network(data, linear, config.units, config.dropout, config.seed, config.linear)
    spread = targets.std((0, 1))
    model.compile(optimizers.build(config, data), losses.ScaledSquaredError(spread), metrics=["mae"])
    return model


def windows_of(settings: Settings, saved: WindowFormat | None) -> WindowFormat:
    """Return the windows of a saved model; those of an old one are in its settings."""
    return saved or WindowFormat(settings.window, settings.horizon, settings.season)


def read_inputs(words: Sequence[str], saved: SavedModel, steps: int = 0) -> Examples:
    """Read the last window of each series, or the windows in .npy files.

    Args:
        words: CSV files, .npy files, or the name of the built-in series.
        saved: The model.
        steps: Number of steps to forecast, at most the model's horizon; 0 for this horizon.

    Returns:
        The windows, and a name per forecast step (windows * steps).

    Raises:
        UserError: if a file cannot be read, or a series is shorter than a window or has another step than in training.
    """
    settings, names, notes, unseen = Settings.from_dict(saved.settings), [], list[str](), list[str]()
    form = windows_of(settings, saved.formats.windows)
    steps = steps or form.horizon
    named = columns_of(settings, saved.outputs, form)
    known, history = list[Array](), list[Array]()
    for word in words:
        if word.endswith(".npy"):
            if named.also or named.known or form.cycles or form.groups:
                raise UserError(f"{word}: this model also takes times or other columns; use a CSV file")
            windows = series_windows.read_windows(Path(word), form.window, len(saved.outputs))
            names += [f"{word}[{index}] + {step}" for index in range(len(windows)) for step in range(1, steps + 1)]
            history += list(windows)
            known += [np.empty((steps, 0), "float32")] * len(windows)
            continue
        if word == saved.data and not settings.csv and not Path(word).exists():
            found = [series.load(settings.data)]
        else:
            found = series.read(Path(word), named, settings.time_format, saved.formats.times)
            new = [one.name for one in found if form.groups and one.name not in form.groups]
            unseen += [*found[0].unseen, *(f"{word}: training never saw {settings.group} {name}" for name in new)]
        for one in found:
            place = f"{word} {one.name}" if one.name else word
            past, ahead = series_windows.last_window(one, named, form, settings.gaps, steps, place)
            names += [f"{place} {time}" for time in one.following(steps)]
            notes += [f"{place}, {note}" for note in one.description.notes]
            history.append(past)
            known.append(ahead)
    past, ahead = np.stack(history), np.stack(known)
    return Examples(names, series_windows.network_inputs(past, ahead), notes=tuple(notes), unseen=tuple(unseen))


@dataclass(frozen=True)
class ForecastOptions(PredictOptions):
    """Options of `predict`: the number of steps."""

    steps: Whole = 0
    """Number of steps to forecast; 0: the horizon of training. Later steps are forecast from the forecasts before."""

    def read(self, app: App, files: Sequence[str], saved: SavedModel) -> Examples:
        """Read the last windows, and append windows that end in forecasts until all steps are covered.

        Raises:
            UserError: as `read_inputs`, or if observed columns would be needed after the end of the series.
        """
        settings = Settings.from_dict(saved.settings)
        form = windows_of(settings, saved.formats.windows)
        if not self.steps:
            return super().read(app, files, saved)
        if settings.also and self.steps > form.horizon:
            raise UserError(f"`steps` {self.steps}: at most {form.horizon}, as `also` is not known after the end")
        examples = app.examples(files, saved, steps=self.steps)
        history, known = series_windows.parts_of(examples.inputs, self.steps)
        chained = -(-self.steps // form.horizon)
        known = np.pad(known, ((0, 0), (0, chained * form.horizon - self.steps), (0, 0)), mode="edge")
        windows = []
        for part in np.split(known, chained, axis=1):
            windows.append((history, part))
            if len(windows) < chained:
                forecast = saved.model.predict(series_windows.network_inputs(history, part), verbose=0)
                step = np.concatenate([forecast, part], axis=2)
                history = np.concatenate([history, step], axis=1)[:, -form.window :]
        # All windows of one series follow one another.
        past, ahead = (
            np.stack(parts, axis=1).reshape(len(history) * chained, *parts[0].shape[1:])
            for parts in zip(*windows, strict=True)
        )
        return replace(examples, inputs=series_windows.network_inputs(past, ahead))

    def answers(self, task: Task, examples: Examples, predictions: Array, outputs: Sequence[str]) -> pd.DataFrame:
        """Return a table with one row per step of each series."""
        if self.steps:
            count = len(examples.names) // self.steps
            predictions = predictions.reshape(count, -1, len(outputs))[:, : self.steps]
        return super().answers(task, examples, predictions, outputs)


def baseline(config: Settings, data: Data) -> dict[str, Any]:
    """Return the classical forecasts by name. An autoregression takes one series."""
    season = windows_of(config, data.formats.windows).season
    found: dict[str, Any] = {"naive forecast": baselines.SeasonalNaive(season=1)}
    if season > 1:
        found[f"seasonal naive forecast {season}"] = baselines.SeasonalNaive(season)
    if not config.group:
        found["autoregression"] = baselines.Autoregression()
    return found | {"ridge regression": baselines.RidgeForecast()}


app = App(
    settings=Settings,
    load_data=load_data,
    build_model=build_model,
    task=Forecast(),
    read_inputs=read_inputs,
    baseline=baseline,
    predict_options=ForecastOptions,
)

if __name__ == "__main__":
    cli.main(app, __doc__)
