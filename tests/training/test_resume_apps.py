"""Every app goes on from a checkpoint, on TensorFlow and on JAX: `python -m tests.training.test_resume_apps`."""

import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from common import training
from common.app import App
from common.config import Config
from common.data import Data
from common.training.checkpoint import Checkpoint
from tests.conftest import APPS, load_app, run

SMALL: dict[str, dict[str, Any]] = {
    "alexnet": {"width": 0.02},
    "boltzmann": {"data": "encoder", "hidden": 2, "restricted": True, "sweeps": 1, "examples": 60},
    "dbn": {"hidden": (20, 20), "pretraining": 1},
    "fine_tune": {"image_size": 32, "per_class": 5},
    "lstm_memory": {"length": 20, "sequences": 100, "units": 8},
    "rbm": {"data": "digits", "hidden": 20},
    "rbm_recommender": {"hidden": 8},
}
"""Settings that make an app small."""
ONLY_TENSORFLOW = ("lstm_text",)


def main() -> None:
    """Print a line of JSON: for each app, the number of variables that differ after a training in two parts."""
    only = () if keras.backend.backend() == "tensorflow" else ONLY_TENSORFLOW
    print(json.dumps({name: differences(load_app(name), SMALL.get(name, {})) for name in APPS if name not in only}))


def differences(app: App, settings: dict[str, Any]) -> int:
    """Train for three epochs, whole and in two parts, and return the number of variables that differ."""
    config = app.settings(**{"epochs": 3, "limit": 256, **settings})
    data = app.load_data(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.npz"
        whole = fitted(app, config, data, training.FitOptions())
        fitted(app, config, data, training.FitOptions(1, Checkpoint(path)))
        resumed = fitted(app, config, data, training.FitOptions(checkpoint=Checkpoint(path)))
    return sum(not np.array_equal(*pair) for pair in zip(whole, resumed, strict=True))


def fitted(app: App, config: Config, data: Data, options: training.FitOptions) -> list[np.ndarray]:
    """Build and train a network; return the values of its and its optimizer's variables, and its losses."""
    keras.utils.set_random_seed(config.seed)
    model = training.build(app, config, data)
    history = training.fit(model, data, config, app.task, options)
    values = [keras.ops.convert_to_numpy(variable) for variable in [*model.variables, *model.optimizer.variables]]
    return [*values, np.array(history["loss"])]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_every_app_ends_as_if_it_had_not_been_interrupted(backend: str) -> None:
    result = run("-m", "tests.training.test_resume_apps", KERAS_BACKEND=backend, JAX_ENABLE_X64="true", timeout=1800)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert len(found) >= 13
    assert not any(found.values()), found


if __name__ == "__main__":
    main()
