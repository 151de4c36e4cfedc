"""Read cells as dates, and make numbers of dates."""

from collections.abc import Sequence

import numpy as np

from common.data import Array
from common.preprocessing.cells import MISSING, TRIED, Cells, factorized

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
DAY = np.timedelta64(1, "D")


def date_readings(cells: Cells) -> dict[str, Array]:
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


def read_dates(cells: Cells, form: str) -> Array:
    """Return days since 1970-01-01, in UTC if there is a zone, (rows,) float64, NaN where a cell is no date.

    Each cell is read by itself, so that a row has the same date in training and in `predict`. The times of a series are
    read together (`time_formats`): their century and their offsets from UTC depend on all of them.
    """
    import pandas as pd

    codes, levels = factorized(cells)
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


def as_date(days: float) -> str:
    """Return days since 1970-01-01 as a date, with the time if it is not midnight."""
    text = str(np.datetime64(round(days * 86_400), "s")).replace("T", " ")
    return text.removesuffix(" 00:00:00")
