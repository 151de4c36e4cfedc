"""Regular steps of times: a calendar counts its times, and the counts of a regular series have one common step.

Times are an array (times,) of datetime64 without a zone, or of int64. NumPy's dates have no last year.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from common.data import Array, Calendar, Cycle, TimeAxis, Unit
from common.errors import UserError

FEWEST_FILLED = 0.5
"""Minimum share of the steps of a regular series that have a row."""
UNITS: dict[Unit, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units of datetime64, and their number in a second."""
CLOCK = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
"""Units of steps, and their length in seconds."""
MONTHS = {1: "monthly", 3: "quarterly", 12: "yearly"}
YEAR, DAY = 365.2425, 24
"""Days of a mean year, and hours of a day."""
HARMONICS = 3
"""Sines and cosines of a cycle: of its period, of half of it, and of a third."""
REPEATS = 2
"""Number of periods from which on a cycle is known."""


def fit(times: Array, form: str, like: TimeAxis | None = None) -> TimeAxis | None:
    """Return the regular axis with the fewest missing steps that contains all `times`.

    Args:
        times: Different times in ascending order, at least one with `like` and at least two without.
        form: Format of their text.
        like: An axis whose calendar and step the result must have.

    Returns:
        The axis, or None if more than half of its steps would be missing.
    """
    found = [axis for calendar, day in _calendars(times) if (axis := _axis(times, form, calendar, day, like))]
    best = min(found, key=lambda axis: steps(axis, times[0], times[-1]), default=None)
    if best is None or len(times) < FEWEST_FILLED * steps(best, times[0], times[-1]):
        return None
    return best


def _calendars(times: Array) -> Iterator[tuple[Calendar, int]]:
    """Yield the calendars that contain all times, with a day of the month for `months`."""
    if times.dtype.kind == "i":
        yield "number", 1
        return
    dates = times.astype("datetime64[D]")
    clocks = times - dates
    if (clocks != clocks[0]).any():
        yield "clock", 1
        return
    months = dates.astype("datetime64[M]")
    days, lengths = (dates - months).astype("int64") + 1, _lengths(months)
    top = 31 if (days == lengths).all() else int(days.max())
    if (days == np.minimum(top, lengths)).all():
        yield "months", top
    business = np.is_busday(dates).all()
    choices: tuple[Calendar, ...] = ("last business days", "first business days")
    for calendar in choices:
        if business and (dates == _dates(months, calendar, 1)).all():
            yield calendar, 1
    yield "clock", 1
    if business:
        yield "business days", 1


def _axis(times: Array, form: str, calendar: Calendar, day: int, like: TimeAxis | None) -> TimeAxis | None:
    """Return the axis on a calendar; None if its step is not that of `like`."""
    unit: Unit = np.datetime_data(times.dtype)[0] if times.dtype.kind == "M" else "s"  # type: ignore[assignment]
    step = int(np.gcd.reduce(np.diff(_count(calendar, times)))) if len(times) > 1 else 0
    if like is None:
        return TimeAxis(form, calendar, step, day, unit) if step else None
    if calendar != like.calendar:
        return None
    if calendar != "clock":
        return None if step % like.step else TimeAxis(form, calendar, like.step, day)
    finer = max(unit, like.unit, key=UNITS.__getitem__)
    known = like.step * (UNITS[finer] // UNITS[like.unit])
    if step * (UNITS[finer] // UNITS[unit]) % known:
        return None
    return TimeAxis(form, calendar, known, day, finer)


def _count(calendar: Calendar, times: Array) -> Array:
    """Return the int64 numbers of times (times,) in a calendar."""
    match calendar:
        case "number" | "clock":
            return times.astype("int64")
        case "business days":
            return np.busday_count(np.datetime64("1970-01-01"), times.astype("datetime64[D]"))
        case _:
            return times.astype("datetime64[M]").astype("int64")


def steps(axis: TimeAxis, first: np.generic, last: np.generic) -> int:
    """Return the number of steps from the time `first` to the time `last`, including both."""
    ends = np.stack([first, last])
    if axis.calendar == "clock":
        ends = ends.astype(f"datetime64[{axis.unit}]")
    start, end = _count(axis.calendar, ends).tolist()
    return (end - start) // axis.step + 1


def advance(axis: TimeAxis, start: np.generic, counts: Array) -> Array:
    """Return the times (counts,) that are `counts` steps after the time `start` of the axis.

    Raises:
        UserError: if the unit of the axis cannot express the last one.
    """
    if axis.calendar == "number":
        numbers = [int(start) + count * axis.step for count in counts.tolist()]
        return np.array(numbers, "int64" if -(2**63) <= min(numbers) <= max(numbers) < 2**63 else object)
    if axis.calendar == "clock":
        origin = start.astype(f"datetime64[{axis.unit}]")
        if int(origin.astype("int64")) + int(counts.max()) * axis.step >= 2**63:
            raise UserError(f"times after {names(axis, origin[None])[0]} cannot be written; use a coarser unit")
        return origin + (counts * axis.step).astype(f"timedelta64[{axis.unit}]")
    moves = counts * axis.step
    date = start.astype("datetime64[D]")
    if axis.calendar == "business days":
        return np.busday_offset(date, moves) + (start - date)
    return _dates(date.astype("datetime64[M]") + moves, axis.calendar, axis.day) + (start - date)


def _dates(months: Array, calendar: Calendar, day: int) -> Array:
    """Return the dates (months,) of a calendar of months."""
    match calendar:
        case "first business days":
            return np.busday_offset(months.astype("datetime64[D]"), 0, roll="forward")
        case "last business days":
            return np.busday_offset((months + 1).astype("datetime64[D]"), -1, roll="forward")
        case _:
            return months.astype("datetime64[D]") + np.minimum(day, _lengths(months)) - 1


def _lengths(months: Array) -> Array:
    """Return the numbers of days of months."""
    return ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype("int64")


def names(axis: TimeAxis, times: Array) -> list[str]:
    """Return times as text with the precision of the axis: 2024, 2024Q1, 2024-W05, 2024-05, a date, or a date and time.

    A time of day is followed by the offset from UTC, if the axis has one.
    """
    if axis.calendar == "number":
        return [str(time) for time in times.tolist()]
    dates = times.astype("datetime64[D]")
    directives = set(re.findall("%(.)", axis.format))
    if "q" in directives:
        months = dates.astype("datetime64[M]").astype("int64")
        return [f"{1970 + month // 12}Q{month % 12 // 3 + 1}" for month in months.tolist()]
    if "V" in directives and "u" not in directives:
        thursdays = dates + 3 - (dates.astype("int64") + 3) % 7
        weeks = (thursdays - thursdays.astype("datetime64[Y]")).astype("int64") // 7 + 1
        years = np.datetime_as_string(thursdays, unit="Y").tolist()
        return [f"{year}-W{week:02}" for year, week in zip(years, weeks.tolist(), strict=True)]
    if directives and not directives & {"d", "j", "u"}:
        return np.datetime_as_string(dates, unit="M" if directives & {"m", "b", "B"} else "Y").tolist()
    if is_daily(axis) and (times == dates).all():
        return np.datetime_as_string(dates).tolist()
    return [text.replace("T", " ") + axis.zone for text in np.datetime_as_string(times).tolist()]


def is_daily(axis: TimeAxis) -> bool:
    """Return whether the step of an axis of times is whole days, or longer."""
    return axis.calendar not in ("number", "clock") or (
        axis.calendar == "clock" and axis.step % (CLOCK["day"] * UNITS[axis.unit]) == 0
    )


def words(axis: TimeAxis) -> str:
    """Return the step of an axis in words, such as: monthly, on day 15."""
    match axis.calendar:
        case "number":
            return f"step {axis.step:,}"
        case "business days":
            return "business days" if axis.step == 1 else f"every {axis.step:,} business days"
        case "clock":
            return _duration(axis)
    often = MONTHS.get(axis.step, f"every {axis.step:,} months")
    if not re.search("%[dju]", axis.format) and "%" in axis.format:
        return often
    if axis.calendar != "months":
        return f"{often}, on the {axis.calendar.removesuffix('s')}"
    return f"{often}, on {f'day {axis.day}' if axis.day < 31 else 'the last day'}"


def _duration(axis: TimeAxis) -> str:
    """Return the step of a clock in words, in the largest unit of which it is a multiple."""
    adverbs = {"week": "weekly", "day": "daily", "hour": "hourly"}
    for name, seconds in CLOCK.items():
        count, rest = divmod(axis.step, seconds * UNITS[axis.unit])
        if count and not rest:
            return adverbs.get(name, f"every {name}") if count == 1 else f"every {count:,} {name}s"
    return f"every {axis.step:,} {axis.unit}"


def _days_per_step(axis: TimeAxis) -> float:
    """Return the length of a step of an axis of times in days, of a month as its mean."""
    match axis.calendar:
        case "clock":
            return axis.step / (CLOCK["day"] * UNITS[axis.unit])
        case "business days":
            return axis.step * 7 / 5
        case _:
            return axis.step * YEAR / 12


def season(axis: TimeAxis) -> int:
    """Return the usual period of a series in steps: a day, a week or a year; 0 if the step suggests none."""
    if axis.calendar == "number":
        return 0
    length = _days_per_step(axis)
    if axis.calendar == "business days":
        return 5 if axis.step == 1 else 0
    period = 1 if length < 1 else 7 if length < 7 else YEAR
    steps = round(period / length)
    return steps if steps > 1 and abs(steps * length - period) < length / 2 else 0


def cycles(axis: TimeAxis, steps: int) -> tuple[Cycle, ...]:
    """Return the cycles of the calendar that a series of `steps` shows: longer than a step, and repeated."""
    if axis.calendar == "number":
        return ()
    length = _days_per_step(axis)
    if length > 27:
        lasting: dict[Cycle, float] = {"month": YEAR} if length < YEAR / 2 else {}
    else:
        lasting = {"hour": 1, "weekday": 7, "year": YEAR}
    daily = axis.calendar == "clock" and axis.step % (CLOCK["day"] * UNITS[axis.unit]) == 0
    if daily or axis.calendar != "clock":
        lasting.pop("hour", None)
    if daily and length % 7 == 0:
        lasting.pop("weekday", None)
    return tuple(name for name, days in lasting.items() if steps * length >= REPEATS * days)


def features(times: Array, names: Sequence[Cycle]) -> Array:
    """Return numbers (times, numbers) for the position of times in each cycle.

    An indicator for each weekday and each month; sines and cosines for the hour and for the day of the year.
    """
    columns = [np.zeros((len(times), 0))]
    for name in names:
        days = times.astype("datetime64[D]")
        match name:
            case "hour":
                columns.append(_waves((times - days) / np.timedelta64(1, "h") / DAY))
            case "weekday":
                columns.append(np.eye(7)[(days.astype("int64") + 3) % 7])
            case "month":
                columns.append(np.eye(12)[days.astype("datetime64[M]").astype("int64") % 12])
            case "year":
                columns.append(_waves((days - days.astype("datetime64[Y]")).astype("int64") / YEAR))
    return np.concatenate(columns, axis=1).astype("float32")


def _waves(phases: Array) -> Array:
    """Return sines and cosines (n, 2 HARMONICS) of phases (n,), of which 1 is a whole period."""
    angles = 2 * np.pi * phases[:, None] * np.arange(1, HARMONICS + 1)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
