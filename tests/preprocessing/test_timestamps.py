"""Time stamps: the format is that of all cells, and a column that has none or several is refused in one line."""

import datetime
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.data import TimeAxis
from common.errors import UserError
from common.preprocessing import calendars, timestamps
from common.preprocessing.timestamps import Timestamps

MONTHS = pd.date_range("2005-01-01", "2019-12-01", freq="MS")
DAYS = pd.date_range("2021-01-01", "2023-12-31")
HOURS = pd.date_range("2024-01-01", periods=200, freq="h")
BERLIN = pd.date_range("2024-03-01", periods=1000, freq="h", tz="Europe/Berlin")


def parse(cells: Iterable[str], time_format: str | None = None, like: TimeAxis | None = None) -> Timestamps:
    column = pd.Series(list(cells), name="when", dtype=object)
    column.index += 2
    return timestamps.parse(Path("table.csv"), column, time_format, like)


def refusal(cells: Iterable[str], time_format: str | None = None, like: TimeAxis | None = None) -> str:
    with pytest.raises(UserError) as error:
        parse(cells, time_format, like)
    assert "\n" not in str(error.value)
    return str(error.value)


def after(stamps: Timestamps, steps: int = 1) -> list[str]:
    """The names of the times after the last one."""
    last = stamps.index.sort_values().to_numpy()[-1]
    return calendars.names(stamps.axis, calendars.advance(stamps.axis, last, np.arange(1, steps + 1)))


@pytest.mark.parametrize(
    "form",
    [
        *("%b-%y", "%y-%b", "%B %y", "%m-%y", "%m/%y", "%y-%m", "%y/%m", "%b%y", "%b-%Y", "%Y-%b", "%B, %Y", "%b. %Y"),
        *("%Y/%m", "%Y-%m", "%b '%y", "%b’%y", "%Ym%m", "%Y:%m", "%m/%Y", "%m.%Y", "%Y%m", "%m%Y"),
    ],
)
def test_months_without_a_day_are_months(form: str) -> None:
    stamps = parse(MONTHS.strftime(form))
    assert stamps.index.tolist() == MONTHS.tolist()
    assert (stamps.axis.calendar, stamps.axis.step) == ("months", 1)
    assert after(stamps, 2) == ["2020-01", "2020-02"]


def test_months_without_a_leading_zero_are_months() -> None:
    assert parse([f"{month.month}-{month:%y}" for month in MONTHS]).index.tolist() == MONTHS.tolist()
    counted = parse([f"{year}-{month:02}" for year in (1, 2, 3) for month in range(1, 13)])
    assert after(counted) == ["2004-01"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("%Y-%m-15", "2020-01-15"),
        ("15/%m/%Y", "2020-01-15"),
        ("%m/15/%y", "2020-01-15"),
        ("%Y%m15", "2020-01-15"),
        ("01/%m/%Y", "2020-01-01"),
        ("%m/01/%Y", "2020-01-01"),
        ("1. %b %Y", "2020-01-01"),
        ("%Y-%m-28", "2020-01-28"),
        ("%Y-%m-%d 12:00", "2020-01-01 12:00:00"),
    ],
)
def test_one_day_of_each_month_is_a_month_from_the_next(form: str, expected: str) -> None:
    stamps = parse(MONTHS.strftime(form))
    assert stamps.axis.calendar == "months"
    assert len(stamps.index) == calendars.steps(stamps.axis, *stamps.index.to_numpy()[[0, -1]]) == 180
    assert after(stamps) == [expected]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("%d/%m/%Y", "day first"),
        ("%m/%d/%Y", "month first"),
        ("%d.%m.%y", "day first"),
        ("%d-%b-%Y", "DD-Mon-YYYY"),
        ("%d%b%Y", "DDMonYYYY"),
        ("%Y%m%d", "YYYYMMDD"),
        ("%d%m%Y", "day first"),
        ("%y%m%d", "YYMMDD"),
        ("%Y%j", "day of the year"),
        ("%Y-%j", "day of the year"),
        ("%G-W%V-%u", "ISO week"),
        ("%A, %B %d, %Y", "Mon DD YYYY"),
        ("%a %d/%m/%Y", "day first"),
        ("%m/%d/%Y 12:00:00 AM", "month first"),
        ("%Y-%m-%dT00:00:00.000Z", "YYYY-MM-DD"),
    ],
)
def test_days_are_read_in_the_format_of_all_cells(form: str, words: str) -> None:
    stamps = parse(DAYS.strftime(form))
    assert stamps.index.tolist() == DAYS.tolist()
    assert words in stamps.words
    assert after(stamps) == ["2024-01-01"]
    assert parse(DAYS[::-1].strftime(form)).index.tolist() == DAYS[::-1].tolist()


def test_the_weekday_decides_between_the_day_and_the_month() -> None:
    first_days = DAYS[:12]
    assert "day first" in parse(first_days.strftime("%a %d/%m/%Y")).words
    assert "no time in the format" in refusal(["Mon 2024-01-01", "Tue 2024-01-02", "Fri 2024-01-03"])


def test_a_column_with_two_readings_is_refused_with_both() -> None:
    cells = DAYS[:12].strftime("%d/%m/%Y")
    message = refusal(cells)
    for words in (
        "day first, DD/MM/YYYY (daily from 2021-01-01 to 2021-01-12)",
        "month first, MM/DD/YYYY (monthly, on day 1 from 2021-01-01 to 2021-12-01)",
        "`time_format` %d/%m/%Y or `time_format` %m/%d/%Y",
    ):
        assert words in message
    assert after(parse(cells, "%d/%m/%Y")) == ["2021-01-13"]
    assert after(parse(cells, "%m/%d/%Y")) == ["2022-01-01"]


def test_a_year_of_months_may_be_days_without_a_year() -> None:
    message = refusal([f"{month:%b}-01" for month in MONTHS[:12]])
    assert "Mon-YY" in message
    assert "without a year" in message
    assert message.endswith("choose `time_format` %b-%y")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (DAYS[:365].strftime("%d-%b"), ["without a year"]),
        (DAYS[:365].strftime("%b-%d"), ["without a year"]),
        (DAYS[:365].strftime("%m/%d"), ["without a year"]),
        (DAYS[:365].strftime("%d.%b %H:%M"), ["without a year"]),
        (HOURS[:24].strftime("%H:%M"), ["times of day without a date", "'00:00'"]),
        (HOURS[:24].strftime("%I:%M:%S %p"), ["times of day without a date"]),
        ([*DAYS[:30].strftime("%Y-%m-%d"), "31/01/2021"], ["line 32", "'31/01/2021'", "YYYY-MM-DD"]),
        ([*DAYS[:58].strftime("%d/%m/%Y"), "29/02/2021"], ["line 60", "'29/02/2021'", "DD/MM/YYYY"]),
        (["2024-01-01T00Z", "2024-01-01T01", "2024-01-01T02Z"], ["with an offset", "without"]),
        (BERLIN.strftime("%Y-%m-%d %H:%M %Z"), ["several zones (CEST, CET)"]),
        ([str(2**63 + row) for row in range(5)], ["line 2", "too large"]),
        (["1", "2", "9" * 5000], ["line 4", "too large"]),
        (["2005.0", "2005.02", "2005.05"], ["decimal numbers"]),
        (["1.7e9", "1.8e9", "1.9e9"], ["cannot be read"]),
        (["Monday", "Tuesday", "Wednesday"], ["cannot be read"]),
        (["2024-01-01", "", "2024-01-03"], ["line 3", "no time"]),
        (["2024-01-01", "2024-01-02", "2024-01-02"], ["line 4", "'2024-01-02' is in two rows, also in line 3"]),
        (["5", "5", "5"], ["line 3", "two rows"]),
        (["2024-01-01", "2024-01-03", "2024-02-17"], ["no regular step", "2024-01-03 is followed by 2024-02-17"]),
        (["2024-01-01", "2024-01-02"], ["2 rows are too few"]),
        (["0001-01-01 00:00:00.000000001", "0001-01-02", "0001-01-03"], ["nanoseconds before 1678"]),
    ],
)
def test_a_column_without_a_reading_is_refused_in_one_line(cells: Iterable[str], words: list[str]) -> None:
    message = refusal(cells)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("first", "last", "form"),
    [
        ("1949-01-01", "1960-12-01", "%b-%y"),
        ("1965-01-01", "1970-12-01", "%d-%b-%y"),
        ("1965-01-01", "2020-12-01", "%d-%b-%y"),
        ("1998-01-01", "2003-06-01", "%m/%d/%y"),
        ("1931-01-01", "2019-12-01", "%y-%m"),
        ("2000-01-01", "2024-12-01", "%b %y"),
    ],
)
def test_two_digit_years_have_the_century_of_a_series_in_the_past(first: str, last: str, form: str) -> None:
    months = pd.date_range(first, last, freq="MS")
    stamps = parse(months.strftime(form))
    assert stamps.index.tolist() == months.tolist()
    assert any(f"read as {first[:4]} to {last[:4]}" in note for note in stamps.notes)


def test_two_digit_years_soon_after_this_one_are_refused() -> None:
    year = datetime.date.today().year + 2
    months = pd.date_range(f"{year - 3}-01-01", f"{year}-12-01", freq="MS")
    message = refusal(months.strftime("%b-%y"))
    assert f"{year - 103} to {year - 100} or {year - 3} to {year}" in message


@pytest.mark.parametrize(
    ("cells", "last"),
    [
        ([f"{year}-01-01" for year in range(1000, 1100)], "1100-01-01"),
        ([f"{year}-07-04" for year in range(9900, 10_000)], "10000-07-04"),
        ([f"31.12.{year}" for year in range(9980, 10_000)], "10000-12-31"),
        ([f"9999-12-{day}" for day in range(10, 32)], "10000-01-01"),
        ([f"9999-12-31 {hour:02}:00" for hour in range(24)], "10000-01-01 00:00:00"),
        ([f"{year}-Q4" for year in range(9990, 10_000)], "10000Q4"),
        ([str(2**62 - 4 + row) for row in range(4)], str(2**62)),
        ([str(-(2**61)), "0", str(2**61)], str(2**62)),
        ([str(row) for row in range(-20, 0)], "0"),
        ([f"{year}" for year in range(9990, 10_000)], "10000"),
    ],
)
def test_distant_times_are_times(cells: Iterable[str], last: str) -> None:
    assert after(parse(cells)) == [last]


def test_steps_are_exact_beyond_64_bits() -> None:
    axis = TimeAxis("number", "number", 2**62)
    assert calendars.names(axis, calendars.advance(axis, np.int64(2**61), np.arange(1, 3))) == [
        str(2**61 + 2**62),
        str(2**61 + 2**63),
    ]
    nanoseconds = TimeAxis("%Y-%m-%d", "clock", 10**18, unit="ns")
    with pytest.raises(UserError, match="use a coarser unit"):
        calendars.advance(nanoseconds, np.datetime64("2261-01-01"), np.arange(1, 3))


@pytest.mark.parametrize(
    ("start", "step", "factor", "expected"),
    [
        (1_704_067_200, 3600, 1, "2024-01-01 04:00:00+00:00"),
        (1_704_067_200, 900, 1000, "2024-01-01 01:00:00+00:00"),
        (1_704_067_200, 1, 10**6, "2024-01-01 00:00:04+00:00"),
        (1_704_067_200, 60, 10**9, "2024-01-01 00:04:00+00:00"),
        (1_704_067_200, 86_400, 1, "2024-01-05"),
        (5_000, 10, 1, "5040"),
    ],
)
def test_unix_times_are_times_in_utc(start: int, step: int, factor: int, expected: str) -> None:
    cells = [str((start + step * row) * factor) for row in range(4)]
    assert after(parse(cells)) == [expected]
    assert after(parse([f"{cell}.0" for cell in cells])) == [expected]
    assert after(parse(cells, "number")) == [str((start + step * 4) * factor)]


def test_months_as_unix_times_are_months() -> None:
    assert after(parse([str(int(month.timestamp())) for month in MONTHS])) == ["2020-01-01"]


def test_whole_numbers_that_may_be_dates_are_refused() -> None:
    message = refusal(DAYS[:31].strftime("%y%m%d"))
    for words in ("YYMMDD (daily", "whole numbers (step 1", "`time_format` %y%m%d", "`time_format` number"):
        assert words in message
    assert after(parse(DAYS[:31].strftime("%y%m%d"), "number")) == ["210132"]


@pytest.mark.parametrize(
    "form", ["{y}Q{q}", "{y}-Q{q}", "{y} q{q}", "Q{q} {y}", "Q{q}/{y}", "Q{q}-{s}", "{q}Q{s}", "{q}Q{y}"]
)
def test_quarters_are_quarters(form: str) -> None:
    quarters = [(year, quarter) for year in range(2010, 2021) for quarter in range(1, 5)]
    stamps = parse([form.format(y=year, q=quarter, s=f"{year % 100:02}") for year, quarter in quarters])
    assert after(stamps, 2) == ["2021Q1", "2021Q2"]
    assert stamps.axis.step == 3


@pytest.mark.parametrize("form", ["%G-W%V", "%GW%V", "W%V %G", "W%V/%G", "%G-%V"])
def test_weeks_are_weeks(form: str) -> None:
    weeks = pd.date_range("2019-01-07", "2020-12-21", freq="7D")
    assert after(parse(weeks.strftime(form)), 3) == ["2020-W53", "2021-W01", "2021-W02"]
    assert "2021-W53" in refusal([*weeks.strftime("%G-W%V"), "2021-W53"])


@pytest.mark.parametrize(
    ("times", "words", "expected"),
    [
        (pd.bdate_range("2024-01-01", "2024-06-28"), "business days", ["2024-07-01", "2024-07-02"]),
        (pd.date_range("2015-01-01", "2020-12-31", freq="BME"), "the last business day", ["2021-01-29", "2021-02-26"]),
        (pd.date_range("2015-01-01", "2020-12-31", freq="BMS"), "the first business day", ["2021-01-01", "2021-02-01"]),
        (pd.date_range("2015-01-01", "2020-12-31", freq="ME"), "the last day", ["2021-01-31", "2021-02-28"]),
        (pd.date_range("2015-01-01", "2020-12-31", freq="QE"), "quarterly, on the last", ["2021-03-31", "2021-06-30"]),
        (pd.date_range("1950-01-01", "2020-12-31", freq="YE"), "yearly, on the last", ["2021-12-31", "2022-12-31"]),
        (pd.date_range("2019-01-07", periods=60, freq="7D"), "weekly", ["2020-03-02", "2020-03-09"]),
        (pd.date_range("2019-01-07", periods=60, freq="10D"), "every 10 days", ["2020-08-29", "2020-09-08"]),
    ],
)
def test_the_calendar_of_the_times_continues(times: pd.DatetimeIndex, words: str, expected: list[str]) -> None:
    for form in ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y"):
        stamps = parse(times.strftime(form))
        assert stamps.index.tolist() == times.tolist()
        assert words in calendars.words(stamps.axis)
        assert after(stamps, 2) == expected


def test_the_order_of_the_rows_decides_between_equal_grids() -> None:
    months = pd.date_range("2001-01-01", "2012-12-01", freq="MS")
    for form in ("%y-%m", "%m-%y"):
        assert parse(months.strftime(form)).index.tolist() == months.tolist()


def test_a_day_that_a_month_lacks_is_its_last() -> None:
    assert after(parse(["2021-02-28", "2022-02-28", "2023-02-28"])) == ["2024-02-29"]
    stamps = parse([f"2023-{month:02}-{28 if month == 2 else 30}" for month in range(1, 13)])
    assert after(stamps, 2) == ["2024-01-30", "2024-02-29"]


@pytest.mark.parametrize(
    "form",
    [
        *("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%d/%m/%Y %I:%M %p", "%d%b%Y:%H:%M:%S", "%Y%m%d%H", "%Y%m%d%H%M"),
        *("%Y%m%d%H%M%S", "%Y%m%dT%H%M%S", "%Y-%m-%d %H", "%a %b %d %H:%M:%S %Y", "%m/%d/%y %H:%M"),
    ],
)
def test_hours_are_hours(form: str) -> None:
    stamps = parse(HOURS.delete(50).strftime(form))
    assert stamps.index.tolist() == HOURS.delete(50).tolist()
    assert after(stamps) == ["2024-01-09 08:00:00"]


def test_the_end_of_a_day_is_midnight() -> None:
    stamps = parse([f"2024-01-{1 + hour // 24:02} {hour % 24 + 1:02}:00" for hour in range(96)])
    assert after(stamps) == ["2024-01-05 01:00:00"]


@pytest.mark.parametrize("zone", ["Z", "+00:00", " UTC", "+0530", "-03:00", "+01"])
def test_one_offset_is_kept_in_the_names(zone: str) -> None:
    stamps = parse([f"{hour:%Y-%m-%dT%H:%M:%S}{zone}" for hour in HOURS.delete([50, 70])])
    assert len(stamps.index) == 198
    name = after(stamps)[0]
    assert name.startswith("2024-01-09 08:00:00")
    assert name[-6:] == {"+0530": "+05:30", "-03:00": "-03:00", "+01": "+01:00"}.get(zone, "+00:00")


def test_offsets_that_change_are_utc() -> None:
    stamps = parse([hour.isoformat() for hour in BERLIN])
    assert stamps.index.tolist() == BERLIN.tz_convert("UTC").tz_localize(None).tolist()
    assert stamps.axis.zone == "+00:00"
    assert any("read as UTC" in note and "+01:00, +02:00" in note for note in stamps.notes)


def test_days_with_offsets_that_change_are_days() -> None:
    days = pd.date_range("2024-03-01", periods=100, tz="Europe/Berlin")
    assert after(parse([day.isoformat() for day in days])) == ["2024-06-09"]


def test_hours_that_daylight_saving_leaves_out_or_repeats_are_named() -> None:
    stamps = parse(BERLIN.strftime("%Y-%m-%d %H:%M"))
    assert any("2024-03-31 02:00" in note and "daylight saving" in note for note in stamps.notes)
    autumn = pd.date_range("2024-10-01", periods=1000, freq="h", tz="Europe/Berlin")
    message = refusal(autumn.strftime("%Y-%m-%d %H:%M"))
    assert "'2024-10-27 02:00' is in two rows" in message
    assert "daylight saving" in message


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("%m/%d/%Y", "line 14: '13/01/2021' in the column when does not fit `time_format` %m/%d/%Y"),
        ("%d/%m", "has no year"),
        ("%d/%k/%Y", "unknown directive %k"),
        ("%d/%d/%Y", "twice"),
        ("unix", "line 2"),
        ("", "day first"),
    ],
)
def test_a_format_of_the_user_must_fit(form: str, words: str) -> None:
    cells = DAYS[:40].strftime("%d/%m/%Y")
    assert words in (refusal(cells, form) if form else parse(cells, form).words)


def test_a_format_of_the_user_may_have_short_and_unpadded_directives() -> None:
    cells = [f"{day.day}/{day.month}/{day.year}" for day in DAYS[:12]]
    assert after(parse(cells, "%-d/%-m/%Y")) == ["2021-01-13"]
    assert after(parse(HOURS.strftime("%Y-%m-%d %H:%M:%S"), "%F %T")) == ["2024-01-09 08:00:00"]


def test_the_order_of_rows_is_that_of_the_file() -> None:
    shuffled = np.random.default_rng(0).permutation(np.array(DAYS.strftime("%d/%m/%Y")))
    stamps = parse(shuffled.tolist())
    assert sorted(stamps.index) == DAYS.tolist()
    assert stamps.index[0] != DAYS[0]
    assert "the rows are not in order; sorted" in stamps.notes
    assert "the latest time comes first; sorted" in parse(DAYS[::-1].strftime("%Y-%m-%d")).notes


def test_new_times_have_the_format_and_the_step_of_training() -> None:
    axis = parse(DAYS.strftime("%d/%m/%Y")).axis
    few = pd.date_range("2024-03-01", periods=8)
    assert after(parse(few.strftime("%d/%m/%Y"), like=axis)) == ["2024-03-09"]
    assert after(parse(few.strftime("%d/%m/%Y")[:1], like=axis)) == ["2024-03-02"]
    other = parse(few.strftime("%Y-%m-%d"), like=axis)
    assert after(other) == ["2024-03-09"]
    assert "the times do not fit the format of training, %d/%m/%Y" in other.notes
    for cells in (MONTHS.strftime("%Y-%m-%d"), HOURS.strftime("%d/%m/%Y %H:%M"), ["1", "2", "3"]):
        assert "the step of training (daily)" in refusal(cells, like=axis)


def test_months_are_not_the_step_of_a_network_for_quarters() -> None:
    quarters = parse(pd.date_range("2015-01-01", "2020-12-31", freq="QS").strftime("%Y-%m-%d")).axis
    assert "the step of training (quarterly, on day 1)" in refusal(MONTHS.strftime("%Y-%m-%d"), like=quarters)
    assert after(parse(["2024-01-01", "2024-07-01"], like=quarters)) == ["2024-10-01"]


def test_a_short_week_has_the_calendar_of_training() -> None:
    axis = parse(pd.bdate_range("2024-01-01", "2024-06-28").strftime("%Y-%m-%d")).axis
    week = pd.bdate_range("2024-07-01", "2024-07-05").strftime("%Y-%m-%d")
    assert after(parse(week, like=axis)) == ["2024-07-08"]
    assert after(parse(week)) == ["2024-07-06"]


def test_a_step_of_training_may_be_finer_than_that_of_new_times() -> None:
    halves = parse([f"2024-01-01 00:00:{row // 2:02}.{row % 2 * 5}" for row in range(40)]).axis
    assert after(parse(["2024-01-01 00:00:01", "2024-01-01 00:00:02"], like=halves)) == ["2024-01-01 00:00:02.500"]
    seconds = parse([f"2024-01-01 00:00:{row:02}" for row in range(40)]).axis
    cells = [f"2024-01-01 00:00:{row:02}.25" for row in range(5)]
    assert after(parse(cells, like=seconds)) == ["2024-01-01 00:00:05.250"]


@pytest.mark.parametrize(("digits", "step"), [(2, 1), (3, 3), (14, 1)])
def test_decimal_years_of_whole_months_are_months(digits: int, step: int) -> None:
    stamps = parse([f"{1991 + month / 12:.{digits}f}" for month in range(6, 60, step)])
    assert (stamps.axis.calendar, stamps.axis.step) == ("months", step)
    assert after(parse([f"{1991 + month / 12:.{digits}f}" for month in range(0, 24, step)])) == ["1993-01"]
    assert stamps.notes[0].startswith("decimal years, such as 1991.5")
    assert stamps.notes[0].endswith("are months: 1991-07")
    if step == 1:
        assert parse(["1994.0", "1994.0833"], like=stamps.axis).index[0] == pd.Timestamp("1994-01-01")


def test_evenly_spaced_decimal_numbers_count_the_steps() -> None:
    found = timestamps.parse(Path("f.csv"), pd.Series(["0.00", "0.02", "0.04", "0.08"], name="t"))
    assert found.index.tolist() == [1, 2, 3, 5]
    assert "t: the numbers have a step of 0.02" in "t: " + found.notes[0]
