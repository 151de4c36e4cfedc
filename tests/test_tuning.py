"""A small real search: what it leaves in the store, and the command that it ends with."""

import dataclasses
import importlib
import pkgutil
import shlex
from typing import Any

import keras_tuner
import mlflow
import pytest
import tyro

import tuning
from apps.mnist_mlp import MnistMlp
from common.app import App
from common.errors import UserError
from tests.conftest import APPS, assert_user_error, run
from tuning import search

SPACES = [module.name for module in pkgutil.iter_modules(tuning.__path__) if module.name != "search"]


def space(hp: Any) -> MnistMlp:
    return MnistMlp(hidden=(hp.Choice("units", [8, 16, 24]),), epochs=1, dropout=0.0)


@pytest.mark.usefixtures("store")
def test_a_search_is_a_run_with_a_child_run_a_trial(tiny_app: App, capsys: pytest.CaptureFixture[str]) -> None:
    search.run(tiny_app, space, search.Search(trials=3))
    runs = mlflow.search_runs(experiment_names=["mnist"], output_format="list")
    (parent,) = (run for run in runs if run.data.tags["kind"] == "search")
    trials = [run for run in runs if run.data.tags["kind"] == "trial"]
    assert parent.data.params == {"trials": "3", "seed": "0"}
    assert len(trials) == 3
    assert {trial.data.params["hidden"] for trial in trials} == {"(8,)", "(16,)", "(24,)"}
    for trial in trials:
        assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert set(trial.data.params) == {field.name for field in dataclasses.fields(MnistMlp)}
        assert not any(name.startswith("test_") for name in trial.data.metrics)
    assert mlflow.MlflowClient().search_registered_models() == []
    best = max(trials, key=lambda trial: trial.data.metrics["best_val_accuracy"])
    last = capsys.readouterr().out.strip().splitlines()[-1]
    words = shlex.split(last.split("train ")[1])
    assert str(dataclasses.asdict(tyro.cli(MnistMlp, args=words))["hidden"]) == best.data.params["hidden"]


def test_every_app_has_a_space_and_its_settings_are_the_apps() -> None:
    assert sorted(SPACES) == sorted(APPS)
    for name in SPACES:
        module = importlib.import_module(f"tuning.{name}")
        assert isinstance(module.space(keras_tuner.HyperParameters()), module.app.config)


def test_flags_give_back_the_settings() -> None:
    app = importlib.import_module("apps.mnist_mlp").app
    config = MnistMlp(hidden=(8, 9), learning_rate=1 / 3, batch_normalization="none")
    assert tyro.cli(MnistMlp, args=shlex.split(search._flags(app, config))) == config


def test_bad_searches_are_one_line() -> None:
    assert_user_error(run("-m", "tuning.mnist_mlp", "--trials", "0"), "--trials", "at least 1")
    assert_user_error(run("-m", "tuning.lenet5", "--trails", "3"), "--trails")
    with pytest.raises(UserError):
        search.Search(seed=-1)
