"""Time series: reading, a regular grid of times, a split by time, and windows.

A series is a table with one row per time, in order and evenly spaced, and one column per variable; a gap is NaN.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from common.data import Array, Data, Description, Formats, Pair, TimeAxis, fingerprint, table_content
from common.errors import Problems, UserError
from common.preprocessing import arrays, calendars, columns, csv_file, timestamps
from common.preprocessing.columns import MISSING
from common.preprocessing.timestamps import Timestamps

Name = Literal["sunspots", "co2"]
Gaps = Literal["linear", "previous"]


@dataclass(frozen=True)
class Series:
    """A regular series."""

    table: pd.DataFrame
    """Values (times, variables), float64 and NaN in a gap. The index has every time from the first to the last."""
    axis: TimeAxis
    description: Description = field(default_factory=Description)

    def following(self, steps: int) -> list[str]:
        """Return the next `steps` times after the end, as text."""
        last = self.table.index.to_numpy()[-1]
        return calendars.names(self.axis, calendars.advance(self.axis, last, np.arange(1, steps + 1)))


def load(name: Name) -> Series:
    """Load yearly sunspots, 1700 to 2008, or monthly CO2 at Mauna Loa, 1958 to 2001, from statsmodels.

    Sunspots are the International Sunspot Number, CO2 is in parts per million, as the mean of weekly values.
    """
    from statsmodels import datasets

    if name == "co2":
        months = datasets.co2.load_pandas().data.resample("MS").mean()
        return Series(months, TimeAxis("%Y-%m-%d", "months", 1))
    table = datasets.sunspots.load_pandas().data
    years = pd.DataFrame({"sunspots": table["SUNACTIVITY"].to_numpy()}, index=table["YEAR"].astype(int))
    return Series(years, TimeAxis("number", "number", 1))


def read(
    path: Path,
    time: str | None,
    targets: Sequence[str],
    time_format: str | None = None,
    like: TimeAxis | None = None,
) -> Series:
    """Read a series from a CSV file.

    Args:
        path: The file.
        time: Column of times, in any order. Default: the first column.
        targets: Columns of the variables.
        time_format: Format of the times, as for `timestamps.parse`. Default: the one with a regular step.
        like: Times of the training series, whose step is required.

    Returns:
        The series, with NaN for an empty cell or a missing row.

    Raises:
        UserError: if the file or a column is missing, a cell is not a number, or times are missing, repeated,
            unreadable, ambiguous or irregular.
    """
    cells = csv_file.read(path).frame
    time = time or str(cells.columns[0])
    csv_file.require(path, cells, [time, *targets])
    if cells.empty:
        raise UserError(f"{path}: no rows below the column names")
    problems = Problems()
    variables = {}
    for name in targets:
        with problems.collect():
            variables[name] = _numbers(path, cells[name])
    with problems.collect():
        stamps = timestamps.parse(path, cells[time].mask(cells[time].isin(MISSING), ""), time_format, like)
    problems.check()
    given = pd.DataFrame(variables, index=stamps.index).sort_index()
    first, last = given.index.to_numpy()[[0, -1]]
    grid = calendars.advance(stamps.axis, first, np.arange(calendars.steps(stamps.axis, first, last)))
    table = given.reindex(pd.Index(grid))
    return Series(table, stamps.axis, describe(time, stamps, table))


def _numbers(path: Path, cells: "pd.Series[str]") -> Array:
    """Return a column as numbers with the precision of float32, as float64 (rows,), NaN for an empty cell."""
    if cells.isin(MISSING).all():
        raise UserError(f"{path}: column {cells.name} is empty; fill it in or leave it out")
    reading = columns.read_numbers(cells)
    values = reading.values[reading.decided or "."]
    values = np.where(np.abs(values) <= np.finfo("float32").max, values, np.nan)
    if problem := columns.wrong_cell(path, cells, values, "number", "fix it or empty the cell"):
        raise UserError(problem)
    return values.astype("float32").astype("float64")


def describe(time: str, stamps: Timestamps, table: pd.DataFrame) -> Description:
    """Describe the times in the column `time`, the gaps and the variables of a series (times, variables)."""
    axis, index = stamps.axis, table.index.to_numpy()
    first, last = calendars.names(axis, index[[0, -1]])
    step, steps = calendars.words(axis), f"{len(table):,}"
    notes = [f"{time}: {stamps.words}; {step}, {steps} steps from {first} to {last}"]
    notes += [f"{time}: {note}" for note in stamps.notes]
    missing = "none"
    if gaps := len(table) - len(stamps.index):
        gap = calendars.names(axis, index[~table.index.isin(stamps.index)][:1])[0]
        missing = f"{gaps:,}, the first {gap}"
        notes.append(f"{time}: {gaps:,} of {steps} steps missing, the first {gap}; gaps are filled")
    facts = {
        "time": f"{time}, {stamps.words}",
        "first": first,
        "last": last,
        "step": step,
        "steps": steps,
        "missing steps": missing,
        "variables": ", ".join(map(str, table.columns)),
    }
    rows = {"min": table.min(), "max": table.max(), "missing": table.isna().sum()}
    return Description(tuple(notes), facts, {"variables": pd.DataFrame(rows).rename_axis("variable").reset_index()})


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


def split(series: Series, name: str, window: int, horizon: int, validation: float, test: float, gaps: Gaps) -> Data:
    """Split a series by time into training, validation and test parts, and cut each into windows.

    Gaps are filled within each part, so no filled value depends on another part.

    Args:
        series: The series.
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
    table = series.table
    ends = [0, *(round(len(table) * share) for share in (1 - validation - test, 1 - test)), len(table)]
    pairs: list[Pair] = []
    for part, (start, end) in zip(("training", "validation", "test"), itertools.pairwise(ends), strict=True):
        rows = table.iloc[start:end]
        if len(rows) < window + horizon:
            raise UserError(
                f"{name}: {len(rows)} steps for {part} are too few for a window of {window} + {horizon} steps; "
                "lower `window` or `horizon`, or use a larger share for the part"
            )
        for column in rows.columns[rows.isna().all()]:
            raise UserError(f"{name}: column {column!r} has no value in the {part} part; use a shorter period")
        pairs.append(windows(fill(rows, gaps).to_numpy("float32"), window, horizon))
    train, validation_part, test_part = pairs
    return Data(
        name,
        fingerprint(table_content(table)),
        train,
        validation_part,
        test_part,
        tuple(map(str, table.columns)),
        kind="sequence",
        formats=Formats(times=series.axis),
        description=series.description,
    )
