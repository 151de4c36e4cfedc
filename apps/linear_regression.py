"""Linear regression by gradient descent: it ends at the least-squares solution (Legendre 1805, Gauss 1809).

    python -m apps.linear_regression train                   # weight = -87.51667 + 3.45 height
    python -m apps.linear_regression train --data diabetes   # the coefficients of scikit-learn's LinearRegression
    python -m apps.linear_regression train --csv houses.csv --target price
    python -m apps.linear_regression predict new.csv         # raw rows of the same columns

The 15 women are fitted as published, on all of them: training, validation and test set are the same 15 rows, so that
the test error is no estimate for other women.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np

from common import baselines, cli, tasks
from common.app import App
from common.data import Data
from common.nn import linear, optimizers
from common.nn.linear import LinearConfig
from common.preprocessing import features, splits, tables

# Average height in inches and weight in pounds of American women aged 30 to 39 (R's data set `women`).
HEIGHTS = range(58, 73)
WEIGHTS = (115, 117, 120, 123, 126, 129, 132, 135, 139, 142, 146, 150, 154, 159, 164)


@dataclass(frozen=True)
class LinearRegression(LinearConfig):
    """Settings of linear regression; the loss is the mean squared error."""

    data: Literal["women", "diabetes"] = "women"
    """Weight of 15 women by height, or a measure of diabetes a year later by ten measurements of 442 patients."""


def load_data(config: LinearRegression) -> Data:
    """Columns of numbers and of text, and a quantity (rows, 1)."""
    if config.csv:
        return splits.split(tables.read_csv(config, "quantity"), config, config.test)
    if config.data == "women":
        heights, weights = np.array(HEIGHTS, "float32"), np.array(WEIGHTS, "float32")
        return splits.unsplit(tables.Table("women", {"height": heights}, weights[:, None], ("weight",)))
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False)
    columns = {name: column.to_numpy("float32") for name, column in frame.data.items()}
    progression = frame.target.to_numpy("float32")[:, None]
    return splits.split(tables.Table("diabetes", columns, progression, ("progression",)), config, config.test)


def build_model(config: LinearRegression, data: Data) -> keras.Model:
    """The network: raw columns in, standardised, one linear unit; compiled."""
    table = features.standardised(data)
    config = linear.scaled(config, table.train, curvature=(2.0, 2.0))
    model = keras.Model(table.inputs, linear.layer(1, config)(table.outputs))
    model.compile(optimizers.build(config, data), "mean_squared_error", metrics=["mean_absolute_error"])
    return model


app = App(
    LinearRegression,
    load_data,
    build_model,
    tables.read_rows,
    baselines.least_squares,
    tasks.Regression(),
    linear.coefficients,
)

if __name__ == "__main__":
    cli.main(app, __doc__)
