"""Weight the classes of a training, and recalibrate its probabilities to their true shares afterwards.

A network and a baseline are treated alike, so that their losses and decisions can be compared.
"""

import dataclasses
from typing import Any

import keras
import numpy as np

from common import tasks
from common.config import Config
from common.data import Array, Data, Pair
from common.nn import augmentation, calibration, losses
from common.nn.calibration import Recalibration
from common.training.batches import in_order
from common.training.prediction import predict


def weighted(pair: Pair, config: Config, data: Data) -> tuple[Any, ...]:
    """Return inputs and targets, and with `class_weights` the weight of each example in the loss, (examples,)."""
    if config.class_weights == "none":
        return pair
    weights = np.array(losses.class_weights(config.class_weights, data), "float32")
    return (*pair, weights[pair[1]])


def recalibration(probabilities: Array, data: Data, validated: bool = True) -> Recalibration:
    """Return the layer that gives a classifier with balanced class weights probabilities for the true shares.

    Args:
        probabilities: Its probabilities for the validation set, (examples, classes).
        data: The data. The shares are those of the training set.
        validated: Whether to fit the layer to the validation set, which is not a part of the training set.
    """
    shares = np.bincount(data.train[1], minlength=len(data.outputs)) / len(data.train[1])
    factors, exponent = shares, 1.0
    if validated:
        factors, exponent = calibration.fit(probabilities, data.validation[1], shares)
    return Recalibration(factors.tolist(), exponent, dtype=probabilities.dtype.name, name="recalibration")


def same_decision(task: tasks.Task, layer: Recalibration) -> tasks.Task:
    """Return the task that decides for the outputs of `layer` as it did for its inputs: all classes count alike."""
    weights = {"decision_weights": (1 / np.array(layer.factors)).tolist()}
    return dataclasses.replace(task, **weights)


def recalibrated(
    model: keras.Model, task: tasks.Task, data: Data, validated: bool = True
) -> tuple[keras.Model, tasks.Task]:
    """Return a classifier with probabilities for the shares of the classes, and its task with the same decision.

    A layer comes after those of `model`, which may still change.

    Args:
        model: A network that was trained with balanced class weights.
        task: Its task.
        data: The data, as for `recalibration`.
        validated: As for `recalibration`.
    """
    layer = recalibration(predict(model, data.validation[0]), data, validated)
    return calibration.extended(model, layer), same_decision(task, layer)


def validation_loss(model: keras.Model, data: Data) -> float:
    """Return the loss on the validation set, without class weights."""
    return float(model.evaluate(in_order(data.validation, augmentation.patches(model)), verbose=0))
