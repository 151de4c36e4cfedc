"""A small training as a command: `python -m tests.training.on_hosts train …`.

HOSTS_END names a file. The process that has it ends itself after the first epoch.
"""

import dataclasses
import os
import signal
from typing import Any

import keras

from common import cli
from common.data import Data
from tests.training import on_devices


def build_model(config: Any, data: Data) -> keras.Model:
    """The network; its training ends with its process if the test asks for it."""
    model = on_devices.build_model(config, data)
    if "HOSTS_END" in os.environ:
        fit = model.fit

        def fit_and_end(*arguments: Any, callbacks: list[keras.callbacks.Callback], **options: Any) -> Any:
            end = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            return fit(*arguments, callbacks=[*callbacks, end], **options)

        model.fit = fit_and_end
    return model


app = dataclasses.replace(on_devices.app, build_model=build_model)

if __name__ == "__main__":
    cli.main(app)
