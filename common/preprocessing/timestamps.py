"""Time stamps: a column of text as times, in the format that fits all of its cells.

A format has the directives of strptime, and %q for a quarter. Other formats are `number`, for whole numbers, and
`unix`, `unix ms`, `unix us` and `unix ns`, for the time since 1970 in UTC. After a complete date, a time of day and an
offset from UTC may follow. A cell often fits several formats (01/02/2023). The format of a series is the one that gives
a regular step and an order of times in the file; the first cells have no special role.
"""

import calendar
import datetime
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from common.data import Array, TimeAxis
from common.errors import UserError
from common.preprocessing import calendars
from common.preprocessing.columns import shortened

FEWEST = 3
"""Minimum number of times from which a step is determined."""
LONGEST = 60
"""Maximum number of characters of a time."""
SHAPES = 200
"""Maximum number of shapes of cells that are compared with every format. All cells are compared with those that fit."""
SAMPLE = 1000
"""Number of cells that are read in every format whose shape fits, before all cells are read."""
LARGEST = 2**62
"""Limit of whole numbers, whose differences are int64."""
FEW_GAPS = 0.1
"""Share of missing steps from which on a reading is less probable than one with fewer."""
SOON = 15
"""Years after this one in which the century of a two-digit year is unknown: a plan, or the past century."""
UNIX = {"unix": "s", "unix ms": "ms", "unix us": "us", "unix ns": "ns"}
UNIX_YEARS = (1990, 2100)
"""Years of whole numbers that are taken for the time since 1970."""
DIGIT_YEARS = (1800, 2200)
"""Years of dates without separators, such as 20240131."""
NUMBER = r"[+-]?[0-9]+(?:\.0*)?"
UNUSUAL = r"[^ -~]|['`\[]|  |^ | $"
"""Pattern of text that is not yet normalised."""
UTC = {"utc", "gmt", "z"}
NO_OFFSET = -(10**6)
"""Value in seconds in the place of a missing offset from UTC."""
DAY = 86_400
MONTHS = {
    name.lower(): number for names in (calendar.month_name, calendar.month_abbr) for number, name in enumerate(names)
}
MONTHS |= {"sept": 9, "": 0}
WEEKDAYS = "montuewedthufrisatsun"

GROUPS = {
    "Y": r"(?P<Y>[0-9]{4})",
    "G": r"(?P<G>[0-9]{4})",
    "y": r"(?P<y>[0-9]{1,2})",
    "m": r"(?P<m>[0-9]{1,2})",
    "b": r"(?P<b>[a-z]{3,9})\.?",
    "d": r"(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?",
    "j": r"(?P<j>[0-9]{3})",
    "q": r"(?P<q>[1-4])",
    "V": r"(?P<V>[0-9]{1,2})",
    "u": r"(?P<u>[1-7])",
    "H": r"(?P<H>[0-9]{1,2})",
    "M": r"(?P<M>[0-9]{1,2})",
    "S": r"(?P<S>[0-9]{1,2})",
    "f": r"(?P<f>[0-9]{1,9})",
    "p": r"(?P<p>[ap]\.?m\.?)",
    "z": r"(?P<z>z|[+-][0-9]{2}:?(?:[0-9]{2})?)",
    "Z": r"(?P<Z>[a-z]{1,5})",
    "a": r"(?P<a>[a-z]{3,9})\.?",
}
"""Patterns of the directives, without case."""
ALIASES = {"B": "b", "A": "a", "I": "H"}
SHORT = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%-": "%"}
"""Short directives, and directives without leading zeros."""
WEEKDAY = r"(?:(?P<a>(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*)\.?,?\s+)?"
ZONE = r"(?:\s*(?:utc|gmt)?(?P<z>z|[+-][0-9]{1,2}(?::?[0-9]{2})?)|\s*(?P<Z>[a-z]{1,5}))?"
SECONDS = r"(?::(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
MINUTES = rf"[:.h](?P<M>[0-9]{{2}}){SECONDS}"
CLOCK = rf"(?:(?:t|_|:|,\s*|\s+)(?P<H>[0-9]{{1,2}})(?:{MINUTES})?(?:\s*(?P<p>[ap]\.?m\.?))?{ZONE})?"
"""A time of day and an offset after a date."""


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
class Reading:
    """A column of text as times in one format."""

    format: str
    times: Array
    """Times (cells,): datetime64 without a zone, or int64."""
    valid: Array
    """Whether each cell (cells,) is a time in this format."""
    words: str = ""
    """Format in words."""
    zone: str = ""
    """Offset from UTC of the times, such as +00:00; empty if the text has none."""
    note: str = ""
    """A decision about the years or offsets; empty if there was none."""
    fault: str = ""
    """Reason for which the times cannot be used although they are valid; empty if they can."""

    @functools.cached_property
    def different(self) -> Array:
        """The different times in ascending order."""
        times = np.sort(self.times)
        return times[np.append(True, times[1:] != times[:-1])]


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


def parse(
    path: Path, cells: "pd.Series[str]", time_format: str | None = None, like: TimeAxis | None = None
) -> Timestamps:
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
    texts = _normalised(cells)
    if texts.str.fullmatch(NUMBER).all():
        texts = texts.str.replace(r"\.0*$", "", regex=True)
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
    notes = [reading.note, others, _changed(reading, like), _daylight_saving(reading, axis), _order(reading)]
    return Timestamps(
        pd.Index(reading.times), replace(axis, zone=reading.zone), reading.words, tuple(filter(None, notes))
    )


def _normalised(cells: "pd.Series[str]") -> "pd.Series[str]":
    """Return cells in small ASCII digits and letters with single spaces, without a name of a zone in brackets."""
    texts = cells.astype("str").str.slice(0, LONGEST + 1)
    if texts.str.contains(UNUSUAL).any():
        texts = texts.str.normalize("NFKC").str.replace("[\u2212\u2013]", "-", regex=True)
        texts = texts.str.replace(r"\[[^\[\]]*\]$|['`\u2019]", "", regex=True)
        texts = texts.str.replace(r"\s+", " ", regex=True).str.strip()
    return texts.str.lower()


def readings(texts: "pd.Series[str]") -> list[Reading]:
    """Return the readings of normalised cells in every format that fits the shape of all of them."""
    if texts.str.fullmatch(NUMBER).all():
        found = []
        for group in DIGITS:
            forms = [form for form in group if form in UNIX or form == "number" or _fits(form, texts.iloc[0])]
            shaped = (read(texts, form) for form in forms)
            found += [reading for reading in shaped if reading.valid.all() and _plausible(reading)]
        return found
    some = texts.iloc[:: max(1, len(texts) // SAMPLE)]
    shapes = list(_shapes(some).index[:SHAPES])
    for group in SEPARATED:
        fitting = [form for form in group if all(_fits(form, shape) for shape in shapes)]
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


def _shapes(texts: "pd.Series[str]") -> "pd.Series[int]":
    """Return the number of texts of each pattern of digits and letters, in descending order, by one such text."""
    shapes = texts.str.replace("[1-9]", "0", regex=True).str.replace("[a-z]+", "a", regex=True)
    codes, _ = pd.factorize(shapes)
    _, firsts, counts = np.unique(codes, return_index=True, return_counts=True)
    return pd.Series(counts, index=texts.iloc[firsts].to_numpy(object)).sort_values(ascending=False, kind="stable")


def _fits(form: str, text: str) -> bool:
    """Return whether a text has the pattern of a format."""
    return len(text) <= LONGEST and _pattern(form).fullmatch(text) is not None


@functools.cache
def _pattern(form: str) -> re.Pattern[str]:
    """Compile a format to a pattern of lower-case text.

    Raises:
        UserError: if a directive is unknown or repeated.
    """
    parts = re.findall(r"%.?|[^%]", form)
    directives = [ALIASES.get(part[1:], part[1:]) if part.startswith("%") and part != "%%" else "" for part in parts]
    pattern = ""
    for index, (part, name) in enumerate(zip(parts, directives, strict=True)):
        if name and name not in GROUPS:
            known = " ".join(f"%{name}" for name in (*GROUPS, *ALIASES))
            raise UserError(f"`time_format` {form}: unknown directive {part}; known are {known}")
        if name and name in directives[:index]:
            raise UserError(f"`time_format` {form}: {part} or an equal directive is in it twice")
        if name:
            neighbours = set(directives[max(0, index - 1) : index] + directives[index + 1 : index + 2])
            pattern += GROUPS[name].replace("{1,2}", "{2}") if neighbours & set("YGymdjqVuHMSf") else GROUPS[name]
        elif part == " ":
            pattern += r"[.,]?\s+"
        elif part == ".":
            pattern += r"\.\s?"
        else:
            pattern += re.escape(part.lower() if part != "%%" else "%")
    seen = set(directives)
    if "a" not in seen:
        pattern = WEEKDAY + pattern
    if seen & set("dju") and not seen & set("HSfpzZ"):
        hours_alone = bool(seen & set("YyG")) and len(parts) > 3
        pattern += CLOCK if hours_alone else CLOCK.replace(f"(?:{MINUTES})?", f"(?:{MINUTES})")
    return re.compile(pattern)


def read(texts: "pd.Series[str]", form: str) -> Reading:
    """Read normalised cells in a format.

    Raises:
        UserError: if the format has an unknown directive.
    """
    if form == "number" or form in UNIX:
        return _read_numbers(texts, form)
    fields = _Fields(texts, _pattern(form))
    days, valid, note, fault = _dates(fields)
    weekdays = fields.map("a", lambda text: WEEKDAYS.find(text[:3]) // 3, -1)
    valid &= fields.matched & ((weekdays == (days.astype("int64") + 3) % 7) | (fields.map("a", len) == 0))
    hours, minutes, seconds = (fields.map(name, int) for name in "HMS")
    halves = fields.map("p", lambda text: "ap".index(text[0]), -1)
    valid &= (minutes < 60) & (seconds < 60) & ((hours * 60 + minutes) * 60 + seconds <= DAY)
    valid &= (halves < 0) | ((hours >= 1) & (hours <= 12))
    if not valid.any():
        return Reading(form, days.astype("datetime64[s]"), valid)
    hours = np.where(halves < 0, hours, hours % 12 + 12 * halves)
    nanoseconds = fields.map("f", lambda text: int(text.ljust(9, "0")))
    unit = next(unit for unit, size in calendars.UNITS.items() if not (nanoseconds % (10**9 // size)).any())
    if unit == "ns":
        years = days[valid].astype("datetime64[Y]").astype("int64") + 1970
        if years.min() < 1678 or years.max() > 2261:
            fault = "has nanoseconds before 1678 or after 2261; use at most six decimals"
    moments = days.astype("datetime64[s]") + (hours * 60 + minutes) * 60 + seconds
    offsets, zone, zone_note, zone_fault = _offsets(fields, valid, moments)
    fractions = nanoseconds // (10**9 // calendars.UNITS[unit])
    return Reading(
        form,
        (moments - offsets).astype(f"datetime64[{unit}]") + fractions,
        valid,
        _words(form, "H" in fields, "S" in fields),
        zone,
        "; ".join(filter(None, (note, zone_note))),
        fault or zone_fault,
    )


def _read_numbers(texts: "pd.Series[str]", form: str) -> Reading:
    """Read cells as whole numbers, or as times since 1970 in UTC."""
    codes, levels = pd.factorize(texts.where(texts.str.fullmatch(NUMBER), ""))
    values = [int(text.split(".")[0]) if 0 < len(text) <= LONGEST else LARGEST for text in levels]
    numbers = np.array([value if abs(value) < LARGEST else LARGEST for value in values], "int64")[codes]
    valid = numbers < LARGEST
    numbers[~valid] = 0
    if form == "number":
        return Reading(form, numbers, valid, "whole numbers")
    unit = UNIX[form]
    words = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[unit]
    if unit == "s":  # a year of a date must fit into int64
        valid &= np.abs(numbers) < 2**50
        numbers = np.where(valid, numbers, 0)
    times = numbers.astype(f"datetime64[{unit}]")
    coarse = (times.astype(f"datetime64[{name}]") for name in calendars.UNITS)
    times = next(rounded for rounded in coarse if (rounded == times).all())
    return Reading(form, times, valid, f"{words} since 1970, in UTC", "+00:00")


class _Fields:
    """The text of each directive of a pattern in a column."""

    def __init__(self, texts: "pd.Series[str]", pattern: re.Pattern[str]) -> None:
        cells = pa.table({"": texts})[""].combine_chunks()
        found = pc.extract_regex(cells, rf"\A(?:{pattern.pattern})\z")
        fits = pc.and_(found.is_valid(), pc.less_equal(pc.utf8_length(cells), LONGEST))
        self.matched = fits.to_numpy(zero_copy_only=False)
        """Whether each cell (cells,) has the pattern."""
        self.columns = {}
        for name in pattern.groupindex:
            column = pc.fill_null(pc.struct_field(found, name), "").dictionary_encode()
            if any(levels := column.dictionary.to_pylist()):
                self.columns[name] = column.indices.to_numpy(), levels

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def map(self, name: str, function: Callable[[str], Any], default: Any = 0) -> Array:
        """Return the value of `function` for the text of a directive (cells,), `default` where there is none."""
        if name not in self:
            return np.full(len(self.matched), default)
        codes, levels = self.columns[name]
        return np.array([*(function(text) if text else default for text in levels), default])[codes]


def _dates(fields: _Fields) -> tuple[Array, Array, str, str]:
    """Return the dates (cells,), whether they are valid, a note and a fault."""
    note = fault = ""
    months = fields.map("b", lambda text: MONTHS.get(text, 0)) if "b" in fields else fields.map("m", int, 1)
    if "q" in fields:
        months = fields.map("q", int, 1) * 3 - 2
    days = fields.map("d", int, 1)
    if "y" in fields:
        years, note, fault = _century(fields.map("y", int), fields.matched)
    elif "Y" in fields or "G" in fields:
        years = fields.map("Y" if "Y" in fields else "G", int, 1970)
    else:
        years = np.full(len(days), 4 if ((days == 29) & (months == 2)).any() else 1)
        fault = "has dates without a year; add it"
    firsts = (years - 1970).astype("datetime64[Y]")
    if "V" in fields:
        weeks, weekdays = fields.map("V", int, 1), fields.map("u", int, 1)
        fourth = firsts.astype("datetime64[D]") + 3
        dates = fourth - (fourth.astype("int64") + 3) % 7 + (weeks - 1) * 7 + weekdays - 1
        thursdays = dates + 4 - weekdays
        return dates, (weeks >= 1) & (thursdays.astype("datetime64[Y]") == firsts), note, fault
    if "j" in fields:
        dates = firsts.astype("datetime64[D]") + fields.map("j", int, 1) - 1
        return dates, dates.astype("datetime64[Y]") == firsts, note, fault
    begins = firsts.astype("datetime64[M]") + months - 1
    dates = begins.astype("datetime64[D]") + days - 1
    valid = (months >= 1) & (months <= 12) & (days >= 1) & (dates.astype("datetime64[M]") == begins)
    return dates, valid, note, fault


def _century(years: Array, matched: Array) -> tuple[Array, str, str]:
    """Return two-digit years (cells,) with their century, a note and a fault.

    The years of a series follow one another, also from 99 to 00: they begin after the longest gap in the circle of
    years. The series is the latest one that does not end in the future.
    """
    if not matched.any():
        return years + 1900, "", ""
    distinct = np.unique(years[matched])
    gaps = np.diff(np.concatenate([[distinct[-1] - 100], distinct]))
    start = int(distinct[gaps.argmax()])
    unwrapped = start + (years - start) % 100
    last = int((start + (distinct - start) % 100).max())
    today = datetime.date.today().year
    century = (today - last) // 100 * 100
    found = unwrapped + century
    span = _years(start + century, last + century)
    fault = ""
    if last + century + 100 <= today + SOON:
        later = _years(start + century + 100, last + century + 100)
        fault = f"has two-digit years that are {span} or {later}; write years with four digits"
    return found, f"the two-digit years are read as {span}", fault


def _years(first: int, last: int) -> str:
    """Return a span of years as text."""
    return f"{first}" if first == last else f"{first} to {last}"


def _offsets(fields: _Fields, valid: Array, moments: Array) -> tuple[Array, str, str, str]:
    """Return the seconds to subtract from the local times (cells,), the offset of the result, a note and a fault.

    One offset is kept. Offsets that change make the times UTC, unless the local times are those of whole days.
    """
    none = np.zeros(len(valid), "int64")
    utc = fields.map("Z", lambda name: 0 if name in UTC else NO_OFFSET, NO_OFFSET)
    shifts = fields.map("z", _offset, NO_OFFSET)
    shifts = np.where(shifts == NO_OFFSET, utc, shifts)
    names = {name for name in fields.columns.get("Z", ((), ()))[1] if name}
    if others := sorted(names - UTC):
        zones = ", ".join(others).upper()
        if len(names) > 1 or (fields.map("Z", len)[valid] == 0).any():
            return none, "", "", f"has times in several zones ({zones}); write offsets such as +01:00 instead"
        return none, "", f"the times are in the zone {zones}, whose name is left out", ""
    different = np.unique(shifts[valid]).tolist()
    if different == [NO_OFFSET]:
        return none, "", "", ""
    if NO_OFFSET in different:
        return none, "", "", "has times with an offset from UTC and times without; write all with, or all without"
    if len(different) == 1:
        return none, _signed(different[0]), "", ""
    listed = ", ".join(map(_signed, different[:4]))
    local = moments[valid]
    if (local == local.astype("datetime64[D]")).all():
        note = f"the offsets from UTC change ({listed}); the days are those of the local time"
        return none, "", note, ""
    return shifts, "+00:00", f"the offsets from UTC change ({listed}); all times are read as UTC", ""


def _offset(text: str) -> int:
    """Return an offset such as z, +01:30, +0130 or +1 in seconds."""
    hours, minutes = int(text[1:3] or 0), int(text[3:].strip(":") or 0)
    return (-1 if text[0] == "-" else 1) * (hours * 3600 + minutes * 60)


def _signed(seconds: int) -> str:
    """Return an offset in seconds as text, such as +01:30."""
    return f"{'-' if seconds < 0 else '+'}{abs(seconds) // 3600:02}:{abs(seconds) // 60 % 60:02}"


def _words(form: str, hours: bool, seconds: bool) -> str:
    """Return a format in words, such as: day first, DD/MM/YYYY."""
    order = [name for name in re.findall("%(.)", form) if name in "dmbBYyqV"]
    if "V" in order:
        kind = "ISO week, "
    elif "q" in order:
        kind = "quarter, "
    elif "d" not in order and set(order) & {"m", "b", "B"}:
        kind = "year and month, " if order[0] in "Yy" else "month and year, "
    elif "m" in order and "d" in order and order[0] in "dm":
        kind = "day first, " if order[0] == "d" else "month first, "
    else:
        kind = ""
    shown = {"Y": "YYYY", "G": "YYYY", "y": "YY", "m": "MM", "d": "DD", "b": "Mon", "B": "Month", "H": "hh", "M": "mm"}
    shown |= {"S": "ss", "q": "q", "V": "ww", "u": "weekday", "j": "day of the year"}
    text = re.sub("%(.)", lambda match: shown.get(match[1], match[0]), form)
    clock = (" hh:mm:ss" if seconds else " hh:mm") if hours and "%H" not in form and "%I" not in form else ""
    return f"{kind}{text}{clock}"


def _given(path: Path, cells: "pd.Series[str]", texts: "pd.Series[str]", form: str) -> list[Reading]:
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


def _refuse_repeats(path: Path, cells: "pd.Series[str]", reading: Reading) -> None:
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
    raise UserError(f"{text}; keep one")


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


def _unreadable(path: Path, cells: "pd.Series[str]", texts: "pd.Series[str]") -> str:
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
    scores = {form: sum(n for text, n in common if _fits(form, str(text))) for group in SEPARATED for form in group}
    forms = [form for form, score in scores.items() if score > len(texts) / 2]
    best = max((read(texts, form) for form in forms), key=lambda reading: int(reading.valid.sum()), default=None)
    if best is None or best.valid.mean() <= 0.5:
        text = f"{path}: {column} has times that cannot be read, such as {shortened(cells.iloc[0])}"
        return f"{text}; {advice}"
    index = int(best.valid.argmin())
    place = f"{path}, line {cells.index[index]}: {shortened(cells.iloc[index])} in {column}"
    return f"{place} is no time in the format of the others ({best.words}); fix it, or name the format in `time_format`"
