"""Handwritten digits read row by row: a picture is a sequence of 28 steps of 28 pixels.

    python -m apps.lstm_mnist train                     # 0.92 % test error, mean of seeds 0, 1 and 2
    python -m apps.lstm_mnist train --cell gru --units 64

The cell is Hochreiter and Schmidhuber's (1997) with the forget gate of Gers et al. (2000); only what it remembers after
the last row is classified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras

from common import baselines, cli, tasks
from common.app import App
from common.config import Cell, Config, Count, Fraction, Positive, Schedule
from common.data import Data
from common.nn import layers, losses, optimizers
from common.preprocessing import datasets, images, splits


@dataclass(frozen=True)
class LstmMnist(Config):
    """Settings of the network that reads digits row by row."""

    data: Literal["mnist", "fashion_mnist"] = "mnist"
    """Data set: handwritten digits, or Zalando's clothes in the same format."""
    cell: Cell = "lstm"
    """Recurrent unit: long short-term memory, gated recurrent unit, or the plain one with tanh."""
    units: Count = 128
    """Memory cells."""
    dropout: Fraction = 0.2
    """Share of the last state that is dropped while training."""

    epochs: Count = 15
    learning_rate: Positive = 0.003
    schedule: Schedule = "cosine"


def load_data(config: LstmMnist) -> Data:
    """Pictures (28, 28) of bytes, 0 for background, and integer labels."""
    return splits.split_training(datasets.load(config.data), config.validation, config.seed)


def build_model(config: LstmMnist, data: Data) -> keras.Model:
    """The network: bytes (28 rows, 28 pixels) in, class probabilities out, compiled."""
    model = keras.Sequential(
        [
            keras.Input(data.input_shape, dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            layers.recurrent(config.cell, config.units),
            keras.layers.Dropout(config.dropout, seed=config.seed),
            keras.layers.Dense(len(data.outputs), activation="softmax"),
        ]
    )
    model.compile(optimizers.build(config, data), losses.build("cross_entropy"), metrics=["accuracy"])
    return model


app = App(
    LstmMnist,
    load_data,
    build_model,
    images.read,
    baselines.logistic_regression,
    tasks.Classification(),
)

if __name__ == "__main__":
    cli.main(app, __doc__)
