"""`train` compares the network with baselines on the same split: recorded ones, or those that take seconds."""

import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from apps import lstm_forecast
from common.tasks import Classification, Regression
from common.training.baseline import beside
from common.training.symptoms import worse_than
from tests.conftest import run_app

BEFORE = ("--epochs", "1", "--learning-rate", "1e-6")


def baselines() -> list[mlflow.entities.Run]:
    return [
        run
        for run in mlflow.search_runs(search_all_experiments=True, output_format="list")
        if run.data.tags["kind"] == "baseline"
    ]


@pytest.mark.usefixtures("store")
def test_a_small_table_is_compared_at_once_and_again_without_another_fit(tmp_path: Path) -> None:
    rows = [f"{index % 7},{index % 3},{(index % 7 > 3) != (index % 3 > 0)}" for index in range(420)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,y,different", *rows]) + "\n")
    before = (*BEFORE, "--csv", str(tmp_path / "rows.csv"), "--target", "different")
    for _ in range(2):
        result = run_app("logistic_regression", "train", *before, "--baseline")
        assert result.returncode == 0, result.stderr
        shown = " ".join(result.stdout.split())
        names = {str(run.info.run_name).partition(":")[0]: run.data.metrics["test_roc_auc"] for run in baselines()}
        assert len(names) == len(baselines()) == 2
        for name, value in names.items():
            words = f"{name.removeprefix('logistic_regression ')} {value:.4g}"
            assert re.search(rf"beside test roc_auc: this network 0\.\d+, .*{re.escape(words)}", shown)
        assert "worse than the " in shown  # a network that has learned nothing
    assert "beside" not in run_app("logistic_regression", "train", *before, "--no-baseline").stdout


@pytest.mark.usefixtures("store")
def test_an_hourly_series_of_some_months_is_compared_at_once(tmp_path: Path) -> None:
    """Its overlapping windows repeat each hour, so they have many numbers, but the baselines take seconds."""
    time = pd.date_range("2025-01-01", periods=2500, freq="h")
    load = 100 + 20 * np.sin(time.hour.to_numpy() * np.pi / 12) + np.random.default_rng(0).normal(size=len(time))
    pd.DataFrame({"time": time, "load": load}).to_csv(tmp_path / "load.csv", index=False)
    config = lstm_forecast.Settings(csv=str(tmp_path / "load.csv"), target=("load",))
    found = beside(lstm_forecast.app, config, lstm_forecast.app.load_data(config))
    assert found["ridge regression"] < 2 < found["naive forecast"]


@pytest.mark.usefixtures("store")
def test_images_are_not_fitted_beside_but_a_recorded_baseline_is_named() -> None:
    few = ("--limit", "1000", "--epochs", "1", "--hidden", "16")
    assert "beside" not in run_app("mnist_mlp", "train", *few).stdout
    assert not baselines()


@pytest.mark.usefixtures("store")
def test_the_search_that_comes_next_has_the_users_data(tmp_path: Path) -> None:
    rows = [f"{index % 7},{index % 2}" for index in range(60)]
    (tmp_path / "my churn.csv").write_text("\n".join(["days,left", *rows]) + "\n")
    data = ("--csv", str(tmp_path / "my churn.csv"), "--target", "left")
    result = run_app("logistic_regression", "train", *data, "--epochs", "2")
    assert result.returncode == 0, result.stderr
    words = " ".join(result.stdout.split())
    assert f"tuning.logistic_regression --csv '{tmp_path}/my churn.csv' --target left" in words
    assert "--epochs" not in words.partition("next")[2]


def test_only_a_baseline_that_is_better_is_a_finding() -> None:
    found, targets = {"mean": 0.9, "ridge": 0.7}, np.arange(100) % 2
    assert len(list(worse_than(found, Classification(), {"test_accuracy": 0.8}, targets))) == 1
    (line,) = worse_than(found, Regression(), {"test_rmse": 0.8}, targets)
    assert line == "worse than the ridge: rmse 0.8 on the test set, the ridge has 0.7"
    assert not list(worse_than(found, Regression(), {"test_rmse": 0.7000001}, targets))


def test_networks_with_a_threshold_are_compared_by_the_area_under_the_roc_curve() -> None:
    """The thresholds are chosen for the F1, so an accuracy may be lower although the probabilities are better."""
    own = {"test_accuracy": 0.64, "test_roc_auc": 0.72}
    targets = np.arange(800) % 2
    assert not list(worse_than({"trees": 0.71}, Classification(), own, targets))
    (line,) = worse_than({"trees": 0.73}, Classification(), own, targets)
    assert line.startswith("worse than the trees: roc_auc 0.72 on the test set, the trees has 0.73")
    assert line.endswith("the difference is below the standard error of 800 examples")
    assert "below" not in next(worse_than({"trees": 0.75}, Classification(), own, targets))
