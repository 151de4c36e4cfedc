"""A search on a few real digits, which tests run as a command of its own: `python -m tests.tiny_search --trials 3`.

TINY_FAULT makes one number of units fail in one way, with TINY_UNLUCKY=all every one.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from typing import Any

import keras

from apps import mnist_mlp
from apps.mnist_mlp import Settings as MnistMlp
from common.data import Data
from common.preprocessing import datasets
from tests.conftest import few
from tuning import search

UNLUCKY = 24


def space(hp: Any) -> MnistMlp:
    return MnistMlp(
        hidden=(hp.Choice("units", [8, 16, UNLUCKY, 32]),),
        learning_rate=hp.Choice("learning_rate", [0.003, 0.01, 0.03]),
        dropout=0.2,
        epochs=int(os.environ.get("TINY_EPOCHS", "3")),
    )


def load_data(_config: MnistMlp) -> Data:
    return few(datasets.load("mnist"))


def build_model(config: MnistMlp, data: Data) -> keras.Model:
    model = mnist_mlp.build_model(config, data)
    if config.hidden[0] == UNLUCKY or os.environ.get("TINY_UNLUCKY") == "all":
        match os.environ.get("TINY_FAULT"):
            case "build":
                raise ValueError("no such network")
            case "memory":
                raise MemoryError("exhausted")
            case "kill":  # what the system does where memory runs out
                os.kill(os.getpid(), signal.SIGKILL)
            case "fit":
                model.compile(model.optimizer, loss=lambda _true, _predicted: 1 / 0)
            case "nan":
                model.compile(
                    model.optimizer, loss=lambda _true, predicted: predicted * float("nan"), metrics=["accuracy"]
                )
    return model


app = dataclasses.replace(mnist_mlp.app, load_data=load_data, build_model=build_model)


def main() -> None:
    search.main(app, space, __doc__)


if __name__ == "__main__":
    main()
