"""Commands load the libraries that they use, and no more."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run

ROOT = Path(__file__).parents[2]
PROGRAM = """
import atexit, runpy, sys
atexit.register(lambda: print("loaded:", *{"keras.src", "tensorflow", "mlflow", "ray"} & set(sys.modules)))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def loaded(*command: str) -> set[str]:
    """Return the heavy libraries that a command loads in a process of its own."""
    words = [sys.executable, "-c", PROGRAM, *command]
    shown = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return set(shown.rpartition("loaded:")[2].split())


@pytest.mark.usefixtures("store")
def test_comparing_runs_loads_no_tensorflow() -> None:
    assert loaded("common.cli.compare", "mnist") == {"mlflow"}


@pytest.mark.usefixtures("store")
def test_showing_the_page_of_a_run_loads_no_tensorflow() -> None:
    assert loaded("common.cli.report") == {"mlflow"}


@pytest.mark.parametrize(
    "command", [("apps.lenet5", "check"), ("apps.lenet5", "train", "--epochs", "no"), ("apps.alexnet", "--help")]
)
def test_looking_at_data_and_reading_flags_load_neither_keras_nor_mlflow(command: tuple[str, ...]) -> None:
    assert loaded(*command) == set()


def test_looking_up_a_module_imports_no_deferred_one() -> None:
    code = "import inspect, sys, common; inspect.getmodule(inspect.currentframe()); print('tensorflow' in sys.modules)"
    assert run("-c", code).stdout == "False\n"
