"""Columns: from cells to numbers, dates or text. The format of a column is decided from all of its cells.

A column is a pandas Series of cells as text, "" for an empty cell, with line numbers as its index.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from common.data import Array, ColumnFormat
from common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    Cells = pd.Series[str]


Decimal = Literal["auto", ".", ","]

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
"""Cells without a value in a column of numbers or dates. In a column of text, only the empty cell has none."""
LARGEST = 1e30
"""Maximum absolute value of a number, so that sums of coefficients times numbers stay in the range of float32."""

SPACES = "\u00a0\u202f\u2009\u2007 "
"""Blanks between groups of digits: no-break, narrow no-break, thin and figure spaces."""
CURRENCY = r"(?:[$€£¥₹₽₩₺]|USD|EUR|GBP|CHF|JPY)"
DECORATED = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+\u2212\u2013])?\s*(?P<before>{CURRENCY})?\s*(?P<inner>[-+\u2212\u2013])?"
    rf"(?P<digits>[\d.](?:[\d.,'’{SPACES}]*[\d.,])?(?:[eE][-+\u2212]?\d+)?)"
    rf"\s*(?P<percent>%)?\s*(?P<after>{CURRENCY})?(?P<trailing>[-\u2212])?\s*(?P<close>\))?"
)
"""A number with a sign, a currency, a percent sign, or parentheses for a negative number."""
SIGNS = ("open", "sign", "inner", "trailing")
"""Groups of `DECORATED`, at most one of which is in a number."""
NEGATIVE = ("(", "-", "\u2212", "\u2013")
GROUPS = {".": ",", ",": "."}
"""The separator of thousands that belongs to a decimal separator; blanks and apostrophes fit both."""


def _plain(decimal: str) -> re.Pattern[str]:
    """Return the pattern of unsigned numbers with the separator `decimal`, in groups of thousands or without."""
    point, group = re.escape(decimal), re.escape(GROUPS[decimal])
    grouped = "|".join(rf"[1-9]\d{{0,2}}(?:{one}\d{{3}})+" for one in (group, "['’]", f"[{SPACES}]"))
    indian = rf"[1-9]\d?(?:{group}\d\d)+{group}\d{{3}}"
    return re.compile(rf"(?:(?:{grouped}|{indian}|\d+)(?:{point}\d*)?|{point}\d+)(?:[eE][-+]?\d+)?")


PLAIN = {decimal: _plain(decimal) for decimal in GROUPS}
AMBIGUOUS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
"""A number that is a thousand times larger if its separator is that of thousands."""
DOTTED = re.compile(r"[1-9]\d{0,2}(\.\d{3})+")
"""A number in which every dot may separate thousands."""
TRIED = 200
"""Cells that decide what is tried on all cells."""


@dataclass(frozen=True)
class Reading:
    """The cells of a column as numbers, with the decimal separator "." and with ","."""

    values: Mapping[str, Array]
    """Numbers (rows,) by decimal separator, NaN where a cell is no number or none. "," may be missing beside "."."""
    special: Array
    """Whether a cell is a number only by its signs or separators, (rows,)."""
    filled: int
    """Number of cells that are not missing."""
    ambiguous: str = ""
    """A cell that is a number with both separators and has a separator of either; "" if there is none."""
    decorations: tuple[str, ...] = ()
    """Signs that were removed, in words."""
    mixed: str = ""
    """A reason why the cells have no common unit; "" if they may have one."""

    def count(self, decimal: str) -> int:
        """Return the number of cells that are numbers with this decimal separator."""
        return int(np.isfinite(self.values[decimal]).sum()) if decimal in self.values else 0

    @property
    def is_numeric(self) -> bool:
        """Whether more than half of the filled cells are numbers."""
        return max(map(self.count, GROUPS)) > self.filled / 2

    @property
    def decided(self) -> str:
        """The decimal separator if the cells decide it, or "" if both fit."""
        dot, comma = self.count("."), self.count(",")
        return "" if dot == comma else "." if dot > comma else ","


def read_numbers(cells: "Cells") -> Reading:
    """Read a column as numbers, with both decimal separators."""
    return _read_plain(cells) or _read_decorated(cells)


def _read_plain(cells: "Cells") -> Reading | None:
    """Read a column in which all cells are like -1.5e3 or missing; return None if they are not, or may be grouped."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pa.array(cells.astype("str").array)
    missing = pc.is_in(texts, pa.array(MISSING, texts.type))
    try:
        values = pc.cast(pc.if_else(missing, None, texts), "float64").to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None
    filled = int((np.abs(values) <= LARGEST).sum())
    if filled < len(cells) - pc.sum(missing, min_count=0).as_py():
        return None
    special, dotted = np.zeros(len(cells), bool), pc.match_substring(texts, ".").to_numpy(zero_copy_only=False)
    if not dotted.any():
        # Among whole numbers, -0 is 0.
        return None if np.signbit(values[values == 0]).any() else Reading({".": values, ",": values}, special, filled)
    decisive = not all(map(DOTTED.fullmatch, cells.iloc[np.flatnonzero(dotted)[:TRIED]]))
    return Reading({".": values}, special, filled) if decisive else None


def _read_decorated(cells: "Cells") -> Reading:
    """Read a column as numbers, of which each may have signs and separators."""
    import pandas as pd

    codes, found = _factorized(cells)
    levels = pd.Series(found, dtype=object)
    missing = levels.isin(MISSING)
    dot = _finite(pd.to_numeric(levels.where(~missing), errors="coerce").to_numpy("float64"))
    comma, hard = dot.copy(), np.isnan(dot) & ~missing.to_numpy()
    dotted = np.flatnonzero(~hard & np.fromiter(("." in level for level in found), bool, len(found)))
    comma[dotted] = np.nan
    ambiguous = ""
    # One cell like 1.5 decides a column, so most columns end here.
    if len(dotted) and all(map(DOTTED.fullmatch, found[dotted[:TRIED]])):
        grouped = dotted[levels.iloc[dotted].str.fullmatch(DOTTED).to_numpy(bool)]
        comma[grouped] = levels.iloc[grouped].str.replace(".", "").astype("float64")
        ambiguous = found[grouped[0]]
    decorations: set[str] = set()
    units: dict[str, int] = {}
    for place in np.flatnonzero(hard):
        if not (parsed := _parse(found[place])):
            continue
        digits = parsed["digits"].replace("\u2212", "-")
        fits = {decimal: bool(PLAIN[decimal].fullmatch(digits)) for decimal in PLAIN}
        if not ambiguous and all(fits.values()) and AMBIGUOUS.fullmatch(digits):
            ambiguous = found[place]
        sign = -1.0 if any(parsed[part] in NEGATIVE for part in SIGNS) else 1.0
        for decimal, values in ((".", dot), (",", comma)):
            values[place] = sign * _number(digits, decimal) if fits[decimal] else np.nan
        decorations |= set(_decorations(parsed, digits))
        unit = parsed["percent"] or parsed["before"] or parsed["after"] or ""
        units[unit] = units.get(unit, 0) + 1
    symbols = sorted(unit for unit in units if unit)
    mixed = ""
    if len(symbols) > 1:
        mixed = f"mixes {' and '.join(symbols)}"
    elif symbols == ["%"] and (np.isfinite(dot) | np.isfinite(comma)).sum() > units["%"]:
        mixed = "mixes numbers with and without %"
    both = {".": _finite(dot)[codes], ",": _finite(comma)[codes]}
    special = (hard & np.isfinite(np.fmax(dot, comma)))[codes]
    return Reading(both, special, int((~missing)[codes].sum()), ambiguous, tuple(sorted(decorations)), mixed)


def _factorized(cells: "Cells") -> tuple[Array, Array]:
    """Return the index of the text of each cell (rows,), and the different texts as Python strings."""
    import pandas as pd

    codes, levels = pd.factorize(cells)
    return codes, levels.to_numpy(object)


def strings(cells: "Cells") -> Array:
    """Return cells as Python strings (rows,), equal ones as one object."""
    codes, levels = _factorized(cells)
    return levels[codes] if len(levels) else np.empty(0, object)


def is_numeric(cells: "Cells") -> bool:
    """Return whether more than half of the filled cells are numbers."""
    return read_numbers(cells).is_numeric


def _parse(cell: str) -> re.Match[str] | None:
    """Split a number into its digits, at most one sign, and a unit; None if the cell has another form."""
    parsed = DECORATED.fullmatch(cell)
    if not parsed or bool(parsed["open"]) != bool(parsed["close"]):
        return None
    return parsed if sum(bool(parsed[part]) for part in SIGNS) <= 1 else None


def _finite(values: Array) -> Array:
    """Replace numbers that are infinite or too large by NaN."""
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def _number(digits: str, decimal: str) -> float:
    """Return the number that `digits` write with the separator `decimal`."""
    return float(re.sub(rf"[{re.escape(GROUPS[decimal])}'’{SPACES}]", "", digits).replace(decimal, "."))


def _decorations(parsed: re.Match[str], digits: str) -> list[str]:
    """Return the special signs of a number in words."""
    found = []
    if parsed["percent"]:
        found.append("percent signs are left out")
    if symbol := parsed["before"] or parsed["after"]:
        found.append(f"{symbol} is left out")
    if parsed["open"]:
        found.append("parentheses are negative")
    if parsed["trailing"]:
        found.append("a minus at the end is negative")
    if re.search(rf"\d[{SPACES}]\d", digits):
        found.append("blanks separate thousands")
    if re.search(r"\d['’]\d", digits):
        found.append("apostrophes separate thousands")
    return found


DATE_FORMATS = tuple(
    f"{date}{time}"
    for date in (
        *("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d.%m.%Y", "%m.%d.%Y", "%Y.%m.%d", "%d-%m-%Y", "%m-%d-%Y"),
        *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%m.%d.%y", "%d-%m-%y", "%m-%d-%y"),
        *("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%d. %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%d-%b-%y"),
        *("%b %Y", "%B %Y", "%b-%Y", "%Y-%b"),
    )
    for time in ("", " %H:%M", " %H:%M:%S", ", %H:%M", ", %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
)
ISO = "ISO8601"
"""pandas' name for dates like 2024-12-31 and times like 2024-12-31T23:59:00+01:00."""
SHOWN = 40
"""Maximum number of characters of a cell in a message."""
DAY = np.timedelta64(1, "D")


def date_readings(cells: "Cells") -> dict[str, Array]:
    """Read a column as dates.

    Returns:
        Days since 1970-01-01 (rows,) by format, for the formats that fit most of the filled cells, and more cells than
        other formats do. Of formats that read the same dates, only the first.
    """
    filled = cells[~cells.isin(MISSING)]
    first = filled.drop_duplicates().iloc[:TRIED].astype(object)
    if first.empty or not first.str.contains(r"\d", regex=True).mean() > 0.5:
        return {}
    few = first.iloc[:: max(1, len(first) // 10)]
    possible = [form for form in (ISO, *DATE_FORMATS) if np.isfinite(read_dates(few, form)).any()]
    likely = [form for form in possible if np.isfinite(read_dates(first, form)).mean() > 0.5]
    readings = {form: read_dates(cells, form) for form in likely}
    counts = {form: int(np.isfinite(days).sum()) for form, days in readings.items()}
    different: dict[str, Array] = {}
    for form, days in readings.items():
        known = any(np.array_equal(days, other, equal_nan=True) for other in different.values())
        if counts[form] == max(counts.values()) > len(filled) / 2 and not known:
            different[form] = days
    return different


def read_dates(cells: "Cells", form: str) -> Array:
    """Return days since 1970-01-01, in UTC if there is a zone, (rows,) float64, NaN where a cell is no date.

    Each cell is read by itself, so that a row has the same date in training and in `predict`. The times of a series are
    read together (`time_formats`): their century and their offsets from UTC depend on all of them.
    """
    import pandas as pd

    codes, levels = _factorized(cells)
    shaped = pd.Series(levels, dtype=object)
    if form == ISO:
        shaped = shaped.where(shaped.str.match(r"\d{4}-\d"))  # the year alone is a number
    try:
        times = pd.to_datetime(shaped, format=form, errors="coerce", utc=True).dt.tz_localize(None)
    except (ValueError, OverflowError):
        return np.full(len(cells), np.nan)
    days = (times.to_numpy("datetime64[us]") - np.datetime64(0, "us")) / DAY
    return np.where(times.isna().to_numpy(), np.nan, days)[codes]


CYCLES = {"year": 365.2425, "week": 7.0, "day": 1.0}
"""Periods in days of the sine and cosine that a date becomes."""
DATE_PARTS = {"year": "month", "week": "weekday", "day": "hour"}


def date_cycles(days: Array) -> tuple[str, ...]:
    """Return the cycles that dates (rows,), in days, resolve: their span is longer, and their step shorter."""
    known = np.unique(days[np.isfinite(days)])
    if len(known) < 2:
        return ()
    span, step = known[-1] - known[0], np.diff(known).min()
    return tuple(
        name
        for name, period in CYCLES.items()
        # On monthly dates, the weekday is an accident.
        if span >= period
        and step < min(period, 28 if name == "week" else period)
        and len(np.unique(known % period)) > 2
    )


def date_features(name: str, days: Array, cycles: Sequence[str]) -> dict[str, Array]:
    """Return the columns that a column of dates becomes.

    Args:
        name: Name of the column.
        days: Days since 1970-01-01 (rows,).
        cycles: Keys of `CYCLES`.

    Returns:
        Days, and sine and cosine of 2 pi days / period for each cycle, each (rows,), by name.
    """
    features = {f"{name} elapsed days": days}
    for cycle in cycles:
        angle = 2 * np.pi * np.mod(days, CYCLES[cycle]) / CYCLES[cycle]
        features |= {
            f"{name} {DATE_PARTS[cycle]} sine": np.sin(angle),
            f"{name} {DATE_PARTS[cycle]} cosine": np.cos(angle),
        }
    return features


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


def as_inputs(name: str, cells: "Cells", form: ColumnFormat) -> dict[str, Array]:
    """Return the columns of numbers or text that a column of cells becomes, NaN where a cell has another type."""
    match form.kind:
        case "number":
            reading = read_numbers(cells)
            return {name: reading.values[reading.decided or form.form or "."]}
        case "date":
            return date_features(name, read_dates(cells, form.form), form.cycles)
        case _:
            return {name: strings(cells)}


def converted(path: Path, cells: "Cells", form: ColumnFormat) -> dict[str, Array]:
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
    for name in frame.columns.difference(list(categories), sort=False):
        cells = frame[name]
        reading = read_numbers(cells)
        if reading.is_numeric:
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
    return decisions


def _number_column(path: Path, cells: "Cells", reading: Reading, usual: str, delimiter: str) -> Decision:
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
    if problem := wrong_cell(
        path, cells, values, "number", "fix it, empty the cell, or name a column of text in `categories`"
    ):
        return Decision("", problem=problem)
    if reading.mixed:
        return Decision("", problem=f"{path}: column {name} {reading.mixed}; use one unit, or `ignore` {name}")
    shown = np.isfinite(values) & (reading.special | (reading.values["."] != values))
    note = ""
    shown = shown & (values != 0) if (shown & (values != 0)).any() else shown
    if shown.any():
        signs = "".join(f"; {sign}" for sign in reading.decorations)
        note = f"column {name}: {cells.iloc[shown.argmax()]} is read as {values[shown.argmax()]:.15g}{signs}"
    comma = " with a decimal comma" if form == "," else ""
    return Decision(
        f"all are numbers{comma}",
        ColumnFormat("number", form or usual or "."),
        {str(name): compact(values)},
        f"{np.nanmin(values):.10g} to {np.nanmax(values):.10g}",
        note,
    )


def wrong_cell(path: Path, cells: "Cells", values: Array, noun: str, fix: str) -> str:
    """Return a message about the filled cells that are not a `noun`, where `values` is NaN; "" if there are none."""
    wrong = cells[np.isnan(values)]
    wrong = wrong[~wrong.isin(MISSING)]
    if wrong.empty:
        return ""
    more = f" (nor are {len(wrong) - 1:,} more cells)" if len(wrong) > 1 else ""
    place = f"{path}, line {wrong.index[0]}: {shortened(wrong.iloc[0])} in the column {cells.name}"
    return f"{place} is not a {noun}{more}; {fix}"


def shortened(cell: str) -> str:
    """Return a cell in quotes, and cut if it is long."""
    return repr(cell if len(cell) <= SHOWN else f"{cell[:SHOWN]}…")


def _date_column(path: Path, cells: "Cells", readings: Mapping[str, Array]) -> Decision:
    name, forms, values = cells.name, list(readings), list(readings.values())
    if len(forms) > 1 and (different := np.abs(values[0] - values[1]) > 0).any():
        place = int(different.argmax())
        days = " or ".join(as_date(days[place]) for days in values)
        fix = f"write dates as {as_date(values[0][place])}, or `ignore` {name}"
        return Decision("", problem=f"{path}: column {name}: {cells.iloc[place]} may be {days}; {fix}")
    if problem := wrong_cell(path, cells, values[0], "date like the others", "fix it or empty the cell"):
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


def as_date(days: float) -> str:
    """Return days since 1970-01-01 as a date, with the time if it is not midnight."""
    text = str(np.datetime64(round(days * 86_400), "s")).replace("T", " ")
    return text.removesuffix(" 00:00:00")


def _text_column(path: Path, cells: "Cells", named: bool) -> Decision:
    name, filled = cells.name, cells[cells.ne("")]
    levels = filled.nunique()
    if not levels or (not named and filled.isin(MISSING).all()):
        return Decision("no value", note=f"column {name} is empty; it is left out")
    if levels == len(filled) and levels > max(2, len(cells) / 2):
        note = f"column {name} has a different value in every row: an identifier, which is left out"
        return Decision("all are different", note=note)
    if levels > min(LEVELS, len(cells) / 2):
        many = f"column {name} has {levels:,} different values in {len(cells):,} rows"
        return Decision("", problem=f"{path}: {many}, which is too many; `ignore` {name} to leave it out")
    most = ", ".join(f"{shortened(str(level))} {count:,}" for level, count in filled.value_counts().head(3).items())
    rule = "named in `categories`" if named else "not numbers or dates"
    return Decision(rule, ColumnFormat("text"), {str(name): strings(cells)}, most)


def _days_of_eight_digits(cells: "Cells", reading: Reading) -> bool:
    """Return whether all filled cells are days like 20241231, of this century or the last one."""
    known = reading.values["."][np.isfinite(reading.values["."])]
    if not len(known) or known.min() < 19_000_000 or known.max() >= 21_000_000:
        return False
    filled, shape = cells[~cells.isin(MISSING)], re.compile(r"(19|20)\d{6}")
    days = all(map(shape.fullmatch, filled.unique()))
    return days and bool(np.isfinite(read_dates(filled, "%Y%m%d")).all())
