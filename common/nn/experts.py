"""Products of two experts: a network that `fit` trains, and a linear model.

A product of experts multiplies their probabilities, each to the power of an exponent, and normalises (Hinton 2002; a
logarithmic opinion pool, Heskes 1998). For a softmax, that is a weighted sum of the scores before it. For quantities
with normal errors and exponents with the sum 1, it is the weighted mean of the predictions.
"""

from typing import Any

import keras

TRAINED, LINEAR = "expert_network", "linear_expert"
"""Names of the layers with the scores of the two experts."""


@keras.saving.register_keras_serializable("common")
class Expert(keras.layers.Layer):
    """Scores of an expert in a product of experts, (batch, classes): its exponent times the inputs plus a bias.

    Args:
        training_exponent: Exponent in training: 1 for the expert that `fit` trains on its own loss, 0 for others.
        exponent: Exponent otherwise, until another one is assigned.
    """

    def __init__(self, training_exponent: float, exponent: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.training_exponent, self.initial = training_exponent, exponent

    def build(self, input_shape: Any) -> None:
        self.exponent = self.add_weight((), keras.initializers.Constant(self.initial), trainable=False, name="exponent")
        self.bias = self.add_weight(input_shape[-1:], "zeros", trainable=False, name="bias")

    def call(self, inputs: Any, training: bool = False) -> Any:
        return (inputs + self.bias) * (self.training_exponent if training else self.exponent)


def multiply(scores: Any, linear: Any, exponents: tuple[float, float]) -> Any:
    """Return the scores of the product of two experts, (batch, outputs).

    Args:
        scores: Scores of the network that `fit` trains, (batch, outputs).
        linear: Scores of the linear expert, (batch, outputs).
        exponents: Exponents of the two, until others are assigned.
    """
    trained, other = (
        Expert(training, exponent, name=name)
        for name, training, exponent in zip((TRAINED, LINEAR), (1, 0), exponents, strict=True)
    )
    return keras.layers.Add(name="product")([trained(scores), other(linear)])
