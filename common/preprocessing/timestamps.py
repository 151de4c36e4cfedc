"""Time stamps: a column of text as times, in the format that fits all of its cells.

A cell often fits several formats (01/02/2023). The format of a series is the one that gives a regular step and an order
of times in the file; the first cells have no special role.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from common.data import Array, TimeAxis
from common.errors import UserError
from common.preprocessing import calendars
from common.preprocessing.cells import Cells, shortened
from common.preprocessing.time_formats import NUMBER, SECONDS, SHORT, UNIX, Reading, fits, normalised, read

FEWEST = 3
"""Minimum number of times from which a step is determined."""
SHAPES = 200
"""Maximum number of shapes of cells that are compared with every format. All cells are compared with those that fit."""
SAMPLE = 1000
"""Number of cells that are read in every format whose shape fits, before all cells are read."""
ROUNDING = 0.05
"""Largest distance of a decimal year from a month, in months: years have two decimals or more."""
FEW_GAPS = 0.1
"""Share of missing steps from which on a reading is less probable than one with fewer."""
UNIX_YEARS = (1990, 2100)
"""Years of whole numbers that are taken for the time since 1970."""
DIGIT_YEARS = (1800, 2200)
"""Years of dates without separators, such as 20240131."""


def _separated(forms: str, separators: Sequence[str] = "-/. ") -> list[str]:
    """Return formats with each of the separators in the place of -."""
    return [form.replace("-", separator) for separator in separators for form in forms.split()]


SEPARATED = (
    (
        *_separated("%Y-%m-%d %d-%m-%Y %m-%d-%Y %y-%m-%d %d-%m-%y %m-%d-%y"),
        *_separated("%d-%b-%Y %d-%b-%y %b-%d-%Y %b-%d-%y %Y-%b-%d"),
        *_separated("%b-%Y %Y-%b %b-%y %y-%b %b-%d %d-%b %m-%Y %Y-%m"),
        *_separated("%m-%y %y-%m %m-%d %d-%m", "-/ "),  # not of decimals
        *_separated("%d-%b-%Y %d-%b-%y %Y-%b-%d %b-%Y %Y-%b %b-%y %y-%b %d-%b %b-%d", ("",)),
        *("%Y:%m", "%YM%m", "%Y-M%m", "%b %d %H:%M:%S %Y"),
        *_separated("%Y-Q%q Q%q-%Y Q%q-%y %qQ-%Y %qQ-%y %y-Q%q", ("", *"-/. ")),
        "%Y:Q%q",
        *_separated("%G-W%V W%V-%G", ("", *"-/. ")),
        *("%G-W%V-%u", "%GW%V%u"),
        *_separated("%Y-%j"),
        *("%Y%m%dT%H%M%S", "%Y%m%dT%H%M", "%Y%m%d"),
    ),
    tuple(_separated("%Y-%d-%m %G-%V")),
)
"""Formats of cells that are not whole numbers, in groups. A group is tried if no format of those before it fits."""
DIGITS = (
    ("%Y%m%d", "%d%m%Y", "%m%d%Y", "%Y%m", "%m%Y", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S"),
    tuple(UNIX),
    ("%y%m%d", "%d%m%y", "%m%d%y", "%Y%j", "number"),
)
"""Formats of whole numbers, in groups. A group is tried if no format of those before it gives a regular series."""


@dataclass(frozen=True)
class Timestamps:
    """Times of a series, and the format that was chosen for them."""

    index: "pd.Index"
    """A time for each cell, in the order of the cells: whole numbers, or dates without a zone."""
    axis: TimeAxis
    """Format and regular step."""
    words: str
    """Format in words."""
    notes: tuple[str, ...]
    """Decisions and warnings, one line each."""


def parse(path: Path, cells: Cells, time_format: str | None = None, like: TimeAxis | None = None) -> Timestamps:
    """Read a column of text as the times of a regular series.

    Args:
        path: The file, for errors.
        cells: Text by line number, named by the column.
        time_format: The format. None: the only one with a regular step, or the most regular one.
        like: Times of training. Their format is preferred, and their step is required.

    Raises:
        UserError: if a cell is empty or repeated, no format fits all cells, none gives a regular step, or several do.
    """
    column = f"{path}: the column {cells.name}"
    if len(cells) < (1 if like else FEWEST):
        raise UserError(f"{path}: {len(cells)} rows are too few for a series")
    if (empty := cells.eq("")).any():
        raise UserError(f"{path}, line {empty.idxmax()}: no time in the column {cells.name}; fill it in")
    texts = normalised(cells)
    if texts.str.fullmatch(NUMBER).all():
        texts = texts.str.replace(r"\.0*$", "", regex=True)
    texts, decimals = (texts, "") if time_format else _without_decimals(texts)
    found = _given(path, cells, texts, time_format) if time_format else None
    if found is None and like and (known := read(texts, like.format)).valid.all():
        found = [known]
    if found is None:
        found = [reading for reading in readings(texts) if reading.valid.all()]
    if not found:
        raise UserError(_unreadable(path, cells, texts))
    reading, others = _choose(column, found, like)
    if reading.fault:
        raise UserError(f"{column} {reading.fault}")
    _refuse_repeats(path, cells, reading)
    axis = calendars.fit(reading.different, reading.format, like)
    if axis is None:
        raise UserError(_irregular(column, reading, like))
    notes = [
        decimals,
        reading.note,
        others,
        _changed(reading, like),
        _daylight_saving(reading, axis),
        _order(reading),
    ]
    return Timestamps(
        pd.Index(reading.times), replace(axis, zone=reading.zone), reading.words, tuple(filter(None, notes))
    )


def are_dates(cells: Cells) -> bool:
    """Return whether all cells are dates, or decimal years, which whole numbers are not."""
    texts = normalised(cells)
    numbers = texts.str.fullmatch(NUMBER).all()
    return not numbers and (_months(texts) is not None or bool(readings(texts)))


def _without_decimals(texts: Cells) -> tuple[Cells, str]:
    """Return decimal years as months, or other decimal numbers as whole ones, and a note; other cells as they are."""
    if (months := _months(texts)) is not None:
        return months, f"decimal years, such as {texts.iloc[0]}, are months: {months.iloc[0]}"
    return _counts(texts)


def _months(texts: Cells) -> "Cells | None":
    """Return decimal years, such as 1991.583 of a series of R, as months, such as 1991-08; None if any is not one."""
    if not texts.str.fullmatch(r"[12]\d{3}(\.\d+)?").all() or texts.str.fullmatch(NUMBER).all():
        return None
    twelfths = texts.astype("float64") * 12
    whole = twelfths.round().astype("int64")
    if (twelfths - whole).abs().max() > ROUNDING:
        return None
    return (whole // 12).astype("str") + "-" + (whole % 12 + 1).astype("str").str.zfill(2)


def _counts(texts: Cells) -> tuple[Cells, str]:
    """Return evenly spaced decimal numbers as whole numbers from 1 on, and a note; other cells as they are."""
    if not texts.str.fullmatch(r"-?\d+(\.\d+)?").all() or texts.str.fullmatch(NUMBER).all():
        return texts, ""
    values = texts.astype("float64").to_numpy()
    different = np.unique(values)
    if len(different) < FEWEST:
        return texts, ""
    step = float(np.median(np.diff(different)))
    steps = np.diff(different) / step
    if np.abs(steps - steps.round()).max() > ROUNDING or steps.round().sum() > len(different) / calendars.FEWEST_FILLED:
        return texts, ""
    positions = 1 + np.concatenate([[0], steps.round().cumsum()]).astype("int64")
    counts = positions[np.searchsorted(different, values)].astype("str")
    note = f"the numbers have a step of {step:.4g}, and count as 1, 2, … from {different[0]:.10g} on"
    return pd.Series(counts, index=texts.index, dtype=object), note


def readings(texts: Cells) -> list[Reading]:
    """Return the readings of normalised cells in every format that fits the shape of all of them."""
    if texts.str.fullmatch(NUMBER).all():
        found = []
        for group in DIGITS:
            forms = [form for form in group if form in UNIX or form == "number" or fits(form, texts.iloc[0])]
            shaped = (read(texts, form) for form in forms)
            found += [reading for reading in shaped if reading.valid.all() and _plausible(reading)]
        return found
    some = texts.iloc[:: max(1, len(texts) // SAMPLE)]
    shapes = list(_shapes(some).index[:SHAPES])
    for group in SEPARATED:
        fitting = [form for form in group if all(fits(form, shape) for shape in shapes)]
        fitting = [form for form in fitting if read(some, form).valid.all()]
        found = [reading for form in fitting if (reading := read(texts, form)).valid.all()]
        if found:
            return found
    return []


def _plausible(reading: Reading) -> bool:
    """Return whether the years of whole numbers that are read as dates are those of a data set."""
    if reading.times.dtype.kind == "i" or "%y" in reading.format:
        return True
    first, last = UNIX_YEARS if reading.format in UNIX else DIGIT_YEARS
    years = np.array([reading.times.min(), reading.times.max()]).astype("datetime64[Y]").astype("int64") + 1970
    return bool(first <= years[0] and years[1] < last)


def _shapes(texts: Cells) -> "pd.Series[int]":
    """Return the number of texts of each pattern of digits and letters, in descending order, by one such text."""
    shapes = texts.str.replace("[1-9]", "0", regex=True).str.replace("[a-z]+", "a", regex=True)
    codes, _ = pd.factorize(shapes)
    _, firsts, counts = np.unique(codes, return_index=True, return_counts=True)
    return pd.Series(counts, index=texts.iloc[firsts].to_numpy(object)).sort_values(ascending=False, kind="stable")


def _given(path: Path, cells: Cells, texts: Cells, form: str) -> list[Reading]:
    """Return the reading in the format of the user.

    Raises:
        UserError: if the format has no year, or a cell does not fit it.
    """
    form = functools.reduce(lambda text, short: text.replace(*short), SHORT.items(), form)
    if form != "number" and form not in UNIX and not re.search("%[YyG]", form):
        raise UserError(f"`time_format` {form} has no year, which %Y or %y stands for")
    reading = read(texts, form)
    if not reading.valid.all():
        index = int(reading.valid.argmin())
        place = f"{path}, line {cells.index[index]}: {shortened(cells.iloc[index])} in the column {cells.name}"
        raise UserError(f"{place} does not fit `time_format` {form}")
    return [reading]


def _choose(column: str, found: Sequence[Reading], like: TimeAxis | None) -> tuple[Reading, str]:
    """Return the most regular reading, and a note about the others.

    Raises:
        UserError: if two different readings are equally regular.
    """
    if len(found) == 1:
        return found[0], ""
    groups = [[reading for reading in found if reading.format in group] for group in DIGITS]
    for group in [group for group in groups if group] or [list(found)]:
        costs = [(cost, reading) for reading in group if (cost := _cost(reading, like)) is not None]
        if not costs:
            continue
        least = min(cost for cost, _ in costs)
        best = [reading for cost, reading in costs if cost == least]
        different = [reading for reading in best if not np.array_equal(reading.times, best[0].times)]
        if different:
            raise UserError(_ambiguous(column, [best[0], *different]))
        rest = [reading for reading in group if not np.array_equal(reading.times, best[0].times)]
        note = f"{rest[0].words} would also fit each cell, but gives no series as regular" if rest else ""
        return best[0], note
    return found[0], ""


def _cost(reading: Reading, like: TimeAxis | None) -> tuple[bool, bool, bool, bool] | None:
    """Return the irregularities of a reading, the worst first; None if it has no regular step."""
    times = reading.different
    axis = calendars.fit(times, reading.format, like)
    if axis is None:
        return None
    missing = calendars.steps(axis, times[0], times[-1]) - len(times)
    return len(times) < len(reading.times), not _ordered(reading.times), missing > FEW_GAPS * len(times), missing > 0


def _ordered(times: Array) -> bool:
    """Return whether times (cells,) rise or fall."""
    return bool((times[1:] >= times[:-1]).all() or (times[1:] <= times[:-1]).all())


def _ambiguous(column: str, best: Sequence[Reading]) -> str:
    """Return the error for a column that has several readings."""
    choices = [f"{reading.words} ({reading.fault or _span(reading)})" for reading in best[:3]]
    formats = [f"`time_format` {reading.format}" for reading in best[:3] if not reading.fault]
    fix = f"choose {' or '.join(formats)}" if formats else "write years with four digits"
    return f"{column} can be read as {' and as '.join(choices)}; {fix}"


def _span(reading: Reading) -> str:
    """Return the step, the first and the last time of a reading in words."""
    times = reading.different
    axis = calendars.fit(times, reading.format)
    if axis is None:
        return "no regular step"
    first, last = calendars.names(axis, times[[0, -1]])
    return f"{calendars.words(axis)} from {first} to {last}"


def _refuse_repeats(path: Path, cells: Cells, reading: Reading) -> None:
    """Check that no time is in two rows.

    Raises:
        UserError: if one is.
    """
    if len(reading.different) == len(cells):
        return
    place = int(pd.Series(reading.times).duplicated().argmax())
    before = cells.index[(reading.times == reading.times[place]).argmax()]
    text = (
        f"{path}, line {cells.index[place]}: time {shortened(cells.iloc[place])} is in two rows, also in line {before}"
    )
    if not reading.zone and _changes_clock(reading.times[[place]])[0]:
        raise UserError(f"{text}, as at the end of daylight saving; write the times in UTC or with their offset")
    raise UserError(f"{text}; keep one, or name the column of several series in `group`")


def _changes_clock(times: Array) -> Array:
    """Return whether times (times,) are in the night of a Sunday in which daylight saving may begin or end."""
    if times.dtype.kind == "i":
        return np.zeros(len(times), bool)
    dates = times.astype("datetime64[D]")
    months = dates.astype("datetime64[M]").astype("int64") % 12 + 1
    hours = (times - dates).astype("timedelta64[h]").astype("int64")
    return ((dates.astype("int64") + 3) % 7 == 6) & np.isin(months, [3, 4, 9, 10, 11]) & (hours < 4)


def _daylight_saving(reading: Reading, axis: TimeAxis) -> str:
    """Return a note about hours that a clock with daylight saving leaves out; empty if there are none."""
    if axis.calendar != "clock" or calendars.is_daily(axis) or reading.zone:
        return ""
    times = reading.different
    hour = np.timedelta64(1, "h")
    jumps = np.diff(times) - np.timedelta64(axis.step, axis.unit) == hour
    skipped = times[:-1][jumps] + np.timedelta64(axis.step, axis.unit)
    skipped = skipped[_changes_clock(skipped)]
    if not len(skipped):
        return ""
    first = np.datetime_as_string(skipped[0], unit="m").replace("T", " ")
    return (
        f"the hour of {first} is missing as at the beginning of daylight saving, and is counted as a gap: "
        "the times have no zone; write them in UTC or with their offset"
    )


def _changed(reading: Reading, like: TimeAxis | None) -> str:
    """Return a note if the times have another format than those of training."""
    known = like is None or like.format == reading.format
    return "" if known or like is None else f"the times do not fit the format of training, {like.format}"


def _order(reading: Reading) -> str:
    """Return a note if the rows are not in ascending order."""
    if (reading.times[1:] >= reading.times[:-1]).all():
        return ""
    return "the latest time comes first; sorted" if _ordered(reading.times) else "the rows are not in order; sorted"


def _irregular(column: str, reading: Reading, like: TimeAxis | None) -> str:
    """Return the error for times without a regular step."""
    times = reading.different
    if like:
        step = calendars.words(like)
        return f"{column} has times that do not have the step of training ({step}); use one row for each step"
    if len(times) < 2:
        return f"{column} has the same time in all rows"
    place = int(np.diff(times).argmax())
    axis = TimeAxis(reading.format, "number" if times.dtype.kind == "i" else "business days", 1)
    before, after = calendars.names(axis, times[place : place + 2])
    example = f"{before} is followed by {after}"
    return f"{column} ({reading.words}) has no regular step: {example}; use one row per hour, day, month …"


def _unreadable(path: Path, cells: Cells, texts: Cells) -> str:
    """Return the error for cells that fit no format: the first that does not fit the most frequent one."""
    column = f"the column {cells.name}"
    advice = "write whole numbers, or dates like 2024-12-31 23:59, or name the format in `time_format`"
    if texts.str.fullmatch(NUMBER).all():
        index = int(read(texts, "number").valid.argmin())
        place = f"{path}, line {cells.index[index]}: {shortened(cells.iloc[index])} in {column}"
        return f"{place} is too large for a time; use numbers below 2^62"
    if texts.str.fullmatch(rf"[0-9]{{1,2}}:[0-9]{{2}}{SECONDS}(?:\s*[ap]\.?m\.?)?").all():
        return f"{path}: {column} has times of day without a date, such as {shortened(cells.iloc[0])}; add the date"
    if texts.str.fullmatch(r"[+-]?[0-9]*\.[0-9]+").all():
        return f"{path}: {column} has decimal numbers, such as {shortened(cells.iloc[0])}, not times; {advice}"
    common = list(_shapes(texts)[:SHAPES].items())
    scores = {form: sum(n for text, n in common if fits(form, str(text))) for group in SEPARATED for form in group}
    forms = [form for form, score in scores.items() if score > len(texts) / 2]
    best = max((read(texts, form) for form in forms), key=lambda reading: int(reading.valid.sum()), default=None)
    if best is None or best.valid.mean() <= 0.5:
        text = f"{path}: {column} has times that cannot be read, such as {shortened(cells.iloc[0])}"
        return f"{text}; {advice}"
    index = int(best.valid.argmin())
    place = f"{path}, line {cells.index[index]}: {shortened(cells.iloc[index])} in {column}"
    return f"{place} is no time in the format of the others ({best.words}); fix it, or name the format in `time_format`"
