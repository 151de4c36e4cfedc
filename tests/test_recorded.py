"""What a run was made with and what came of it, loaded again by its id."""

import dataclasses
import typing
from pathlib import Path

import keras
import numpy as np
import pytest

from apps.logistic_regression import Settings as LogisticRegression
from apps.mnist_mlp import Settings as MnistMlp
from common import recorded, tracking, training
from common.app import App
from common.config import Config
from common.data import RawData
from common.errors import UserError
from tests.conftest import APPS, few, load_app, new_store


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[Path]:
    """One store for all tests here."""
    folder = new_store(tmp_path_factory.mktemp("recorded"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield folder


def other(config: Config) -> Config:
    """Settings that differ from the defaults in a setting of each kind, where the app has one."""
    changes: dict[str, object] = {"seed": 3, "learning_rate": 1 / 3, "optimizer": "sgd"}
    if "metrics" in vars(config):
        changes |= {"hidden": (7, 8), "metrics": ("mae",), "split": "70:30", "restore": "last"}
    changes |= {"csv": "2024.csv", "target": ("1998", "a b")} if "gaps" in vars(config) else {}
    changes |= {"variant": "1998", "distortions": True} if "variant" in vars(config) else {}
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", APPS)
def test_the_settings_of_a_run_are_those_it_was_recorded_with(name: str, mnist: RawData) -> None:
    app = load_app(name)
    for config in (app.settings(), other(app.settings())):
        with tracking.run(app, "trial", config, few(mnist, 4, 4, 4)) as run:
            pass
        assert recorded.app(run.id) is app
        assert recorded.config(run.id) == config
        assert type(recorded.config(run.id)) is app.settings


def test_long_settings_are_recorded_whole(mnist: RawData) -> None:
    app = load_app("logistic_regression")
    config = LogisticRegression(ignore=tuple(f"measurement of sensor {number}" for number in range(600)))
    with tracking.run(app, "trial", config, few(mnist, 4, 4, 4)) as run:
        pass
    assert len(tracking.get(run.id).data.params["ignore"]) < len(str(config.ignore))
    assert recorded.config(run.id) == config


@pytest.fixture(scope="module")
def trained(mnist: RawData) -> tuple[App, training.Result]:
    app = dataclasses.replace(load_app("mnist_mlp"), load_data=lambda _config: few(mnist))
    return app, training.train(app, MnistMlp(hidden=(16,), epochs=3))


def test_the_model_of_a_run_answers_as_it_did(trained: tuple[App, training.Result], mnist: RawData) -> None:
    _, result = trained
    assert result.run_id
    model = recorded.model(result.run_id)
    assert isinstance(model, keras.Model)
    pictures, labels = few(mnist).test
    accuracy = np.mean(model.predict(pictures, verbose=0).argmax(axis=1) == labels)
    assert accuracy == pytest.approx(result.metrics["test_accuracy"])


def test_the_curves_of_a_run_are_a_frame(trained: tuple[App, training.Result]) -> None:
    _, result = trained
    assert result.run_id
    curves = recorded.curves(result.run_id)
    assert list(curves.index) == [1, 2, 3]
    assert curves.index.name == "epoch"
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} == set(curves.columns)
    best = round(result.metrics["best_epoch"])
    assert curves["val_accuracy"][best] == curves["val_accuracy"].max() == result.metrics["best_val_accuracy"]


def test_the_data_of_a_run_are_loaded_again_or_have_changed(
    trained: tuple[App, training.Result], mnist: RawData, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, result = trained
    assert result.run_id
    with tracking.run(app, "trial", MnistMlp(seed=5), few(mnist, 8, 8, 8)) as run:
        pass
    again, expected = recorded.data(run.id), app.settings(seed=5)
    for part, own in zip(again.train, load_app("mnist_mlp").load_data(expected).train, strict=True):
        np.testing.assert_array_equal(part, own)
    changed = dataclasses.replace(app, load_data=lambda _config: dataclasses.replace(few(mnist), digest="0" * 16))
    monkeypatch.setattr("apps.mnist_mlp.app", changed)
    with pytest.raises(UserError, match="mnist has changed since run"):
        recorded.data(run.id)


def test_a_run_that_gives_nothing_is_one_line(trained: tuple[App, training.Result], mnist: RawData) -> None:
    app, _ = trained
    data = few(mnist, 4, 4, 4)
    with tracking.run(app, "search", MnistMlp(), data) as search, tracking.run(app, "trial", MnistMlp(), data) as trial:
        pass
    for call, run_id, said in (
        (recorded.config, "0" * 32, f"run {'0' * 32}: there is none in"),
        (recorded.curves, "0" * 32, "there is none in"),
        (recorded.config, search.id, "a search; choose"),
        (recorded.model, trial.id, "no saved model"),
    ):
        with pytest.raises(UserError, match=said):
            call(run_id)
    for tag, said in (("my_deleted_app", "of my_deleted_app, which is not in apps/"), ("rbm", "recorded with")):
        trial.tag("app", tag)
        with pytest.raises(UserError, match=said):
            recorded.config(trial.id)
