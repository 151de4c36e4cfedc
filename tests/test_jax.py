"""On JAX every app trains as on TensorFlow. `python -m tests.test_jax` trains them all in one process."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import keras
import mlflow
import pytest

from common.app import App
from common.data import Data
from common.preprocessing import arrays
from tests import conftest
from tests.conftest import APPS, Trained, assert_user_error, load_app, run, run_app, run_on_jax

SETTINGS = {
    "alexnet": ("--width", "0.02"),
    "boltzmann": ("--data", "encoder", "--hidden", "2", "--restricted", "--sweeps", "1", "--examples", "60"),
    "dbn": ("--hidden", "20", "20", "--pretraining", "1"),
    "fine_tune": ("--image-size", "32", "--per-class", "9", "--trained-layers", "3"),
    "lstm_memory": ("--length", "20", "--sequences", "100", "--units", "8"),
    "rbm": ("--data", "digits", "--hidden", "20", "--annealing", "20"),
    "rbm_recommender": ("--hidden", "8"),
}
"""What makes an app small."""
EXAMPLES = 150
"""To validate and to test on, which all apps but the perceptron take in batches of one size: each other size is one
more program to compile."""
REFUSED = {
    ("lstm_text", "train"): "networks on text need tensorflow",
    ("lenet5", "train", "--variant", "1998"): "set JAX_ENABLE_X64=true",
}
COMMANDS = [
    *((app, "train", "--epochs", "1", "--limit", "256", *SETTINGS.get(app, ())) for app in APPS if app != "lstm_text"),
    *REFUSED,
    ("perceptron", "evaluate"),
]


def main() -> None:
    """Run the commands; the last line says as JSON how each ended."""
    conftest.load_app = few
    results = [run_app(*command) for command in COMMANDS]
    print(json.dumps([(result.returncode, result.stderr) for result in results]))


def few(name: str) -> App:
    """The app, on few examples."""
    app = load_app(name)

    def load_data(config: Any) -> Data:
        data = app.load_data(config)
        if not arrays.in_memory(data.test[0]):
            return data
        number = 256 if name == "mnist_mlp" else EXAMPLES
        parts = keras.tree.map_structure(lambda part: part[:number], (data.validation, data.test))
        return dataclasses.replace(data, validation=parts[0], test=parts[1])

    return dataclasses.replace(app, load_data=load_data)


@dataclass(frozen=True)
class Results:
    """What came of the commands."""

    store: str
    stderr: str
    """What was written there outside the commands' own output, as by native libraries."""
    ends: list[tuple[int, str]]
    """Status and stderr of each command."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = f"sqlite:///{tmp_path_factory.mktemp('jax')}/mlflow.db"
    result = run_on_jax("-m", "tests.test_jax", kept="apps", timeout=900, MLFLOW_TRACKING_URI=store)
    return Results(store, result.stderr, json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_works_or_is_refused_in_a_line(command: tuple[str, ...], results: Results) -> None:
    status, error = results.ends[COMMANDS.index(command)]
    if command in REFUSED:
        assert status == 2
        assert error.startswith("error: ")
        assert REFUSED[command] in error
        assert error.count("\n") == 1
    else:
        assert (status, error) == (0, "")


def test_native_libraries_write_no_log_lines(results: Results) -> None:
    assert results.stderr == ""


def test_the_metrics_are_those_on_tensorflow(results: Results, trained: Trained) -> None:
    if trained.app != "lstm_text":
        assert metrics(results.store, trained.app) == metrics(trained.uri, trained.app)


def test_one_process_has_one_backend() -> None:
    assert_user_error(run_app("perceptron", "train", "--backend", "jax"), "--backend jax", "runs on tensorflow")
    result = run("-m", "apps.perceptron", "train", KERAS_BACKEND="theano")
    assert_user_error(result, "KERAS_BACKEND=theano", "tensorflow, jax")


def metrics(store: str, app: str) -> set[str]:
    """The names of what a store has of an app's training."""
    client = mlflow.MlflowClient(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    words = f"tags.app = '{app}' and tags.kind = 'train' and attributes.status = 'FINISHED'"
    (found,) = client.search_runs(experiments, words)
    return set(found.data.metrics)


if __name__ == "__main__":
    main()
