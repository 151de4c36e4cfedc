"""On JAX every app trains as on TensorFlow. `python -m tests.test_jax` trains them all in one process."""

import json
import os
from dataclasses import dataclass

import mlflow
import pytest

from tests.conftest import APPS, Trained, assert_user_error, on_few, run, run_app, run_on_jax

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
SIZES = {"mnist_mlp": 256}
"""To validate and to test on; all other apps take 150 examples, in batches of one size: each other size is one more
program to compile."""
REFUSED = {
    ("lstm_text", "train"): "networks on text need tensorflow",
    ("lenet5", "train", "--variant", "1998"): "set JAX_ENABLE_X64=true",
}
FEW = ("--epochs", "1", "--limit", "256")
COMMANDS = [
    ("perceptron", "train", "--backend", "jax", *FEW),
    *((app, "train", *FEW, *SETTINGS.get(app, ())) for app in APPS if app not in ("lstm_text", "perceptron")),
    *REFUSED,
    ("perceptron", "evaluate"),
]


def main() -> None:
    """Run the commands, of which the first selects the backend; the last line says as JSON how each ended."""
    del os.environ["KERAS_BACKEND"]
    results = [run_app(on_few(app, SIZES.get(app, 150)), *arguments) for app, *arguments in COMMANDS]
    print(json.dumps([(result.returncode, result.stderr) for result in results]))


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


def test_a_command_selects_its_backend(results: Results) -> None:
    assert trained_run(results.store, "perceptron").data.params["backend"] == "jax"


def test_one_process_has_one_backend() -> None:
    assert_user_error(run_app("perceptron", "train", "--backend", "jax"), "--backend jax", "runs on tensorflow")
    result = run("-m", "apps.perceptron", "train", KERAS_BACKEND="theano")
    assert_user_error(result, "KERAS_BACKEND=theano", "tensorflow, jax")


def metrics(store: str, app: str) -> set[str]:
    """The names of what a store has of an app's training."""
    return set(trained_run(store, app).data.metrics)


def trained_run(store: str, app: str) -> mlflow.entities.Run:
    """The only training of an app in a store."""
    client = mlflow.MlflowClient(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    words = f"tags.app = '{app}' and tags.kind = 'train' and attributes.status = 'FINISHED'"
    (found,) = client.search_runs(experiments, words)
    return found


if __name__ == "__main__":
    main()
