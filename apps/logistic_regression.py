"""Logistic regression by gradient descent: it ends where scikit-learn's solver does (Cox 1958; Berkson 1944).

    python -m apps.logistic_regression train                     # breast_cancer
    python -m apps.logistic_regression train --csv churn.csv --target churned --class-weights balanced
    python -m apps.logistic_regression predict new.csv           # raw rows of the same columns
    python -m apps.logistic_regression train --data mnist --optimizer adam --batch-size 256 --epochs 30

Of two classes, the second one has the probability p = exp(b0 + b1 x) / (1 + exp(b0 + b1 x)): a softmax over (0, z) of
one linear unit z. It is answered from the probability on that gives the best F1 on the validation set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import keras
import numpy as np

from common import baselines, cli, tasks
from common.app import App
from common.config import NotNegative
from common.data import Data, Inputs
from common.nn import linear, losses, optimizers
from common.nn.linear import LinearConfig
from common.preprocessing import datasets, features, images, splits, tables
from common.preprocessing.datasets import DATASETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.pipeline import Pipeline

    from common.data import SavedModel


@dataclass(frozen=True)
class LogisticRegression(LinearConfig):
    """Settings of logistic regression; the loss is the cross-entropy."""

    data: Literal["breast_cancer", "mnist", "fashion_mnist"] = "breast_cancer"
    """Malignant or benign by thirty measurements of cells of 569 tumours, handwritten digits, or Zalando's clothes."""
    class_weights: Literal["none", "balanced"] = "none"
    """Whether the examples of a rare class weigh more, so that all classes weigh the same."""

    l2: NotNegative = 0.001


def load_data(config: LogisticRegression) -> Data:
    """Columns of numbers and of text, or pictures (28, 28) of bytes; and integer labels."""
    if config.csv:
        return splits.split(tables.read_csv(config, "class"), config, config.test)
    if config.data != "breast_cancer":
        return splits.split_training(datasets.load(config.data), config.validation, config.seed)
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    columns = {name: column.to_numpy("float32") for name, column in bunch.data.items()}
    labels = bunch.target.to_numpy("int32")
    return splits.split(
        tables.Table("breast_cancer", columns, labels, tuple(map(str, bunch.target_names))), config, config.test
    )


def build_model(config: LogisticRegression, data: Data) -> keras.Model:
    """The network: raw columns or pictures in, class probabilities out, compiled."""
    x = features.pixels(data) if isinstance(data.train[0], np.ndarray) else features.standardised(data)
    classes = len(data.outputs)
    weights = class_weights(config, data)
    # The second derivative of the cross-entropy is p (1 - p) of two classes, at most 1/2 of more.
    config = linear.scaled(config, x.train, curvature=(0.0, max(weights) * (0.25 if classes == 2 else 0.5)))
    if classes == 2:
        z = linear.layer(1, config)(x.outputs)
        scores = keras.layers.Concatenate()([keras.ops.zeros_like(z), z])
    else:
        scores = linear.layer(classes, config)(x.outputs)
    model = keras.Model(x.inputs, keras.layers.Softmax()(scores))
    model.compile(optimizers.build(config, data), losses.ClassWeighted(weights), metrics=["accuracy"])
    return model


def class_weights(config: LogisticRegression, data: Data) -> list[float]:
    """What the examples of each class weigh: 1, or in inverse proportion to the class's share of the training set."""
    counts = np.bincount(data.train[1], minlength=len(data.outputs))
    balanced = counts.sum() / (len(counts) * counts)
    return [1.0] * len(counts) if config.class_weights == "none" else balanced.tolist()


def read_inputs(files: Sequence[str], saved: SavedModel) -> tuple[list[str], Inputs]:
    """Pictures where the model was trained on them, else raw rows of CSV files."""
    pictures = saved.data in DATASETS
    return images.read(files, saved) if pictures else tables.read_rows(files, saved)


def baseline(config: LogisticRegression, data: Data) -> Pipeline:
    """scikit-learn's solution of the same problem; on pictures a logistic regression of its own."""
    return baselines.maximum_likelihood(config, data, balanced=config.class_weights == "balanced")


app = App(
    LogisticRegression,
    load_data,
    build_model,
    read_inputs,
    baseline,
    tasks.Classification(tune_threshold=True),
    linear.odds_ratios,
)

if __name__ == "__main__":
    cli.main(app, __doc__)
