"""Predict with a network, in batches that fit into memory."""

import functools

import keras

from common import tasks
from common.data import Array, Inputs, Pair
from common.nn import augmentation
from common.training.batches import in_order


def predictions_for(task: tasks.Task, model: keras.Model, pair: Pair) -> Array:
    """Return the network's outputs for `pair` that `task` scores."""
    return task.predictions_for(functools.partial(predict, model), pair)


def predict(model: keras.Model, inputs: Inputs) -> Array:
    """Return the network's outputs for `inputs`, (examples, …)."""
    model.steps_per_execution = 1  # with several, Keras would trace the network for each
    return model.predict(in_order((inputs,), augmentation.patches(model)), verbose=0)
