"""Run exported models in their formats' own runtimes, in a new process that has only the file.

Each runtime returns a function from the model's inputs, an array or one per named input, to its outputs. Only that
process imports the runtime.
"""

import contextlib
import functools
import multiprocessing
import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from common import interruption, lazy

Array = np.ndarray[Any, Any]
Inputs = Array | dict[str, Array]
Network = Callable[[Inputs], Array]


@contextlib.contextmanager
def in_new_process(name: str, file: Path) -> Iterator[Network]:
    """Yield the model in `file`; the runtime called `name` runs it in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), interruption.end_with_parent) as process:
        yield lambda inputs: process.submit(_run, name, file, inputs).result()


def _run(name: str, file: Path, inputs: Inputs) -> Array:
    with lazy.quiet_native_log():
        return _load(name, file)(inputs)


@functools.cache
def _load(name: str, file: Path) -> Network:
    return RUNTIMES[name](file)


def _keras(file: Path) -> Network:
    """Load a Keras model, with the suite's own layers."""
    import keras

    from common import training

    lazy.register_layers()
    model = keras.saving.load_model(file, compile=False)
    return lambda inputs: training.predict(model, inputs)


def _saved_model(folder: Path) -> Network:
    """Load a SavedModel into TensorFlow, without Keras."""
    import tensorflow as tf

    model = tf.saved_model.load(str(folder))
    return lambda inputs: model.serve(tf.nest.map_structure(tf.constant, inputs)).numpy()


def _onnx(file: Path) -> Network:
    """Load an ONNX model into ONNX Runtime, without TensorFlow."""
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(file)
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, _plainly_named(inputs, name))[0]


def _litert(file: Path) -> Network:
    """Load a LiteRT model into TensorFlow's interpreter, which runs one example at a time."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a deprecation: it moves to another package
        interpreter = tf.lite.Interpreter(str(file))
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()
    names = list(run.get_input_details())

    def run_each(inputs: Inputs) -> Array:
        parts = _plainly_named(inputs, names[0])
        examples = len(parts[names[0]])
        rows = ({name: part[index : index + 1] for name, part in parts.items()} for index in range(examples))
        return np.concatenate([next(iter(run(**row).values())) for row in rows])

    return run_each


def plain(name: str) -> str:
    """Replace the characters in an input's name that TensorFlow does not allow."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _plainly_named(inputs: Inputs, name: str) -> dict[str, Array]:
    """Return the inputs by their plain names; `name` is that of a network's only input."""
    named = inputs if isinstance(inputs, dict) else {name: inputs}
    return {plain(name): part for name, part in named.items()}


RUNTIMES: dict[str, Callable[[Path], Network]] = {
    "keras": _keras,
    "saved_model": _saved_model,
    "onnx": _onnx,
    "litert": _litert,
}
