"""Time stamps: a column of text as times, in the format that fits all of its cells.

A format has the directives of strptime, and %q for a quarter. Other formats are `number`, for whole numbers, and
`unix`, `unix ms`, `unix us` and `unix ns`, for the time since 1970 in UTC. After a complete date, a time of day and an
offset from UTC may follow. A cell often fits several formats (01/02/2023). The format of a series is the one that gives
a regular step and an order of times in the file; the first cells have no special role.
"""

import datetime
import functools
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from common.data import Array, TimeAxis
from common.errors import UserError
from common.preprocessing import calendars

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
NUMBER = re.compile(r"([+-]?[0-9]+)(?:\.0*)?")
ZONE_NAME = re.compile(r"\[[^\[\]]*\]$")
APOSTROPHES = str.maketrans("", "", "'`\u2019")
"""Marks before the two digits of a year."""
LETTERS = re.compile("[a-z]+")
ANY_DIGIT = str.maketrans("123456789", "0" * 9)
MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("jan", "january"),
            ("feb", "february"),
            ("mar", "march"),
            ("apr", "april"),
            ("may",),
            ("jun", "june"),
            ("jul", "july"),
            ("aug", "august"),
            ("sep", "sept", "september"),
            ("oct", "october"),
            ("nov", "november"),
            ("dec", "december"),
        ),
        start=1,
    )
    for name in names
}
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

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

SEPARATORS = ("-", "/", ".", " ")
ONE_DAY = [
    f"{first}{s}{second}{s}{third}"
    for s in SEPARATORS
    for first, second, third in (
        ("%Y", "%m", "%d"),
        ("%d", "%m", "%Y"),
        ("%m", "%d", "%Y"),
        ("%y", "%m", "%d"),
        ("%d", "%m", "%y"),
        ("%m", "%d", "%y"),
        ("%d", "%b", "%Y"),
        ("%d", "%b", "%y"),
        ("%b", "%d", "%Y"),
        ("%b", "%d", "%y"),
        ("%Y", "%b", "%d"),
    )
]
TWO_PARTS = [
    f"{first}{s}{second}"
    for s in SEPARATORS
    for first, second in (
        *itertools.permutations(("%b", "%Y")),
        *itertools.permutations(("%b", "%y")),
        *itertools.permutations(("%b", "%d")),
        *itertools.permutations(("%m", "%Y")),
    )
]
TWO_NUMBERS = [
    f"{first}{s}{second}"
    for s in ("-", "/", " ")  # not of decimals
    for first, second in (*itertools.permutations(("%m", "%y")), *itertools.permutations(("%m", "%d")))
]
TOGETHER = [
    "%d%b%Y",
    "%d%b%y",
    "%Y%b%d",
    "%b%Y",
    "%Y%b",
    "%b%y",
    "%y%b",
    "%d%b",
    "%b%d",
    "%Y:%m",
    "%b %d %H:%M:%S %Y",
    "%YM%m",
    "%Y-M%m",
]
QUARTERS = [
    *(f"%Y{s}Q%q" for s in ("", *SEPARATORS, ":")),
    *(f"Q%q{s}{year}" for s in ("", *SEPARATORS) for year in ("%Y", "%y")),
    *(f"%qQ{s}{year}" for s in ("", *SEPARATORS) for year in ("%Y", "%y")),
    *(f"%y{s}Q%q" for s in ("", *SEPARATORS)),
]
WEEKS = [
    *(f"%G{s}W%V" for s in ("", *SEPARATORS)),
    *(f"W%V{s}%G" for s in ("", *SEPARATORS)),
    "%G-W%V-%u",
    "%GW%V%u",
]
DAYS_OF_THE_YEAR = [f"%Y{s}%j" for s in SEPARATORS]
SEPARATED = (
    (
        *ONE_DAY,
        *TWO_PARTS,
        *TWO_NUMBERS,
        *TOGETHER,
        *QUARTERS,
        *WEEKS,
        *DAYS_OF_THE_YEAR,
        "%Y%m%dT%H%M%S",
        "%Y%m%dT%H%M",
        "%Y%m%d",
    ),
    (*(f"%Y{s}%d{s}%m" for s in SEPARATORS), *(f"%G{s}%V" for s in SEPARATORS)),
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
    texts = [_normalised(cell) for cell in cells]
    if all(numbers := [NUMBER.fullmatch(text) for text in texts]):
        texts = [number[1] for number in numbers if number]
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
    axis = calendars.fit(np.unique(reading.times), reading.format, like)
    if axis is None:
        raise UserError(_irregular(column, reading, like))
    notes = [reading.note, others, _changed(reading, like), _daylight_saving(reading, axis), _order(reading)]
    return Timestamps(
        pd.Index(reading.times), replace(axis, zone=reading.zone), reading.words, tuple(filter(None, notes))
    )


def _normalised(cell: str) -> str:
    """Return the cell in small ASCII digits and letters with single spaces, without a name of a zone in brackets."""
    text = cell[: LONGEST + 1]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2013", "-")
    if text.endswith("]"):
        text = ZONE_NAME.sub("", text)
    return " ".join(text.lower().translate(APOSTROPHES).split())


def readings(texts: Sequence[str]) -> list[Reading]:
    """Return the readings of normalised cells in every format that fits the shape of all of them."""
    if all(NUMBER.fullmatch(text) for text in texts):
        found = []
        for group in DIGITS:
            shaped = [read(texts, form) for form in group if form in UNIX or form == "number" or _fits(form, texts[0])]
            found += [reading for reading in shaped if reading.valid.all() and _plausible(reading)]
        return found
    shapes = [text for text, _ in _shapes(texts).most_common(SHAPES)]
    some = texts[:: max(1, len(texts) // SAMPLE)]
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


def _shapes(texts: Sequence[str]) -> Counter[str]:
    """Return one text for each pattern of digits and letters, with the number of texts that have it."""
    shapes = [LETTERS.sub("a", text.translate(ANY_DIGIT)) for text in texts]
    examples = dict(zip(shapes, texts, strict=True))
    return Counter({examples[shape]: count for shape, count in Counter(shapes).items()})


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


def read(texts: Sequence[str], form: str) -> Reading:
    """Read normalised cells in a format.

    Raises:
        UserError: if the format has an unknown directive.
    """
    if form == "number" or form in UNIX:
        return _read_numbers(texts, form)
    pattern = _pattern(form)
    matches = [pattern.fullmatch(text) if len(text) <= LONGEST else None for text in texts]
    nothing = (None,) * pattern.groups
    columns = zip(*(match.groups() if match else nothing for match in matches), strict=True)
    fields = _Fields(dict(zip(pattern.groupindex, columns, strict=True)))
    matched = np.array([match is not None for match in matches])
    days, valid, note, fault = _dates(fields)
    seconds, clock_valid = _seconds(fields)
    valid = matched & valid & clock_valid & _weekday_fits(fields, days)
    if not valid.any():
        return Reading(form, days.astype("datetime64[s]"), valid)
    fractions, unit = _fractions(fields)
    moments = days.astype("datetime64[s]") + seconds
    offsets, zone, zone_note, zone_fault = _offsets(fields, valid, moments)
    moments = (moments - offsets).astype(f"datetime64[{unit}]") + fractions.astype(f"timedelta64[{unit}]")
    if unit == "ns":
        years = days[valid].astype("datetime64[Y]").astype("int64") + 1970
        if years.min() < 1678 or years.max() > 2261:
            fault = "has nanoseconds before 1678 or after 2261; use at most six decimals"
    return Reading(
        form,
        moments,
        valid,
        _words(form, "H" in fields, "S" in fields),
        zone,
        "; ".join(filter(None, (note, zone_note))),
        fault or zone_fault,
    )


def _read_numbers(texts: Sequence[str], form: str) -> Reading:
    """Read cells as whole numbers, or as times since 1970 in UTC."""
    values = [int(match[1]) if len(text) <= LONGEST and (match := NUMBER.fullmatch(text)) else None for text in texts]
    valid = np.array([value is not None and abs(value) < LARGEST for value in values])
    numbers = np.array([value if good else 0 for value, good in zip(values, valid, strict=True)], "int64")
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
    """The text of each directive that occurs in a column."""

    def __init__(self, texts: Mapping[str, Sequence[str | None]]) -> None:
        self.texts = {name: column for name, column in texts.items() if any(column)}
        self.size = len(next(iter(texts.values()), ()))

    def __contains__(self, name: str) -> bool:
        return name in self.texts

    def text(self, name: str) -> list[str]:
        """Return the text (cells,) of a directive, "" where there is none."""
        return [text or "" for text in self.texts.get(name, [""] * self.size)]

    def number(self, name: str, default: int) -> Array:
        """Return the number (cells,) of a directive."""
        if name not in self:
            return np.full(self.size, default)
        return np.array([int(text) if text else default for text in self.texts[name]], "int64")


def _dates(fields: _Fields) -> tuple[Array, Array, str, str]:
    """Return the dates (cells,), whether they are valid, a note and a fault."""
    note = fault = ""
    if "y" in fields:
        years, note, fault = _century(fields.number("y", 0), [bool(text) for text in fields.text("y")])
    elif "Y" in fields or "G" in fields:
        years = fields.number("Y" if "Y" in fields else "G", 1970)
    else:
        leap = any(
            day == "29" and month in ("02", "2", "feb", "february")
            for day, month in zip(fields.text("d"), fields.text("b" if "b" in fields else "m"), strict=True)
        )
        years = np.full(fields.size, 4 if leap else 1)
        fault = "has dates without a year; add it"
    firsts = (years - 1970).astype("datetime64[Y]")
    if "V" in fields:
        weeks, days = fields.number("V", 1), fields.number("u", 1)
        fourth = firsts.astype("datetime64[D]") + 3
        dates = fourth - (fourth.astype("int64") + 3) % 7 + (weeks - 1) * 7 + days - 1
        thursdays = dates + 4 - days
        return dates, (weeks >= 1) & (thursdays.astype("datetime64[Y]") == firsts), note, fault
    if "j" in fields:
        dates = firsts.astype("datetime64[D]") + fields.number("j", 1) - 1
        return dates, dates.astype("datetime64[Y]") == firsts, note, fault
    if "b" in fields:
        months = np.array([MONTHS.get(text, 0) for text in fields.text("b")])
    elif "q" in fields:
        months = fields.number("q", 1) * 3 - 2
    else:
        months = fields.number("m", 1)
    days = fields.number("d", 1)
    begins = firsts.astype("datetime64[M]") + months - 1
    dates = begins.astype("datetime64[D]") + days - 1
    valid = (months >= 1) & (months <= 12) & (days >= 1) & (dates.astype("datetime64[M]") == begins)
    return dates, valid, note, fault


def _century(years: Array, filled: Sequence[bool]) -> tuple[Array, str, str]:
    """Return two-digit years (cells,) with their century, a note and a fault.

    The years of a series follow one another, also from 99 to 00: they begin after the longest gap in the circle of
    years. The series is the latest one that does not end in the future.
    """
    if not any(filled):
        return years + 1900, "", ""
    distinct = np.unique(years[np.array(filled)])
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


def _seconds(fields: _Fields) -> tuple[Array, Array]:
    """Return the seconds after midnight (cells,), and whether they are valid."""
    hours, minutes, seconds = (fields.number(name, 0) for name in "HMS")
    valid = (minutes < 60) & (seconds < 60) & (hours * 3600 + minutes * 60 + seconds <= 86_400)
    if "p" in fields:
        halves = np.array([text[:1] for text in fields.text("p")])
        valid &= (halves == "") | ((hours >= 1) & (hours <= 12))
        hours = np.where(halves == "", hours, hours % 12 + 12 * (halves == "p"))
    return hours * 3600 + minutes * 60 + seconds, valid


def _fractions(fields: _Fields) -> tuple[Array, str]:
    """Return the fractions of a second (cells,) as whole numbers of a unit, and the unit."""
    if "f" not in fields:
        return np.zeros(fields.size, "int64"), "s"
    texts = [text.rstrip("0") for text in fields.text("f")]
    digits = -(-max(map(len, texts), default=0) // 3) * 3
    unit = {0: "s", 3: "ms", 6: "us", 9: "ns"}[digits]
    return np.array([int(text.ljust(digits, "0") or 0) for text in texts], "int64"), unit


def _weekday_fits(fields: _Fields, days: Array) -> Array:
    """Return whether the name of the weekday (cells,), if there is one, is that of the date."""
    if "a" not in fields:
        return np.ones(fields.size, bool)
    names = np.array(WEEKDAYS)[(days.astype("int64") + 3) % 7]
    texts = np.array([text[:3] for text in fields.text("a")])
    return (texts == "") | (texts == names)


def _offsets(fields: _Fields, valid: Array, moments: Array) -> tuple[Array, str, str, str]:
    """Return the seconds to subtract from the local times (cells,), the offset of the result, a note and a fault.

    One offset is kept. Offsets that change make the times UTC, unless the local times are those of whole days.
    """
    none = np.zeros(fields.size, "int64")
    if "z" not in fields and "Z" not in fields:
        return none, "", "", ""
    names = {text for text in fields.text("Z") if text}
    texts = np.array(["+0000" if text in ("z", "utc", "gmt") else text for text in _zones(fields)])
    if others := sorted(names - {"utc", "gmt", "z"}):
        zones = ", ".join(others).upper()
        if len(names) > 1 or (np.array(fields.text("Z"))[valid] == "").any():
            return none, "", "", f"has times in several zones ({zones}); write offsets such as +01:00 instead"
        return none, "", f"the times are in the zone {zones}, whose name is left out", ""
    different = np.unique(texts[valid])
    if different.tolist() == [""]:
        return none, "", "", ""
    if "" in different:
        return none, "", "", "has times with an offset from UTC and times without; write all with, or all without"
    offsets = {text: _offset(text) for text in np.unique(texts) if text}
    if len({offsets[text] for text in different.tolist()}) == 1:
        seconds = offsets[str(different[0])]
        return none, _signed(seconds), "", ""
    listed = ", ".join(_signed(offsets[text]) for text in different.tolist()[:4])
    local = moments[valid]
    if (local == local.astype("datetime64[D]")).all():
        note = f"the offsets from UTC change ({listed}); the days are those of the local time"
        return none, "", note, ""
    shifts = np.array([offsets.get(text, 0) for text in texts.tolist()], "int64")
    return shifts, "+00:00", f"the offsets from UTC change ({listed}); all times are read as UTC", ""


def _zones(fields: _Fields) -> list[str]:
    """Return the text of the offset or of UTC (cells,)."""
    return [
        offset or (name if name in ("utc", "gmt", "z") else "")
        for offset, name in zip(fields.text("z"), fields.text("Z"), strict=True)
    ]


def _offset(text: str) -> int:
    """Return an offset such as +01:30, +0130 or +1 in seconds."""
    digits = text[1:].replace(":", "")
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
    return (-1 if text[0] == "-" else 1) * (int(hours) * 3600 + int(minutes) * 60)


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


def _given(path: Path, cells: "pd.Series[str]", texts: Sequence[str], form: str) -> list[Reading]:
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
        place = f"{path}, line {cells.index[index]}: {_shown(cells.iloc[index])} in the column {cells.name}"
        raise UserError(f"{place} does not fit `time_format` {form}")
    return [reading]


def _shown(cell: str) -> str:
    """Return a cell in quotes, shortened."""
    return repr(cell if len(cell) <= LONGEST else f"{cell[:LONGEST]}…")


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
    times = np.unique(reading.times)
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
    times = np.unique(reading.times)
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
    _, firsts, inverse = np.unique(reading.times, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(firsts[inverse] != np.arange(len(inverse)))
    if not len(repeated):
        return
    place = int(repeated[0])
    before = cells.index[firsts[inverse[place]]]
    text = f"{path}, line {cells.index[place]}: time {_shown(cells.iloc[place])} is in two rows, also in line {before}"
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
    times = np.unique(reading.times)
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
    times = np.unique(reading.times)
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


def _unreadable(path: Path, cells: "pd.Series[str]", texts: Sequence[str]) -> str:
    """Return the error for cells that fit no format: the first that does not fit the most frequent one."""
    shapes = _shapes(texts)
    column = f"the column {cells.name}"
    advice = "write whole numbers, or dates like 2024-12-31 23:59, or name the format in `time_format`"
    if all(NUMBER.fullmatch(text) for text in texts):
        index = int(read(texts, "number").valid.argmin())
        place = f"{path}, line {cells.index[index]}: {_shown(cells.iloc[index])} in {column}"
        return f"{place} is too large for a time; use numbers below 2^62"
    times_of_day = re.compile(rf"[0-9]{{1,2}}:[0-9]{{2}}{SECONDS}(?:\s*[ap]\.?m\.?)?")
    if all(times_of_day.fullmatch(text) for text in texts[:SHAPES]):
        return f"{path}: {column} has times of day without a date, such as {_shown(cells.iloc[0])}; add the date"
    if all(re.fullmatch(r"[+-]?[0-9]*\.[0-9]+", text) for text in texts[:SHAPES]):
        return f"{path}: {column} has decimal numbers, such as {_shown(cells.iloc[0])}, not times; {advice}"
    common = shapes.most_common(SHAPES)
    scores = {form: sum(count for text, count in common if _fits(form, text)) for group in SEPARATED for form in group}
    forms = [form for form, score in scores.items() if score > len(texts) / 2]
    best = max((read(texts, form) for form in forms), key=lambda reading: int(reading.valid.sum()), default=None)
    if best is None or best.valid.mean() <= 0.5:
        text = f"{path}: {column} has times that cannot be read, such as {_shown(cells.iloc[0])}"
        return f"{text}; {advice}"
    index = int(best.valid.argmin())
    place = f"{path}, line {cells.index[index]}: {_shown(cells.iloc[index])} in {column}"
    return f"{place} is no time in the format of the others ({best.words}); fix it, or name the format in `time_format`"
