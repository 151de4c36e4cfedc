"""A search on a few real digits, run by tests as a command: `python -m tests.tuning.tiny_search --trials 3`.

TINY_FAULT makes trainings fail in one way: those with UNLUCKY units, or TINY_UNLUCKY of them, or "all".
TINY_HOLD names a folder. Each training waits there after its first epoch: see `hold`.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

import keras

from apps import mnist_mlp
from apps.mnist_mlp import Settings as MnistMlp
from common.data import Data
from common.preprocessing import datasets
from tests.conftest import few
from tuning import search

UNLUCKY = 24
SECONDS = 900
"""Limit of a wait: far more than a loaded machine takes, for nothing may depend on time."""


def space(hp: Any) -> MnistMlp:
    return MnistMlp(
        hidden=(hp.Choice("units", [8, 16, UNLUCKY, 32]),),
        learning_rate=hp.Choice("learning_rate", [0.003, 0.01, 0.03]),
        dropout=0.2,
        epochs=int(os.environ.get("TINY_EPOCHS", "3")),
    )


def load_data(_config: MnistMlp) -> Data:
    if os.environ.get("TINY_FAULT") == "start":
        os.kill(os.getpid(), signal.SIGKILL)
    return few(datasets.load("mnist"))


def build_model(config: MnistMlp, data: Data) -> keras.Model:
    model = mnist_mlp.build_model(config, data)
    if folder := os.environ.get("TINY_HOLD"):
        hold(model, Path(folder), config.seed)
    if os.environ.get("TINY_UNLUCKY", str(UNLUCKY)) in ("all", str(config.hidden[0])):
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


def hold(model: keras.Model, folder: Path, seed: int) -> None:
    """Make the model's training wait after its first epoch, whose state is kept by then.

    It writes a file named by the process, and waits until the test has made the file `go-SEED`.
    """

    def wait(epoch: int, _logs: object) -> None:
        if epoch == 0:
            (folder / str(os.getpid())).touch()
            deadline = time.monotonic() + SECONDS
            while not (folder / f"go-{seed}").exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)

    fit = model.fit

    def fit_and_wait(*arguments: Any, callbacks: list[keras.callbacks.Callback], **options: Any) -> Any:
        return fit(*arguments, callbacks=[*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=wait)], **options)

    model.fit = fit_and_wait


app = dataclasses.replace(mnist_mlp.app, load_data=load_data, build_model=build_model)


def main() -> None:
    search.main(app, space, __doc__)


if __name__ == "__main__":
    main()
