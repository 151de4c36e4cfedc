"""Random files: every reader answers in time, and refuses with `UserError` alone.

A reader has a strategy of files and a function that reads one; `READERS` pairs them.
"""

import contextlib
import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.lstm_forecast import Settings as LstmForecast
from apps.lstm_forecast import load_data
from common.errors import UserError
from common.preprocessing import series

SECONDS = 5
"""Longest time in which a reader must answer."""
ANYTHING = st.text(max_size=12)
NUMBERS = st.one_of(
    st.integers(-5, 40),
    st.integers(-(2**65), 2**65),
    st.integers(10**9, 10**10),
    st.sampled_from([10**12, 10**15, 10**18, 2**62, 2**63 - 1, 2**63, 10**400]),
)
FORMATS = st.sampled_from(
    [
        *("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y", "%y%m%d", "%Y%m%d", "%Y%m", "%b-%y", "%y-%b", "%B %d, %Y"),
        *("%d-%b", "%m-%y", "%m/%d", "%H:%M", "%Y-%m-%dT%H:%M:%SZ", "%d/%m/%Y %H:%M", "%Y-%m-%d %I %p", "%G-W%V"),
        *("%a %d %b %Y", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M CET", "%Y-%m-%dT%H:%M+05:30", "%Y-%j", "%YQ1"),
    ]
)
VALUES = st.one_of(
    st.floats().map(str),
    st.integers(-(10**40), 10**40).map(str),
    st.sampled_from(["", "NA", "1,5", "1e999", "-0", "٣", "½", "1_000", "=1+1"]),
    ANYTHING,
)
STEPS = st.sampled_from([1, 60, 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400, 10**9])


@st.composite
def stamps(draw: st.DrawFn) -> list[str]:
    """Return a column of times: regular or at random, in one format or several, with foreign cells among them."""
    rows = draw(st.integers(0, 40))
    kind = draw(st.sampled_from(["regular", "dates", "numbers", "arithmetic", "anything"]))
    if kind == "anything":
        return draw(st.lists(ANYTHING, min_size=rows, max_size=rows))
    if kind == "numbers":
        return draw(st.lists(NUMBERS.map(str), min_size=rows, max_size=rows))
    if kind == "arithmetic":
        start, step = draw(NUMBERS), draw(NUMBERS)
        return [str(start + step * row) for row in range(rows)]
    form = draw(FORMATS)
    if kind == "dates":
        moments = draw(st.lists(st.datetimes(), min_size=rows, max_size=rows))
        column = [moment.strftime(form) for moment in moments]
    else:
        start = draw(st.integers(-60 * 10**9, 250 * 10**9))
        step = draw(STEPS)
        column = [time.strftime(form, time.gmtime(start + step * row)) for row in range(rows)]
    foreign: bool = draw(st.booleans())
    if column and foreign:
        place = draw(st.integers(0, rows - 1))
        column[place] = draw(st.one_of(ANYTHING, st.sampled_from(list(column)), NUMBERS.map(str)))
    return column


@st.composite
def series_files(draw: st.DrawFn) -> str:
    """Return a CSV file with a column of times and one of values."""
    times = draw(stamps())
    values = [str(row) for row in range(len(times))]
    if draw(st.integers(0, 5)) == 0:
        values = draw(st.lists(VALUES, min_size=len(times), max_size=len(times)))
    text = io.StringIO()
    csv.writer(text).writerows([("time", "value"), *zip(times, values, strict=True)])
    return text.getvalue()


def read_series(path: Path) -> None:
    """Read a file as training does, and name the times after its end."""
    settings = {"csv": str(path), "target": ("value",), "window": 2, "season": 1, "transform": "none"}
    with contextlib.suppress(UserError):  # too short for windows, for example
        load_data(LstmForecast(**settings))  # type: ignore[arg-type]
    found = series.read(path, None, ["value"])
    names = found.following(3)
    assert len(set(names)) == 3
    again = series.read(path, None, ["value"], found.axis.format)
    assert again.table.equals(found.table)
    assert series.read(path, None, ["value"], like=found.axis).following(3) == names


READERS: dict[str, tuple[st.SearchStrategy[str], Callable[[Path], None]]] = {
    "series": (series_files(), read_series),
}
"""Strategies of the text of files, and functions that read one, by the name of the reader."""


def try_files(reader: str, folder: Path, examples: int, derandomize: bool) -> None:
    """Read random files; a file that is refused must be refused with a `UserError`, in time."""
    files, read = READERS[reader]
    path = folder / "file.csv"

    @settings(
        max_examples=examples,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(files)
    def trial(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
        start = time.perf_counter()
        with contextlib.suppress(UserError):
            read(path)
        assert time.perf_counter() - start < SECONDS

    trial()


@pytest.mark.parametrize("reader", READERS)
def test_a_random_file_is_read_or_refused_in_words(reader: str, tmp_path: Path) -> None:
    try_files(reader, tmp_path, 400, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_many_random_files_are_read_or_refused_in_words(reader: str, tmp_path: Path) -> None:
    try_files(reader, tmp_path, 100_000, derandomize=False)
