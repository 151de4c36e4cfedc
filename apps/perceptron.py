"""The perceptron: one threshold unit that learns from its mistakes (Rosenblatt 1958, "The Perceptron").

    python -m apps.perceptron train                          # irises, setosa or not: no test error, 14 CPU s
    python -m apps.perceptron train --data xor               # no line separates the classes: it never learns
    python -m apps.perceptron train --data xor --hidden 8    # with a hidden layer it learns

The unit computes y = 1 where z = w x + b >= 0, else 0. Rosenblatt's rule changes the weights only after a mistake: for
each example, w += (t - y) x and b += t - y. If a plane separates the classes with margin g, and no (x, 1) is longer
than R, it makes at most (R / g)² mistakes (Novikoff 1962).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import keras
from annotated_types import Ge

from common import App, Classification, Config, Count, Data, Optimizer, Positive, Share, cli, layer_names
from common.nn import layers, losses, optimizers
from common.plots import animation
from common.preprocessing import datasets, features, splits


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the perceptron."""

    data: Literal["iris", "and", "or", "xor"] = "iris"
    """Data set: Fisher's irises, setosa or not by four lengths; or all four cases of a logical gate."""
    hidden: Annotated[int, Ge(0)] = 0
    """Number of tanh units in a hidden layer; 0 for no hidden layer, as Rosenblatt's perceptron."""

    epochs: Count = 600
    patience: Count = 200
    validation: Share = 0.25
    batch_size: Count = 1
    optimizer: Optimizer = "sgd"
    learning_rate: Positive = 0.5
    restore: Literal["best", "last"] = "last"


def load_data(config: Settings) -> Data:
    """Load columns of numbers (n,) by name, and labels 0 and 1 (n,)."""
    return splits.split(datasets.load(config.data), config.validation, config.seed)


def build_model(config: Settings, data: Data) -> "keras.Model":
    """Build the network: columns in, the outputs (1 - y, y) out."""
    inputs = features.inputs(data)
    x = keras.layers.Concatenate(name=layer_names.FEATURES)(list(inputs.values()))
    if config.hidden:
        x = keras.layers.Dense(config.hidden, activation="tanh", name="hidden")(x)
    z = keras.layers.Dense(1, kernel_initializer="zeros", name="unit")(x)
    # The gradient of the threshold is 0. With that of z instead, the squared error (t - y)² has the gradient
    # -2 (t - y) x, and a gradient step with rate 0.5 is Rosenblatt's rule.
    y = keras.ops.stop_gradient(layers.threshold(z)) + (z - keras.ops.stop_gradient(z))
    model = keras.Model(inputs, keras.layers.Concatenate()([1 - y, y]))
    model.compile(optimizers.build(config, data), losses.build("squared_error"), metrics=["accuracy"])
    return model


app = App(
    settings=Settings,
    load_data=load_data,
    build_model=build_model,
    task=Classification(),
    animate=animation.decision_boundary,
)

if __name__ == "__main__":
    cli.main(app, __doc__)
