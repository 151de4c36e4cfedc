"""Forecast a time series with an LSTM (Hochreiter and Schmidhuber 1997, "Long Short-Term Memory").

    python -m apps.lstm_forecast train                  # sunspots, one year ahead: RMSE 16.30; autoregression 19.50
    python -m apps.lstm_forecast train --horizon 11     # a whole cycle ahead
    python -m apps.lstm_forecast predict sunspots       # the steps after the end of the series
    python -m apps.lstm_forecast train --data co2 --transform none --window 24 --horizon 12 --season 12
    python -m apps.lstm_forecast train --csv sales.csv --time day --target shop web --transform none

The errors are means of seeds 0, 1 and 2. The first command takes 13 CPU s (56 s on two busy cores, seed 0).

The network takes a window of the series and predicts the steps after it. The series is split by time and never
shuffled. `baseline` forecasts the same windows by the last value, by the value one season before, and by an
autoregression. `predict` takes the name of the built-in series, CSV files with the columns of training, or .npy files
of windows, and forecasts the steps after their end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from common import (
    App,
    Config,
    Count,
    Data,
    Examples,
    Forecast,
    Fraction,
    Positive,
    SavedModel,
    Share,
    UserError,
    baselines,
    cli,
)
from common.nn import losses, optimizers
from common.preprocessing import series


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the forecast."""

    data: Literal["sunspots", "co2"] = "sunspots"
    """Built-in series: yearly sunspots, 1700 to 2008, or monthly CO2 at Mauna Loa, 1958 to 2001."""
    csv: str | None = None
    """CSV file to use instead of a built-in series."""
    time: str | None = None
    """Column of --csv with the times, as dates or whole numbers; by default, the first."""
    time_format: str | None = None
    """Format of the times, such as %d/%m/%Y, with the directives of strptime and %q for a quarter; or number, unix,
    unix ms, unix us or unix ns. By default, the format in which the times have a regular step."""
    target: tuple[str, ...] = ()
    """Columns of --csv to forecast together, each from the past of all."""
    gaps: Literal["linear", "previous"] = "linear"
    """How missing values are filled: by linear interpolation, or with the previous value."""
    window: Count = 22
    """Number of steps in the network's input."""
    horizon: Count = 1
    """Number of steps to forecast."""
    season: Count = 11
    """Period of the series in steps, for the seasonal naive baseline."""
    validation: Share = 0.2
    """Share of the series for validation, before the test part."""
    test: Share = 0.2
    """Share of the series for the test, at its end."""
    transform: Literal["none", "sqrt", "log"] = "sqrt"
    """Scale inside the network: the values, their square roots, or log(1 + value). Outputs are in the original unit."""
    anchor: Literal["none", "last"] = "last"
    """Value that is subtracted from the network's inputs and added to its outputs: none, or the last in the window."""
    units: tuple[Count, ...] = (32,)
    """Number of cells of each LSTM layer."""
    dropout: Fraction = 0.0
    """Dropout rate after the last LSTM layer."""

    epochs: Count = 200
    batch_size: Count = 16
    patience: Count = 40
    learning_rate: Positive = 0.003


def load_data(config: Settings) -> Data:
    """Load windows (n, window, variables) and the steps after them (n, horizon, variables), in the series' unit."""
    if config.season > config.window:
        raise UserError(f"`window` {config.window} must be at least `season` {config.season}")
    if config.csv and not config.target:
        raise UserError("`csv` needs `target`, the columns to forecast")
    if config.csv:
        found = series.read(Path(config.csv), config.time, config.target, config.time_format)
    else:
        found = series.load(config.data)
    name = Path(config.csv).name if config.csv else config.data
    if config.transform != "none" and (found.table.min() < 0).any():
        raise UserError(f"{name} has values below 0, which `transform` {config.transform} does not allow; choose none")
    return series.split(found, name, config.window, config.horizon, config.validation, config.test, config.gaps)


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the network: windows (window, variables) in, forecasts (horizon, variables) out, with scaling inside."""
    forward, inverse = scale(config.transform)
    past = keras.ops.convert_to_numpy(forward(data.train[0]))
    moments = {"mean": past.mean((0, 1)), "variance": past.var((0, 1))}
    _, horizon, variables = data.train[1].shape

    window = keras.Input(data.input_shape)
    x = keras.layers.Normalization(**moments)(forward(window))
    last = x[:, -1:]
    x = x - last if config.anchor == "last" else x
    for layer, units in enumerate(config.units, start=1):
        x = keras.layers.LSTM(units, return_sequences=layer < len(config.units))(x)
    x = keras.layers.Dropout(config.dropout, seed=config.seed)(x)
    x = keras.layers.Dense(horizon * variables)(x)
    x = keras.layers.Reshape((horizon, variables))(x)
    x = x + last if config.anchor == "last" else x
    model = keras.Model(window, inverse(keras.layers.Normalization(**moments, invert=True)(x)))

    spread = data.train[0].std((0, 1))
    model.compile(optimizers.build(config, data), losses.ScaledSquaredError(spread), metrics=["mae"])
    return model


def scale(transform: Literal["none", "sqrt", "log"]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the function to the network's scale, and its inverse."""
    ops = keras.ops
    match transform:
        case "none":
            return lambda x: x, lambda z: z
        case "sqrt":
            return lambda x: ops.sqrt(ops.maximum(x, 0.0)), lambda z: ops.square(ops.maximum(z, 0.0))
        case "log":
            return lambda x: ops.log1p(ops.maximum(x, 0.0)), ops.expm1


def read_inputs(words: Sequence[str], saved: SavedModel) -> Examples:
    """Read the last window of each series, or the windows in .npy files.

    Args:
        words: CSV files, .npy files, or the name of the built-in series.
        saved: The model.

    Returns:
        The windows (windows, window, variables), and a name per forecast step (windows * horizon).

    Raises:
        UserError: if a file cannot be read, or a series is shorter than a window or has another step than in training.
    """
    settings, names, lasts, notes = Settings.from_dict(saved.settings), [], [], list[str]()
    for word in words:
        if word.endswith(".npy"):
            windows = series.read_windows(Path(word), settings.window, len(saved.outputs))
            steps = range(1, settings.horizon + 1)
            names += [f"{word}[{index}] + {step}" for index in range(len(windows)) for step in steps]
            lasts += list(windows)
            continue
        if word == saved.data and not settings.csv and not Path(word).exists():
            found = series.load(settings.data)
        else:
            found = series.read(Path(word), settings.time, saved.outputs, settings.time_format, saved.formats.times)
        if len(found.table) < settings.window:
            raise UserError(f"{word}: {len(found.table)} steps; the network needs {settings.window}")
        names += [f"{word} {time}" for time in found.following(settings.horizon)]
        notes += [f"{word}, {note}" for note in found.description.notes]
        lasts.append(series.fill(found.table, settings.gaps).to_numpy("float32")[-settings.window :])
    return Examples(names, np.stack(lasts), notes=tuple(notes))


def baseline(config: Settings, _data: Data) -> dict[str, Any]:
    """Return the three classical forecasts by name."""
    return {
        "naive": baselines.SeasonalNaive(season=1),
        f"seasonal naive {config.season}": baselines.SeasonalNaive(config.season),
        "autoregression": baselines.Autoregression(),
    }


app = App(
    settings=Settings,
    load_data=load_data,
    build_model=build_model,
    task=Forecast(),
    read_inputs=read_inputs,
    baseline=baseline,
)

if __name__ == "__main__":
    cli.main(app, __doc__)
