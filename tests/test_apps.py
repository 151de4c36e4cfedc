"""Every app through the same door: trained, evaluated, asked, and asked again by a process that is not the project."""

import ast
import dataclasses
import pickle
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest

from common.data import Data
from common.serving.export import Format
from tests.conftest import Trained, assert_user_error, load_app


@pytest.fixture(scope="session")
def few(trained: Trained) -> Data:
    """The data of the app in turn, its test part cut to ten examples."""
    app = load_app(trained.app)
    data = app.load_data(app.settings())
    return dataclasses.replace(data, test=keras.tree.map_structure(lambda part: part[:10], data.test))


@pytest.fixture(scope="session")
def asked(few: Data, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The ten examples as `predict` takes them: columns as a table, sentences as they are, else an array."""
    inputs, folder = few.test[0], tmp_path_factory.mktemp("asked")
    if isinstance(inputs, dict):
        pd.DataFrame(inputs).to_csv(folder / "x.csv", index=False)
        return [str(folder / "x.csv")]
    if inputs.dtype == object:
        return list(inputs)
    np.save(folder / "x.npy", inputs)
    return [str(folder / "x.npy")]


@pytest.fixture(scope="session")
def answers(trained: Trained, few: Data, asked: list[str], tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The table that `predict` writes."""
    table = tmp_path_factory.mktemp("answers") / "predictions.csv"
    result = trained("predict", *asked, "--output", str(table))
    assert result.returncode == 0, result.stderr
    assert f"10 predictions of {trained.app}-{few.name} version 1 in {table}" in result.stdout
    return pd.read_csv(table, dtype={"input": str, "class": str})


def test_train_says_what_it_did_where_it_is_and_what_to_type_next(trained: Trained, few: Data) -> None:
    objective = load_app(trained.app).task.monitor
    for words in (objective, f"on {few.name}", "examples/s", "version 1", "make ui", "predict", "tuning"):
        assert words in trained.output
    assert trained.errors == "" or trained.errors.startswith(f"{few.name}: fetching")


def test_evaluate_repeats_the_figures_of_train(trained: Trained) -> None:
    result = trained("evaluate")
    assert result.returncode == 0, result.stderr
    measured = [line for line in trained.output.splitlines() if line.startswith("test ")]
    assert len(measured) >= 2
    for line in measured:
        assert " ".join(line.split()) in " ".join(result.stdout.split())
    assert result.stderr == ""


def test_predict_answers_every_example_as_the_task_says(
    trained: Trained, few: Data, asked: list[str], answers: pd.DataFrame
) -> None:
    assert answers["input"].is_unique
    assert answers["input"].str.startswith(tuple(asked)).all()
    model = trained.model
    metadata = mlflow.models.Model.load(str(model)).metadata or {}
    task = dataclasses.replace(load_app(trained.app).task.for_outputs(few.outputs), **metadata["task"])
    expected = task.answers(answers[list(few.outputs)].to_numpy(), few.outputs)
    pd.testing.assert_frame_equal(answers.drop(columns="input"), expected)


STRANGER = """
import pickle, sys
import mlflow, numpy
answered, sys.stdout = sys.stdout, sys.stderr  # Keras draws its bar on the one
for line in sys.stdin.buffer:
    model, inputs, outputs = line.decode().rstrip().split("|")
    with open(inputs, "rb") as file:
        predictions = mlflow.pyfunc.load_model(model).predict(pickle.load(file))
    numpy.save(outputs, numpy.asarray(predictions))
    print("done", file=answered, flush=True)
"""


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[str]"]:
    """A process that is not the project and asks saved models: it takes lines of paths, MODEL|INPUTS|OUTPUTS."""
    with subprocess.Popen(
        [sys.executable, "-c", STRANGER],
        cwd=tmp_path_factory.mktemp("stranger"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield process


def test_the_saved_model_answers_away_from_the_project_as_predict_does(
    trained: Trained, stranger: "subprocess.Popen[str]", few: Data, answers: pd.DataFrame, tmp_path: Path
) -> None:
    """By what MLflow serves it by, which holds inputs to the model's signature."""
    model = trained.model
    (tmp_path / "inputs.pickle").write_bytes(pickle.dumps(few.test[0]))
    assert stranger.stdin is not None
    assert stranger.stdout is not None
    print(f"{model}|{tmp_path}/inputs.pickle|{tmp_path}/outputs.npy", file=stranger.stdin, flush=True)
    assert stranger.stdout.readline() == "done\n"
    expected = answers[list(few.outputs)]
    predictions = np.load(tmp_path / "outputs.npy").reshape(expected.shape)
    np.testing.assert_allclose(predictions, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", typing.get_args(Format))
def test_every_format_holds_the_app_or_says_that_it_cannot(trained: Trained, kind: Format, tmp_path: Path) -> None:
    """The table in docs/serving.md."""
    result = trained("export", "--format", kind, "--output", str(tmp_path / "made"))
    if (trained.app, kind) in (("lstm_text", "onnx"), ("lstm_text", "litert"), ("boltzmann", "onnx")):
        assert_user_error(result, f"--format {kind}: cannot hold")
    else:
        assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_what_the_app_answers_is_explained_or_it_is_said_that_it_cannot_be(trained: Trained, asked: list[str]) -> None:
    result = trained("explain", *asked)
    if trained.app in ("boltzmann", "rbm_recommender"):
        assert_user_error(result, "no class or quantity")
    else:
        assert result.returncode == 0, result.stderr
        errors = re.findall(r"([\d.e+-]+) % \(\d+ steps\)", result.stdout)
        assert len(errors) == 10
        assert sum(float(error) > 1 for error in errors) <= 2


def test_an_apps_file_has_the_usual_order_and_imports_no_machinery(trained: Trained) -> None:
    """(The rooms of common that apps may import are a contract in pyproject.toml, which `make lint` checks.)"""
    source = Path(load_app(trained.app).build_model.__code__.co_filename).read_text()
    landmarks = ["\nclass Settings(", "\ndef build_model(", "\napp = App(", '\nif __name__ == "__main__":']
    places = [source.index(landmark) for landmark in landmarks]
    assert places == sorted(places)
    nodes = list(ast.walk(ast.parse(source)))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in imported} & {"mlflow", "keras_tuner", "tensorflow", "tyro"}
