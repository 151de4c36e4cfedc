"""Optimizers, learning-rate schedules and initializers, built from an app's settings. All are Keras's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from common.config import Initializer

if TYPE_CHECKING:
    from common.config import Config
    from common.data import Data


def initializer(name: Initializer) -> keras.initializers.Initializer:
    """The initialiser called `name`; fan-in is the number of a unit's inputs.

    he_normal: normal, standard deviation sqrt(2 / fan-in), cut off at two of them (He et al. 2015). xavier: sqrt(1 /
    fan-in), as given for tanh. normal: standard deviation 1.
    """
    match name:
        case "he_normal":
            return keras.initializers.HeNormal()
        case "xavier":
            return keras.initializers.LecunNormal()
        case "normal":
            return keras.initializers.RandomNormal(stddev=1.0)


def build(config: Config, data: Data, clip: float | None = None) -> keras.optimizers.Optimizer:
    """The optimiser that `config` names, its learning rate following the schedule that `config` names.

    With `clip`, a gradient, all weights together, that is longer is shortened to it (Pascanu et al. 2013).
    """
    rate = schedule(config, steps_per_epoch=data.steps(config))
    match config.optimizer:
        case "sgd":
            return keras.optimizers.SGD(rate, global_clipnorm=clip)
        case "momentum":
            return keras.optimizers.SGD(rate, momentum=config.momentum, global_clipnorm=clip)
        case "rmsprop":
            return keras.optimizers.RMSprop(rate, global_clipnorm=clip)
        case "adam":
            return keras.optimizers.Adam(rate, global_clipnorm=clip)


def schedule(config: Config, steps_per_epoch: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of step t, where a0 is `learning_rate` and the epoch, floor(t / steps), counts from 0.

    constant: a0. inverse: a0 / (1 + decay epoch). exponential: a0 decay^epoch. k_over_epoch: a0 decay / (epoch + 1),
    the first epoch being 1. cosine: a0 (1 + cos(pi t / T)) / 2, step by step down to 0 at the last step T. plateau: a0,
    until `training.fit` lowers it.
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
