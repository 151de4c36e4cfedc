"""`export`: every format is loaded by its own runtime in a fresh process, and answers as Keras does."""

import ast
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from common import tracking, training
from common.data import Array
from common.errors import UserError
from common.serving import export
from common.serving.export import COMPARED, NAMES, TOLERANCE, WRITERS, Format
from common.serving.runtimes import RUNTIMES, Inputs
from tests.conftest import Trained, assert_user_error, load_app, train_for_all, train_once


@pytest.fixture(scope="module")
def table(shared: Path) -> Trained:
    """A network on columns whose names have spaces and brackets."""
    return train_for_all("perceptron", shared)


@pytest.mark.parametrize("kind", ["keras", "saved_model", "onnx", "litert"])
def test_a_fresh_process_of_each_runtime_answers_as_keras_does(
    trained_lenet: Trained, trained_mlp: Trained, kind: str, tmp_path: Path
) -> None:
    folder = tmp_path / "made"
    trained = trained_mlp if kind == "litert" else trained_lenet
    result = trained("export", "--format", kind, "--output", str(folder))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    said = " ".join(result.stdout.split())
    found = re.search(r"difference from Keras (\S+) at most, 200 test examples", said)
    assert found, said
    assert float(found[1]) <= 1e-5
    assert f"{trained.app}-mnist version 1" in said
    file = folder / export.NAMES[kind]  # type: ignore[index]
    assert json.loads((folder / "outputs.json").read_text())["outputs"] == list("0123456789")
    assert str(file) in said
    assert f"{export._size(file):,} bytes" in said
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    ast.parse(result.stdout.partition("next ")[2].strip())  # what to type next is Python


@pytest.mark.parametrize("kind", ["saved_model", "onnx", "litert"])
def test_columns_of_any_name_are_exported(table: Trained, kind: Format, tmp_path: Path) -> None:
    """In this process: the fresh one is tested above."""
    model, inputs = loaded(table)
    assert "sepal length (cm)" in inputs
    expected = training.predict(model, inputs)
    WRITERS[kind](model, tmp_path / NAMES[kind])
    answers = RUNTIMES[kind](tmp_path / NAMES[kind])(inputs)
    assert export.difference(answers, expected) <= TOLERANCE


def loaded(trained: Trained) -> tuple[keras.Model, Inputs]:
    """The saved model, and the first test examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", trained.uri)
        saved = tracking.load(trained.app, None)
    inputs = load_app(trained.app).data_of(saved).test[0]
    return saved.model, export._first(saved.model, inputs, COMPARED)


def test_quantizing_says_what_it_costs_and_saves(trained_mlp: Trained, tmp_path: Path) -> None:
    result = trained_mlp("export", "--format", "litert", "--quantize", "--output", str(tmp_path / "int8"))
    assert result.returncode == 0, result.stderr
    size = (tmp_path / "int8" / "model.tflite").stat().st_size
    sizes = re.search(r"([\d,]+) bytes, ([\d,]+) with float32", result.stdout)
    assert sizes, result.stdout
    assert int(sizes[1].replace(",", "")) == size
    assert size < 0.5 * int(sizes[2].replace(",", ""))
    accuracy = next(line for line in result.stdout.splitlines() if line.startswith("accuracy "))
    before, after, lost = (float(cell) for cell in accuracy.split()[-3:])
    assert lost == pytest.approx(after - before, abs=1e-4)
    assert abs(lost) < 0.02
    evaluated = trained_mlp("evaluate").stdout
    assert f"{100 * before:.1f}" in evaluated  # all of the test set


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--format", "tflite"], ["--format", "litert", "tflite"]),
        (["--format", "onnx", "--quantize"], ["--quantize", "--format litert"]),
        (["--format", "onnx", "--model", "nothing@all"], ["--model", "nothing"]),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    trained_lenet: Trained, flags: list[str], words: list[str], tmp_path: Path
) -> None:
    assert_user_error(trained_lenet("export", *flags, "--output", str(tmp_path / "made")), *words)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_not_overwritten(trained_lenet: Trained, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    assert_user_error(
        trained_lenet("export", "--format", "onnx", "--output", str(tmp_path)), str(tmp_path), "new folder"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    nowhere = tmp_path / "no" / "where"
    assert_user_error(trained_lenet("export", "--format", "onnx", "--output", str(nowhere)), "--output", "no folder")


def test_answers_that_differ_leave_nothing(
    trained_lenet: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    result = trained_lenet("export", "--format", "onnx", "--output", str(tmp_path / "made"))
    assert_user_error(result, "--format onnx", "differ")
    assert not list(tmp_path.iterdir())


def converted(folder: Path, rows: Any) -> dict[str, Array]:
    """Rows in the form that the exported network takes, by the file `inputs.py` beside it."""
    spec = importlib.util.spec_from_file_location("exported_inputs", folder / "inputs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Array] = module.convert(rows)
    return found


@pytest.fixture(scope="module")
def shoes(shared: Path) -> tuple[Trained, Path]:
    """A network on columns of text, and new rows, of which some have gaps and values that training did not have."""
    rng, rows = np.random.default_rng(0), 120
    numbers = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows).round(3))
    columns = {"colour of it": rng.choice(["red", "green é", "blue", ""], rows), "size": numbers}
    table = pd.DataFrame({**columns, "sold": rng.choice(["yes", "no"], rows)})
    table.to_csv(shared / "shoes.csv", index=False)
    new = pd.DataFrame({"colour of it": ["red", "", "purple", "green é"], "size": [0.5, 2, -3, np.nan]})
    new.to_csv(shared / "new_shoes.csv", index=False)
    settings = ("--csv", str(shared / "shoes.csv"), "--target", "sold", "--members", "2", "--hidden", "8")
    return train_once("table_mlp", shared, *settings), shared / "new_shoes.csv"


def predicted(trained: Trained, *files: str, to: Path) -> Array:
    """The probabilities that `predict` writes."""
    assert trained("predict", *files, "--output", str(to)).returncode == 0
    answers: Array = pd.read_csv(to).iloc[:, -2:].to_numpy()
    return answers


@pytest.mark.parametrize("kind", ["onnx", "litert"])
def test_a_table_with_text_is_exported(shoes: tuple[Trained, Path], kind: Format, tmp_path: Path) -> None:
    """ONNX takes the raw rows; LiteRT has no strings, so another file converts them."""
    trained, file = shoes
    result = trained("export", "--format", kind, "--output", str(tmp_path / "made"))
    assert result.returncode == 0, result.stderr
    rows = pd.read_csv(file, keep_default_na=False).replace({"size": {"": "nan"}}).astype({"size": "float32"})
    raw: Inputs = {str(name): rows[name].to_numpy()[:, None] for name in rows}
    assert (tmp_path / "made" / "inputs.py").exists() == ("inputs.py" in result.stdout) == (kind == "litert")
    inputs = raw if kind == "onnx" else converted(tmp_path / "made", raw)
    answers = RUNTIMES[kind](tmp_path / "made" / NAMES[kind])(inputs)
    np.testing.assert_allclose(answers, predicted(trained, str(file), to=tmp_path / "answers.csv"), atol=1e-5)


@pytest.mark.parametrize("kind", ["onnx", "litert"])
def test_sentences_are_exported_in_two_parts(trained_reviewer: Trained, kind: Format, tmp_path: Path) -> None:
    result = trained_reviewer("export", "--format", kind, "--output", str(tmp_path / "made"))
    assert result.returncode == 0, result.stderr
    sentences = ["A FINE, fine film!", "dull", "films that aren't film's, not one of them, are fine"]
    answers = RUNTIMES[kind](tmp_path / "made" / NAMES[kind])(converted(tmp_path / "made", sentences))
    np.testing.assert_allclose(answers, predicted(trained_reviewer, *sentences, to=tmp_path / "answers.csv"), atol=1e-5)


def test_sentences_are_exported_as_a_saved_model(trained_reviewer: Trained, tmp_path: Path) -> None:
    model, inputs = loaded(trained_reviewer)
    WRITERS["saved_model"](model, tmp_path / "saved")
    answers = RUNTIMES["saved_model"](tmp_path / "saved")(inputs)
    assert export.difference(answers, training.predict(model, inputs)) <= TOLERANCE


def test_operations_that_a_format_lacks_are_named(
    trained_lenet: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """LeNet-5 of 1998 pads bytes and ends in float64, which LiteRT does not."""
    result = trained_lenet("export", "--format", "litert", "--output", str(tmp_path / "made"))
    assert_user_error(result, "--format litert", "lacks", "Pad", "Softmax", "another format")
    assert capfd.readouterr().err == ""
    assert not list(tmp_path.iterdir())
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Lambda(keras.ops.log1p)(inputs))
    model(np.zeros((1, 2)))
    with pytest.raises(UserError, match=r"`format` onnx: cannot hold it .*Log1p"), export._converting("onnx", "it"):
        WRITERS["onnx"](model, tmp_path / "x.onnx")
