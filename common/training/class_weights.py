"""Weight the classes of a training, and give its network probabilities for their true shares afterwards."""

import dataclasses
from typing import Any

import keras
import numpy as np

from common import tasks
from common.config import Config
from common.data import Data, Pair
from common.nn import calibration, losses
from common.training.prediction import predict


def weighted(pair: Pair, config: Config, data: Data) -> tuple[Any, ...]:
    """Return inputs and targets, and with `class_weights` the weight of each example in the loss, (examples,)."""
    if config.class_weights == "none":
        return pair
    weights = np.array(losses.class_weights(config.class_weights, data), "float32")
    return (*pair, weights[pair[1]])


def recalibrated(
    model: keras.Model, task: tasks.Task, data: Data, validated: bool = True
) -> tuple[keras.Model, tasks.Task]:
    """Return a classifier with probabilities for the shares of the classes, and its task with the same decision.

    Args:
        model: A network that was trained with balanced class weights.
        task: Its task.
        data: The data. The shares are those of the training set.
        validated: Whether to fit the probabilities to the validation set, which is not a part of the training set.
    """
    shares = np.bincount(data.train[1], minlength=len(data.outputs)) / len(data.train[1])
    factors, exponent = shares, 1.0
    if validated:
        factors, exponent = calibration.fit(predict(model, data.validation[0]), data.validation[1], shares)
    weights = {"decision_weights": (1 / factors).tolist()}
    return calibration.recalibrated(model, factors.tolist(), exponent), dataclasses.replace(task, **weights)
