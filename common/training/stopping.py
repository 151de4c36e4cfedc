"""When a training stops: after epochs without progress, or because its loss is not finite."""

import math

import keras
import numpy as np

from common import tasks
from common.config import Config
from common.data import Data
from common.errors import DivergenceError


class StopAtDivergence(keras.callbacks.Callback):
    """Stops a training whose loss is not finite, before any other callback records or saves it.

    Args:
        learning_rate: Initial learning rate, for the message.
        step: First step of the epochs, from 0, for the message.
    """

    def __init__(self, learning_rate: float, step: int = 0) -> None:
        super().__init__()
        self.learning_rate, self.step, self.epoch = learning_rate, step, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not np.isfinite(loss):
            step = self.step + min(batch + 1, self.params["steps"])  # Keras counts whole executions
            place = f"epoch {self.epoch + 1}, step {step}"
            raise DivergenceError(
                f"the loss is {loss} in {place}; try a lower `learning_rate` than {self.learning_rate:g}, "
                "or inputs of a smaller scale"
            )


def early_stopping(
    optimizer: keras.optimizers.Optimizer, data: Data, config: Config, task: tasks.Task
) -> keras.callbacks.EarlyStopping:
    """Return the callback that stops after `config.patience` epochs without progress, or sooner at a minimum.

    Progress is a better validation metric if the best epoch is restored, else a lower training loss.
    """
    best = config.restore == "best"
    patience, momentum = config.patience, getattr(optimizer, "momentum", 0.0)
    if not best and momentum and data.steps(config) == 1:
        patience = min(patience, settling(momentum))
    return keras.callbacks.EarlyStopping(
        task.monitor if best else "loss",
        mode=task.mode if best else "min",
        patience=patience,
        restore_best_weights=best,
        start_from_epoch=0 if best else transient(momentum),
    )


def settling(momentum: float) -> int:
    """Return the number of epochs in which the error of gradient descent with optimal momentum falls to a thousandth.

    The error is proportional to momentum^(k / 2) in epoch k (Polyak 1964). Where all examples are in each step, a loss
    that has not fallen for so long has reached its minimum.
    """
    return max(3, math.ceil(2 * math.log(1000) / -math.log(momentum)))


def transient(momentum: float) -> int:
    """Return the number of epochs for which the loss of gradient descent with optimal momentum may rise at first.

    The error in the steepest direction is at most 2 k momentum^(k / 2) times the initial error in epoch k (Polyak
    1964), which is first more than 1. Meanwhile, a loss above the first one does not mean that training has ended.
    """
    epochs = np.arange(1, 10_000)
    rising = epochs[2 * epochs * momentum ** (epochs / 2) > 1]
    return int(rising[-1]) if len(rising) and momentum > 0.5 else 0
