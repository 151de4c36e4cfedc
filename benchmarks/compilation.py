"""Time one epoch of each network with and without XLA on this device; `training.benefits_from_xla` rests on this.

python -m benchmarks.compilation
"""

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import tyro

from apps import lenet5, lstm_memory, lstm_mnist, mnist_mlp
from benchmarks import measure
from common import training
from common.app import App
from common.config import Config

import keras  # isort: skip - deferred by `common`


def main(rounds: int = 3) -> None:
    """Measure both alternately.

    Args:
        rounds: Runs of each. The medians are printed.
    """
    networks: dict[str, tuple[App, Config]] = {
        "mnist_mlp": (mnist_mlp.app, mnist_mlp.Settings()),
        "mnist_mlp, no input dropout": (mnist_mlp.app, mnist_mlp.Settings(input_dropout=0)),
        "lenet5 modern": (lenet5.app, lenet5.Settings()),
        "lenet5 1998": (lenet5.app, lenet5.Settings(variant="1998")),
        "lstm_mnist": (lstm_mnist.app, lstm_mnist.Settings()),
        "lstm_mnist gru": (lstm_mnist.app, lstm_mnist.Settings(cell="GRU")),
        "lstm_memory": (lstm_memory.app, lstm_memory.Settings()),
        "lstm_memory rnn": (lstm_memory.app, lstm_memory.Settings(cell="SimpleRNN")),
    }
    for name, (app, config) in networks.items():
        contestants = {f"XLA {word}": trainer(app, config, xla) for word, xla in (("off", False), ("on", True))}
        measure.compare(f"{name}, one epoch after one that compiles", contestants, rounds)


def trainer(app: App, config: Config, xla: bool) -> Callable[[], None]:
    """Return a function that trains the network for one epoch; it is compiled already."""
    config = replace(config, epochs=1)
    data = app.load_data(config)
    model: keras.Model = app.build_model(config, data)

    def train() -> None:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            mock.patch("common.training.epochs.benefits_from_xla", return_value=xla),
        ):
            training.fit(model, data, config, app.task)

    train()
    return train


if __name__ == "__main__":
    tyro.cli(main)
