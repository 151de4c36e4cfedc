"""Linear models: one dense layer, trained to its optimum by gradient descent with a step size from the curvature.

Importing this module does not import Keras.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import keras
import numpy as np

from common import layer_names
from common.config import Count, Fraction, NotNegative, Optimizer, Positive
from common.data import Array, Data, Pair
from common.nn import losses
from common.preprocessing import features, tables

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LinearConfig(tables.TableConfig):
    """Settings of a linear model, which is trained until its loss stops falling."""

    l1: NotNegative = 0.0
    """Weight in the loss of the sum of absolute coefficients of the standardised features."""
    l2: NotNegative = 0.0
    """Weight in the loss of the sum of squared coefficients of the standardised features."""
    epochs: Count = 500
    patience: Count = 50
    batch_size: Count = 1_000_000
    restore: Literal["best", "last"] = "last"
    optimizer: Optimizer = "momentum"
    learning_rate: Positive = 1.0
    """Initial learning rate a0; for sgd and momentum, a multiple of the optimal step size for this loss."""
    momentum: Fraction = 0.95
    """Maximum momentum of the optimizer `momentum`. A smaller one is used if it is optimal for the loss."""


NEVER = -30.0
"""Bias of a class without a training example."""
PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""Values of scikit-learn's C, the inverse of the penalty, from which `fit_softmax` chooses."""
ODDS = {"per_unit": "odds_ratio_per_unit", "per_deviation": "odds_ratio_per_deviation"}
Settings = TypeVar("Settings", bound=LinearConfig)


def scale_steps(config: Settings, inputs: Array, curvature: tuple[float, float]) -> Settings:
    """Return `config` with the learning rate and momentum of sgd and momentum scaled to the curvature of the loss.

    For a quadratic loss with curvature from m to L, the optimum is the momentum b = ((sqrt(L) - sqrt(m)) / (sqrt(L) +
    sqrt(m)))² and the step (1 + sqrt(b))² / L (Polyak 1964). `config.learning_rate` multiplies this step.

    Args:
        config: The settings.
        inputs: Features of the training set (examples, features).
        curvature: Smallest and largest second derivative of one example's loss with respect to the output.
    """
    if config.optimizer not in ("sgd", "momentum"):
        return config
    with_bias = np.pad(inputs, ((0, 0), (0, 1)), constant_values=1).astype("float64")
    moments = with_bias.T @ with_bias / len(inputs)
    penalty = np.diag(np.append(np.full(inputs.shape[1], 2 * config.l2), 0))
    largest = np.linalg.eigvalsh(curvature[1] * moments + penalty)[-1]
    lower = np.linalg.eigvalsh(curvature[0] * moments + penalty)
    # Constant and repeated columns make eigenvalues of 0, in whose direction no step goes.
    least = lower[lower > 1e-9 * largest][0] if curvature[0] else 2 * config.l2
    ratio = np.sqrt(max(least, 0) / largest)
    momentum = min(config.momentum, ((1 - ratio) / (1 + ratio)) ** 2) if config.optimizer == "momentum" else 0.0
    rate = config.learning_rate * (1 + np.sqrt(momentum)) ** 2 / largest
    return dataclasses.replace(config, learning_rate=float(rate), momentum=float(momentum))


def layer(units: int, config: LinearConfig) -> keras.layers.Dense:
    """Return the linear layer with zero weights and the penalties of `config`, from `scale_steps`.

    Subgradient steps of |w| do not converge to 0. If the step size is constant, a soft threshold after each step
    replaces the gradient of the L1 penalty: it has the same optimum.
    """
    penalties: dict[str, Any] = {"kernel_regularizer": keras.regularizers.L1L2(config.l1, config.l2)}
    if config.l1 and config.optimizer in ("sgd", "momentum") and config.schedule == "constant":
        # At the optimum, the velocity is 1 / (1 - momentum) times the step of the gradient.
        amount = config.l1 * config.learning_rate / (1 - config.momentum)
        penalties = {
            "kernel_constraint": losses.SoftThreshold(amount),
            "kernel_regularizer": losses.ProximalL1L2(config.l1, config.l2),
        }
    return keras.layers.Dense(units, kernel_initializer="zeros", name=layer_names.OUTPUT, **penalties)


def fit_softmax(
    train: Pair, validation: Pair, classes: int, balanced: bool = False, penalties: Sequence[float] = PENALTIES
) -> tuple[Array, Array, float]:
    """Fit a softmax of features by logistic regression, with the penalty that is best on the validation set.

    Args:
        train: Features (examples, features), which may be sparse, and integer labels (examples,).
        validation: The same for the validation set.
        classes: Number of classes. Those without a training example have the probability 0.
        balanced: Give all classes the same total weight.
        penalties: Values of scikit-learn's C, the inverse of the penalty, to choose from.

    Returns:
        Kernel (features, classes) and bias (classes,) of a dense layer, 0 if there is only one class; and the penalty.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from threadpoolctl import threadpool_limits

    (inputs, labels), (validation_inputs, validation_labels) = train, validation
    kernel, bias = np.zeros((inputs.shape[1], classes), "float32"), np.zeros(classes, "float32")
    present = np.unique(labels)
    if len(present) < 2:
        return kernel, bias, penalties[0]
    rows = np.isin(validation_labels, present)
    with threadpool_limits(1):  # threads would wait for each other: the matrices are small
        fitted = [
            LogisticRegression(C=penalty, max_iter=200, tol=1e-3, class_weight="balanced" if balanced else None).fit(
                inputs, labels
            )
            for penalty in penalties
        ]
    losses = [
        log_loss(validation_labels[rows], one.predict_proba(validation_inputs[rows]), labels=present) for one in fitted
    ]
    best = fitted[chosen := int(np.argmin(losses))]
    # With two classes there is one column: the log odds of the second.
    weights, intercept = best.coef_.T, best.intercept_
    bias[:] = NEVER
    kernel[:, present[-weights.shape[1] :]] = weights
    bias[present] = 0
    bias[present[-len(intercept) :]] = intercept
    return kernel, bias, penalties[chosen]


def coefficients(model: keras.Model, data: Data) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield a table of each feature's coefficient, per unit and per standard deviation. Images have none."""
    if data.kind == "table":
        yield "coefficients", _coefficients(model, data)


def odds_ratios(model: keras.Model, data: Data) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the table of coefficients of the log odds, with the odds ratios exp(coefficient)."""
    for name, frame in coefficients(model, data):
        ratios = {ratio: np.exp(frame[column]) for column, ratio in ODDS.items()}
        yield name, frame.assign(**ratios)


def _coefficients(model: keras.Model, data: Data) -> pd.DataFrame:
    """Return a table with one row per output and feature, the intercept first."""
    import pandas as pd

    def numbers(tensor: Any) -> Array:
        return np.asarray(tensor if isinstance(tensor, list) else keras.ops.convert_to_numpy(tensor), "float64")

    output, standardise = model.get_layer(layer_names.OUTPUT), model.get_layer(layer_names.STANDARDISE)
    kernel, bias = numbers(output.kernel), numbers(output.bias)
    mean, deviation = numbers(standardise.mean).ravel(), np.sqrt(numbers(standardise.variance)).ravel()
    per_unit = kernel / deviation[:, None]
    bias = bias + next((layer.offset for layer in model.layers if layer.name == layer_names.OFFSET), 0.0)
    # With two classes there is one output: the log odds of the second.
    outputs = np.repeat(data.outputs[-kernel.shape[1] :], len(kernel) + 1)
    return pd.DataFrame(
        {
            "output": outputs,
            "feature": ["intercept", *(name for _, name in features.made_of(data))] * kernel.shape[1],
            "per_unit": np.vstack([bias - mean @ per_unit, per_unit]).T.ravel(),
            "per_deviation": np.vstack([bias, kernel]).T.ravel(),
        }
    )
