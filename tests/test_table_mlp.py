"""The multilayer perceptron for tables: classes and quantities of a user's file, its ensemble, and its baselines."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from apps.table_mlp import Settings, app, build_model
from common import explain, recorded, tracking, training
from common.data import Array, Data
from common.nn import tabular
from common.serving import export
from tests.conftest import run_app

FEW = {"epochs": 3, "hidden": (16,), "members": 3}


def homes(rows: int = 500) -> pd.DataFrame:
    """A table with a gap, a date, few and many names; the price is a step of the size, and depends on the town."""
    draw = np.random.default_rng(0)
    size, town = draw.uniform(40, 200, rows).round(1), draw.integers(0, 30, rows)
    price = 1e5 + 2e5 * (size > 100) + 2e3 * town + draw.normal(0, 1e4, rows)
    frame = pd.DataFrame(
        {
            "size": np.where(draw.random(rows) < 0.03, np.nan, size),
            "built": pd.Timestamp("2001-01-01") + pd.to_timedelta(draw.integers(0, 3000, rows), "D"),
            "garden": draw.choice(["yes", "no", ""], rows),
            "town": [f"town {number}" for number in town],
            "price": price.round(),
        }
    )
    return frame.assign(dear=np.where(price > np.quantile(price, 0.7), "dear", "cheap"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("homes") / "homes.csv"
    homes().to_csv(path, index=False)
    return path


def settings(file: Path, target: str, **more: object) -> Settings:
    other = "dear" if target == "price" else "price"
    return Settings(csv=str(file), target=target, ignore=(other,), **more)  # type: ignore[arg-type]


def fitted(config: Settings) -> tuple[keras.Model, Data]:
    data = app.load_data(config)
    keras.utils.set_random_seed(config.seed)
    model = build_model(config, data)
    training.fit(model, data, config, app.for_data(data).task)
    return model, data


def test_a_quantity_is_predicted_in_its_unit_and_better_than_a_line_can(file: Path) -> None:
    model, data = fitted(settings(file, "price", epochs=20))
    predictions, targets = training.predict(model, data.test[0]), data.test[1]
    assert predictions.shape == targets.shape
    estimators = app.baseline(Settings(), data)  # type: ignore[misc]
    linear = estimators["ridge regression"].fit(*data.train).predict(data.test[0]).reshape(-1, 1)
    errors = [float(np.sqrt(np.mean((one - targets) ** 2))) for one in (predictions, linear)]
    assert errors[0] < 0.8 * errors[1] < targets.std()


@pytest.mark.usefixtures("store")
def test_a_class_is_trained_recorded_explained_exported_and_predicted(file: Path, tmp_path: Path) -> None:
    config = settings(file, "dear", **FEW)
    result = training.train(app, config)
    assert result.metrics["test_accuracy"] > 0.5
    label, again = training.evaluate(app, result.run_id)
    assert label == result.run_id
    assert again.metrics["test_accuracy"] == pytest.approx(result.metrics["test_accuracy"])
    assert recorded.config(str(result.run_id)) == config
    rows = tmp_path / "new.csv"
    homes(12).assign(town="elsewhere").to_csv(rows, index=False)
    predicted = run_app("table_mlp", "predict", str(rows), "--output", str(tmp_path / "answers.csv"))
    assert predicted.returncode == 0, predicted.stderr
    assert "elsewhere" in predicted.stderr
    answers = pd.read_csv(tmp_path / "answers.csv")
    assert set(answers["class"]) <= {"cheap", "dear"}
    np.testing.assert_allclose(answers["cheap"] + answers["dear"], 1, rtol=1e-5)
    explained = explain.explain(app, [str(rows)], None, None)
    assert {part.split(" = ")[0] for part in explained.tables["attributions"]["part"]} >= {"size", "town", "garden"}
    export.export(app, None, "saved_model", tmp_path / "exported")
    run = tracking.get(str(result.run_id))
    assert run.data.tags["metric"] == "accuracy"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("target", ["dear", "price"])
def test_numbers_are_exported_to_other_formats(target: str, tmp_path: Path) -> None:
    homes().drop(columns=["garden", "town"]).to_csv(tmp_path / "numbers.csv", index=False)
    training.train(app, settings(tmp_path / "numbers.csv", target, **FEW))
    kinds: tuple[export.Format, ...] = ("onnx", "litert")
    for kind in kinds:
        assert export.export(app, None, kind, tmp_path / kind).difference <= export.TOLERANCE


@pytest.mark.usefixtures("store")
def test_the_baselines_are_recorded_beside_it_for_a_class_and_a_quantity(file: Path) -> None:
    for target, linear, metric in (("dear", "logistic regression", "accuracy"), ("price", "ridge regression", "rmse")):
        results = training.baseline(app, settings(file, target))
        assert sorted(results) == ["gradient boosting", linear]
        assert all(f"test_{metric}" in result.metrics for result in results.values())


def test_text_beside_numbers_that_need_64_bits_is_predicted(file: Path) -> None:
    frame = pd.read_csv(file).assign(longitude=lambda rows: -93.6 + rows["size"].rank() / 1e5)
    frame.to_csv(file.with_name("far.csv"), index=False)
    model, data = fitted(settings(file.with_name("far.csv"), "price", **FEW))
    assert data.train[0]["longitude"].dtype == "float64"
    assert np.isfinite(training.predict(model, data.test[0])).all()


def test_the_kind_of_the_target_can_be_set(tmp_path: Path) -> None:
    frame = homes().assign(stars=np.arange(500) % 5 + 1).drop(columns=["price", "dear"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    config = Settings(csv=str(tmp_path / "t.csv"), target="stars")
    data = app.load_data(config)
    assert data.outputs == ("1", "2", "3", "4", "5")
    assert any("stars is a class" in note and "target_kind" in note for note in data.description.notes)
    data = app.load_data(dataclasses.replace(config, target_kind="quantity"))
    assert data.outputs == ("stars",)
    assert not any("stars is" in note for note in data.description.notes)


@pytest.mark.parametrize("classes", [True, False])
def test_the_loss_of_the_mean_and_the_added_loss_are_the_mean_of_the_members_losses(classes: bool) -> None:
    draw = np.random.default_rng(0)
    outputs = draw.normal(size=(6, 4, 3)).astype("float32")
    layer = tabular.MemberMean(classes)
    mean = layer(keras.ops.convert_to_tensor(outputs), training=True)
    labels, targets = draw.integers(0, 3, 6), draw.normal(size=(6, 3)).astype("float32")

    def loss(outputs: Array) -> float:
        if classes:
            found = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)
        else:
            found = keras.losses.mean_squared_error(targets, outputs)
        return float(keras.ops.mean(found))

    members = np.mean([loss(outputs[:, member]) for member in range(4)])
    assert loss(mean) + float(layer.losses[0]) == pytest.approx(members, rel=1e-5)
    layer(keras.ops.convert_to_tensor(outputs), training=False)
    assert not layer.losses


def test_encodings_of_bins_are_those_of_the_paper() -> None:
    layer = tabular.PiecewiseLinear([[0.0, 1.0, 3.0]], [0.0, 0.0], [1.0])
    x = np.array([[-1.0], [0.25], [1.0], [2.0], [9.0]], "float32")
    encoded = keras.ops.convert_to_numpy(layer(x))[:, 1:]
    expected = np.array([[0, 0], [0.25, 0], [1, 0], [1, 0.5], [1, 1]])
    np.testing.assert_allclose(encoded, expected)


def test_bins_have_enough_rows_and_different_edges() -> None:
    assert tabular.bin_edges(np.repeat([0.0, 1.0], 50), 32) == []
    assert len(tabular.bin_edges(np.arange(100.0), 32)) == 1 + 100 // tabular.ROWS_PER_BIN
    assert tabular.bin_edges(np.array([0.0] * 80 + [1.0, 2.0] * 10), 32)[0] == 0.0


def test_an_outlier_does_not_make_a_large_prediction(file: Path) -> None:
    model, data = fitted(settings(file, "price", **FEW))
    row = {name: column[:1].copy() for name, column in data.test[0].items()}
    row["size"][:] = 1e9
    targets = data.train[1]
    assert abs(training.predict(model, row).item() - targets.mean()) < 3 * np.ptp(targets)


def test_a_constant_target_and_large_offsets_are_predicted(tmp_path: Path) -> None:
    frame = homes(60).assign(when=1.7e9 + np.arange(60) / 7)
    frame.to_csv(tmp_path / "t.csv", index=False)
    config = Settings(csv=str(tmp_path / "t.csv"), target="when", epochs=2)
    model, data = fitted(config)
    assert data.train[1].dtype == "float64"
    assert np.abs(training.predict(model, data.test[0]) - data.test[1]).max() < 100


def test_small_training_sets_have_smaller_batches() -> None:
    config = Settings(fewest_steps=32, batch_size=256)
    data = app.load_data(config)
    assert data.batch_size(config) == len(data.train[1]) // 32
    assert data.steps(config) >= 32
    assert data.batch_size(dataclasses.replace(config, fewest_steps=1)) == 256
    assert json.dumps(dataclasses.asdict(config))
