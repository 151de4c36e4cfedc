"""Classes of unequal size: weights, the metric that selects the model, and metrics of each class."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from common import explain, tasks, tracking, training
from common.config import Config
from common.data import Array, Data
from common.errors import UserError
from tests.conftest import load_app


def calls(rows: int = 600, share: float = 0.1) -> pd.DataFrame:
    """Calls of which a tenth are answered: more often after long ones."""
    draw = np.random.default_rng(0)
    answered = draw.random(rows) < share
    return pd.DataFrame({"minutes": draw.normal(1.5 * answered), "answered": np.where(answered, "yes", "no")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    calls().to_csv(tmp_path / "calls.csv", index=False)
    return tmp_path / "calls.csv"


@pytest.mark.parametrize(
    ("counts", "monitor"), [([81, 19], "val_loss"), ([79, 21], "val_accuracy"), ([10] * 10, "val_accuracy")]
)
def test_a_rare_class_makes_the_loss_the_monitor(counts: list[int], monitor: str) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    assert tasks.Classification().for_targets(labels).monitor == monitor
    assert tasks.Classification(monitor="val_top", mode="max").for_targets(labels).monitor == "val_top"


@pytest.mark.usefixtures("store")
def test_a_run_with_a_rare_class_says_so_and_has_metrics_of_each_class(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = load_app("logistic_regression")
    result = training.train(app, app.settings(csv=str(file), target="answered", epochs=5))  # type: ignore[call-arg]
    assert "% of the examples are yes, so val_loss chooses the best epoch" in capsys.readouterr().err
    table = result.tables["classes"]
    assert list(table["class"]) == ["no", "yes"]
    assert table.support.sum() == result.test_examples
    assert table.recall[1] == pytest.approx(result.metrics["test_recall"])


@pytest.mark.usefixtures("store")
def test_balanced_weights_predict_the_rare_class_more_often_in_any_classifier(file: Path) -> None:
    app = load_app("table_mlp")
    shares = []
    for weights in ("none", "balanced"):
        config = app.settings(  # type: ignore[call-arg]
            csv=str(file), target="answered", epochs=8, members=2, hidden=(8,), class_weights=weights
        )
        app, data = training.load(app, config)
        model = training.build(app, config, data)
        training.fit(model, data, config, app.task)
        shares.append(float(np.mean(training.predict(model, data.test[0])[:, 1])))
    assert shares[0] < 0.2
    assert 0.35 < shares[1] < 0.65


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("tuned", [False, True])
def test_balanced_weights_change_the_decision_but_the_probabilities_hold(file: Path, tuned: bool) -> None:
    app = load_app("logistic_regression")
    app = dataclasses.replace(app, task=tasks.Classification(tune_threshold=tuned))
    config = app.settings(csv=str(file), target="answered", epochs=20, class_weights="balanced")  # type: ignore[call-arg]
    result = training.train(app, config)
    assert any("recalibrated" in finding for finding in result.findings)
    saved = tracking.load("logistic_regression", result.run_id)
    inputs, labels = app.load_data(config).test
    probabilities = training.predict(saved.model, inputs)
    assert probabilities[:, 1].mean() == pytest.approx(labels.mean(), abs=0.05)
    balanced = training.predict(keras.Model(saved.model.input, saved.model.get_layer("recalibration").input), inputs)
    assert balanced[:, 1].mean() > 0.3
    answers = app.task_of(saved).answers(probabilities, saved.outputs)
    if not tuned:
        assert 0.2 < (answers["class"] == "yes").mean() < 0.8
        assert list(answers["class"]) == [saved.outputs[label] for label in balanced.argmax(axis=1)]


@pytest.mark.usefixtures("store")
def test_recalibrated_probabilities_are_explained(file: Path) -> None:
    app = load_app("logistic_regression")
    config = app.settings(csv=str(file), target="answered", epochs=5, class_weights="balanced")  # type: ignore[call-arg]
    training.train(app, config)
    file.with_name("new.csv").write_text("minutes\n4\n")
    table = explain.explain(app, [str(file.with_name("new.csv"))], None, "yes").tables["attributions"]
    (contribution,) = table.integrated_gradients
    assert contribution > 1  # a part of the log-odds


@pytest.mark.usefixtures("store")
def test_the_champion_is_compared_by_the_loss_of_the_recalibrated_probabilities(file: Path) -> None:
    app, losses = load_app("logistic_regression"), []
    for weights in ("none", "balanced"):
        config = app.settings(csv=str(file), target="answered", epochs=20, class_weights=weights)  # type: ignore[call-arg]
        losses.append(training.train(app, config).metrics["best_val_loss"])
    assert losses[1] == pytest.approx(losses[0], abs=0.03)  # the loss with class weights is twice as large


@pytest.mark.usefixtures("store")
def test_a_network_a_trial_and_the_baselines_are_compared_by_the_same_quantities(file: Path) -> None:
    app = load_app("logistic_regression")
    config = app.settings(csv=str(file), target="answered", epochs=20)  # type: ignore[call-arg]
    plain = training.train(app, config, baselines=True)
    assert all(not name.startswith("balanced") for name in plain.baselines)
    config = dataclasses.replace(config, class_weights="balanced")
    network = training.train(app, config, baselines=True)
    own, data = training.load(app, config)
    with tracking.run(own, "trial", config, data, "trial 1") as run:
        trial = training.trial(own, config, data, run, training.FitOptions())
    assert trial["best_val_loss"] == pytest.approx(network.metrics["best_val_loss"])
    assert sorted(network.baselines) == ["balanced baseline", "balanced gradient boosting"]
    exact = training.baseline(app, config)["balanced baseline"].metrics
    # The same model as the network: its decision counts both classes alike, and its probabilities are recalibrated.
    for name in ("accuracy", "cross_entropy"):
        assert exact[f"test_{name}"] == pytest.approx(network.metrics[f"test_{name}"], abs=0.03)


@pytest.mark.usefixtures("store")
def test_the_loss_is_measured_before_a_network_is_calibrated_on_the_validation_set(file: Path) -> None:
    def calibrate(model: keras.Model, _config: Config, _data: Data) -> None:
        model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])

    app = dataclasses.replace(load_app("logistic_regression"), calibrate=calibrate)
    config = app.settings(csv=str(file), target="answered", epochs=20, class_weights="balanced")  # type: ignore[call-arg]
    result = training.train(app, config)
    assert result.metrics["best_val_loss"] + 0.03 < result.metrics["test_cross_entropy"]


@pytest.mark.usefixtures("store")
def test_a_network_that_diverged_is_not_recalibrated(file: Path) -> None:
    app = dataclasses.replace(load_app("logistic_regression"), tables=lambda *_: {})  # odds ratios would overflow
    config = app.settings(csv=str(file), target="answered", class_weights="balanced", epochs=1)  # type: ignore[call-arg]
    config = dataclasses.replace(config, optimizer="adam", learning_rate=1e30)
    result = training.train(app, config)
    assert not np.isfinite(result.metrics["best_val_loss"])
    assert result.model is not None
    assert not any("recalibrat" in words for words in [*result.findings, *(one.name for one in result.model.layers)])


@pytest.mark.usefixtures("store")
def test_a_baseline_that_takes_no_weights_is_an_error_and_a_network_is_trained_without_it(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = dataclasses.replace(load_app("logistic_regression"), baseline=lambda *_: KNeighborsClassifier())
    config = app.settings(csv=str(file), target="answered", epochs=1, class_weights="balanced")  # type: ignore[call-arg]
    with pytest.raises(UserError, match=r"`class_weights`: .* takes no weights of examples .*sample_weight"):
        training.baseline(app, config)
    assert training.train(app, config, baselines=True).baselines == {}
    assert "takes no weights of examples" in capsys.readouterr().err


def test_the_weights_of_all_classes_have_the_same_total() -> None:
    app = load_app("logistic_regression")
    config = app.settings(class_weights="balanced")
    data = app.load_data(config)
    _, labels, weights = training.weighted(data.train, config, data)
    totals: Array = np.bincount(labels, weights)
    np.testing.assert_allclose(totals, len(labels) / 2, rtol=1e-5)


def test_class_weights_need_classes() -> None:
    app = load_app("linear_regression")
    with pytest.raises(UserError, match=r"`class_weights` balanced: women has no classes"):
        training.load(app, app.settings(class_weights="balanced"))
