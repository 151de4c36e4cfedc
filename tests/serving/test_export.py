"""`export`: every format is loaded by its own runtime in a fresh process, and answers as Keras does."""

import ast
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from common import tracking, training
from common.app import App
from common.errors import UserError
from common.serving import export
from common.serving.export import COMPARED, NAMES, TOLERANCE, WRITERS, Format
from common.serving.runtimes import RUNTIMES, Inputs
from tests.conftest import FOR_ALL, Trained, assert_user_error, load_app, train_once


@pytest.fixture(scope="module")
def table(shared: Path) -> Trained:
    """A network on columns whose names have spaces and brackets."""
    return train_once("perceptron", shared, *FOR_ALL)


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


def test_what_a_format_cannot_hold_is_said_before_any_work(
    trained_reviewer: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentences in ONNX and LiteRT; and an operation that ONNX lacks."""
    monkeypatch.setattr(App, "data_of", None)
    for kind in ("onnx", "litert"):
        result = trained_reviewer("export", "--format", kind, "--output", str(tmp_path / "made"))
        assert_user_error(result, f"--format {kind}", "text", "keras or saved_model")
    monkeypatch.undo()
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
