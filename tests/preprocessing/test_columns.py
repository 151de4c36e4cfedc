"""Columns: number formats, dates, identifiers, and the type that numbers need."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common.data import ColumnFormat
from common.preprocessing import cell_dates, columns
from common.preprocessing.columns import Decimal, Decision

NAN = float("nan")


def decide(
    cells: Sequence[str], others: Sequence[str] = (), decimal: Decimal = "auto", delimiter: str = ",", rows: int = 30
) -> Decision:
    """The decision on a column of `cells`, repeated, beside a column of `others`."""
    data = {"x": [cells[row % len(cells)] for row in range(rows)]}
    if others:
        data["other"] = [others[row % len(others)] for row in range(rows)]
    frame = pd.DataFrame(data, dtype=object)
    return columns.decide(Path("f.csv"), frame, (), decimal, delimiter)["x"]


@pytest.mark.parametrize(
    ("cells", "expected", "words"),
    [
        (["1,8", "2,5"], [1.8, 2.5], "1,8 is read as 1.8"),
        (["1.234,5", "2,5"], [1234.5, 2.5], "1.234,5 is read as 1234.5"),
        (["1.234.567", "2,5"], [1234567, 2.5], "1.234.567"),
        (["1,234,567", "2.5"], [1234567, 2.5], "1,234,567"),
        (["12,34,567", "2.5"], [1234567, 2.5], ""),
        (["4,000", "5,500.5"], [4000, 5500.5], "4,000 is read as 4000"),
        (["0,500", "4,000"], [0.5, 4], "0,500 is read as 0.5"),
        (["6%", "7.5 %"], [6, 7.5], "percent signs are left out"),
        (["$6,000", "$2.50", "-$3.25"], [6000, 2.5, -3.25], "$ is left out"),
        (["€ 6.000,50", "7,1 €"], [6000.5, 7.1], "€ is left out"),
        (["USD 5.5", "7 USD"], [5.5, 7], "USD is left out"),
        (["(1,200)", "300.5"], [-1200, 300.5], "parentheses are negative"),
        (["($1,200.50)", "$3.00"], [-1200.5, 3], "parentheses"),
        (["1 234", "12"], [1234, 12], "blanks separate thousands"),
        (["1\u202f234,5", "2\u00a0000,0"], [1234.5, 2000], "blanks"),
        (["1'234", "1’234.5"], [1234, 1234.5], "apostrophes"),
        (["12-", "5"], [-12, 5], "a minus at the end"),
        (["\u221212", "+5"], [-12, 5], "is read as -12"),
        (["1e5", "2E-3", ".5", "5."], [1e5, 2e-3, 0.5, 5], ""),
        (["1,5e3", "2,0"], [1500, 2], "1,5e3 is read as 1500"),
        (["?", "NA", "null", "", "4", "5", "6", "7", "8"], [NAN] * 4 + [4, 5, 6, 7, 8], ""),
        (["1.234", "5.678"], [1.234, 5.678], ""),
        (
            ["unknown", "-", "N.A.", "4", "5", "6", "7"],
            [NAN] * 3 + [4, 5, 6, 7],
            "read as missing: 'unknown', '-', 'N.A.'",
        ),
        (["1 month", "12 months", "n/a"], [1, 12, NAN], "the unit month is left out"),
        (["80,5 m²", "1.200,0 m²"], [80.5, 1200], "the unit m² is left out"),
        (["-3.5°C", "10.0°C"], [-3.5, 10], "the unit °C is left out"),
    ],
)
def test_numbers_of_every_format_are_numbers(cells: list[str], expected: list[float], words: str) -> None:
    found = decide(cells)
    assert not found.problem
    assert found.format
    assert found.format.kind == "number"
    np.testing.assert_allclose(found.inputs["x"][: len(cells)], expected, rtol=1e-6)
    assert words in found.note
    assert bool(words) or not found.note or cells[0] == "12,34,567"


def test_ranges_beside_few_numbers_make_categories() -> None:
    found = decide(["0", "1", "1", "0", "1", "2-10", "10+", "Over 100"])
    assert found.format
    assert found.format.kind == "text"
    assert "column x has '2-10', '10+', 'Over 100' beside numbers: all are categories" in found.note
    assert decide([*map(str, range(30)), "30+"], rows=62).problem  # many numbers: the range is a fault


@pytest.mark.parametrize("cells", [["1 m", "2 mm"], ["1st", "2nd", "3rd"], ["5 kg", "6", "7 kg"], ["$5 million", "$5"]])
def test_numbers_of_several_units_are_not_numbers(cells: list[str]) -> None:
    found = decide(cells)
    assert found.problem or not found.format or found.format.kind == "text"


@pytest.mark.parametrize(
    ("trained", "cell", "accepted"),
    [
        ("months", "7 months", True),
        ("°C", "7°C", True),
        ("°C", "7°F", False),
        ("months", "1 month", True),
        ("months", "7", True),
        ("months", "7 years", False),
        ("", "7 years", False),
        ("$", "$7", True),
        ("$", "€7", False),
        ("$", "7%", False),
        ("", "$7", True),
    ],
)
def test_new_numbers_have_the_unit_of_training(trained: str, cell: str, accepted: bool) -> None:
    form = ColumnFormat("number", ".", unit=trained)
    value, other = columns.as_inputs("x", pd.Series([cell, "8"]), form)["x"]
    assert other == 8
    assert (value == (1 if cell == "1 month" else 7)) if accepted else np.isnan(value)


def test_a_number_that_fits_both_separators_is_refused_unless_something_decides() -> None:
    assert "4,000 may be 4 or 4000; set `decimal` to . or ," in decide(["4,000", "5,000"]).problem
    for settled, value in (
        (decide(["4,000", "5,000"], decimal=","), 4),
        (decide(["4,000", "5,000"], decimal="."), 4000),
        (decide(["4,000", "5,000"], others=["1,5"]), 4),
        (decide(["4,000", "5,000"], others=["1.5"]), 4000),
        (decide(["4,000", "5,000"], delimiter=";"), 4),
        (decide(["4.000", "5.000"]), 4),
        (decide(["4.000", "5.000"], others=["1,5"]), 4000),
        (decide(["4.000", "5.000"], decimal=","), 4000),
    ):
        assert settled.inputs["x"][0] == value
    assert "may be 4 or 4000" in decide(["4.000", "5.000"], delimiter=";").problem


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["6%", "7"], "mixes numbers with and without %"),
        (["$6", "€7"], r"mixes \$ and €"),
        (["1", "2", "3", "one"], r"line 3: 'one' in the column x is not a number \(nor are 6 more cells\)"),
        (["1", "2", "3", "1e99"], "'1e99' in the column x is not a number"),
        (["1", "2", "3", "inf"], "'inf'"),
        (["01/02/2024", "03/04/2024"], "01/02/2024 may be 2024-02-01 or 2024-01-02"),
        (["01/02/24", "03/04/24"], "01/02/24 may be"),
        (["", "13/13/2024", "01/02/2024", "03/04/2024"], "01/02/2024 may be 2024-02-01 or 2024-01-02"),
        (["13/02/2024", "02/13/2024", "01/01/2024", "02/02/2024"], "'02/13/2024' in the column x is not a date like"),
        (["2024-01-05", "2024-01-06", "soon"], "'soon' in the column x is not a date like the others"),
    ],
)
def test_a_column_without_one_reading_is_a_problem(cells: list[str], words: str) -> None:
    import re

    assert re.search(words, decide(cells).problem)


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["2024-01-05", "2025-03-17"], "2024-01-05"),
        (["2024-01-05 10:30", "2025-03-17 11:00"], "2024-01-05 10:30:00"),
        (["2024-01-05T10:30:00+01:00", "2025-07-17T11:00:00+02:00"], "2024-01-05 09:30:00"),
        (["05/01/2024", "17/03/2025"], "2024-01-05"),
        (["01/05/2024", "03/17/2025"], "2024-01-05"),
        (["5.1.2024", "17.3.2025"], "2024-01-05"),
        (["05-Jan-2024", "17-Mar-2025"], "2024-01-05"),
        (["January 05, 2024", "March 17, 2025"], "2024-01-05"),
        (["Jan 2024", "Mar 2025"], "2024-01-01"),
        (["20240105", "20250317"], "2024-01-05"),
        (["2024-01-05", "NA", "", "2025-03-17"], "2024-01-05"),
    ],
)
def test_dates_are_read_and_become_features(cells: list[str], first: str) -> None:
    found = decide(cells)
    assert not found.problem
    assert found.inputs["x elapsed days"][0] == pytest.approx(float(pd.Timestamp(first).value) / 86400e9, rel=1e-6)
    assert f"dates from {first}" in found.note


def test_another_column_decides_the_order_of_day_and_month() -> None:
    found = decide(["01/02/2024", "03/04/2024"], others=["17/03/2024", "05/06/2024"])
    assert cell_dates.as_date(found.inputs["x elapsed days"][0]) == "2024-02-01"


def test_dates_become_the_cycles_that_they_resolve() -> None:
    hours = pd.date_range("2024-01-01", periods=9000, freq="h").astype(str).tolist()
    found = decide(hours, rows=9000)
    names = [f"x {part} {wave}" for part in ("month", "weekday", "hour") for wave in ("sine", "cosine")]
    assert [*found.inputs] == ["x elapsed days", *names]
    assert found.inputs["x hour sine"][6] == pytest.approx(1)
    assert found.inputs["x weekday sine"][:168].sum() == pytest.approx(0, abs=1e-3)
    days = decide(pd.date_range("2024-01-01", periods=30).astype(str).tolist())
    assert [*days.inputs] == ["x elapsed days", *names[2:4]]
    months = decide(pd.date_range("2020-01-01", periods=30, freq="MS").astype(str).tolist())
    assert [*months.inputs] == ["x elapsed days", *names[:2]]


def test_identifiers_and_empty_columns_are_left_out_and_text_stays_text() -> None:
    identifier = decide([f"C{row}" for row in range(30)])
    assert (identifier.format, identifier.problem) == (None, "")
    assert "an identifier, which is left out" in identifier.note
    assert "is empty; it is left out" in decide([""]).note
    assert "is empty; it is left out" in decide(["NA", ""]).note
    many = decide([f"C{row}" for row in range(20)])
    assert (many.format, many.problem) == (None, "")
    assert "20 different values in 30 rows, which is too many for categories; it is left out" in many.note
    text = decide(["NA", "?", "a", "b", ""])
    assert text.inputs["x"][:5].tolist() == ["NA", "?", "a", "b", ""]


def test_numbers_keep_float64_only_where_float32_does_not_suffice() -> None:
    random = np.random.default_rng(0).normal(size=1000)
    for scale, offset, dtype in (
        (1, 0, "float32"),
        (10, 2000, "float32"),
        (1000, 1.7e9, "float64"),
        (1, 123_456_789_012_345, "float64"),
        (1e-12, 0, "float64"),
        (1e13, 0, "float64"),
        (0, 0.1, "float32"),
    ):
        found = columns.compact(scale * random + offset)
        assert found.dtype == dtype, (scale, offset)


def test_a_million_numbers_are_decided_in_seconds() -> None:
    import time

    cells = pd.Series(np.random.default_rng(0).normal(size=300_000).astype(str), dtype=object, name="x")
    begun = time.process_time()
    columns.decide(Path("f.csv"), cells.to_frame(), (), "auto", ",")
    assert time.process_time() - begun < 10
