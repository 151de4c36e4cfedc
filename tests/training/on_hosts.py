"""A small training as a command: `python -m tests.training.on_hosts train …`.

HOSTS_END is a path that ends in the number of a host, which kills itself after the first epoch, and makes the file.
With HOSTS_END_NODE, it kills the processes of its Ray node too.
"""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import keras
import psutil

from common import cli
from common.data import Data
from common.training import hosts
from tests.training import on_devices


def build_model(config: Any, data: Data) -> keras.Model:
    """The network; its training ends with its process if the test asks for it."""
    model = on_devices.build_model(config, data)
    end = Path(os.environ.get("HOSTS_END", "none"))
    if end.name == str(int(hosts.follows())) and not end.exists():
        fit = model.fit

        def kill(*_: object) -> None:
            end.touch()
            for process in psutil.Process().parents()[:2] if os.environ.get("HOSTS_END_NODE") else ():
                process.kill()
            os.kill(os.getpid(), signal.SIGKILL)

        def fit_and_end(*arguments: Any, callbacks: list[keras.callbacks.Callback], **options: Any) -> Any:
            return fit(*arguments, callbacks=[*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=kill)], **options)

        model.fit = fit_and_end
    return model


app = dataclasses.replace(on_devices.app, build_model=build_model)

if __name__ == "__main__":
    cli.main(app)
