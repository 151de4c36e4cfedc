"""Time series: the grid, gaps, the cut by time, windows, what follows, and the forecasts that a network has to beat."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.ar_model import AutoReg

from apps.lstm_forecast import ForecastOptions, app, build_model, load_data, read_inputs
from apps.lstm_forecast import Settings as LstmForecast
from common import baselines
from common.data import Array, Data, Formats, Pair, SavedModel, TimeAxis, WindowFormat
from common.errors import UserError
from common.metrics import intervals
from common.nn import losses
from common.preprocessing import calendars, series, series_windows
from common.preprocessing.series import Columns, Gaps, Series
from common.preprocessing.series_windows import FirstWindow
from tests.conftest import run_app


def counted(steps: int) -> Series:
    """A series in which the value tells the time."""
    table = pd.DataFrame({"x": np.arange(steps, dtype=float)}, index=pd.RangeIndex(steps))
    return Series(table, TimeAxis("number", "number", 1))


def windows(values: Array, window: int, horizon: int) -> Pair:
    """Windows of values (times, variables) at every step, and the steps after them."""
    starts = range(len(values) - window - horizon + 1)
    return (
        np.stack([values[start : start + window] for start in starts]),
        np.stack([values[start + window : start + window + horizon] for start in starts]),
    )


def test_a_window_is_followed_by_its_targets() -> None:
    values = np.arange(24.0).reshape(12, 2)
    found = Series(pd.DataFrame(values, columns=["x", "y"]), TimeAxis("number", "number", 1))
    data = series_windows.split([found], "x", Columns(("x", "y")), WindowFormat(3, 2, 1), (0.25, 0.25), "linear")
    for part, steps in ((data.train, values[0:6]), (data.validation, values[3:9]), (data.test, values[6:12])):
        for cut, expected in zip(part, windows(steps, 3, 2), strict=True):
            np.testing.assert_array_equal(cut, expected)


def divided(found: Series, form: WindowFormat, shares: tuple[float, float], first: FirstWindow = "before") -> Data:
    return series_windows.split([found], "x", Columns(("x",)), form, shares, "linear", first)


def test_no_window_of_one_part_reaches_into_another_if_it_must_not() -> None:
    data = divided(counted(100), WindowFormat(5, 3, 1), (0.2, 0.25), "within")
    spans = [(min(x.min(), y.min()), max(x.max(), y.max())) for x, y in (data.train, data.validation, data.test)]
    assert spans == [(0, 54), (55, 74), (75, 99)]
    assert [len(y) for _, y in (data.train, data.validation, data.test)] == [48, 13, 18]


def test_every_step_of_a_part_is_forecast_from_the_steps_before_it() -> None:
    data = divided(counted(100), WindowFormat(5, 3, 1), (0.2, 0.25))
    parts = (data.train, data.validation, data.test)
    assert [(y.min(), y.max()) for _, y in parts] == [(5, 54), (55, 74), (75, 99)]
    assert [(x.min(), x.max()) for x, _ in parts] == [(0, 51), (50, 71), (70, 96)]
    for windows, following in parts:
        np.testing.assert_array_equal(windows[:, -1] + 1, following[:, 0])
    assert data.test_times is not None
    np.testing.assert_array_equal(data.test_times, data.test[1][:, :, 0])


def test_two_years_of_months_are_enough_for_validation_and_test(tmp_path: Path) -> None:
    """As of the 144 months of AirPassengers."""
    months = pd.date_range("1949-01-01", periods=144, freq="MS")
    path = write(tmp_path, "month,x\n" + "".join(f"{month:%Y-%m},{100 + row}\n" for row, month in enumerate(months)))
    data = load_data(LstmForecast(csv=str(path), target=("x",), window=24, horizon=12))
    assert [len(y) for _, y in (data.train, data.validation, data.test)] == [51, 18, 18]


@pytest.mark.parametrize(("gaps", "expected"), [("linear", [1, 1, 2, 3, 4, 4]), ("previous", [1, 1, 1, 1, 4, 4])])
def test_gaps_are_filled_as_the_setting_says(gaps: Gaps, expected: list[float]) -> None:
    table = pd.DataFrame({"x": [np.nan, 1, np.nan, np.nan, 4, np.nan]})
    assert series.fill(table, gaps)["x"].tolist() == pytest.approx(expected)


def test_a_gap_at_the_border_of_two_parts_is_not_filled_from_the_other() -> None:
    found = counted(30)
    found.table.iloc[18:22] = np.nan
    data = divided(found, WindowFormat(2, 1, 1), (1 / 3, 1 / 3))
    assert data.validation[1].max() == 17
    assert data.test[0].tolist()[:2] == [[[17], [17]], [[17], [22]]]


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("times", "expected", "after"),
    [
        (["2024-01-01", "2024-02-01", "2024-04-01"], 4, "2024-05-01"),
        (["2023-01-31", "2023-02-28", "2023-03-31"], 3, "2023-04-30"),
        (["2024-03-01", "2024-03-04", "2024-03-05", "2024-03-06"], 4, "2024-03-07"),
        (["2024-03-07", "2024-03-05", "2024-03-04"], 4, "2024-03-08"),
        (["2024-03-01 00:00", "2024-03-01 00:15", "2024-03-01 00:45"], 4, "2024-03-01 01:00:00"),
        (["1900", "1902", "1904", "1908"], 5, "1910"),
    ],
)
def test_times_are_put_on_the_grid_that_they_follow(
    times: list[str], expected: int, after: str, tmp_path: Path
) -> None:
    path = write(tmp_path, "when,x\n" + "".join(f"{time},{row}\n" for row, time in enumerate(times)))
    (found,) = series.read(path, Columns(("x",)))
    assert len(found.table) == expected
    assert found.table["x"].notna().sum() == len(times)
    assert found.following(1) == [after]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no column names"]),
        ("t,x\n", ["no rows"]),
        ("t,y\n1,2\n2,3\n3,4\n", ["no column x", "t, y"]),
        ("t,x\n1,2\n2,three\n3,4\n", ["line 3: 'three' in the column x"]),
        ("t,x\n1,\n2,\n3,\n", ["column x is empty"]),
        ("t,x\n1,2\n2,inf\n3,4\n", ["line 3: 'inf' in the column x"]),
        ("t,x\n1,2\n,3\n3,4\n", ["line 3: no time in the column t"]),
        ("t,x\n1,2\n1,3\n2,4\n", ["time '1'", "two rows"]),
        ("t,x\n1.5,2\n2.5,3\n3.8,4\n", ["column t", "whole numbers"]),
        ("t,x\nMonday,2\nTuesday,3\nFriday,4\n", ["column t", "cannot be read"]),
        ("t,x\n2024-01-01,2\n2024-01-03,3\n2024-02-17,4\n", ["no regular step"]),
        ("t,x\n1,2\n2,3\n", ["too few"]),
        ("t,x\n1,2\n2,3,4\n3,4\n", ["line 3: 3 cells"]),
        ("t,x\n1,2,9\n2,3,9\n3,4,9\n", ["line 2: 3 cells"]),
        (b"t,x\n1,2\n2,3\n3,\0\n", ["UTF-8"]),
        (b",".join(b"column%d" % number for number in range(200_000)), ["more than 1,000 columns"]),
    ],
)
def test_a_bad_table_is_named_in_one_line(text: str | bytes, words: list[str], tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        series.read(path, Columns(("x",)))
    for word in (str(path), *words):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


CASES = {
    "ts_monname": (pd.date_range("2005-01-01", periods=180, freq="MS").strftime("%b-%y"), "2020-01", "monthly"),
    "ts_utc_gap": (
        pd.date_range("2024-01-01", periods=200, freq="h").delete(77).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "2024-01-09 08:00:00+00:00",
        "hourly",
    ),
    "ts_mid_month": (
        pd.date_range("2005-01-01", periods=180, freq="MS").strftime("%Y-%m-15"),
        "2020-01-15",
        "monthly, on day 15",
    ),
    "ts_dayfirst_daily": (pd.date_range("2023-01-01", periods=300).strftime("%d/%m/%Y"), "2023-10-28", "daily"),
    "sales": (
        pd.date_range("2022-01-01", "2024-12-31").delete([45, 46, 300, 301, 302, 700, 800, 900]).strftime("%Y-%m-%d"),
        "2025-01-01",
        "daily",
    ),
}
"""Times that were read wrongly before, the time after the last, and the step."""


@pytest.mark.parametrize("case", CASES)
def test_a_series_of_a_case_is_regular_and_described(case: str, tmp_path: Path) -> None:
    times, after, step = CASES[case]
    path = write(tmp_path, "time,value\n" + "".join(f"{time},{row % 7 + 1}\n" for row, time in enumerate(times)))
    config = LstmForecast(csv=str(path), target=("value",), window=22, horizon=1, season=11, calendar=False)
    data = load_data(config)
    facts, missing = data.description.facts, {"ts_utc_gap": 1, "sales": 8}.get(case, 0)
    steps = len(times) + missing
    assert (facts["step"], facts["steps"]) == (step, f"{steps:,}")
    assert facts["missing steps"].startswith(str(missing) if missing else "none")
    assert any(
        f"{step}, {steps:,} steps from {facts['first']} to {facts['last']}" in note for note in data.description.notes
    )
    assert any(f"{missing} of {steps:,} steps missing" in note for note in data.description.notes) == bool(missing)
    variables = data.description.tables["variables"]
    assert variables.to_dict("records") == [{"variable": "value", "min": 1, "max": 7, "missing": missing}]
    assert data.formats.times is not None
    examples = read_inputs([str(path)], dataclasses.replace(saved(config, ("value",), ""), formats=data.formats))
    assert examples.names == [f"{path} {after}"]
    assert any(step in note for note in examples.notes)


def test_all_problems_of_a_series_are_in_one_report(tmp_path: Path) -> None:
    path = write(tmp_path, "t,x,y\nMonday,1,\nTuesday,two,\nFriday,3,\n")
    with pytest.raises(UserError) as error:
        series.read(path, Columns(("x", "y")))
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    for line, words in zip(lines, ("'two'", "column y is empty", "cannot be read"), strict=True):
        assert words in line


def test_the_fingerprint_depends_on_the_file_alone(tmp_path: Path) -> None:
    def digest(times: list[str], **settings: str) -> str:
        path = write(tmp_path, "t,x\n" + "".join(f"{time},{row}\n" for row, time in enumerate(times)))
        config = LstmForecast(csv=str(path), target=("x",), window=3, season=1, **settings)  # type: ignore[arg-type]
        return load_data(config).digest

    days = pd.date_range("2024-01-01", periods=40)
    same = {digest(days.strftime(form).tolist()) for form in ("%Y-%m-%d", "%d/%m/%Y", "%Y%m%d")}
    assert len(same) == 1
    assert digest(days.strftime("%m/%d/%Y").tolist(), time_format="%m/%d/%Y") in same
    with pytest.raises(UserError, match="without a date"):
        digest([f"{minute // 60:02}:{minute % 60:02}" for minute in range(40)])


def test_new_files_are_read_in_the_format_of_training(tmp_path: Path) -> None:
    axis = TimeAxis("%d/%m/%Y", "clock", 86_400)
    model = saved(LstmForecast(window=5, season=1, horizon=2), ("x",), "")
    model = dataclasses.replace(model, formats=Formats(times=axis))
    text = "t,x\n" + "".join(f"{day:02}/03/2024,{day}\n" for day in range(1, 9))
    path = write(tmp_path, text)
    assert read_inputs([str(path)], model).names == [f"{path} 2024-03-09", f"{path} 2024-03-10"]
    path.write_text("t,x\n" + "".join(f"2024-{month:02}-01,{month}\n" for month in range(1, 9)))
    with pytest.raises(UserError, match=r"do not have the step of training \(daily\)"):
        read_inputs([str(path)], model)


def test_an_ambiguous_file_is_read_in_the_format_of_the_setting(tmp_path: Path) -> None:
    path = write(tmp_path, "t,x\n" + "".join(f"{day:02}/01/2024,{day}\n" for day in range(1, 13)))
    settings = {"csv": str(path), "target": ("x",), "window": 1, "season": 1}
    with pytest.raises(UserError, match="`time_format` %d/%m/%Y or `time_format` %m/%d/%Y"):
        load_data(LstmForecast(**settings))  # type: ignore[arg-type]
    data = load_data(LstmForecast(**settings, time_format="%m/%d/%Y"))  # type: ignore[arg-type]
    assert data.description.facts["step"] == "monthly, on day 1"


@pytest.mark.usefixtures("store")
def test_a_saved_model_knows_the_format_and_the_step(tmp_path: Path) -> None:
    path, days = tmp_path / "days.csv", pd.date_range("2024-01-01", periods=60)
    path.write_text("t,x\n" + "".join(f"{day:%d/%m/%Y},{row}\n" for row, day in enumerate(days)))
    flags = ("--target", "x", "--window", "5", "--season", "1", "--units", "2", "--epochs", "1")
    result = run_app("lstm_forecast", "train", "--csv", str(path), *flags)
    assert result.returncode == 0, result.stderr
    assert "note: t: day first, DD/MM/YYYY; daily, 60 steps from 2024-01-01 to 2024-02-29" in result.stderr
    short = write(tmp_path, "t,x\n" + "".join(f"0{day}/03/2024,{day}\n" for day in range(1, 8)))
    result = run_app("lstm_forecast", "predict", str(short))
    assert result.returncode == 0, result.stderr
    assert "2024-03-08" in result.stdout


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        series.read(tmp_path / "none.csv", Columns(("x",)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window": 5, "season": 11}, "`window` 5 must be at least `season` 11"),
        ({"known": ("promo",)}, "`known` needs `csv`"),
        ({"csv": "sales.csv"}, "`csv` needs `target`"),
        ({"window": 180}, "lower `window`"),
        ({"window": 10**9}, "lower `window`"),
        ({"horizon": 10**9}, "lower `window` or `horizon`"),
        ({"validation": 0.5, "test": 0.5}, "nothing to train on"),
    ],
)
def test_settings_that_leave_nothing_to_do_are_one_line(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_data(LstmForecast(**settings))  # type: ignore[arg-type]


def test_roots_of_negative_values_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "day,x\n" + "".join(f"{day},{day - 50}\n" for day in range(200)))
    settings = {"csv": str(path), "target": ("x",)}
    with pytest.raises(UserError, match="`transform` sqrt"):
        load_data(LstmForecast(**settings, transform="sqrt"))  # type: ignore[arg-type]
    assert load_data(LstmForecast(**settings)).outputs == ("x",)  # type: ignore[arg-type]


def test_the_built_in_series_are_the_published_ones() -> None:
    years, months = series.load("sunspots"), series.load("co2")
    sunspots, co2 = years.table, months.table
    assert (sunspots.index[0], sunspots.index[-1], len(sunspots)) == (1700, 2008, 309)
    assert sunspots["sunspots"].max() == 190.2
    assert (str(co2.index[0].date()), len(co2), int(co2["co2"].isna().sum())) == ("1958-03-01", 526, 5)
    assert years.following(1) == ["2009"]
    assert months.following(2) == ["2002-01-01", "2002-02-01"]


def test_the_seasonal_naive_forecast_repeats_the_last_season() -> None:
    inputs, targets = windows(np.arange(20.0)[:, None], window=6, horizon=5)
    repeated = baselines.SeasonalNaive(season=3).fit(inputs, targets).predict(inputs)
    np.testing.assert_array_equal(repeated[0, :, 0], [3, 4, 5, 3, 4])
    last = baselines.SeasonalNaive(season=1).fit(inputs, targets).predict(inputs)
    np.testing.assert_array_equal(last[0, :, 0], [5] * 5)


def test_the_autoregression_forecasts_as_statsmodels_does() -> None:
    generator = np.random.default_rng(0)
    values = np.zeros((300, 2))
    for time in range(2, 300):
        values[time] = 3 + 1.2 * values[time - 1] - 0.6 * values[time - 2] + generator.normal(size=2)
    model = baselines.Autoregression().fit(*windows(values[:200], window=10, horizon=4))
    forecasts = model.predict(values[None, 190:200])
    for variable, order in enumerate(model.orders):
        fitted = AutoReg(values[:200, variable], lags=order).fit()
        np.testing.assert_allclose(model.coefficients[variable], fitted.params, rtol=1e-6)
        np.testing.assert_allclose(forecasts[0, :, variable], fitted.forecast(4), rtol=1e-6)
        assert order >= 2


def test_the_scaled_error_is_its_formula_and_weighs_every_quantity_alike() -> None:
    generator = np.random.default_rng(1)
    true, predicted = generator.normal(size=(2, 7, 3, 2)).astype("float32") * [1, 1000]
    scale = [2.0, 500.0]
    expected = np.mean(((true - predicted) / scale) ** 2)
    assert float(losses.ScaledSquaredError(scale)(true, predicted)) == pytest.approx(expected, rel=1e-5)
    assert losses.ScaledSquaredError([0.0]).scale == [1.0]


def untrained(**settings: object) -> tuple[LstmForecast, keras.Model]:
    config = LstmForecast(**settings)  # type: ignore[arg-type]
    keras.utils.set_random_seed(0)
    return config, build_model(config, load_data(config))


def test_anchored_forecasts_move_with_the_level_of_the_window() -> None:
    config, model = untrained(anchor="last", transform="none")
    windows = load_data(config).test[0][:4]
    np.testing.assert_allclose(model(windows + 1000), model(windows) + 1000, rtol=1e-4)
    config, model = untrained(anchor="none", transform="none")
    assert not np.allclose(model(windows + 1000), model(windows) + 1000, rtol=1e-2)


def saved(config: LstmForecast, outputs: tuple[str, ...], data: str) -> SavedModel:
    settings = dataclasses.asdict(config)
    return SavedModel(
        model=keras.Sequential(), label="", data=data, kind="sequence", outputs=outputs, settings=settings
    )


def test_the_built_in_series_is_continued_after_its_end() -> None:
    examples = read_inputs(
        ["sunspots"], saved(LstmForecast(window=22, season=11, horizon=2), ("sunspots",), "sunspots")
    )
    names, inputs = examples.names, examples.inputs
    assert names == ["sunspots 2009", "sunspots 2010"]
    np.testing.assert_allclose(inputs[0, -3:, 0], [15.2, 7.5, 2.9], rtol=1e-6)
    assert inputs.shape == (1, 22, 1)


def test_a_table_of_several_variables_is_continued_and_its_gaps_filled(tmp_path: Path) -> None:
    path = write(tmp_path, "month,a,b\n2024-01-01,1,10\n2024-02-01,2,20\n2024-04-01,4,\n2024-05-01,5,50\n")
    config = LstmForecast(csv="old.csv", time="month", target=("b", "a"), window=4, season=1, horizon=1)
    examples = read_inputs([str(path)], saved(config, ("b", "a"), "old"))
    names, inputs = examples.names, examples.inputs
    assert names == [f"{path} 2024-06-01"]
    np.testing.assert_allclose(inputs[0], [[20, 2], [30, 3], [40, 4], [50, 5]])
    with pytest.raises(UserError, match="the network needs 9"):
        read_inputs([str(path)], saved(LstmForecast(window=9, season=1, horizon=1), ("a",), "old"))


PROMOTED = np.random.default_rng(0).uniform(size=140) < 0.3
SHOP = "day,sales,promo\n" + "".join(
    f"{day:%Y-%m-%d},{100 + 10 * (row % 7) + 50 * PROMOTED[row]},{int(PROMOTED[row])}\n"
    for row, day in enumerate(pd.date_range("2024-01-01", periods=140))
)
"""Sales with a week and promotions that nothing announces; the 140 days end on 2024-05-19."""
QUICK: dict[str, object] = {"time": "day", "target": ("sales",), "known": ("promo",), "units": (2,)}


def test_season_window_and_horizon_are_found_and_said(tmp_path: Path) -> None:
    data = load_data(LstmForecast(csv=str(write(tmp_path, SHOP)), **QUICK))  # type: ignore[arg-type]
    assert data.formats.windows == WindowFormat(21, 7, 7, ("weekday",), time="day")
    (note,) = (note for note in data.description.notes if "chosen" in note)
    for words in ("a season of 7 steps", "7 steps to forecast", "windows of 21 steps", "weekday"):
        assert words in note
    sunspots = load_data(LstmForecast()).formats.windows
    assert sunspots is not None
    assert (sunspots.window, sunspots.horizon, sunspots.cycles) == (2 * sunspots.season, sunspots.season, ())
    assert sunspots.season in (10, 11)


def test_effects_of_known_columns_are_forecast(tmp_path: Path) -> None:
    """Without training: the linear part knows the week and the promotion."""
    path = write(tmp_path, SHOP)
    config = LstmForecast(csv=str(path), **QUICK)  # type: ignore[arg-type]
    data = load_data(config)
    keras.utils.set_random_seed(0)
    model = build_model(config, data)
    assert np.abs(model.predict(data.test[0], verbose=0) - data.test[1]).mean() < 5
    blind = dataclasses.replace(config, known=())
    data = load_data(blind)
    assert np.abs(build_model(blind, data).predict(data.test[0], verbose=0) - data.test[1]).mean() > 10


def test_known_columns_of_the_steps_to_forecast_are_needed(tmp_path: Path) -> None:
    path = write(tmp_path, SHOP)
    config = LstmForecast(csv=str(path), window=14, horizon=3, season=7, **QUICK)  # type: ignore[arg-type]
    model = dataclasses.replace(saved(config, ("sales",), "sales"), formats=load_data(config).formats)
    with pytest.raises(UserError, match=r"no promo for 2024-05-20, the step 1 of 3 to forecast; add rows"):
        read_inputs([str(path)], model)
    path.write_text(SHOP + "2024-05-20,,0\n2024-05-21,,1\n")
    with pytest.raises(UserError, match=r"2024-05-22, the step 3 of 3 .* or forecast `steps` 2"):
        read_inputs([str(path)], model)
    path.write_text(SHOP + "2024-05-20,,0\n2024-05-21,,1\n2024-05-22,,0\n")
    examples = read_inputs([str(path)], model)
    assert examples.names == [f"{path} 2024-05-{day}" for day in (20, 21, 22)]
    assert examples.inputs["known"][0, :, 0].tolist() == [0, 1, 0]
    assert examples.inputs["history"].shape == (1, 14, 9)


def test_several_series_in_a_file_are_cut_at_the_same_times(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=60)
    rows = [f"a,{day:%Y-%m-%d},{row}" for row, day in enumerate(days)]
    rows += [f"b,{day:%Y-%m-%d},{1000 + row}" for row, day in enumerate(days) if row >= 20]
    path = write(tmp_path, "store,day,sales\n" + "\n".join(rows) + "\n")
    settings: dict[str, object] = {"csv": str(path), "target": ("sales",), "group": "store", "calendar": False}
    config = LstmForecast(window=5, horizon=2, season=1, **settings)  # type: ignore[arg-type]
    data = load_data(config)
    inputs, following = data.test
    assert (following[:, 0, 0] % 1000).tolist() == sorted(following[:, 0, 0] % 1000)
    assert (following % 1000).min() == 48
    assert data.test_series is not None
    assert set(data.test_series) == {"a", "b"}
    np.testing.assert_array_equal(inputs["history"][:, -1, :1] + 1, following[:, 0])
    examples = read_inputs([str(path)], dataclasses.replace(saved(config, ("sales",), ""), formats=data.formats))
    assert examples.names == [f"{path} {shop} 2024-03-0{day}" for shop in "ab" for day in (1, 2)]
    write(tmp_path, "store,day,sales\n" + "\n".join(rows) + "\n,2024-03-01,4\n")
    with pytest.raises(UserError, match="line 102: no value in the column store"):
        load_data(config)


def shops() -> str:
    """Sales of two shops with the same days; fairs, which are announced, raise those of the second alone."""
    days = pd.date_range("2024-01-01", periods=140)
    rows = [
        f"{day:%Y-%m-%d},{shop},{100 * shop + 10 * (row % 7) + 40 * (fair == 'big') + 20 * (fair == 'small')},{fair}\n"
        for shop in (1, 2)
        for row, (day, fair) in enumerate(zip(days, FAIRS, strict=True))
    ]
    return "day,store,sales,fair\n" + "".join(rows)


FAIRS = np.random.default_rng(0).choice(["", "small", "big"], 140, p=[0.6, 0.2, 0.2])
ANNOUNCED: dict[str, object] = {
    "time": "day",
    "target": ("sales",),
    "known": ("fair",),
    "group": "store",
    "units": (2,),
}


def test_known_text_and_the_group_are_inputs(tmp_path: Path) -> None:
    """Without training: the linear part knows the effect of each text."""
    path = write(tmp_path, shops())
    config = LstmForecast(csv=str(path), window=14, horizon=3, season=7, **ANNOUNCED)  # type: ignore[arg-type]
    data = load_data(config)
    form = data.formats.windows
    assert form is not None
    assert (form.values, form.groups) == ({"fair": ("big", "small")}, ("1", "2"))
    assert "store: an input of the network" in data.description.notes
    known = data.test[0]["known"]
    assert data.test_series is not None
    assert (known[:, 0, 2:4].argmax(axis=1) + 1).astype(str).tolist() == data.test_series.tolist()
    keras.utils.set_random_seed(0)
    assert np.abs(build_model(config, data).predict(data.test[0], verbose=0) - data.test[1]).mean() < 3


def test_text_of_the_steps_to_forecast_is_read_as_in_training(tmp_path: Path) -> None:
    path = write(tmp_path, shops())
    config = LstmForecast(csv=str(path), window=14, horizon=3, season=7, **ANNOUNCED)  # type: ignore[arg-type]
    model = dataclasses.replace(saved(config, ("sales",), "sales"), formats=load_data(config).formats)
    with pytest.raises(UserError, match=r"no fair for 2024-05-20, the step 1 of 3 to forecast"):
        read_inputs([str(path)], model)
    ahead = "".join(f"2024-05-{day},{shop},,{fair}\n" for shop in (2, 3) for day, fair in AHEAD)
    path.write_text(shops().replace(",1,", ",3,") + ahead)
    examples = read_inputs([str(path)], model)
    assert examples.names[0].endswith("3 2024-05-20")
    assert examples.inputs["known"][:, :, :4].tolist() == [
        [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]],
    ]
    assert examples.unseen == (
        f"{path}: column fair has huge, which training never saw",
        f"{path}: training never saw store 3",
    )


AHEAD = ((20, "small"), (21, ""), (22, "huge"))


def test_a_known_column_of_many_texts_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "day,sales,fair\n" + "".join(f"{row},{row},fair of {row} days\n" for row in range(60)))
    with pytest.raises(UserError, match="column fair has 60 different texts; at most 50"):
        load_data(LstmForecast(csv=str(path), target=("sales",), known=("fair",)))


def test_a_long_forecast_continues_from_the_forecasts_before(tmp_path: Path) -> None:
    path = write(tmp_path, "t,x\n" + "".join(f"{row},{row % 4}\n" for row in range(60)))
    config = LstmForecast(csv=str(path), target=("x",), window=8, horizon=4, season=4, units=(2,))
    data = load_data(config)
    keras.utils.set_random_seed(0)
    model = dataclasses.replace(saved(config, ("x",), ""), model=build_model(config, data), formats=data.formats)
    options = ForecastOptions(steps=10)
    examples = options.read(app, [str(path)], model)
    assert list(examples.names) == [f"{path} {step}" for step in range(60, 70)]
    predictions = model.model.predict(examples.inputs, verbose=0)
    task = app.task.choose_threshold(data.validation[1], lambda: model.model.predict(data.validation[0], verbose=0))
    table = options.answers(task, examples, predictions, ("x",))
    np.testing.assert_allclose(table["x"], np.arange(60, 70) % 4, atol=0.1)
    names = ["lower 95 %", "lower 80 %", "median", "upper 80 %", "upper 95 %"]
    assert list(table.columns) == ["input", "x", *names]
    assert (np.diff(table[names].to_numpy(), axis=1) >= 0).all()
    widths = (table["upper 95 %"] - table["lower 95 %"]).to_numpy()
    assert widths[9] > widths[3]


def test_intervals_hold_on_other_windows() -> None:
    generator = np.random.default_rng(0)
    level = generator.uniform(10, 1000, (2, 4000, 1, 1))
    predictions = np.broadcast_to(level, (2, 4000, 3, 1))
    targets = predictions * np.exp(0.1 * generator.normal(size=predictions.shape) * np.array([1, 2, 3])[:, None])
    power, spread, multiples = intervals.calibrate(targets[0], predictions[0])
    assert power == 1
    assert spread[2] / spread[0] == pytest.approx(3, rel=0.1)
    widths = intervals.half_widths(predictions[1], power, spread, multiples)
    found = intervals.coverage(targets[1], predictions[1], widths)
    assert found["coverage_80"] == pytest.approx(0.80, abs=0.02)
    assert found["coverage_95"] == pytest.approx(0.95, abs=0.01)


def test_the_positions_in_the_calendar_fit_the_step() -> None:
    hours, days = TimeAxis("", "clock", 3600), TimeAxis("", "clock", 86_400)
    months, weeks = TimeAxis("", "months", 1), TimeAxis("", "clock", 7 * 86_400)
    assert [calendars.season(axis) for axis in (hours, days, weeks, months)] == [24, 7, 52, 12]
    assert calendars.cycles(hours, 1000) == ("hour", "weekday")
    assert calendars.cycles(days, 1000) == ("weekday", "year")
    assert calendars.cycles(weeks, 200) == ("year",)
    assert calendars.cycles(months, 48) == ("month",)
    assert calendars.cycles(months, 20) == ()
    monday = calendars.features(np.array(["2024-01-01T06:00"], "datetime64[s]"), ("hour", "weekday"))
    assert monday[0, 0] == pytest.approx(1)  # sin of a quarter of a day
    assert monday[0, 6:].tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_a_column_that_numbers_the_rows_gives_way_to_one_of_dates(tmp_path: Path) -> None:
    file = tmp_path / "exported.csv"  # as a data frame is written with its index
    days = pd.date_range("2024-01-01", periods=40)
    table = pd.DataFrame({"shop": "north", "day": days.strftime("%d.%m.%Y"), "sold": np.arange(40.0)})
    table.to_csv(file)
    (whole,) = series.read(file, Columns(("sold",)))
    assert whole.table.index.tolist() == days.tolist()
    assert any("the times, because" in note and "numbers the rows" in note for note in whole.description.notes)
    table[table.index > 30].to_csv(file)
    (rest,) = series.read(file, Columns(("sold",)), like=whole.axis)
    assert rest.table.index.tolist() == days[31:].tolist()
    (numbered,) = series.read(file, Columns(("sold",), "index"))
    assert numbered.table.index.tolist() == list(range(31, 40))


def test_rows_are_the_times_of_a_file_without_them_and_copies_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "values.csv"
    path.write_text("load,heat\n" + "1.5,2\n" * 3 + "2.5,0\n" * 3)
    (found,) = series.read(path, series.Columns(("load",), also=("heat",)))
    assert found.table["load"].tolist() == [1.5, 1.5, 1.5, 2.5, 2.5, 2.5]
    assert any("no column of times" in note for note in found.description.notes)
    path.write_text("day,load\n2024-01-01,1\n2024-01-02,2\n2024-01-02,2\n2024-01-03,3\n")
    (found,) = series.read(path, series.Columns(("load",)))
    assert found.table["load"].tolist() == [1, 2, 3]
    assert any("1 of 4 rows are copies" in note for note in found.description.notes)


def test_new_files_may_have_their_columns_in_another_order(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    frame = pd.DataFrame({"day": days, "sales": np.arange(60) % 7})
    frame.to_csv(tmp_path / "train.csv", index=False)
    data = load_data(LstmForecast(csv=str(tmp_path / "train.csv"), target=("sales",)))
    assert data.formats.windows
    assert data.formats.windows.time == "day"
    frame.assign(weather="sunny")[["weather", "sales", "day"]].to_csv(tmp_path / "new.csv", index=False)
    (found,) = series.read(tmp_path / "new.csv", Columns(("sales",), found="day"), like=data.formats.times)
    assert found.axis == data.formats.times
    assert len(found.table) == 60
