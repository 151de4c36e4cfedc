"""Logistic regression by gradient descent. It ends at the solution of scikit-learn's solver (Cox 1958; Berkson 1944).

    python -m apps.logistic_regression train                     # breast_cancer, in 6 CPU s
    python -m apps.logistic_regression train --csv churn.csv --target churned --class-weights balanced
    python -m apps.logistic_regression predict new.csv           # raw rows of the same columns
    python -m apps.logistic_regression train --data mnist --optimizer adam --batch-size 256 --epochs 30

For two classes, the probability of the second class is p = exp(b0 + b1 x) / (1 + exp(b0 + b1 x)): a softmax over (0,
z), where z is the output of one linear unit. The second class is predicted if p is at least a threshold, which
maximises F1 on the validation set.
"""

from dataclasses import dataclass
from typing import Literal

import keras

from common import App, Classification, Data, NotNegative, Published, baselines, cli
from common.nn import linear, losses, optimizers
from common.nn.linear import LinearConfig
from common.preprocessing import features, tables


@dataclass(frozen=True)
class Settings(LinearConfig):
    """Settings of logistic regression; the loss is the cross-entropy."""

    data: Literal["breast_cancer", "mnist", "fashion_mnist"] = "breast_cancer"
    """Data set: malignant or benign by thirty measurements of 569 tumours, handwritten digits, or Zalando's clothes."""

    l2: NotNegative = 0.001


def build_model(config: Settings, data: Data) -> "keras.Model":
    """Build the network: raw columns or images in, class probabilities out."""
    x = features.standardised(data) if data.kind == "table" else features.pixels(data)
    classes = len(data.outputs)
    weights = losses.class_weights(config.class_weights, data)
    # The second derivative of the cross-entropy is p (1 - p) with two classes, and at most 1/2 with more. It varies,
    # and with the largest stable step for it, momentum may circle around the optimum for ever: twice is safe.
    config = linear.scale_steps(config, x.train, curvature=(0.0, 2 * max(weights) * (0.25 if classes == 2 else 0.5)))
    if classes == 2:
        z = linear.layer(1, config)(x.outputs)
        scores = keras.layers.Concatenate()([keras.ops.zeros_like(z), z])
    else:
        scores = linear.layer(classes, config)(x.outputs)
    model = keras.Model(x.inputs, keras.layers.Softmax()(scores))
    model.compile(optimizers.build(config, data), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


app = App(
    settings=Settings,
    load_data=lambda config: tables.load(config, "class"),
    build_model=build_model,
    task=Classification(tune_threshold=True),
    baseline=baselines.maximum_likelihood,
    tables=linear.odds_ratios,
    published=[Published("12.0 %, linear classifier (LeCun et al. 1998)", {"data": "mnist", "csv": None})],
)

if __name__ == "__main__":
    cli.main(app, __doc__)
