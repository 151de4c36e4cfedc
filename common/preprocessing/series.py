"""Read time series from files, and put them on a regular grid of times.

A series is a table with one row per time, in order and evenly spaced, and one column per variable; a gap is NaN. Its
first columns are the targets; then come those that are observed, and those that are known in advance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from common.data import Array, Description, TimeAxis
from common.errors import Problems, UserError
from common.preprocessing import calendars, cell_numbers, csv_file, table_files, timestamps
from common.preprocessing.cells import MISSING, Cells
from common.preprocessing.timestamps import Timestamps

Name = Literal["sunspots", "co2"]
Gaps = Literal["linear", "previous"]
ROWS = "row"
"""Name of the times of a file that has no column of times."""
MOST_VALUES = 50
"""Largest number of values of a known column of text; and of series of which each is an input."""


@dataclass(frozen=True)
class Columns:
    """Columns of a CSV file with series."""

    targets: tuple[str, ...]
    """Columns to forecast."""
    time: str | None = None
    """Column of times, in any order. None: the first column that is not `group`, or if it only numbers the rows, the
    first one with dates."""
    also: tuple[str, ...] = ()
    """Other columns, whose past is known."""
    known: tuple[str, ...] = ()
    """Columns that are known in advance."""
    group: str | None = None
    """Column with the name of the series of each row. None: the file has one series."""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of the known columns of text, by column."""
    found: str = ""
    """Column of times that was found without `time`, here or in training; `ROWS` if there is none."""

    @property
    def variables(self) -> tuple[str, ...]:
        """All columns but those of times and groups, in the order of a series' variables."""
        return (*self.targets, *self.also, *self.known)

    @property
    def known_numbers(self) -> tuple[str, ...]:
        """Columns of a series that are known in advance: a column of text has one for each of its values."""
        return tuple(
            f"{name} = {value}" if name in self.values else name
            for name in self.known
            for value in self.values.get(name, ("",))
        )


@dataclass(frozen=True)
class Series:
    """A regular series."""

    table: pd.DataFrame
    """Values (times, variables), float64 and NaN in a gap. The index has every time from the first to the last."""
    axis: TimeAxis
    description: Description = field(default_factory=Description)
    name: str = ""
    """Its name in the column of groups."""
    ahead: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Values of known columns after the end (times, columns), NaN in a gap."""
    columns: Columns = field(default_factory=lambda: Columns(()))
    """Its columns, with the values of those of text."""
    unseen: tuple[str, ...] = ()
    """Text in known columns of the file that training never saw, one line for each column."""

    def times_after(self, steps: int) -> Array:
        """Return the next `steps` times after the end."""
        return calendars.advance(self.axis, self.table.index.to_numpy()[-1], np.arange(1, steps + 1))

    def following(self, steps: int) -> list[str]:
        """Return the next `steps` times after the end, as text."""
        return calendars.names(self.axis, self.times_after(steps))


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


def read(path: Path, named: Columns, time_format: str | None = None, like: TimeAxis | None = None) -> list[Series]:
    """Read the series of a CSV file.

    Args:
        path: The file.
        named: Its columns.
        time_format: Format of the times, as for `timestamps.parse`. Default: the one with a regular step.
        like: Times of the training series, whose step is required.

    Returns:
        One series for each group, the longest first, with NaN for an empty cell or a missing row. It ends with the last
        row that has a target; known columns of later rows are in `ahead`.

    Raises:
        UserError: if the file or a column is missing, a cell is not a number, or times are missing, repeated,
            unreadable, ambiguous or irregular.
    """
    cells = table_files.read(path).frame
    known_time = named.time or (named.found if named.found in (*cells, ROWS) else "")
    time, notes = (known_time, ()) if known_time else _find_time(cells, named, like)
    named = replace(named, found=time)
    if time == ROWS and ROWS not in cells:
        notes = ("no column of times: the rows are the times, in the order of the file",)
        before = cells.groupby(named.group).cumcount() if named.group in cells else pd.Series(range(len(cells)))
        cells = cells.assign(**{ROWS: (before + 1).astype("str").to_numpy(object)})
    elif (copies := cells.duplicated()).any():
        notes = (*notes, f"{copies.sum():,} of {len(copies):,} rows are copies of other rows; left out")
        cells = cells[~copies]
    csv_file.require(path, cells, [time, *named.variables, *([named.group] if named.group else [])])
    if cells.empty:
        raise UserError(f"{path}: no rows below the column names")
    problems = Problems()
    variables: dict[str, Array] = {}
    values, unseen = dict(named.values), []
    for name in named.variables:
        with problems.collect():
            if name not in named.known or not _is_text(cells[name], name in values, like):
                variables[name] = cell_numbers.read_column(path, cells[name])
                continue
            words = cells[name].mask(cells[name].isin(MISSING), "")
            given = tuple(sorted(set(words) - {""}))
            if len(values.setdefault(name, given)) > MOST_VALUES:
                raise UserError(f"{path}: column {name} has {len(given)} different texts; at most {MOST_VALUES}")
            variables |= {f"{name} = {value}": words.eq(value).to_numpy("float64") for value in values[name]}
            if new := [value for value in given if value not in values[name]]:
                unseen.append(f"{path}: column {name} has {', '.join(new)}, which training never saw")
    named = replace(named, values=values)
    texts = cells[time].mask(cells[time].isin(MISSING), "")
    groups = cells[named.group] if named.group else pd.Series("", cells.index)
    if named.group and groups.eq("").any():
        problems.add(f"{path}, line {groups.eq('').idxmax()}: no value in the column {named.group}; fill it in")
    stamps: dict[str, Timestamps] = {}
    for name in map(str, groups.value_counts().index):  # the longest decides on the format and the step
        with problems.collect():
            stamps[name] = timestamps.parse(path, texts[groups == name], time_format, like)
            stamps[name] = replace(stamps[name], notes=(*notes, *stamps[name].notes))
            like = like or stamps[name].axis
    problems.check()
    table = pd.DataFrame(variables, cells.index)
    found = []
    for name, times in stamps.items():
        with problems.collect():
            rows = table[groups == name].set_axis(times.index, axis="index").sort_index()
            found.append(replace(_series(path, named, time, times, rows, name), unseen=tuple(unseen)))
    problems.check()
    return found


def _find_time(cells: pd.DataFrame, named: Columns, like: TimeAxis | None) -> tuple[str, tuple[str, ...]]:
    """Return the column of times, `ROWS` if there is none, and a note if it is not the first column."""
    names = [str(name) for name in cells.columns if name != named.group]
    first = names[0] if names else ""
    dates = (name for name in names if name not in named.variables and timestamps.are_dates(cells[name]))
    if first in named.variables:
        dated = next(dates, "")
        return dated or ROWS, (f"the times, because {first} is a variable",) if dated else ()
    if first and _numbers_rows(cells[first], like) and (found := next(dates, None)):
        return found, (f"the times, because {first} numbers the rows",)
    return first, ()


def _numbers_rows(cells: Cells, like: TimeAxis | None) -> bool:
    """Return whether a column has whole numbers that increase: from 0 or 1, or if training had dates, from any."""
    if cells.empty or not cells.str.fullmatch("[0-9]{1,15}").all():
        return False
    numbers = cells.astype("int64")
    begins = numbers.iloc[0] in (0, 1) or (like is not None and like.format != "number")
    return bool(begins and (numbers.diff().iloc[1:] > 0).all())


def _is_text(cells: Cells, known: bool, like: TimeAxis | None) -> bool:
    """Return whether a column that is known in advance is text: in training by its cells, later as it was then."""
    return known if like else not (cell_numbers.is_numeric(cells) or cells.isin(MISSING).all())


def _series(path: Path, named: Columns, time: str, stamps: Timestamps, rows: pd.DataFrame, name: str) -> Series:
    """Put the rows of a series on its grid, and cut it after its last target."""
    targets, axis = list(named.targets), stamps.axis
    first, last = rows.index.to_numpy()[[0, -1]]
    grid = calendars.advance(axis, first, np.arange(calendars.steps(axis, first, last)))
    table = rows.reindex(pd.Index(grid))
    filled = table[targets].notna().any(axis=1).to_numpy()
    if not filled.any():
        raise UserError(f"{path}: no value of {', '.join(targets)} in {named.group} {name}; leave it out")
    start, end = int(filled.argmax()), len(filled) - int(filled[::-1].argmax())
    notes = []
    if end < len(table):
        place = calendars.names(axis, grid[[end - 1]])[0]
        notes.append(f"{time}: {len(table) - end:,} steps after {place} have no {', '.join(targets)}")
    if start:
        notes.append(f"{time}: the first {start:,} steps have no {', '.join(targets)}; left out")
    found = describe(time, stamps, table[start:end], table.index.isin(rows.index)[start:end])
    described = replace(found, notes=(*found.notes, *notes))
    return Series(table[start:end], axis, described, name, table[end:][list(named.known_numbers)], named)


def describe(time: str, stamps: Timestamps, table: pd.DataFrame, given: Array) -> Description:
    """Describe the times in the column `time`, the gaps and the variables of a series.

    Args:
        time: Name of the column.
        stamps: Its times.
        table: The series (times, variables).
        given: Whether each of its times has a row in the file (times,).
    """
    axis, index = stamps.axis, table.index.to_numpy()
    first, last = calendars.names(axis, index[[0, -1]])
    step, steps = calendars.words(axis), f"{len(table):,}"
    notes = [f"{time}: {stamps.words}; {step}, {steps} steps from {first} to {last}"]
    notes += [f"{time}: {note}" for note in stamps.notes]
    missing = "none"
    if gaps := int((~given).sum()):
        gap = calendars.names(axis, index[~given][:1])[0]
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


def describe_all(found: Sequence[Series], group: str | None) -> Description:
    """Describe the series of a file: one by itself, several in a table."""
    if len(found) == 1:
        return found[0].description
    facts = [one.description.facts for one in found]
    table = pd.DataFrame([{name: fact[name] for name in ("first", "last", "steps", "missing steps")} for fact in facts])
    table.insert(0, str(group), [one.name for one in found])
    shortest, longest = (f"{len(one.table):,}" for one in (found[-1], found[0]))
    note = f"{group}: {len(found):,} series; {facts[0]['step']}, {shortest} to {longest} steps each"
    gaps = [one.name for one, fact in zip(found, facts, strict=True) if fact["missing steps"] != "none"]
    notes = [f"{group}: {len(gaps):,} series have missing steps, the first {gaps[0]}; gaps are filled"] if gaps else []
    kept = {name: facts[0][name] for name in ("time", "step", "variables")}
    return Description((note, *notes), {**kept, "series": f"{len(found):,}"}, {"series": table})


def fill(series: pd.DataFrame, gaps: Gaps) -> pd.DataFrame:
    """Fill gaps by linear interpolation or with the previous value; at either end, with the nearest value."""
    between = series.interpolate("linear") if gaps == "linear" else series.ffill()
    return between.ffill().bfill()
