"""Handwritten digits read row by row: an image is a sequence of 28 steps of 28 pixels.

    python -m apps.lstm_mnist train                     # 1.04 % test error, mean of 3 seeds; 3 CPU minutes
    python -m apps.lstm_mnist train --cell GRU --units 64

The LSTM is that of Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000).
"""

from dataclasses import dataclass
from typing import Literal

import keras

from common import App, Classification, Count, Data, Fraction, Positive, Published, Schedule, cli
from common.nn import optimizers, recurrent
from common.preprocessing import images


@dataclass(frozen=True)
class Settings(images.ImageConfig):
    """Settings of the network that reads images row by row."""

    cell: Literal["LSTM", "GRU", "SimpleRNN"] = "LSTM"
    """Recurrent layer: long short-term memory, gated recurrent unit, or a plain one with tanh."""
    units: Count = 128
    """Number of recurrent cells."""
    dropout: Fraction = 0.2
    """Dropout rate of the last state."""
    epochs: Count = 15
    learning_rate: Positive = 0.003
    schedule: Schedule = "cosine"


def build_model(config: Settings, data: Data) -> "keras.Model":
    """Build the network: bytes (28 rows, 28 pixels) in, class probabilities out."""
    inputs = keras.Input(data.input_shape, dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = getattr(recurrent, config.cell)(config.units)(x)
    x = keras.layers.Dropout(config.dropout, seed=config.seed)(x)
    model = keras.Model(inputs, keras.layers.Dense(len(data.outputs), activation="softmax")(x))
    model.compile(optimizers.build(config, data), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


PUBLISHED = [Published("about 1.1 %, 256 cells (public notebooks)", {"data": "mnist"})]
app = App(settings=Settings, load_data=images.load, build_model=build_model, task=Classification(), published=PUBLISHED)

if __name__ == "__main__":
    cli.main(app, __doc__)
