"""Read cells as numbers, with either decimal separator, and with signs, currencies and separators of thousands."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.data import Array
from common.errors import UserError
from common.preprocessing.cells import MISSING, TRIED, Cells, factorized, wrong_cell

LARGEST = 1e30
"""Maximum absolute value of a number, so that sums of coefficients times numbers stay in the range of float32."""

SPACES = "\u00a0\u202f\u2009\u2007 "
"""Blanks between groups of digits: no-break, narrow no-break, thin and figure spaces."""
CURRENCY = r"(?:[$€£¥₹₽₩₺]|USD|EUR|GBP|CHF|JPY)"
WORD = r"°?(?:[a-z]?m[23]|[^\W\d_]+(?:[ /][^\W\d_]+)?)\.?"
"""A unit in letters: kg, km/h, °C, m², months."""
PLURAL = 3
"""Minimum number of letters of a unit that has a plural, which has at most two letters more."""
DECORATED = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+\u2212\u2013])?\s*(?P<before>{CURRENCY})?\s*(?P<inner>[-+\u2212\u2013])?"
    rf"(?P<digits>[\d.](?:[\d.,'’{SPACES}]*[\d.,])?(?:[eE][-+\u2212]?\d+)?)"
    rf"\s*(?P<percent>%)?\s*(?:(?P<after>{CURRENCY})|(?P<word>{WORD}))?(?P<trailing>[-\u2212])?\s*(?P<close>\))?"
)
"""A number with a sign, a currency, a percent sign, a unit, or parentheses for a negative number."""
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
    unit: str = ""
    """Unit or sign that was removed: %, a currency, or a word that all numbers have; "" if there is none."""

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


def read_numbers(cells: Cells, unit: str | None = None) -> Reading:
    """Read a column as numbers, with both decimal separators.

    Args:
        cells: The column.
        unit: Unit of training, in which each number must be, if it has one. None: the numbers decide it.
    """
    return _read_plain(cells) or _read_decorated(cells, unit)


def read_column(path: Path, cells: Cells) -> Array:
    """Return a column as numbers with the precision of float32, as float64 (rows,), NaN for an empty cell.

    Raises:
        UserError: if a cell is not a number, or all are empty.
    """
    if cells.isin(MISSING).all():
        raise UserError(f"{path}: column {cells.name} is empty; fill it in or leave it out")
    reading = read_numbers(cells)
    values = reading.values[reading.decided or "."]
    values = np.where(np.abs(values) <= np.finfo("float32").max, values, np.nan)
    if problem := wrong_cell(path, cells, values, "number", "fix it or empty the cell"):
        raise UserError(problem)
    return values.astype("float32").astype("float64")


def _read_plain(cells: Cells) -> Reading | None:
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


def _read_decorated(cells: Cells, trained: str | None) -> Reading:
    """Read a column as numbers, of which each may have signs and separators."""
    import pandas as pd

    codes, found = factorized(cells)
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
    numbers = {place: parsed for place in np.flatnonzero(hard) if (parsed := _parse(found[place]))}
    word = _common_unit({parsed["word"] or "" for parsed in numbers.values()})
    if trained is not None:
        numbers = {place: parsed for place, parsed in numbers.items() if _same_unit(_unit(parsed), trained)}
    elif not word or np.isfinite(dot).any():  # a number without the unit may be in another one
        word, numbers = "", {place: parsed for place, parsed in numbers.items() if not parsed["word"]}
    for place, parsed in numbers.items():
        digits = parsed["digits"].replace("\u2212", "-")
        fits = {decimal: bool(PLAIN[decimal].fullmatch(digits)) for decimal in PLAIN}
        if not ambiguous and all(fits.values()) and AMBIGUOUS.fullmatch(digits):
            ambiguous = found[place]
        sign = -1.0 if any(parsed[part] in NEGATIVE for part in SIGNS) else 1.0
        for decimal, values in ((".", dot), (",", comma)):
            values[place] = sign * _number(digits, decimal) if fits[decimal] else np.nan
        decorations |= set(_decorations(parsed, digits))
        unit = _unit(parsed) if not parsed["word"] else ""
        units[unit] = units.get(unit, 0) + 1
    symbols = sorted(unit for unit in units if unit)
    mixed = ""
    if len(symbols) > 1:
        mixed = f"mixes {' and '.join(symbols)}"
    elif symbols == ["%"] and (np.isfinite(dot) | np.isfinite(comma)).sum() > units["%"]:
        mixed = "mixes numbers with and without %"
    if word:
        decorations.add(f"the unit {word} is left out")
    both = {".": _finite(dot)[codes], ",": _finite(comma)[codes]}
    special = (hard & np.isfinite(np.fmax(dot, comma)))[codes]
    return Reading(
        both,
        special,
        int((~missing)[codes].sum()),
        ambiguous,
        tuple(sorted(decorations)),
        mixed,
        word or "".join(symbols[:1]),
    )


def _unit(parsed: re.Match[str]) -> str:
    """Return the unit of a number; "" if it has none."""
    return parsed["word"] or parsed["percent"] or parsed["before"] or parsed["after"] or ""


def _same_unit(unit: str, trained: str) -> bool:
    """Return whether a number with `unit` is in the unit of training."""
    if not unit or unit == trained:
        return True
    if not unit[0].isalpha() and not trained[:1].isalpha():
        return not trained
    return bool(trained and _common_unit({unit, trained}))


def _common_unit(words: set[str]) -> str:
    """Return the unit that the words are, in the singular if both numbers occur; "" if they are several units."""
    first = min(words, key=len, default="")
    longest = len(first) + 2 if len(first) >= PLURAL else len(first)
    return first if all(word.startswith(first) and len(word) <= longest for word in words) else ""


def is_numeric(cells: Cells) -> bool:
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
