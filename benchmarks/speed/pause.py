"""The pauses of a contestant that trains with Keras's `fit`."""

from typing import Any

import keras

from benchmarks.speed.gate import Gate


class Pause(keras.callbacks.Callback):
    """Pauses `fit` at the end of each epoch."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.gate((logs or {})["loss"])
