"""A training is the same on any number of devices."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from common.errors import UserError
from common.nn import rating_rbm
from common.training import devices
from tests.conftest import assert_user_error, run, run_app, run_on_jax


@pytest.fixture(scope="module", params=["jax", pytest.param("tensorflow", marks=pytest.mark.slow)])
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trainings(tmp_path_factory.mktemp("devices"), request.param)


def trainings(folder: Path, backend: str, *options: str) -> dict[str, Any]:
    command = "-m", "tests.training.on_devices", str(folder), *options
    if backend == "jax":
        result = run_on_jax(*command, kept="devices", flags="--xla_force_host_platform_device_count=4")
    else:
        result = run(*command, KERAS_BACKEND=backend)
        assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("number", ["several", "several, then fewer"])
def test_metrics_and_weights_are_those_of_one_device(number: str, results: dict[str, Any]) -> None:
    single, several = results["metrics"]["one"], results["metrics"][number]
    assert set(several) == set(single)
    for name, values in single.items():
        assert several[name] == pytest.approx(values, rel=1e-4), name


def test_more_devices_than_there_are_is_an_error(results: dict[str, Any]) -> None:
    assert "error: --devices 5: " in results["error"]
    assert "on this machine; use " in results["error"]


def test_the_two_gpus_of_alexnet_learn_the_weights_of_one(results: dict[str, Any]) -> None:
    if not results["model_parallel"]:
        pytest.skip("on JAX alone")
    check_model_parallel(results["model_parallel"], "2")


@pytest.mark.slow
def test_two_pairs_of_gpus_learn_the_weights_of_one(tmp_path: Path) -> None:
    check_model_parallel(trainings(tmp_path, "jax", "--four")["model_parallel"], "4")


def check_model_parallel(trainings: dict[str, Any], number: str) -> None:
    single, several = trainings["1"]["metrics"], trainings[number]["metrics"]
    assert set(several) == set(single)
    for name, values in single.items():
        assert several[name] == pytest.approx(values, rel=1e-4), name
    for weight, (whole, part) in trainings[number]["shapes"].items():
        whole[0 if weight == "output/kernel" else -1] //= 1 if weight == "output/bias" else 2
        assert part == whole, weight


def test_one_processor_is_one_device() -> None:
    assert_user_error(run_app("perceptron", "train", "--devices", "2"), "--devices 2", "finds 1")
    assert devices.check("all", 100, 100) == 1


def test_devices_divide_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: ["gpu:0", "gpu:1", "gpu:2", "gpu:3"])
    assert devices.check(2, 100, 100) == 2
    assert devices.check("all", 100, 100) == 4
    with pytest.raises(UserError, match="`batch_size` 100: not a multiple of 3 devices; use 99 or 102"):
        devices.check(3, 100, 100)
    with pytest.raises(UserError, match="`batch_size` 2: not a multiple of 3 devices; use 3"):
        devices.check(3, 2, 100)
    with pytest.raises(UserError, match="`devices` 4: the validation set has 3 examples"):
        devices.check("all", 100, 3)


def test_tensorflow_does_not_divide_a_loss_that_is_one_number() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", rating_rbm.squared_error)
    with pytest.raises(UserError, match="`devices`: the loss of this network is one number"):
        devices.check_loss(model, np.zeros((2, 1), "float32"), np.ones((2, 1), "float32"))
    for loss in ("mse", keras.losses.MeanSquaredError(), keras.losses.mean_squared_error):
        model.compile("sgd", loss)
        devices.check_loss(model, np.zeros((2, 1), "float32"), np.ones((2, 1), "float32"))
