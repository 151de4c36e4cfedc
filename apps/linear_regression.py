"""Linear regression by gradient descent. It ends at the least-squares solution (Legendre 1805, Gauss 1809).

    python -m apps.linear_regression train                   # weight = -87.51667 + 3.45 height, in 1 CPU s
    python -m apps.linear_regression train --data diabetes   # scikit-learn's coefficients, in 3 CPU s
    python -m apps.linear_regression train --csv houses.csv --target price

The 15 women are all used for the fit, as published, so their test error says nothing about other women.
"""

from dataclasses import dataclass
from typing import Literal

import keras

from common import App, Data, Regression, baselines, cli
from common.nn import linear, optimizers
from common.plots import animation
from common.preprocessing import features, tables


@dataclass(frozen=True)
class Settings(linear.LinearConfig):
    """Settings of linear regression; the loss is the mean squared error."""

    data: Literal["women", "diabetes"] = "women"
    """Data set: weight by height of 15 women, or the progression of diabetes by ten measurements of 442 patients."""


def build_model(config: Settings, data: Data) -> "keras.Model":
    """Build the network: raw columns in, one linear unit on standardised features out."""
    table = features.standardised(data)
    config = linear.scale_steps(config, table.train, curvature=(2.0, 2.0))
    model = keras.Model(table.inputs, features.with_offset(linear.layer(1, config)(table.outputs), data.train[1]))
    loss = keras.losses.MeanSquaredError(dtype=model.output.dtype)
    model.compile(optimizers.build(config, data), loss, metrics=["mean_absolute_error"])
    return model


app = App(
    settings=Settings,
    load_data=lambda config: tables.load(config, "quantity"),
    build_model=build_model,
    task=Regression(),
    baseline=baselines.least_squares,
    tables=linear.coefficients,
    animate=animation.fitted_line,
)

if __name__ == "__main__":
    cli.main(app, __doc__)
