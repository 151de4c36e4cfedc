"""A linear expert on the standardised features of a table, for a product of experts with another network.

`fit` trains the other network alone. After it, the linear expert is fitted in closed form or by logistic regression,
and the validation set gives the share of each. So the product is hardly ever worse than the linear model.
"""

from typing import Any

import keras
import numpy as np
from scipy.special import log_softmax

from common import layer_names
from common.config import Config
from common.data import Array, Data, Pair
from common.nn import experts, linear, losses
from common.nn.experts import LINEAR, TRAINED
from common.preprocessing import arrays, features, row_shards, splits

COEFFICIENTS = "linear_coefficients"
"""Name of the layer with the coefficients of the linear expert."""
SHARES = np.linspace(0, 1, 41)
"""Shares of the network from which `calibrate` chooses."""
PRIOR = 4.0
"""Weight of (share - 1/2)² beside the negative log likelihood of the validation set: a normal prior of the share, with
a standard deviation of 0.35, which decides where the validation set is too small to."""


def multiply(scores: Any, standardised: Any) -> Any:
    """Return the scores of a network, to which `calibrate` adds those of a linear expert, (batch, outputs).

    Args:
        scores: Scores of the network that `fit` trains, (batch, outputs).
        standardised: The standardised features of the table, (batch, features).
    """
    outputs = scores.shape[-1]
    coefficients = keras.layers.Dense(
        outputs, use_bias=False, kernel_initializer="zeros", trainable=False, name=COEFFICIENTS
    )
    return experts.multiply(scores, coefficients(standardised), exponents=(1, 0))


def calibrate(model: keras.Model, config: Config, data: Data) -> None:
    """Fit the linear expert of a network, if it has one, and set the shares of both experts.

    The share of the network has the largest posterior probability given the validation set, to which no expert is
    fitted at that time. Then the linear expert is fitted to the training and validation sets together.
    """
    if all(layer.name != LINEAR for layer in model.layers):
        return
    encode, network = (
        keras.Model(model.input, tensor)
        for tensor in (model.get_layer(layer_names.STANDARDISE).output, model.get_layer(TRAINED).input)
    )
    chosen_by = row_shards.sample(data.validation)
    train, validation = (
        (features.compute(encode, inputs), _scaled(model, targets))
        for inputs, targets in (arrays.first(row_shards.sample(data.train), data.examples(config)), chosen_by)
    )
    scores, labels = features.compute(network, chosen_by[0]), validation[1]
    kernel, bias = _fit(train, config, data)
    line = validation[0] @ kernel + bias
    weights = np.ones(len(labels))
    if labels.ndim == 1:
        weights = np.array(losses.class_weights(config.class_weights, data))[labels]
    found = [
        _surprise(share * scores + (1 - share) * line, labels, weights) + PRIOR * (share - 0.5) ** 2 for share in SHARES
    ]
    share = float(SHARES[int(np.argmin(found))])
    model.get_layer(TRAINED).exponent.assign(share)
    model.get_layer(LINEAR).exponent.assign(1 - share)
    print(f"linear expert: share {1 - share:.2g} of the prediction, from {len(labels):,} validation rows")
    kernel, bias = _fit(splits.join_pairs(train, validation), config, data)
    model.get_layer(COEFFICIENTS).kernel.assign(kernel)
    model.get_layer(LINEAR).bias.assign(bias)


def _surprise(scores: Array, targets: Array, weights: Array) -> float:
    """Return the negative log likelihood of `targets`; of quantities, with normal errors of the variance found here."""
    if targets.ndim == 2:
        return len(targets) / 2 * float(np.log(np.square(scores - targets).mean()))
    return -float((log_softmax(scores, axis=1)[np.arange(len(targets)), targets] * weights).sum())


def _scaled(model: keras.Model, targets: Array) -> Array:
    """Return quantities in the scale of the network's scores, or labels unchanged."""
    rescaling = model.layers[-1]
    return (targets - rescaling.offset) / rescaling.scale if targets.ndim == 2 else targets


def _fit(pair: Pair, config: Config, data: Data) -> tuple[Array, Array]:
    """Fit a linear model to features (rows, features) and scaled targets, with the small penalty of the app's baseline.

    Returns:
        Kernel (features, outputs) and bias (outputs,).
    """
    from sklearn.linear_model import Ridge

    x, y = pair
    if y.ndim == 2:
        ridge = Ridge(alpha=len(y) / 1000).fit(x, y)
        return ridge.coef_.reshape(1, -1).T, ridge.intercept_
    balanced = config.class_weights == "balanced"
    kernel, bias, _ = linear.fit_softmax(pair, pair, len(data.outputs), balanced, [1000 / len(y)])
    return kernel, bias
