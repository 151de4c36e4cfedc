"""Time series: reading, a regular grid of times, a split by time, and windows.

A series is a table with one row per time, in order and evenly spaced, and one column per variable; a gap is NaN.
"""

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from common.data import Array, Data, Pair, fingerprint
from common.errors import UserError
from common.preprocessing import arrays, tables

Name = Literal["sunspots", "co2"]
Gaps = Literal["linear", "previous"]
CALENDAR = ("YS", "YE", "QS", "QE", "MS", "ME", "B")
"""Regular steps of variable length: years, quarters, months and business days."""


def load(name: Name) -> pd.DataFrame:
    """Load yearly sunspots, 1700 to 2008, or monthly CO2 at Mauna Loa, 1958 to 2001, from statsmodels.

    Sunspots are the International Sunspot Number, CO2 is in parts per million, as the mean of weekly values.
    """
    from statsmodels import datasets

    if name == "co2":
        return datasets.co2.load_pandas().data.resample("MS").mean()
    table = datasets.sunspots.load_pandas().data
    return pd.DataFrame({"sunspots": table["SUNACTIVITY"].to_numpy()}, index=table["YEAR"].astype(int))


def read(path: Path, time: str | None, targets: Sequence[str]) -> pd.DataFrame:
    """Read a series from a CSV file.

    Args:
        path: The file.
        time: Column of times: dates or whole numbers, in any order. Default: the first column.
        targets: Columns of the variables.

    Returns:
        The series (times, targets), float64 and NaN for an empty cell or a missing row.

    Raises:
        UserError: if the file or a column is missing, a cell is not a number, or times are missing, repeated,
            unreadable or irregular.
    """
    table = tables.read_cells(path)
    time = time or str(table.columns[0])
    tables.require(path, table, [time, *targets])
    if empty := next((name for name in targets if not table[name].any()), None):
        raise UserError(f"{path}: column {empty} is empty; fill it in or leave it out")
    columns = {name: tables.numbers(path, table[name]).astype("float64") for name in targets}
    series = pd.DataFrame(columns, index=_times(table[time], path)).sort_index()
    if series.index.has_duplicates:
        raise UserError(f"{path}: time {series.index[series.index.duplicated()][0]} is in two rows; keep one")
    return series.reindex(_grid(series.index, path))


def _times(cells: "pd.Series[str]", path: Path) -> pd.Index:
    """Parse a column of text as whole numbers or dates."""
    if not cells.all():
        raise UserError(f"{path}, line {cells.eq('').idxmax()}: no time in the column {cells.name}; fill it in")
    with contextlib.suppress(ValueError):
        return pd.Index(cells.astype("int64"))
    try:
        return pd.DatetimeIndex(pd.to_datetime(cells))
    except (ValueError, TypeError) as error:
        unreadable = f"{path}: the column {cells.name} has times that cannot be read"
        raise UserError(f"{unreadable}; write whole numbers, or dates like 2024-12-31 23:59") from error


def _grid(times: pd.Index, path: Path) -> pd.Index:
    """Return the evenly spaced times from the first to the last of `times`, which contain all of them."""
    if len(times) < 3:
        raise UserError(f"{path}: {len(times)} rows are too few for a series")
    if isinstance(times, pd.DatetimeIndex):
        candidates = (
            pd.date_range(times[0], times[-1], freq=rule) for rule in (pd.infer_freq(times), *CALENDAR) if rule
        )
        grid = next((grid for grid in candidates if times.isin(grid).all()), None)
        if grid is not None and len(grid) <= 2 * len(times):
            return grid
    numbers = times.to_numpy().astype("int64")
    step = int(np.gcd.reduce(np.diff(numbers)))
    if (numbers[-1] - numbers[0]) // step + 1 > 2 * len(times):
        raise UserError(f"{path}: its times have no regular step; use one row per hour, day, month …")
    if isinstance(times, pd.DatetimeIndex):
        return pd.date_range(times[0], times[-1], freq=pd.Timedelta(step, unit=times.unit))
    return pd.RangeIndex(numbers[0], numbers[-1] + step, step)


def read_windows(path: Path, window: int, variables: int) -> Array:
    """Read windows (n, window, variables) from a `.npy` file.

    Raises:
        UserError: if the file cannot be read, or its array has another type or shape.
    """
    found = arrays.read_examples(path, (window, variables), "windows")
    return np.stack([example for _, example in found]).astype("float32")


def fill(series: pd.DataFrame, gaps: Gaps) -> pd.DataFrame:
    """Fill gaps by linear interpolation or with the previous value; at either end, with the nearest value."""
    between = series.interpolate("linear") if gaps == "linear" else series.ffill()
    return between.ffill().bfill()


def windows(values: Array, window: int, horizon: int) -> Pair:
    """Cut `values` (times, variables) into windows at every step.

    Returns:
        Windows (windows, window, variables), and the steps after each (windows, horizon, variables).
    """
    cut = np.lib.stride_tricks.sliding_window_view(values, window + horizon, axis=0).swapaxes(1, 2)
    return cut[:, :window].copy(), cut[:, window:].copy()


def split(
    series: pd.DataFrame, name: str, window: int, horizon: int, validation: float, test: float, gaps: Gaps
) -> Data:
    """Split a series by time into training, validation and test parts, and cut each into windows.

    Gaps are filled within each part, so no filled value depends on another part.

    Args:
        series: The series (times, variables).
        name: Name of the data set.
        window: Steps of a window.
        horizon: Steps after a window that are to be forecast.
        validation: Share of the series before the test part.
        test: Share of the series at its end.
        gaps: How gaps are filled.

    Raises:
        UserError: if a part is too short for a window, or a variable has no value in it.
    """
    if validation + test >= 1:
        raise UserError(f"`validation` {validation} and `test` {test} leave nothing to train on; lower them")
    ends = [0, *(round(len(series) * share) for share in (1 - validation - test, 1 - test)), len(series)]
    pairs: list[Pair] = []
    for part, (start, end) in zip(("training", "validation", "test"), itertools.pairwise(ends), strict=True):
        rows = series.iloc[start:end]
        if len(rows) < window + horizon:
            raise UserError(
                f"{name}: {len(rows)} steps for {part} are too few for a window of {window} + {horizon} steps; "
                "lower `window` or `horizon`, or use a larger share for the part"
            )
        for column in rows.columns[rows.isna().all()]:
            raise UserError(f"{name}: column {column!r} has no value in the {part} part; use a shorter period")
        pairs.append(windows(fill(rows, gaps).to_numpy("float32"), window, horizon))
    outputs = tuple(map(str, series.columns))
    train, validation_part, test_part = pairs
    digest = fingerprint(series.to_csv())
    return Data(name, digest, train, validation_part, test_part, outputs, kind="sequence")


def following(times: pd.Index, steps: int) -> list[str]:
    """Return the next `steps` times after the evenly spaced `times`, as text."""
    if isinstance(times, pd.DatetimeIndex):
        ahead = pd.date_range(times[-1], periods=steps + 1, freq=times.freq)[1:]
        return [str(time.date()) if time == time.normalize() else str(time) for time in ahead]
    step = times[-1] - times[-2]
    return [str(times[-1] + step * count) for count in range(1, steps + 1)]
