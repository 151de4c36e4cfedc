"""Export a saved model to another format, and check that its outputs are those of Keras.

Keras writes TensorFlow's SavedModel, ONNX and LiteRT only on its TensorFlow backend.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from common import lazy
from common.app import App
from common.data import Array, Data, Inputs, SavedModel
from common.errors import UserError, writing
from common.serving import inputs as raw
from common.serving import runtimes
from common.serving.runtimes import Network

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["keras", "saved_model", "onnx", "litert"]

NAMES: dict[Format, str] = {
    "keras": "model.keras",
    "saved_model": "saved_model",
    "onnx": "model.onnx",
    "litert": "model.tflite",
}
"""The file or folder of each format."""

OUTPUTS = "outputs.json"
"""The file with the names of the outputs, in their order, and the values that were chosen on the validation set."""

INPUTS = "inputs.json"
"""The file by which `inputs.py`, a copy of `common/serving/inputs.py`, converts text for a network without it."""

LOADING: dict[Format, str] = {
    "keras": "import common; common.register_layers(); model = keras.saving.load_model({!r})",
    "saved_model": "model = tensorflow.saved_model.load({!r}); model.serve(inputs)",
    "onnx": "session = onnxruntime.InferenceSession({!r})",
    "litert": "interpreter = tensorflow.lite.Interpreter({!r})",
}
"""Python code that loads it."""
COMPARED = 200
"""Largest number of test examples for the comparison with Keras."""
CALIBRATING = 200
"""Largest number of training examples that determine the ranges of int8 numbers."""
TOLERANCE = 1e-5
"""Largest `difference` from Keras's outputs that is accepted."""
BATCH = 1000
"""Examples per call of a runtime."""


@dataclass(frozen=True)
class Exported:
    """An exported model."""

    label: str
    """Label of the saved model."""
    file: Path
    size: int
    """Bytes."""
    difference: float
    """Largest difference from Keras's outputs, as `difference` measures it."""
    compared: int
    """Number of test examples that were compared."""
    float_size: int = 0
    """Bytes of a quantized model before quantization."""
    metrics: pd.DataFrame | None = None
    """Test metrics of Keras and of a quantized model."""
    converter: bool = False
    """Whether `inputs.py` beside it must convert text for it."""


def export(app: App, which: str | None, kind: Format, folder: Path, quantize: bool = False) -> Exported:
    """Export a saved model into a new folder, all or nothing.

    The format's own runtime loads the model in a new process, and its outputs for test examples are compared.

    Args:
        app: The app of the model.
        which: The model, as for `tracking.load`.
        kind: The format.
        folder: The folder to create.
        quantize: Use int8 numbers in LiteRT where possible. Training examples determine their ranges.

    Raises:
        UserError: if the folder exists or cannot be created, there is no such model, its data cannot be loaded, the
            format cannot represent it, or the outputs differ from Keras's.
    """
    _check(kind, folder, quantize)
    from common import tracking, training

    saved = tracking.load(app.name, which)
    data = app.data_of(saved)
    split = kind in ("onnx", "litert") and any(tensor.dtype == "string" for tensor in saved.model.inputs)
    network, form = _without_text(saved.model) if split else (saved.model, {})
    converter = split and not (kind == "onnx" and "columns" in form)
    # Keras takes text as (rows,) only.
    expected = training.predict(saved.model, keras.tree.map_structure(lambda part: part[:COMPARED], data.test[0]))
    with _all_or_nothing(folder) as partial:
        file = partial / NAMES[kind]
        float_size = 0
        if converter:
            (partial / INPUTS).write_text(json.dumps(form, ensure_ascii=False, indent=2), encoding="utf-8")
            shutil.copy(raw.__file__, partial / "inputs.py")

        def first(inputs: Inputs, count: int) -> runtimes.Inputs:
            if converter:
                return raw.convert(keras.tree.map_structure(lambda part: part[:count], inputs), partial / INPUTS)
            return _first(saved.model, inputs, count)

        with _converting(kind, saved.label):
            WRITERS[kind](network, file)
            if split and not converter:
                _put_lookups_in(file, form["columns"])
            if quantize:
                float_size = _size(file)
                _write_litert(network, file, first(data.train[0], CALIBRATING))
        with runtimes.in_new_process(kind, file) as run:
            largest = difference(run(first(data.test[0], COMPARED)), expected)
            metrics = _metrics(app, saved, data, lambda inputs: run(first(inputs, BATCH))) if quantize else None
        if not quantize and not largest <= TOLERANCE:
            raise UserError(
                f"`format` {kind}: the outputs differ from Keras's by {largest:.1e}, more than {TOLERANCE:.0e}; "
                "choose another format"
            )
        size = _size(file)
        names = {"outputs": list(saved.outputs), **saved.task}
        (partial / OUTPUTS).write_text(json.dumps(names, ensure_ascii=False, indent=2))
    return Exported(saved.label, folder / NAMES[kind], size, largest, len(expected), float_size, metrics, converter)


def _check(kind: Format, folder: Path, quantize: bool) -> None:
    """Check the settings before anything is loaded."""
    if folder.exists():
        raise UserError(f"`output` {folder}: exists already; name a new folder")
    if quantize and kind != "litert":
        raise UserError(f"`quantize` needs `format` litert, not {kind}")
    if kind != "keras" and keras.backend.backend() != "tensorflow":
        raise UserError(f"`format` {kind} needs KERAS_BACKEND=tensorflow, not {keras.backend.backend()}")


@contextlib.contextmanager
def _all_or_nothing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, and rename it to `folder` if the block ends without an error."""
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        with writing(f"`output` {folder}"):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _converting(kind: Format, label: str) -> Iterator[None]:
    """Silence the converters in the block, and turn their errors into one line."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    try:
        with (
            lazy.quiet_native_log(everything=True),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    except OSError:
        raise
    except Exception as error:  # any error of a converter: the user chose the format
        lines = str(error).splitlines() or [type(error).__name__]
        # A later line of LiteRT's error names the TensorFlow operations that it lacks.
        reason = next((line for line in lines if line.startswith("TF Select ops: ")), lines[0])
        reason = reason.replace("TF Select ops: ", "it lacks ")
        raise UserError(f"`format` {kind}: cannot hold {label} ({reason}); choose another format") from error


def _without_text(model: keras.Model) -> tuple[keras.Model, dict[str, Any]]:
    """Return the part of `model` after its layers that take text, and their content for `INPUTS`.

    The inputs of this part are the columns of numbers, and the outputs of those layers.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.TextVectorization):
            tensor, words = layer.output, layer.get_vocabulary()
            form = {"input": "words", "dtype": tensor.dtype, "length": tensor.shape[1], "unknown": 1, "words": words}
            return keras.Model({"words": tensor}, model.output), form
    lookups = {id(layer.input): layer for layer in model.layers if isinstance(layer, keras.layers.StringLookup)}
    tensors, columns = {}, {}
    for name, tensor in model.input.items():
        lookup = lookups.get(id(tensor))
        tensors[name] = lookup.output if lookup else tensor
        columns[name] = {"input": runtimes.plain(name), "dtype": tensors[name].dtype}
        if lookup:
            columns[name]["values"] = lookup.get_vocabulary(include_special_tokens=False)
    return keras.Model(tensors, model.output), {"columns": columns}


def _put_lookups_in(file: Path, columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the conversion of text to indicators into an ONNX model, whose inputs then are text.

    Args:
        file: The model.
        columns: Columns of `INPUTS` by name.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(file)
    given = {value.name: value for value in model.graph.input}
    for column in columns.values():
        if "values" not in column:
            continue
        name, values = column["input"], column["values"]
        own = {part: f"{name}:{part}" for part in ("number", "flat", "shape", "table", "indicators")}
        for node in model.graph.node:
            node.input[:] = [own["indicators"] if source == name else source for source in node.input]
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(np.array([-1]), own["shape"]),
                numpy_helper.from_array(np.eye(1 + len(values), dtype=column["dtype"]), own["table"]),
            ]
        )
        numbers = {"keys_strings": values, "values_int64s": range(1, 1 + len(values)), "default_int64": 0}
        steps = [
            helper.make_node("LabelEncoder", [name], [own["number"]], domain="ai.onnx.ml", **numbers),
            helper.make_node("Reshape", [own["number"], own["shape"]], [own["flat"]]),
            helper.make_node("Gather", [own["table"], own["flat"]], [own["indicators"]]),
        ]
        for place, step in enumerate(steps):
            model.graph.node.insert(place, step)
        given[name].CopyFrom(helper.make_tensor_value_info(name, onnx.TensorProto.STRING, [None, 1]))
    if all(opset.domain != "ai.onnx.ml" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    onnx.checker.check_model(model)
    onnx.save(model, file)


def _write_saved_model(model: keras.Model, folder: Path) -> None:
    model.export(folder, format="tf_saved_model", verbose=False, input_signature=[_signature(model)])


def _write_onnx(model: keras.Model, file: Path) -> None:
    import onnx

    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            # Tensors would become inputs of the exported network.
            layer.mean, layer.variance = map(keras.ops.convert_to_numpy, (layer.mean, layer.variance))
    model.export(file, format="onnx", verbose=False, input_signature=[_signature(model)])
    onnx.checker.check_model(file)  # Keras also writes operations that ONNX lacks


def _write_litert(model: keras.Model, file: Path, calibration: Inputs | None = None) -> None:
    """Write a model for one example per call, with LiteRT's own operations; int8 if calibration examples are given."""
    import tensorflow as tf

    options: dict[str, Any] = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    if calibration is not None:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
        options["representative_dataset"] = lambda: _one_by_one(calibration)
    model.export(file, format="litert", verbose=False, input_signature=[_signature(model, 1)], **options)


def _signature(model: keras.Model, examples: int | None = None) -> Any:
    """Return the network's inputs, for a number of `examples` or any, with names that TensorFlow allows."""
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input

    def spec(name: str, tensor: keras.KerasTensor) -> keras.InputSpec:
        return keras.InputSpec(tensor.dtype, (examples, *tensor.shape[1:]), name=runtimes.plain(name))

    if isinstance(inputs, dict):
        return {name: spec(name, tensor) for name, tensor in inputs.items()}
    return spec(inputs.name, inputs)


WRITERS: dict[Format, Callable[[keras.Model, Path], None]] = {
    "keras": lambda model, file: model.save(file),
    "saved_model": _write_saved_model,
    "onnx": _write_onnx,
    "litert": _write_litert,
}


def _one_by_one(inputs: Inputs) -> Iterator[Any]:
    """Yield each example in the form of LiteRT's converter."""
    for index in range(len(keras.tree.flatten(inputs)[0])):
        example = keras.tree.map_structure(lambda part, row=index: part[row : row + 1], inputs)
        yield example if isinstance(example, dict) else [example]


def _first(model: keras.Model, inputs: Inputs, count: int) -> runtimes.Inputs:
    """Return the first examples; the columns of a table, (rows,), become inputs (rows, 1)."""
    found = keras.tree.map_structure(lambda part: part[:count], inputs)
    if not isinstance(found, dict):
        return np.asarray(found)
    return {name: found[name].reshape(-1, *tensor.shape[1:]) for name, tensor in model.input.items()}


def difference(outputs: Array, expected: Array) -> float:
    """Return the largest |output - expected| / max(1, |expected|) of two arrays of the same shape."""
    return float(np.max(np.abs(outputs - expected) / np.maximum(1, np.abs(expected))))


def _metrics(app: App, saved: SavedModel, data: Data, run: Network) -> pd.DataFrame:
    """Return the test metrics of Keras and of `run`, one row per metric."""
    import pandas as pd

    from common import training

    task = app.task_of(saved)

    def predict(inputs: Inputs) -> Array:
        starts = range(0, len(keras.tree.flatten(inputs)[0]), BATCH)
        parts = [keras.tree.map_structure(lambda part, at=at: part[at : at + BATCH], inputs) for at in starts]
        return np.concatenate([run(part) for part in parts])

    before = task.score(data.test[1], training.predictions_for(task, saved.model, data.test))
    after = task.score(data.test[1], task.predictions_for(predict, data.test))
    rows = [(name, before[name], after[name], after[name] - before[name]) for name in before]
    return pd.DataFrame(rows, columns=["on the test set", "Keras", "int8", "difference"])


def _size(file: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [file] if file.is_file() else file.rglob("*")
    return sum(one.stat().st_size for one in files if one.is_file())
