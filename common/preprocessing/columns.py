"""Columns: from cells to numbers, dates or text. The format of a column is decided from all of its cells."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from common.data import Array, ColumnFormat
from common.errors import UserError
from common.preprocessing.cell_dates import as_date, date_cycles, date_features, date_readings, read_dates
from common.preprocessing.cell_numbers import Reading, read_numbers
from common.preprocessing.cells import MARKS, MISSING, Cells, shortened, strings, wrong_cell
from common.preprocessing.csv_file import INDEX

if TYPE_CHECKING:
    import pandas as pd

Decimal = Literal["auto", ".", ","]


def compact(values: Array) -> Array:
    """Convert numbers to float32 if that suffices, else keep float64: the type tells the network how to compute.

    float32 suffices if the offset of the numbers is at most 1,000 times their spread, and the spread is ordinary.
    """
    known = values[np.isfinite(values)]
    spread = float(known.std()) if len(known) else 0.0
    if spread and np.ptp(known) == 0:
        spread = 0.0  # a rounding error of the mean
    ordinary = 1e-6 < spread < 1e12 and abs(known.mean()) <= 1000 * spread
    if ordinary or (not spread and np.all(np.abs(known) < 1e30)):
        return values.astype("float32")
    return values.astype("float64")


def as_inputs(name: str, cells: Cells, form: ColumnFormat) -> dict[str, Array]:
    """Return the columns of numbers or text that a column of cells becomes, NaN where a cell has another type."""
    match form.kind:
        case "number":
            reading = read_numbers(cells, form.unit)
            return {name: reading.values[reading.decided or form.form or "."]}
        case "date":
            return date_features(name, read_dates(cells, form.form), form.cycles)
        case _:
            return {name: strings(cells)}


def converted(path: Path, cells: Cells, form: ColumnFormat) -> dict[str, Array]:
    """Return `as_inputs` of a part of a file whose format was decided from other rows.

    Raises:
        UserError: if a cell has another type or another decimal separator.
    """
    inputs = as_inputs(str(cells.name), cells, form)
    if form.kind == "text":
        return inputs
    problem = wrong_cell(path, cells, next(iter(inputs.values())), form.kind, "fix it or empty the cell")
    if not problem and form.kind == "number" and read_numbers(cells).decided not in ("", form.form):
        problem = f"{path}: column {cells.name}: both separators of decimals seem to occur; set `decimal` to . or ,"
    if problem:
        raise UserError(problem)
    return inputs


IDENTIFIER = re.compile(r"(?:^|[\W_])[iI][dD]$|[a-z]I[dD]$")
"""Names of identifiers: id, customer_id, customerID."""
ROW = re.compile(rf"{INDEX}|row|row[._ ]?(?:names?|numbers?|id)|unnamed: 0", re.IGNORECASE)
"""Names of numbers of rows, which pandas, R and spreadsheets write."""
FEW = 20
"""Maximum number of values of a column in which ranges beside numbers make categories of all."""
RANGE = re.compile(
    r"(?:[<>≤≥]=?|over|under|more than|less than|up to|über|unter|bis) ?[\d.,]+"
    r"|[\d.,]+\s*(?:\+|plus|(?:or|and|oder|und) (?:more|over|mehr))"
    r"|[\d.,]+\s*(?:-|\u2013|to|bis)\s*[\d.,]+",
    re.IGNORECASE,
)
"""A range of numbers: <5, 10+, 3 or more, 2-10."""
LEVELS = 1000
"""Maximum number of values of a column of text, because each is a feature."""


@dataclass(frozen=True)
class Decision:
    """The decision how a column is read."""

    rule: str
    """Rule that decided it, in words."""
    format: ColumnFormat | None = None
    """None: the column is left out."""
    inputs: Mapping[str, Array] = field(default_factory=dict)
    """Columns (rows,) that it becomes, by name."""
    content: str = ""
    """The smallest and the largest value, or the most frequent ones."""
    note: str = ""
    problem: str = ""
    """A reason why the column cannot be used, as the message of a `UserError`; "" if it can."""


def decide(
    path: Path, frame: "pd.DataFrame", categories: Sequence[str], decimal: Decimal, delimiter: str
) -> dict[str, Decision]:
    """Decide how each column of a file is read.

    A column is one of numbers or of dates if most of its filled cells are, else of text. If the cells of a column fit
    both decimal separators, or both orders of day and month, the other columns decide.

    Args:
        path: The file, for messages.
        frame: Its cells.
        categories: Names of columns of text that may look like numbers.
        decimal: Decimal separator of columns that fit both.
        delimiter: Delimiter of the file: a decimal comma is usual with semicolons.
    """
    readings: dict[str, Reading] = {}
    dates: dict[str, dict[str, Array]] = {}
    ranges: dict[str, list[str]] = {}
    for name in frame.columns.difference(list(categories), sort=False):
        cells = frame[name]
        reading = read_numbers(cells)
        ranges[name] = ranges_beside_numbers(cells, reading)
        if reading.is_numeric and not ranges[name]:
            if _days_of_eight_digits(cells, reading):
                dates[name] = {"%Y%m%d": read_dates(cells, "%Y%m%d")}
            else:
                readings[name] = reading
        elif days := date_readings(cells):
            dates[name] = days
    decimals = {reading.decided for reading in readings.values() if reading.decided}
    usual = decimal if decimal != "auto" else decimals.pop() if len(decimals) == 1 else ""
    known = {form for days in dates.values() if len(days) == 1 for form in days}
    decisions = {}
    for name in map(str, frame.columns):
        cells = frame[name]
        if name in readings:
            decisions[name] = _number_column(path, cells, readings.pop(name), usual, delimiter)
        elif name in dates:
            agreed = {form: days for form, days in dates[name].items() if form in known}
            decisions[name] = _date_column(path, cells, agreed if len(agreed) == 1 else dates[name])
        else:
            decisions[name] = _text_column(path, cells, name in categories)
            if beside := ranges.get(name):
                note = f"column {name} has {', '.join(map(shortened, beside[:3]))} beside numbers: all are categories"
                decisions[name] = replace(decisions[name], rule="numbers and ranges", note=note)
    return decisions


def ranges_beside_numbers(cells: Cells, reading: Reading) -> list[str]:
    """Return the ranges, such as 2-10 or 10+, of a column of few numbers and ranges; empty if it is another one."""
    if not reading.is_numeric or max(map(reading.count, reading.values)) == reading.filled:
        return []
    filled = cells[~cells.isin(MISSING)]
    if filled.nunique() > FEW:
        return []
    values = reading.values[reading.decided or "."]
    found = list(cells[np.isnan(values) & ~cells.isin(MISSING).to_numpy()].unique())
    return found if all(map(RANGE.fullmatch, found)) else []


def _number_column(path: Path, cells: Cells, reading: Reading, usual: str, delimiter: str) -> Decision:
    name, form = cells.name, reading.decided
    if not form and reading.ambiguous:
        likely = "," if delimiter == ";" else "."
        form = usual or (likely if likely in reading.ambiguous else "")
        if not form:
            readings = sorted(abs(values[cells.eq(reading.ambiguous).argmax()]) for values in reading.values.values())
            may = " or ".join(f"{value:g}" for value in readings)
            return Decision(
                "", problem=f"{path}: column {name}: {reading.ambiguous} may be {may}; set `decimal` to . or ,"
            )
    values = reading.values[form or "."]
    fix = f"fix it, empty the cell, name a column of text in `categories`, or `ignore` {name}"
    if problem := wrong_cell(path, cells, values, "number", fix):
        return Decision("", problem=problem)
    if _identifies(str(name), values):
        note = f"column {name} has a number for each row: an identifier, which is left out; rename it to use it"
        return Decision("a number for each row", note=note)
    if reading.mixed:
        return Decision("", problem=f"{path}: column {name} {reading.mixed}; use one unit, or `ignore` {name}")
    shown = np.isfinite(values) & (reading.special | (reading.values["."] != values))
    note = ""
    shown = shown & (values != 0) if (shown & (values != 0)).any() else shown
    if shown.any():
        signs = "".join(f"; {sign}" for sign in reading.decorations)
        note = f"column {name}: {cells.iloc[shown.argmax()]} is read as {values[shown.argmax()]:.15g}{signs}"
    words = cells[np.isnan(values) & ~cells.isin(MARKS).to_numpy()]
    if len(words):
        missing = f"read as missing: {', '.join(map(shortened, words.unique()[:3]))} ({len(words):,} of {len(cells):,})"
        note = f"{note}; {missing}" if note else f"column {name}: {missing}"
    comma = " with a decimal comma" if form == "," else ""
    return Decision(
        f"all are numbers{comma}",
        ColumnFormat("number", form or usual or ".", unit=reading.unit),
        {str(name): compact(values)},
        f"{np.nanmin(values):.10g} to {np.nanmax(values):.10g}",
        note,
    )


def _identifies(name: str, values: Array) -> bool:
    """Return whether the name and the values (rows,) are those of an identifier, or of the index of a data frame."""
    identifier, row = IDENTIFIER.search(name), ROW.fullmatch(name)
    if not (identifier or row):  # most columns: their values need no look
        return False
    if not np.array_equal(values, np.round(values)) or len(np.unique(values)) < len(values):
        return False
    return bool(identifier or (np.diff(values) > 0).all() or np.ptp(values) == len(values) - 1)


def _date_column(path: Path, cells: Cells, readings: Mapping[str, Array]) -> Decision:
    name, forms, values = cells.name, list(readings), list(readings.values())
    if len(forms) > 1 and (different := np.abs(values[0] - values[1]) > 0).any():
        place = int(different.argmax())
        days = " or ".join(as_date(days[place]) for days in values)
        fix = f"write dates as {as_date(values[0][place])}, or `ignore` {name}"
        return Decision("", problem=f"{path}: column {name}: {cells.iloc[place]} may be {days}; {fix}")
    fix = f"fix it, empty the cell, or `ignore` {name}"
    if problem := wrong_cell(path, cells, values[0], "date like the others", fix):
        return Decision("", problem=problem)
    known = values[0][np.isfinite(values[0])]
    cycles = date_cycles(known)
    features = date_features(str(name), values[0], cycles)
    span = f"{as_date(known.min())} to {as_date(known.max())}"
    return Decision(
        f"all are dates ({forms[0]})",
        ColumnFormat("date", forms[0], cycles),
        {feature: compact(column) for feature, column in features.items()},
        span,
        f"column {name}: dates from {span}, which become {', '.join(features)}",
    )


def _text_column(path: Path, cells: Cells, named: bool) -> Decision:
    name, filled = cells.name, cells[cells.ne("")]
    levels = filled.nunique()
    if not levels or (not named and filled.isin(MISSING).all()):
        return Decision("no value", note=f"column {name} is empty; it is left out")
    if levels == len(filled) and levels > max(2, len(cells) / 2):
        note = f"column {name} has a different value in every row: an identifier, which is left out"
        return Decision("all are different", note=note)
    if levels > min(LEVELS, len(cells) / 2):
        many = f"column {name} has {levels:,} different values in {len(cells):,} rows, which is too many"
        if named:
            return Decision("", problem=f"{path}: {many}; take {name} out of `categories`, or `ignore` it")
        return Decision("too many different values", note=f"{many} for categories; it is left out")
    most = ", ".join(f"{shortened(str(level))} {count:,}" for level, count in filled.value_counts().head(3).items())
    rule = "named in `categories`" if named else "not numbers or dates"
    return Decision(rule, ColumnFormat("text"), {str(name): strings(cells)}, most)


def _days_of_eight_digits(cells: Cells, reading: Reading) -> bool:
    """Return whether all filled cells are days like 20241231, of this century or the last one."""
    known = reading.values["."][np.isfinite(reading.values["."])]
    if not len(known) or known.min() < 19_000_000 or known.max() >= 21_000_000:
        return False
    filled, shape = cells[~cells.isin(MISSING)], re.compile(r"(19|20)\d{6}")
    days = all(map(shape.fullmatch, filled.unique()))
    return days and bool(np.isfinite(read_dates(filled, "%Y%m%d")).all())
