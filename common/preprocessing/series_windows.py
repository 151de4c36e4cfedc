"""Windows of time series: their lengths, a split by time, and the inputs of a network."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from common.data import Array, Data, Formats, Inputs, Pair, WindowFormat, fingerprint, table_content
from common.errors import UserError
from common.preprocessing import arrays, calendars
from common.preprocessing.series import Columns, Gaps, Series, describe_all, fill

FirstWindow = Literal["before", "within"]
HISTORY, KNOWN = "history", "known"
"""Names of the inputs of a network that takes columns that are known in advance."""
SEASONAL = 0.2
"""Least autocorrelation of a series' differences, at the distance of its season."""
LONGEST_SEASON = 400
"""Longest season in steps that is looked for."""
FEWEST_STEPS = 20
"""Least number of steps of a window, if its length is chosen."""
USUAL_HORIZON = 10
"""Steps to forecast of a series without a season."""


def read_windows(path: Path, window: int, variables: int) -> Array:
    """Read windows (n, window, variables) from a `.npy` file.

    Raises:
        UserError: if the file cannot be read, or its array has another type or shape.
    """
    found = arrays.read_examples(path, (window, variables), "windows")
    return np.stack([example for _, example in found]).astype("float32")


def network_inputs(history: Array, known: Array) -> Inputs:
    """Return a network's inputs: windows, and by name beside them the numbers known in advance, if there are any.

    Args:
        history: Windows (windows, window, columns).
        known: Numbers of the steps to forecast (windows, horizon, numbers).
    """
    return {HISTORY: history, KNOWN: known} if known.shape[2] else history


def parts_of(inputs: Inputs, horizon: int) -> tuple[Array, Array]:
    """Return the windows, and the numbers known in advance (windows, horizon, numbers), of `network_inputs`."""
    if isinstance(inputs, dict):
        return inputs[HISTORY], inputs[KNOWN]
    history: Array = inputs[:]
    return history, np.empty((len(history), horizon, 0), "float32")


def targets_of(inputs: Inputs, variables: int) -> Array:
    """Return the windows of the targets (windows, window, variables), the first columns of a network's `inputs`."""
    history, _ = parts_of(inputs, 0)
    return history[:, :, :variables]


def repeat_season(history: Array, season: int, horizon: int) -> Array:
    """Return the last season of `history` (windows, steps, variables), repeated for `horizon` steps."""
    return history[:, -season:][:, np.arange(horizon) % season]


def find_season(found: Sequence[Series], targets: int, share: float) -> int:
    """Return the period in steps of the `targets` first columns in the first `share` of some series; 1 without any.

    That of the calendar is tried, then the distance with the largest autocorrelation of the differences.
    """
    parts = [one.table.iloc[: round(len(one.table) * share), :targets] for one in found[:LONGEST_SEASON]]
    longest = min(LONGEST_SEASON, max(map(len, parts)) // 3)
    usual = calendars.season(found[0].axis)
    correlations = [
        _autocorrelation(fill(part, "linear").to_numpy()[:, column], longest)
        for part in parts
        for column in range(targets)
        if len(part) // 3 >= max(3, usual)
    ]
    if not correlations:
        return 1
    mean = np.mean([np.pad(one, (0, longest + 1 - len(one))) for one in correlations], axis=0)
    if usual:
        return usual if usual <= longest and mean[usual] > SEASONAL else 1
    peaks = [lag for lag in range(3, longest) if mean[lag] >= max(mean[lag - 1], mean[lag + 1], SEASONAL)]
    return max(peaks, key=lambda lag: mean[lag], default=1)


def _autocorrelation(values: Array, longest: int) -> Array:
    """Return the autocorrelation of the differences of `values` (times,) at distances from 0 to `longest`."""
    changes = np.diff(values)
    changes = changes - changes.mean()
    longest = min(longest, len(changes) // 2)
    power = np.abs(np.fft.rfft(changes, 2 * len(changes))) ** 2
    correlation = np.fft.irfft(power)[: longest + 1]
    return correlation / correlation[0] if correlation[0] > 0 else np.zeros(longest + 1)


def choose_windows(
    found: Sequence[Series], targets: int, asked: tuple[int, int, int], shares: tuple[float, float], calendar: bool
) -> tuple[WindowFormat, list[str]]:
    """Choose what is not given of window, horizon and season.

    Args:
        found: The series.
        targets: Number of columns to forecast.
        asked: Window, horizon and season in steps, each 0 if it is to be chosen.
        shares: Shares of the validation and of the test part.
        calendar: Whether the calendar is an input.

    Returns:
        The windows, and a note about the choices.
    """
    window, horizon, season = asked
    longest = max(len(one.table) for one in found)
    training, validation = round(longest * (1 - sum(shares))), round(longest * min(shares))
    words = []
    if not season:
        season = find_season(found, targets, 1 - sum(shares))
        season = season if season <= (window or training // 3) else 1
        words.append(f"a season of {season} steps" if season > 1 else "no season")
    if not horizon:
        horizon = max(1, min(season if season > 1 else USUAL_HORIZON, validation // 2))
        words.append(f"{horizon} steps to forecast")
    if not window:
        wanted = season * max(2, -(-FEWEST_STEPS // season))
        window = max(1, season, min(wanted, (training - horizon) // 3 // season * season))
        words.append(f"windows of {window} steps")
    cycles = calendars.cycles(found[0].axis, training) if calendar else ()
    if cycles:
        words.append(f"the calendar's {', '.join(cycles)} as inputs")
    note = [f"chosen by the training part: {'; '.join(words)}"] if words else []
    return WindowFormat(window, horizon, season, cycles), note


def positions(form: WindowFormat, table: pd.DataFrame, known: int, name: str = "") -> Array:
    """Return the numbers (times, numbers) that are known in advance at the times of a filled `table`.

    These are its last `known` columns, then whether `name` is that of each of `form.groups`, then the positions in the
    cycles of the calendar.
    """
    given = table.to_numpy("float32")[:, table.shape[1] - known :]
    groups = np.tile(np.array([name == group for group in form.groups], "float32"), (len(table), 1))
    return np.concatenate([given, groups, calendars.features(table.index.to_numpy(), form.cycles)], axis=1)


@dataclass(frozen=True)
class _Windows:
    """Windows of a part of some series."""

    history: Array
    known: Array
    targets: Array
    times: Array
    names: Array

    @property
    def pair(self) -> Pair:
        return network_inputs(self.history, self.known), self.targets


def split(
    found: Sequence[Series],
    name: str,
    named: Columns,
    form: WindowFormat,
    shares: tuple[float, float],
    gaps: Gaps,
    first_window: FirstWindow = "before",
) -> Data:
    """Split series by time into training, validation and test parts, and cut each into windows.

    The parts of several series begin at the same times. Gaps are filled within each part, so no filled value depends on
    a later part. The targets of a window are in one part; its input may begin in the parts before.

    Args:
        found: The series.
        name: Name of the data set.
        named: Their columns.
        form: The windows.
        shares: Share of the series for validation, before the test part, and for the test, at the end.
        gaps: How gaps are filled.
        first_window: Where the first window of validation and of test begins: before the part, or within it.

    Returns:
        Windows in the order of their times. With columns that are known in advance, or cycles, the inputs are the
        windows `history` (windows, window, variables) and `known` (windows, horizon, numbers), else only the former.

    Raises:
        UserError: if a part is too short for a window, or a variable has no value in it.
    """
    validation, test = shares
    if validation + test >= 1:
        raise UserError(f"`validation` {validation} and `test` {test} leave nothing to train on; lower them")
    axis = found[0].axis
    first, last = min(one.table.index[0] for one in found), max(one.table.index[-1] for one in found)
    first, last = (pd.Index([time]).to_numpy()[0] for time in (first, last))
    steps = calendars.steps(axis, first, last)
    ends = [0, *(round(steps * share) for share in (1 - validation - test, 1 - test)), steps]
    borders = calendars.advance(axis, first, np.array(ends[1:-1]))
    cut: list[list[_Windows]] = [[], [], []]
    for one in found:
        own = [0, *np.searchsorted(one.table.index.to_numpy(), borders).tolist(), len(one.table)]
        parts = []
        for part, (start, end) in zip(("training", "validation", "test"), itertools.pairwise(own), strict=True):
            rows = one.table.iloc[start:end]
            for column in rows.columns[rows.isna().all()] if len(rows) else ():
                place = f"{name}, {named.group} {one.name}" if one.name else name
                raise UserError(f"{place}: column {column!r} has no value in the {part} part; use a shorter period")
            parts.append(fill(rows, gaps))
        filled = pd.concat(parts)
        for part_windows, (start, end) in zip(cut, itertools.pairwise(own), strict=True):
            begin = start if first_window == "before" else start + form.window
            part_windows.append(_cut(one, filled, named, form, max(begin, form.window), end))
    joined = [_join(part) for part in cut]
    for part, whole, (start, end) in zip(
        ("training", "validation", "test"), joined, itertools.pairwise(ends), strict=True
    ):
        if not len(whole.targets):
            before = part == "training" or first_window == "within"
            needed = f"a window of {form.window} + {form.horizon}" if before else f"a horizon of {form.horizon}"
            raise UserError(
                f"{name}: {end - start} steps for {part} are too few for {needed} steps; "
                "lower `window` or `horizon`, or use a larger share for the part"
            )
    train, validation_part, test_part = joined
    description = describe_all(found, named.group)
    tables = [table_content(one.table) for one in found]
    return Data(
        name,
        fingerprint(*(part for one, table in zip(found, tables, strict=True) for part in (one.name, table))),
        train.pair,
        validation_part.pair,
        test_part.pair,
        named.targets,
        kind="sequence",
        formats=Formats(times=axis, windows=form),
        description=description,
        test_times=test_part.times,
        test_series=test_part.names,
    )


def _cut(one: Series, filled: pd.DataFrame, named: Columns, form: WindowFormat, begin: int, end: int) -> _Windows:
    """Cut the windows out of a filled series whose targets begin at `begin` or later, and end before `end`."""
    columns_known = len(named.known_numbers)
    known = positions(form, filled, columns_known, one.name)
    values = filled.to_numpy("float32")[:, : filled.shape[1] - columns_known]
    history = np.concatenate([values, known], axis=1)
    origins = np.arange(begin, max(begin, end - form.horizon + 1))
    times = filled.index.to_numpy()

    def sliding(array: Array, length: int, starts: Array) -> Array:
        if not len(starts):
            return np.empty((0, length, *array.shape[1:]), array.dtype)
        return np.moveaxis(np.lib.stride_tricks.sliding_window_view(array, length, axis=0)[starts], -1, 1)

    return _Windows(
        np.ascontiguousarray(sliding(history, form.window, origins - form.window)),
        np.ascontiguousarray(sliding(known, form.horizon, origins)),
        np.ascontiguousarray(sliding(values[:, : len(named.targets)], form.horizon, origins)),
        sliding(times, form.horizon, origins),
        np.full(len(origins), one.name),
    )


def _join(parts: Sequence[_Windows]) -> _Windows:
    """Join the windows of several series in the order of their times."""
    history, known, targets, times, names = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("history", "known", "targets", "times", "names")
    )
    order = np.argsort(times[:, 0], kind="stable")
    return _Windows(history[order], known[order], targets[order], times[order], names[order])


def last_window(
    one: Series, named: Columns, form: WindowFormat, gaps: Gaps, steps: int, place: str
) -> tuple[Array, Array]:
    """Return the numbers of the last window of a series, and those that are known of the `steps` after its end.

    Args:
        one: The series.
        named: Its columns.
        form: The windows.
        gaps: How gaps are filled.
        steps: Number of steps to forecast.
        place: Words for the series, for errors.

    Returns:
        History (window, variables), and known numbers (steps, numbers).

    Raises:
        UserError: if the series is shorter than a window, or a known column has no value in one of the steps.
    """
    if len(one.table) < form.window:
        raise UserError(f"{place}: {len(one.table)} steps; the network needs {form.window}")
    times = one.times_after(steps)
    ahead = one.ahead.reindex(pd.Index(times)) if named.known else pd.DataFrame(index=pd.Index(times))
    unknown = ahead.isna().any(axis=1).to_numpy()
    if unknown.any():
        until = int(unknown.argmax())
        first = calendars.names(one.axis, times[[until]])[0]
        more = f"; or forecast `steps` {until}" if until else ""
        raise UserError(
            f"{place}: no {', '.join(named.known)} for {first}, the step {until + 1} of {steps} to forecast; add rows "
            f"with these columns, and an empty {named.targets[0]}{more}"
        )
    table = fill(one.table, gaps)
    columns_known = len(named.known_numbers)
    past = positions(form, table, columns_known, one.name)
    values = table.to_numpy("float32")[:, : table.shape[1] - columns_known]
    history = np.concatenate([values, past], axis=1)[-form.window :]
    return history, positions(form, ahead, columns_known, one.name)
