"""Time series: read, put on a regular grid, cut by time into three parts, and cut into windows.

A series is a table with a row a time, in order and evenly spaced, and a column a variable; a gap is NaN.
"""

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
"""Spacings that are even by the calendar and not by the clock: years, quarters and months, and business days."""


def load(name: Name) -> pd.DataFrame:
    """A series that statsmodels ships: yearly sunspots from 1700 to 2008, or monthly CO2 at Mauna Loa, 1958 to 2001.

    Sunspots are counts (the International Sunspot Number); CO2 is in parts per million, the mean of a month's weeks.
    """
    from statsmodels import datasets

    if name == "co2":
        return datasets.co2.load_pandas().data.resample("MS").mean()
    table = datasets.sunspots.load_pandas().data
    return pd.DataFrame({"sunspots": table["SUNACTIVITY"].to_numpy()}, index=table["YEAR"].astype(int))


def read(path: Path, time: str | None, targets: Sequence[str]) -> pd.DataFrame:
    """The columns `targets` of a CSV file over its column `time` (by default the first), on a regular grid.

    Times are dates or whole numbers, in any order. A step at which no row stands is a gap, as an empty cell is.

    Raises:
        UserError: for a file or column that is not there, text among the numbers, and times that are missing, double,
            unreadable or at no regular step.
    """
    table = tables.read_cells(path)
    time = time or str(table.columns[0])
    tables.require(path, table, [time, *targets])
    if empty := next((name for name in targets if not table[name].any()), None):
        raise UserError(f"{path}: column {empty} is empty")
    columns = {name: tables.numbers(path, table[name]).astype("float64") for name in targets}
    series = pd.DataFrame(columns, index=_times(table[time], path)).sort_index()
    if series.index.has_duplicates:
        raise UserError(f"{path}: time {series.index[series.index.duplicated()][0]} stands in two rows; keep one")
    return series.reindex(_grid(series.index, path))


def _times(cells: "pd.Series[str]", path: Path) -> pd.Index:
    """A column of text as whole numbers or dates."""
    if not cells.all():
        raise UserError(f"{path}, line {cells.eq('').idxmax()}: no time in the column {cells.name}; fill it in")
    try:
        return pd.Index(cells.astype("int64"))
    except ValueError:
        pass  # dates, then
    try:
        return pd.DatetimeIndex(pd.to_datetime(cells))
    except (ValueError, TypeError) as error:
        unreadable = f"{path}: the column {cells.name} has times that cannot be read"
        raise UserError(f"{unreadable}; write whole numbers, or dates like 2024-12-31 23:59") from error


def _grid(times: pd.Index, path: Path) -> pd.Index:
    """The evenly spaced times from the first to the last of `times` among which all of them are."""
    irregular = UserError(f"{path}: its times follow no regular step; give one row an hour, a day, a month …")
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
        raise irregular
    if isinstance(times, pd.DatetimeIndex):
        return pd.date_range(times[0], times[-1], freq=pd.Timedelta(step, unit=times.unit))
    return pd.RangeIndex(numbers[0], numbers[-1] + step, step)


def read_windows(path: Path, window: int, variables: int) -> Array:
    """The windows (n, window, variables) in a `.npy` file.

    Raises:
        UserError: for a file that is missing, no array, or an array of another kind.
    """
    found = arrays.read_examples(path, (window, variables), "windows")
    return np.stack([example for _, example in found]).astype("float32")


def fill(series: pd.DataFrame, gaps: Gaps) -> pd.DataFrame:
    """`series` without gaps: on a straight line between their neighbours, or the value before.

    What is missing at either end takes the nearest value.
    """
    between = series.interpolate("linear") if gaps == "linear" else series.ffill()
    return between.ffill().bfill()


def windows(values: Array, window: int, horizon: int) -> Pair:
    """Every `window` steps of `values` (times, variables), and the `horizon` steps after them.

    Gives (windows, window, variables) and (windows, horizon, variables), each window one step after the one before.
    """
    cut = np.lib.stride_tricks.sliding_window_view(values, window + horizon, axis=0).swapaxes(1, 2)
    return cut[:, :window].copy(), cut[:, window:].copy()


def split(
    series: pd.DataFrame, name: str, window: int, horizon: int, validation: float, test: float, gaps: Gaps
) -> Data:
    """Cut `series` by time: the last share `test` of it, before that the share `validation`, the rest for training.

    Gaps are filled, and windows cut, within each part: no window, and no filled value, knows another part.

    Raises:
        UserError: where a part is too short for a window, or a variable has no value in it.
    """
    if validation + test >= 1:
        raise UserError(f"`validation` {validation} and `test` {test} leave nothing to train on; lower them")
    ends = [round(len(series) * share) for share in (1 - validation - test, 1 - test)]
    parts = {
        "training": series.iloc[: ends[0]],
        "validation": series.iloc[ends[0] : ends[1]],
        "test": series.iloc[ends[1] :],
    }
    pairs: list[Pair] = []
    for part, rows in parts.items():
        if len(rows) < window + horizon:
            raise UserError(
                f"{name}: {len(rows)} steps for {part} hold no window of {window} + {horizon}; "
                "lower `window` or `horizon`, or give the part a larger share"
            )
        for column in rows.columns[rows.isna().all()]:
            raise UserError(f"{name}: column {column!r} has no value in the {part} part; take a shorter period")
        pairs.append(windows(fill(rows, gaps).to_numpy("float32"), window, horizon))
    digest = fingerprint(series.to_csv())
    train, held_out, tested = pairs
    outputs = tuple(map(str, series.columns))
    return Data(name, digest, train, held_out, tested, outputs, kind="sequence")


def following(times: pd.Index, steps: int) -> list[str]:
    """The next `steps` times after the evenly spaced `times`."""
    if isinstance(times, pd.DatetimeIndex):
        ahead = pd.date_range(times[-1], periods=steps + 1, freq=times.freq)[1:]
        return [str(time.date()) if time == time.normalize() else str(time) for time in ahead]
    step = times[-1] - times[-2]
    return [str(times[-1] + step * count) for count in range(1, steps + 1)]
