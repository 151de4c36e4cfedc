"""Exported models run by their formats' own runtimes, in a fresh process that has only the file.

Each runtime gives a function from the model's inputs, an array or one a named input, to its outputs. What takes long
to import is imported in that process alone.
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

from common import lazy

Array = np.ndarray[Any, Any]
Inputs = Array | dict[str, Array]
Network = Callable[[Inputs], Array]


@contextlib.contextmanager
def fresh(name: str, file: Path) -> Iterator[Network]:
    """The model in `file`, run by the runtime called `name` in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        yield lambda inputs: process.submit(_run, name, file, inputs).result()


def _run(name: str, file: Path, inputs: Inputs) -> Array:
    with lazy.quiet_native_log():
        return _load(name, file)(inputs)


@functools.cache
def _load(name: str, file: Path) -> Network:
    return RUNTIMES[name](file)


def _keras(file: Path) -> Network:
    """Keras, which finds the suite's own layers in `common`."""
    import keras

    lazy.register_layers()
    model = keras.saving.load_model(file, compile=False)
    return lambda inputs: model.predict(inputs, verbose=0)


def _saved_model(folder: Path) -> Network:
    """TensorFlow, without Keras."""
    import tensorflow as tf

    model = tf.saved_model.load(str(folder))
    return lambda inputs: model.serve(tf.nest.map_structure(tf.constant, inputs)).numpy()


def _onnx(file: Path) -> Network:
    """ONNX Runtime, without TensorFlow."""
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(file)

    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, _named(inputs, name))[0]


def _litert(file: Path) -> Network:
    """The LiteRT interpreter that TensorFlow brings, an example at a time."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it moves to a package of its own
        interpreter = tf.lite.Interpreter(str(file))
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()

    names = list(run.get_input_details())

    def every(inputs: Inputs) -> Array:
        parts = {plain(name): part for name, part in _named(inputs, names[0]).items()}
        examples = len(parts[names[0]])
        rows = ({name: part[index : index + 1] for name, part in parts.items()} for index in range(examples))
        return np.concatenate([next(iter(run(**row).values())) for row in rows])

    return every


def _named(inputs: Inputs, name: str) -> dict[str, Array]:
    return inputs if isinstance(inputs, dict) else {name: inputs}


def plain(name: str) -> str:
    """An input's name in the characters that TensorFlow takes."""
    return re.sub(r"\W", "_", name)


RUNTIMES: dict[str, Callable[[Path], Network]] = {
    "keras": _keras,
    "saved_model": _saved_model,
    "onnx": _onnx,
    "litert": _litert,
}
