"""Time series: the grid, gaps, the cut by time, windows, what follows, and the forecasts that a network has to beat."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.ar_model import AutoReg

from apps.lstm_forecast import Settings as LstmForecast
from apps.lstm_forecast import build_model, load_data, read_inputs
from common import baselines
from common.data import Formats, SavedModel, TimeAxis
from common.errors import UserError
from common.nn import losses
from common.preprocessing import series
from common.preprocessing.series import Gaps, Series
from tests.conftest import run_app


def counted(steps: int) -> Series:
    """A series in which the value tells the time."""
    table = pd.DataFrame({"x": np.arange(steps, dtype=float)}, index=pd.RangeIndex(steps))
    return Series(table, TimeAxis("number", "number", 1))


def test_a_window_is_followed_by_its_targets() -> None:
    values = np.arange(12.0).reshape(6, 2)
    inputs, targets = series.windows(values, window=3, horizon=2)
    np.testing.assert_array_equal(inputs, [values[0:3], values[1:4]])
    np.testing.assert_array_equal(targets, [values[3:5], values[4:6]])


def test_no_window_of_one_part_reaches_into_another() -> None:
    data = series.split(counted(100), "x", window=5, horizon=3, validation=0.2, test=0.25, gaps="linear")
    spans = [(min(x.min(), y.min()), max(x.max(), y.max())) for x, y in (data.train, data.validation, data.test)]
    assert spans == [(0, 54), (55, 74), (75, 99)]
    assert [len(y) for _, y in (data.train, data.validation, data.test)] == [48, 13, 18]


@pytest.mark.parametrize(("gaps", "expected"), [("linear", [1, 1, 2, 3, 4, 4]), ("previous", [1, 1, 1, 1, 4, 4])])
def test_gaps_are_filled_as_the_setting_says(gaps: Gaps, expected: list[float]) -> None:
    table = pd.DataFrame({"x": [np.nan, 1, np.nan, np.nan, 4, np.nan]})
    assert series.fill(table, gaps)["x"].tolist() == pytest.approx(expected)


def test_a_gap_at_the_border_of_two_parts_is_not_filled_from_the_other() -> None:
    found = counted(30)
    found.table.iloc[18:22] = np.nan
    data = series.split(found, "x", window=2, horizon=1, validation=1 / 3, test=1 / 3, gaps="linear")
    assert data.validation[1].max() == 17
    assert data.test[0].min() == 22


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
    found = series.read(path, None, ["x"])
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
        ("t,x\n1.5,2\n2.5,3\n3.5,4\n", ["column t", "whole numbers"]),
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
        series.read(path, None, ["x"])
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
    data = load_data(LstmForecast(csv=str(path), target=("value",)))
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
    examples = read_inputs(
        [str(path)], dataclasses.replace(saved(LstmForecast(), ("value",), ""), formats=data.formats)
    )
    assert examples.names == [f"{path} {after}"]
    assert any(step in note for note in examples.notes)


def test_all_problems_of_a_series_are_in_one_report(tmp_path: Path) -> None:
    path = write(tmp_path, "t,x,y\nMonday,1,\nTuesday,two,\nFriday,3,\n")
    with pytest.raises(UserError) as error:
        series.read(path, None, ["x", "y"])
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
        series.read(tmp_path / "none.csv", None, ["x"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window": 5}, "`window` 5 must be at least `season` 11"),
        ({"csv": "sales.csv"}, "`csv` needs `target`"),
        ({"window": 80}, "lower `window`"),
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
        load_data(LstmForecast(**settings))  # type: ignore[arg-type]
    assert load_data(LstmForecast(**settings, transform="none")).outputs == ("x",)  # type: ignore[arg-type]


def test_the_built_in_series_are_the_published_ones() -> None:
    years, months = series.load("sunspots"), series.load("co2")
    sunspots, co2 = years.table, months.table
    assert (sunspots.index[0], sunspots.index[-1], len(sunspots)) == (1700, 2008, 309)
    assert sunspots["sunspots"].max() == 190.2
    assert (str(co2.index[0].date()), len(co2), int(co2["co2"].isna().sum())) == ("1958-03-01", 526, 5)
    assert years.following(1) == ["2009"]
    assert months.following(2) == ["2002-01-01", "2002-02-01"]


def test_the_seasonal_naive_forecast_repeats_the_last_season() -> None:
    inputs, targets = series.windows(np.arange(20.0)[:, None], window=6, horizon=5)
    repeated = baselines.SeasonalNaive(season=3).fit(inputs, targets).predict(inputs)
    np.testing.assert_array_equal(repeated[0, :, 0], [3, 4, 5, 3, 4])
    last = baselines.SeasonalNaive(season=1).fit(inputs, targets).predict(inputs)
    np.testing.assert_array_equal(last[0, :, 0], [5] * 5)


def test_the_autoregression_forecasts_as_statsmodels_does() -> None:
    generator = np.random.default_rng(0)
    values = np.zeros((300, 2))
    for time in range(2, 300):
        values[time] = 3 + 1.2 * values[time - 1] - 0.6 * values[time - 2] + generator.normal(size=2)
    model = baselines.Autoregression().fit(*series.windows(values[:200], window=10, horizon=4))
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


def test_the_scaling_inside_the_model_is_that_of_the_training_part() -> None:
    config, model = untrained(transform="sqrt")
    inside, outside = (layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    roots = np.sqrt(load_data(config).train[0])
    for layer in (inside, outside):
        np.testing.assert_allclose(np.ravel(layer.mean), roots.mean(), rtol=1e-5)
        np.testing.assert_allclose(np.ravel(layer.variance), roots.var(), rtol=1e-5)
    assert outside.invert


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
    examples = read_inputs(["sunspots"], saved(LstmForecast(horizon=2), ("sunspots",), "sunspots"))
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
        read_inputs([str(path)], saved(LstmForecast(window=9, season=1), ("a",), "old"))
