"""What Keras expects of every layer, loss, metric, constraint, regularizer and function that the suite registers.

In this process on TensorFlow; and in two fresh ones, which load what this one saves: on TensorFlow, and on JAX, where
the same checks are made. `python -m tests.nn.test_contract FOLDER` is such a process.
"""

import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from common import lazy
from common.data import Array
from tests.conftest import ROOT, run_on_jax
from tests.processes import run_forked

RNG = np.random.default_rng(0)
POLICIES = ("float64", "mixed_bfloat16")
TOLERANCE = {"float32": 1e-5, "float64": 1e-5, "mixed_bfloat16": 0.05}
"""How far outputs may be from those in float32, relative to the largest one."""


def register_all() -> None:
    """Import every module that registers something with Keras."""
    for file in sorted((ROOT / "common").rglob("*.py")):
        if "@keras.saving.register_keras_serializable(" in file.read_text():
            importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    lazy.register_layers()


register_all()
OBJECTS: Mapping[str, Any] = {
    name.removeprefix("common>"): found
    for name, found in keras.saving.get_custom_objects().items()
    if name.startswith("common>")
}


@dataclass(frozen=True)
class Case:
    """How an object is made, and what it is called with."""

    arguments: Callable[[], dict[str, Any]]
    """Of its constructor; of a function nothing."""
    inputs: Sequence[Array]
    """One for a layer; labels or targets, and outputs, for a loss, a metric or their functions."""
    policies: Sequence[str] = POLICIES
    """What else it can compute in; not in 16 bits where it counts probabilities of states."""
    dtype: str | None = None
    """What it computes in where nothing is said; None for Keras's default."""


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype("float32")


def on_or_off(*shape: int) -> Array:
    return (RNG.random(shape) < 0.5).astype("float32")


PICTURES, LABELS = RNG.uniform(0, 255, (4, 6, 8, 3)).astype("float32"), np.array([0, 2, 1, 2])
SHARES = RNG.dirichlet([1.0] * 3, 4).astype("float32")
GAPS = np.where(RNG.random((4, 3)) < 0.3, np.nan, normal(4, 3)).astype("float32")
RATINGS = RNG.choice([0.0, 1.0, 2.0, 3.0], (4, 5)).astype("float32")
FULL = ("float64",)
PAIRS = [[0, 1], [0, 3], [1, 4], [2, 3], [3, 4]]

CASES = {
    # Layers
    "Subsampling": Case(lambda: {"initializer": "ones", "activation": "tanh"}, [normal(4, 6, 8, 3)]),
    "TableConv2D": Case(
        lambda: {"table": [[0, 2], [1], [0, 1, 2]], "kernel_size": 3, "activation": "tanh"}, [normal(4, 6, 8, 3)]
    ),
    "RadialBasis": Case(lambda: {"centres": [[1.0, -1.0, 1.0], [0.5, 0.0, -0.5]]}, [normal(4, 3)]),
    "Posterior": Case(
        lambda: {"rubbish": 5.0}, [RNG.uniform(0, 9, (4, 3)).astype("float32")], ("float32",), dtype="float64"
    ),
    "Standardise": Case(lambda: {"mean": [1.0, -2.0, 0.5], "variance": [1.0, 4.0, 0.1]}, [normal(4, 3)]),
    "Offset": Case(lambda: {"offset": 2.5}, [normal(4, 1)], ("float32",), dtype="float64"),
    "FillMissing": Case(lambda: {"values": [1.0, -2.0, 0.5], "flagged": [2]}, [GAPS]),
    "BatchNormalization": Case(lambda: {"momentum": 1.0}, [normal(4, 6, 8, 3)]),
    "LSTM": Case(lambda: {"units": 3, "return_sequences": True}, [normal(4, 5, 3)]),
    "GRU": Case(lambda: {"units": 3, "go_backwards": True}, [normal(4, 5, 3)]),
    "Dropout": Case(lambda: {"rate": 0.3, "seed": 1}, [normal(4, 5)]),
    "TowerConv2D": Case(lambda: {"filters": 6, "kernel_size": 3, "groups": 2, "padding": "same"}, [normal(4, 6, 8, 4)]),
    "LocalResponseNormalization": Case(lambda: {"size": 3, "k": 1.5}, [normal(4, 6, 8, 5)]),
    "AffineDistortion": Case(lambda: {"translation": 1.0, "fill": "nearest", "seed": 1}, [PICTURES]),
    "Crops": Case(lambda: {"size": 4, "seed": 1}, [PICTURES]),
    "CropMean": Case(lambda: {"patches": 2}, [SHARES]),
    "ColourShift": Case(lambda: {"covariance": np.eye(3), "seed": 1}, [PICTURES]),
    "RBM": Case(lambda: {"hidden": 4, "particles": 3, "regularizer": "l2", "sparsity_cost": 0.1}, [on_or_off(4, 5)]),
    "RBMSequential": Case(lambda: {"layers": [keras.Input((5,)), OBJECTS["RBM"](4)]}, [on_or_off(4, 5)], ()),
    "ConditionalRBM": Case(
        lambda: {"levels": [1.0, 2.0, 3.0], "mean": 2.0, "deviation": 0.8, "hidden": 4, "kernel_penalty": 0.1},
        [RATINGS],
    ),
    "SoftmaxRBM": Case(lambda: {"levels": [1.0, 2.0, 3.0], "hidden": 4, "weight_decay": 0.1}, [RATINGS]),
    "BoltzmannMachine": Case(
        lambda: {"hidden": 2, "pairs": PAIRS, "means": [0.5, 0.2, 0.7], "chains": 3, "seed": 1}, [on_or_off(4, 3)], FULL
    ),
    "Squash": Case(lambda: {"limit": 2.0}, [normal(4, 3)]),
    "PiecewiseLinear": Case(
        lambda: {"edges": [[-1.0, 0.0, 1.0], [], [-2.0, 0.5]], "means": [0.7, 0.4, 0.5], "scales": [2.0, 1.0, 1.5]},
        [normal(4, 3)],
    ),
    "EnsembleDense": Case(lambda: {"units": 5, "members": 2}, [normal(4, 2, 3)]),
    "MemberDense": Case(lambda: {"outputs": 3}, [normal(4, 2, 5)]),
    "MemberMean": Case(lambda: {"classes": True}, [normal(4, 2, 3)]),
    "WordPairs": Case(lambda: {"words": 6, "pairs": 2, "outputs": 3}, [RNG.integers(0, 6, (4, 5)).astype("float32")]),
    "Expert": Case(lambda: {"training_exponent": 1.0}, [normal(4, 3)]),
    "Recalibration": Case(lambda: {"factors": [0.7, 0.2, 0.1], "exponent": 0.8}, [SHARES]),
    "LogOdds": Case(lambda: {"logits": False}, [SHARES], ("float32",), dtype="float64"),
    # Losses
    "NegativeLogLikelihood": Case(dict, [LABELS, SHARES], ("float32",), dtype="float64"),
    "OneHot": Case(lambda: {"loss": "half_squared_error"}, [LABELS, SHARES]),
    "ScaledSquaredError": Case(lambda: {"scale": [2.0, 0.0, 5.0]}, [normal(4, 3), normal(4, 3)]),
    # Metrics
    "OnVectors": Case(lambda: {"name": "mean_squared_error"}, [LABELS, SHARES]),
    "RatingError": Case(dict, [RATINGS, normal(4, 5)]),
    # Constraints and regularizers
    "SoftThreshold": Case(lambda: {"amount": 0.3}, [normal(4, 3)]),
    "ProximalL1L2": Case(lambda: {"l1": 0.1, "l2": 0.2}, [normal(4, 3)]),
    # Functions
    "threshold": Case(dict, [normal(4, 3)]),
    "scaled_tanh": Case(dict, [normal(4, 3)]),
    "arctan": Case(dict, [normal(4, 3)]),
    "sqnl": Case(dict, [normal(4, 3)]),
    "negative_log_likelihood": Case(dict, [on_or_off(4, 3), SHARES], FULL),
    "squared_error": Case(dict, [RATINGS, normal(4, 5)]),
}


def is_layer(made: Any) -> bool:
    return isinstance(made, keras.layers.Layer)


def make(name: str, dtype: str | None = None) -> Any:
    """The object of this name; of a layer with weights that say something."""
    found = OBJECTS[name]
    if inspect.isfunction(found):
        return found
    keras.utils.set_random_seed(0)
    made = found(**CASES[name].arguments(), **({"dtype": dtype} if dtype else {}))
    if is_layer(made):
        if not made.built:
            made.build(CASES[name].inputs[0].shape)
        rng = np.random.default_rng(1)
        for weight in made.trainable_weights:
            weight.assign(rng.normal(scale=0.5, size=weight.shape))
    return made


def call(made: Any, inputs: Sequence[Array], training: bool = False) -> Any:
    """What it makes of the inputs, as a tensor."""
    tensors = [keras.ops.convert_to_tensor(part) for part in inputs]
    if is_layer(made):
        return made(tensors[0], training=training)
    if isinstance(made, keras.metrics.Metric):
        made.reset_state()
        for half in (slice(None, 3), slice(3, None)):
            made.update_state(*(part[half] for part in tensors))
        return made.result()
    return made(*tensors)


def numbers(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float64")))


def dtype_of(tensor: Any) -> str:
    name: str = keras.backend.standardize_dtype(tensor.dtype)
    return name


def check(name: str) -> None:
    """Hold an object to everything but its being saved to a file."""
    case, made = CASES[name], make(name)
    outputs = numbers(call(made, case.inputs))
    assert np.isfinite(outputs).all()
    if is_layer(made):
        check_shapes(made, case.inputs[0])
    check_config(made, case, outputs)
    for policy in (None, *case.policies):
        # On JAX, Keras computes much in 32 bits where it is given 64.
        if policy != "float64" or keras.backend.backend() == "tensorflow":
            check_dtype(name, policy, outputs)


def check_shapes(layer: keras.layers.Layer, x: Array) -> None:
    """What is said of the outputs' shape is true; where the batch is not known, None stands for it."""
    found = [tuple(call(layer, [x], training).shape) for training in (False, True)]
    for shape in (x.shape, (None, *x.shape[1:])):
        told = layer(keras.Input(batch_shape=shape)).shape
        assert None not in told[1:]
        for real in found:
            assert all(size in (None, other) for size, other in zip(told, real, strict=True))


def check_config(made: Any, case: Case, outputs: Array) -> None:
    """The same object comes of its configuration, and of that as JSON."""
    description = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
    copy = keras.saving.deserialize_keras_object(description)
    if inspect.isfunction(made):
        assert copy is made
        return
    if is_layer(made):
        copy.set_weights(made.get_weights())
    assert json.loads(json.dumps(keras.saving.serialize_keras_object(copy))) == description
    np.testing.assert_array_equal(numbers(call(copy, case.inputs)), outputs)


def check_dtype(name: str, policy: str | None, outputs: Array) -> None:
    """It computes in the type that it is told, neither in more bits nor in fewer, and gets about the same."""
    case = CASES[name]
    compute = keras.DTypePolicy(policy or case.dtype or "float32").compute_dtype
    made = make(name)
    inputs = case.inputs
    if isinstance(made, keras.layers.Layer | keras.losses.Loss | keras.metrics.Metric):
        made = make(name, policy if name != "RBMSequential" else None)
    else:
        # The type is that of what they are given.
        inputs = [keras.ops.cast(part, compute) for part in inputs]
    found = call(made, inputs)
    assert dtype_of(found) == compute
    largest = np.abs(outputs).max()
    np.testing.assert_allclose(numbers(found), outputs, atol=TOLERANCE[policy or "float32"] * largest, rtol=0)
    if is_layer(made):
        assert dtype_of(call(made, inputs, training=True)) == compute
        assert all(dtype_of(weight) == made.variable_dtype for weight in made.trainable_weights)


def save(name: str, folder: Path) -> Array:
    """Save an object; gives its outputs."""
    made, case = make(name), CASES[name]
    if is_layer(made):
        inputs = keras.Input(case.inputs[0].shape[1:])
        keras.Model(inputs, made(inputs)).save(folder / f"{name}.keras")
    else:
        (folder / f"{name}.json").write_text(json.dumps(keras.saving.serialize_keras_object(made)))
    return numbers(call(made, case.inputs))


def load(name: str, folder: Path) -> Array:
    """The outputs of a saved object."""
    if (file := folder / f"{name}.keras").exists():
        made = keras.saving.load_model(file)
    else:
        made = keras.saving.deserialize_keras_object(json.loads((folder / f"{name}.json").read_text()))
    return numbers(call(made, CASES[name].inputs))


def attempt(function: Callable[..., Any], *arguments: Any) -> str:
    """How a function fails; nothing where it does not."""
    try:
        function(*arguments)
    except Exception:
        return traceback.format_exc()
    return ""


def main(folder: Path) -> None:
    """Load what is in `folder`, write its outputs beside it, and how each object fails."""
    backend = keras.backend.backend()
    outputs: dict[str, Array] = {}
    errors = {name: attempt(lambda name: outputs.update({name: load(name, folder)}), name) for name in CASES}
    if backend == "jax":
        errors = {name: errors[name] + attempt(check, name) for name in CASES}
    (folder / backend).mkdir()
    for name, array in outputs.items():
        np.save(folder / backend / f"{name}.npy", array)
    (folder / f"{backend}-errors.json").write_text(json.dumps(errors))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Array]]:
    """A folder in which everything is saved, and was loaded by fresh processes; and the outputs before."""
    folder = tmp_path_factory.mktemp("saved")
    outputs = {name: save(name, folder) for name in CASES}
    result = run_forked("tests.nn.test_contract", str(folder))
    assert result.returncode == 0, result.stderr
    # With 64 bits, JAX shows where something computes in too many of them.
    run_on_jax("-m", "tests.nn.test_contract", str(folder), kept="contract", JAX_ENABLE_X64="true")
    return folder, outputs


def test_every_registered_object_has_a_case() -> None:
    assert sorted(OBJECTS) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_contract(name: str) -> None:
    check(name)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("name", CASES)
def test_a_fresh_process_loads_what_was_saved(name: str, backend: str, saved: tuple[Path, dict[str, Array]]) -> None:
    """And on JAX the object keeps its contract too."""
    folder, outputs = saved
    error = json.loads((folder / f"{backend}-errors.json").read_text())[name]
    assert not error, error
    found = np.load(folder / backend / f"{name}.npy")
    np.testing.assert_allclose(found, outputs[name], rtol=0 if backend == "tensorflow" else 1e-4, atol=1e-5)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
