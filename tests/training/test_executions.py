"""On JAX several steps are one program, with the results of Keras's steps. `python -m tests.training.test_executions`
trains a small network in each way."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from apps import dbn
from common.data import Array, Pair
from common.errors import UserError
from common.training import epochs, executions
from common.training.batches import Batches, epoch_order
from common.training.checkpoint import Checkpoint
from tests.conftest import run_on_jax

import keras  # isort: skip - deferred by `common`

EPOCHS, STEPS, BATCH = 3, 7, 4
"""Executions have three steps, so the last one of an epoch has one."""
History = dict[str, list[float]]


def examples() -> tuple[Array, Array]:
    """Noise, and whether its sum is positive."""
    inputs = np.random.default_rng(0).normal(size=(STEPS * BATCH + 1, 6, 1)).astype("float32")
    return inputs, (inputs.sum((1, 2)) > 0).astype("int64")


def network(kind: type[keras.layers.Layer] = keras.layers.Dense) -> keras.Model:
    keras.utils.set_random_seed(0)
    layer = kind(4) if kind is keras.layers.Dense else kind(4, 3)
    model = keras.Sequential(
        [
            keras.Input((6, 1)),
            layer,
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def batches(epoch: int = 0, step: int = 0) -> Batches:
    return Batches(examples(), BATCH, seed=5, epoch=epoch, step=step)


def of_keras() -> History:
    """The metrics of Keras's own steps on the same batches."""
    model, history = network(), list[History]()
    for epoch in range(EPOCHS):
        order = epoch_order(5, epoch, len(examples()[0]), BATCH)
        pairs = ([part[rows] for part in examples()] for rows in order)
        history.append(model.fit((tuple(pair) for pair in pairs), steps_per_epoch=STEPS, verbose=0).history)
    return {name: [one[name][0] for one in history] for name in history[0]}


def stopped_and_resumed(path: Path) -> History:
    """The metrics of a training that is stopped after an execution of the second epoch, and resumed."""

    class Stop(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.executions = itertools.count(1)

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            if next(self.executions) == 5:
                raise UserError("stopped")

    checkpoint = Checkpoint(path, minutes=0)
    try:
        epochs.fit(network(), batches, EPOCHS, checkpoint, counting=lambda: [Stop()])
    except UserError:
        return epochs.fit(network(), batches, EPOCHS, Checkpoint(path))
    raise AssertionError("the training was not stopped")


def compiled() -> list[bool]:
    """Whether the steps of a machine of the deep belief network are compiled."""
    found = list[bool]()

    def fit(model: keras.Model, _pair: Pair, _name: str, _epochs: int) -> None:
        found.append(model.jit_compile)

    dbn.learn(dbn.Settings(), 3, np.zeros((8, 6), "float32"), 0, fit, "layer_1")
    return found


def main() -> None:
    executions.ON_PROCESSOR = 3
    programs = list[keras.Model]()
    several_steps: Callable[..., Any] = executions.several_steps

    def counted(model: keras.Model, pair: Any) -> Any:
        programs.append(model)
        return several_steps(model, pair)

    executions.several_steps = counted
    model = network()
    found = {"one program": epochs.fit(model, batches, EPOCHS), "Keras": of_keras()}
    with TemporaryDirectory() as folder:
        found["resumed"] = stopped_and_resumed(Path(folder, "state.npz"))
    used = len(programs)
    epochs.fit(network(keras.layers.Conv1D), batches, 1)
    print(json.dumps({"found": found, "used": used, "convolution": len(programs) - used, "dbn": compiled()}))
    assert model.train_function is None  # else it would hold the examples


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    printed = run_on_jax("-m", "tests.training.test_executions", kept="executions").stdout
    results: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return results


def test_several_steps_in_a_program_are_those_of_keras(result: dict[str, Any]) -> None:
    found = result["found"]
    assert result["used"] >= 3
    for name, values in found["Keras"].items():
        np.testing.assert_allclose(found["one program"][name], values, rtol=1e-5)
        np.testing.assert_allclose(found["resumed"][name], values, rtol=1e-5)
    assert result["convolution"] == 0


def test_the_steps_of_a_machine_are_compiled(result: dict[str, Any]) -> None:
    assert result["dbn"] == [True]


if __name__ == "__main__":
    main()
