"""Linear models end where the closed form or scikit-learn's solver does, with and without penalties."""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from sklearn.linear_model import LogisticRegression as SkLogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import training
from common.data import Data
from common.serving import export, runtimes
from tests.conftest import load_app


def fitted(name: str, **settings: Any) -> tuple[keras.Model, Data, pd.DataFrame]:
    """The app's network, trained, its data, and its coefficients by feature."""
    app = load_app(name)
    config = app.settings(**settings)
    data = app.load_data(config)
    keras.utils.set_random_seed(config.seed)
    model = app.build_model(config, data)
    training.fit(model, data, config, app.task)
    ((_, frame),) = app.tables(model, data)
    return model, data, frame.set_index("feature")


def test_the_women_give_the_published_line() -> None:
    _, data, coefficients = fitted("linear_regression")
    assert len(data.train[1]) == 15
    assert coefficients.per_unit["intercept"] == pytest.approx(-87.51667, abs=1e-3)
    assert coefficients.per_unit["height"] == pytest.approx(3.45, abs=1e-3)


def diabetes() -> tuple[pd.DataFrame, "pd.Series[float]"]:
    """The rows that the app trains on with seed 0: 60 % of them."""
    bunch = load_diabetes(as_frame=True, scaled=False)
    rows, _ = train_test_split(np.arange(442), test_size=0.2, random_state=0)
    rows, _ = train_test_split(rows, test_size=0.25, random_state=0)
    return bunch.data.iloc[rows], bunch.target.iloc[rows]


def test_diabetes_gives_the_coefficients_of_least_squares() -> None:
    _, _, coefficients = fitted("linear_regression", data="diabetes")
    inputs, targets = diabetes()
    exact = LinearRegression().fit(inputs, targets)
    np.testing.assert_allclose(coefficients.per_unit[1:], exact.coef_, rtol=1e-3)
    assert coefficients.per_unit["intercept"] == pytest.approx(exact.intercept_, rel=1e-3)


@pytest.mark.parametrize(
    ("scale", "offset", "target_scale", "target_offset"),
    [
        (1e-12, 0.0, 1.0, 0.0),
        (1e12, 3e15, 1.0, 0.0),
        (10.0, 1.7e9, 1.0, 0.0),
        (1.0, 123_456_789_012.0, 1e-12, 0.0),
        (1.0, 0.0, 1e12, -5e15),
        (1.0, 0.0, 1.0, 1.7e9),
        (1e-3, 1.7e3, 1e-12, 1e-6),
    ],
)
def test_least_squares_is_exact_at_any_scale_and_offset(
    scale: float, offset: float, target_scale: float, target_offset: float, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(100, 2))
    y = x @ [3.0, -2.0] + draw.normal(0, 0.5, 100)
    frame = pd.DataFrame({"a": scale * x[:, 0] + offset, "b": x[:, 1], "constant": offset})
    frame["y"] = target_scale * y + target_offset
    frame.to_csv(tmp_path / "t.csv", index=False)
    model, data, coefficients = fitted("linear_regression", csv=str(tmp_path / "t.csv"), target="y")
    inputs, targets = (
        np.column_stack([data.train[0][name] for name in ("a", "b")]).astype("float64"),
        data.train[1][:, 0].astype("float64"),
    )
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0)  # else its solver takes a small column for rounding errors
    exact = LinearRegression().fit((inputs - mean) / spread, targets - targets.mean())
    np.testing.assert_allclose(coefficients.per_unit[["a", "b"]], exact.coef_ / spread, rtol=1e-3)
    rows = np.column_stack([data.test[0][name] for name in ("a", "b")]).astype("float64")
    expected = exact.predict((rows - mean) / spread) + targets.mean()
    predictions = training.predict(model, data.test[0])[:, 0]
    np.testing.assert_allclose(predictions, expected, atol=1e-3 * target_scale, rtol=1e-7)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    loaded = training.predict(again, data.test[0])[:, 0]
    np.testing.assert_allclose(loaded, predictions, rtol=1e-9, atol=1e-5 * target_scale)


@pytest.mark.parametrize("kind", ["saved_model", "onnx"])
def test_an_exported_network_keeps_float64(kind: export.Format, tmp_path: Path) -> None:
    time = 1_700_000_000 + 10 * np.arange(60)
    pd.DataFrame({"time/s": time, "y": 0.3 * np.arange(60) + 1.7e9}).to_csv(tmp_path / "t.csv", index=False)
    model, data, _ = fitted("linear_regression", csv=str(tmp_path / "t.csv"), target="y")
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(training.predict(model, data.test[0]), data.test[1], atol=1e-3, rtol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as `export` does
        export.WRITERS[kind](model, tmp_path / "out")
    inputs = {"time/s": data.test[0]["time/s"][:, None]}
    with runtimes.in_new_process(kind, tmp_path / "out") as run:
        np.testing.assert_allclose(run(inputs), data.test[1], atol=1e-3, rtol=0)


@pytest.mark.parametrize("l1", [2.0, 40.0])
def test_an_absolute_penalty_gives_the_lasso_and_its_zeros(l1: float) -> None:
    _, _, coefficients = fitted("linear_regression", data="diabetes", l1=l1)
    inputs, targets = diabetes()
    exact = Lasso(alpha=l1 / 2, tol=1e-10, max_iter=100_000).fit(StandardScaler().fit_transform(inputs), targets).coef_
    assert np.count_nonzero(exact == 0) >= 1
    ours = coefficients.per_deviation[1:].to_numpy()
    np.testing.assert_array_equal(ours == 0, exact == 0)
    np.testing.assert_allclose(ours, exact, rtol=1e-3)


def test_a_squared_penalty_gives_ridge_regression() -> None:
    _, data, coefficients = fitted("linear_regression", data="diabetes", l2=0.1)
    inputs, targets = diabetes()
    exact = Ridge(alpha=0.1 * len(data.train[1])).fit(StandardScaler().fit_transform(inputs), targets)
    np.testing.assert_allclose(coefficients.per_deviation[1:], exact.coef_, rtol=1e-3)


def test_the_baseline_is_the_same_optimum_with_both_penalties() -> None:
    model, data, _ = fitted("linear_regression", data="diabetes", l1=2.0, l2=0.1)
    app = load_app("linear_regression")
    assert app.baseline
    estimators = app.baseline(app.settings(l1=2.0, l2=0.1), data)  # type: ignore[call-arg]
    estimator = estimators["baseline"].fit(*data.train)
    predictions = model.predict(data.test[0], verbose=0)
    np.testing.assert_allclose(app.task.predict(estimator, data.test[0]), predictions, rtol=1e-3)


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_breast_cancer_gives_the_coefficients_and_the_log_loss_of_scikit_learn(weights: str) -> None:
    model, data, coefficients = fitted("logistic_regression", class_weights=weights)
    frame = pd.DataFrame(data.train[0]).astype("float64")
    inverse = 1 / (2 * 0.001 * len(frame))
    solver = SkLogisticRegression(
        C=inverse, class_weight=None if weights == "none" else weights, tol=1e-10, max_iter=10_000
    )
    exact = make_pipeline(StandardScaler(), solver).fit(frame, data.train[1])
    np.testing.assert_allclose(coefficients.per_deviation[1:], solver.coef_[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(coefficients.odds_ratio_per_unit, np.exp(coefficients.per_unit))
    for inputs, labels in (data.train, data.test):
        ours = log_loss(labels, model.predict(inputs, verbose=0))
        theirs = log_loss(labels, exact.predict_proba(pd.DataFrame(inputs).astype("float64")))
        assert ours == pytest.approx(theirs, rel=1e-3)


def test_momentum_does_not_circle_around_the_optimum(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=40)
    y = np.where(x + draw.normal(size=40) > 0, "yes", "no")
    pd.DataFrame({"x": x, "y": y}).to_csv(tmp_path / "t.csv", index=False)
    _, data, coefficients = fitted("logistic_regression", csv=str(tmp_path / "t.csv"), target="y")
    app = load_app("logistic_regression")
    assert app.baseline
    exact = app.baseline(app.settings(), data)["baseline"].fit(*data.train)[-1].coef_[0]
    np.testing.assert_allclose(coefficients.per_deviation[1:], exact, rtol=1e-3)


def test_an_absolute_penalty_gives_sparse_log_odds_as_scikit_learns() -> None:
    _, data, coefficients = fitted("logistic_regression", l1=0.02, l2=0.0)
    app = load_app("logistic_regression")
    assert app.baseline
    estimators = app.baseline(app.settings(l1=0.02, l2=0.0), data)  # type: ignore[call-arg]
    exact = estimators["baseline"].fit(*data.train)[-1].coef_[0]
    ours = coefficients.per_deviation[1:].to_numpy()
    assert 0 < np.count_nonzero(exact) < 30
    np.testing.assert_array_equal(ours == 0, exact == 0)
    np.testing.assert_allclose(ours, exact, rtol=1e-2, atol=1e-3)
