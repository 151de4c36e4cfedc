"""Optimizers, learning-rate schedules and initializers, built from an app's settings. All are Keras's own."""

from typing import Any

import keras

from common.config import Config, Initializer
from common.data import Data


def initializer(name: Initializer) -> keras.initializers.Initializer:
    """Return the initializer `name` of normal weights, with fan-in the number of inputs of a unit.

    he_normal: standard deviation sqrt(2 / fan-in), truncated at two of them (He et al. 2015). xavier: sqrt(1 /
    fan-in), for tanh. normal: 1.
    """
    match name:
        case "he_normal":
            return keras.initializers.HeNormal()
        case "xavier":
            return keras.initializers.LecunNormal()
        case "normal":
            return keras.initializers.RandomNormal(stddev=1.0)


def build(
    config: Config, data: Data, clip: float | None = None, weight_decay: float | None = None
) -> keras.optimizers.Optimizer:
    """Return the optimizer and learning-rate schedule of `config`.

    Args:
        config: The settings.
        data: The data.
        clip: Global norm of the gradient above which it is rescaled (Pascanu et al. 2013).
        weight_decay: Share of each weight that a step of learning rate 1 takes off (Loshchilov and Hutter 2019).
    """
    rate = schedule(config, steps_per_epoch=data.steps(config))
    more: dict[str, Any] = {"global_clipnorm": clip, "weight_decay": weight_decay}
    match config.optimizer:
        case "sgd":
            return keras.optimizers.SGD(rate, **more)
        case "momentum":
            return keras.optimizers.SGD(rate, momentum=config.momentum, **more)
        case "rmsprop":
            return keras.optimizers.RMSprop(rate, **more)
        case "adam":
            return keras.optimizers.Adam(rate, **more)


def schedule(config: Config, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate as a function of step t, with a0 = `learning_rate` and epoch = floor(t / steps).

    constant: a0. inverse: a0 / (1 + decay epoch). exponential: a0 decay^epoch. k_over_epoch: a0 decay / (epoch + 1).
    cosine: a0 (1 + cos(pi t / T)) / 2, with T the last step. one_cycle (after Smith and Topin 2019): a line from
    a0 / 25 to a0 at T / 4, then half a cosine to 0. plateau: a0, until `training.fit` lowers it.
    """
    schedules = keras.optimizers.schedules
    rate, decay = config.learning_rate, config.decay
    match config.schedule:
        case "constant" | "plateau":
            return rate
        case "inverse":
            return schedules.InverseTimeDecay(rate, steps_per_epoch, decay, staircase=True)
        case "exponential":
            return schedules.ExponentialDecay(rate, steps_per_epoch, decay, staircase=True)
        case "k_over_epoch":
            return schedules.InverseTimeDecay(rate * decay, steps_per_epoch, 1.0, staircase=True)
        case "cosine":
            return schedules.CosineDecay(rate, config.epochs * steps_per_epoch)
        case "one_cycle":
            last = config.epochs * steps_per_epoch
            rising = max(1, last // 4)
            return schedules.CosineDecay(rate / 25, last - rising, warmup_target=rate, warmup_steps=rising)
