"""Formats of times: the times that the text of a column means in a format.

A format has the directives of strptime, and %q for a quarter. Other formats are `number`, for whole numbers, and
`unix`, `unix ms`, `unix us` and `unix ns`, for the time since 1970 in UTC. After a complete date, a time of day and an
offset from UTC may follow.
"""

import calendar
import datetime
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from common.data import Array
from common.errors import UserError
from common.preprocessing import calendars
from common.preprocessing.cells import Cells

LONGEST = 60
"""Maximum number of characters of a time."""
LARGEST = 2**62
"""Limit of whole numbers, whose differences are int64."""
SOON = 15
"""Years after this one in which the century of a two-digit year is unknown: a plan, or the past century."""
UNIX = {"unix": "s", "unix ms": "ms", "unix us": "us", "unix ns": "ns"}
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


def normalised(cells: Cells) -> Cells:
    """Return cells in small ASCII digits and letters with single spaces, without a name of a zone in brackets."""
    texts = cells.astype("str").str.slice(0, LONGEST + 1)
    if texts.str.contains(UNUSUAL).any():
        texts = texts.str.normalize("NFKC").str.replace("[\u2212\u2013]", "-", regex=True)
        texts = texts.str.replace(r"\[[^\[\]]*\]$|['`\u2019]", "", regex=True)
        texts = texts.str.replace(r"\s+", " ", regex=True).str.strip()
    return texts.str.lower()


def fits(form: str, text: str) -> bool:
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


def read(texts: Cells, form: str) -> Reading:
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


def _read_numbers(texts: Cells, form: str) -> Reading:
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

    def __init__(self, texts: Cells, pattern: re.Pattern[str]) -> None:
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
