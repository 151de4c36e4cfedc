"""Commands load the libraries that they use, and no more."""

from typing import Any

import pytest

from tests.conftest import run

PROGRAM = """
import atexit, runpy, sys
HEAVY = {"keras.src", "tensorflow", "mlflow", "ray", "sklearn", "matplotlib.figure"}
atexit.register(lambda: print("loaded:", *HEAVY & set(sys.modules)))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def loaded(*command: str, **environment: Any) -> set[str]:
    """Return the heavy libraries that a command loads in a process of its own."""
    shown = run("-c", PROGRAM, *command, **environment).stdout
    return set(shown.rpartition("loaded:")[2].split())


@pytest.mark.usefixtures("store")
def test_comparing_runs_loads_no_tensorflow() -> None:
    assert loaded("common.cli.compare", "mnist") == {"mlflow"}


@pytest.mark.usefixtures("store")
def test_on_jax_training_loads_no_tensorflow_and_prediction_no_library_that_draws_or_fits() -> None:
    train = ("train", "--backend", "jax", "--data", "and", "--epochs", "2", "--no-baseline")
    assert loaded("apps.perceptron", *train) == {"keras.src", "mlflow", "sklearn", "matplotlib.figure"}
    assert loaded("apps.perceptron", "predict", "0 1", KERAS_BACKEND="jax") == {"keras.src", "mlflow"}


@pytest.mark.usefixtures("store")
def test_showing_the_page_of_a_run_loads_no_tensorflow() -> None:
    assert loaded("common.cli.report") == {"mlflow"}


@pytest.mark.parametrize(
    "command",
    [
        ("apps.lenet5", "check"),
        ("apps.lstm_text", "check"),
        ("apps.lenet5", "train", "--epochs", "no"),
        ("apps.alexnet", "--help"),
    ],
)
def test_looking_at_data_and_reading_flags_load_neither_keras_nor_mlflow(command: tuple[str, ...]) -> None:
    assert loaded(*command) <= {"sklearn"}  # which splits the data


def test_looking_up_a_module_imports_no_deferred_one() -> None:
    code = "import inspect, sys, common; inspect.getmodule(inspect.currentframe()); print('tensorflow' in sys.modules)"
    assert run("-c", code).stdout == "False\n"


def test_the_dry_run_of_a_search_loads_no_backend_of_keras_and_no_mlflow() -> None:
    assert loaded("tuning.mnist_mlp", "--dry-run") == {"keras.src", "sklearn"}  # which KerasTuner imports
