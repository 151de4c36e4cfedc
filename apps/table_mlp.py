"""Multilayer perceptron for tables: an ensemble in one network, on numbers in bins and embedded categories.

    python -m apps.table_mlp train                                          # breast_cancer
    python -m apps.table_mlp train --csv houses.csv --target price          # a quantity
    python -m apps.table_mlp train --csv churn.csv --target churned         # a class
    python -m apps.table_mlp predict new.csv                                # raw rows of the same columns

The members share their kernels and differ in factors and in the last layer (TabM: Gorishniy, Kotelnikov and Babenko
2025). Numbers enter standardised and in bins (Gorishniy, Rubachev and Babenko 2022). A linear path leads past the
hidden layers. The model is a product of this ensemble and of ridge or logistic regression (Hinton 2002), except with
--no-linear; their shares are those that are best on the validation set. `baseline` trains scikit-learn's gradient
boosting and a linear model beside it; `python -m benchmarks.tables` compares the three.
"""

from dataclasses import dataclass
from typing import Literal

import keras

from common import (
    App,
    ByTarget,
    Count,
    Data,
    Fraction,
    NotNegative,
    Positive,
    Schedule,
    Share,
    baselines,
    cli,
)
from common.nn import layers, losses, optimizers, tabular, tabular_expert
from common.preprocessing import features, tables


@dataclass(frozen=True)
class Settings(tables.TableConfig):
    """Settings of the multilayer perceptron; the loss is the cross-entropy, or the mean squared error of a quantity."""

    data: Literal["breast_cancer", "diabetes"] = "breast_cancer"
    """Data set: malignant or benign by thirty measurements of 569 tumours, or the progression of diabetes by ten
    measurements of 442 patients."""
    target_kind: tables.Target = "auto"
    """What the target of --csv is. auto: names and a few whole numbers are classes, other numbers a quantity."""
    hidden: tuple[Count, ...] = (128, 128)
    """Units of each hidden layer."""
    members: Count = 8
    """Members of the ensemble."""
    bins: Count = 32
    """Maximum number of bins of a column of numbers."""
    embedding: Count = 16
    """Numbers that represent a value of a column of text with more values than this; of others, each is a feature."""
    dropout: Fraction = 0.1
    """Dropout rate after each hidden layer."""
    weight_decay: NotNegative = 0.01
    """Share of each weight that a step of learning rate 1 takes off."""
    linear: bool = True
    """Combine the ensemble with ridge or logistic regression."""
    epochs: Count = 40
    batch_size: Count = 256
    fewest_steps: Count = 32
    validation: Share = 0.15
    learning_rate: Positive = 0.003
    schedule: Schedule = "cosine"


def build_model(config: Settings, data: Data) -> "keras.Model":
    """Build the network: raw columns in, class probabilities or a quantity out."""
    quantity = data.train[1].ndim == 2
    outputs = 1 if quantity else len(data.outputs)
    table = features.standardised(data)
    x = tabular.encoded(table, data, config.bins, config.embedding)
    hidden = x
    for units in config.hidden:
        hidden = tabular.EnsembleDense(units, config.members)(hidden)
        hidden = layers.Dropout(config.dropout, seed=config.seed)(keras.layers.ReLU()(hidden))
    hidden = keras.layers.Identity(name="hidden")(hidden)
    past = keras.layers.Dense(outputs, kernel_initializer="zeros")(x)
    members = tabular.MemberDense(outputs)(hidden) + keras.layers.Reshape((1, outputs))(past)
    scores = tabular.MemberMean(classes=not quantity)(members)
    if config.linear:
        scores = tabular_expert.multiply(scores, table.outputs)
    loss: keras.losses.Loss | str
    if quantity:
        mean, deviation = float(data.train[1].mean()), float(data.train[1].std()) or 1.0
        answer = keras.layers.Rescaling(deviation, mean, dtype=str(data.train[1].dtype))(scores)
        loss, metrics = losses.ScaledSquaredError([deviation], dtype=answer.dtype), ["mean_absolute_error"]
    else:
        answer = keras.layers.Softmax()(scores)
        loss, metrics = "sparse_categorical_crossentropy", ["accuracy"]
    model = keras.Model(table.inputs, answer)
    model.compile(optimizers.build(config, data, weight_decay=config.weight_decay), loss, metrics=metrics)
    return model


app = App(
    settings=Settings,
    load_data=lambda config: tables.load(config, config.target_kind),
    build_model=build_model,
    task=ByTarget(),
    baseline=baselines.of_tables,
    features="hidden",
    # The module of nn is imported at its first use.
    calibrate=lambda model, config, data: tabular_expert.calibrate(model, config, data),
)

if __name__ == "__main__":
    cli.main(app, __doc__)
