"""LeNet-5 on MNIST (LeCun, Bottou, Bengio and Haffner 1998, "Gradient-Based Learning Applied to Document Recognition").

    python -m apps.lenet5 train                               # the modern variant: 0.71 % test error
    python -m apps.lenet5 train --distortions                 # 0.56 %
    python -m apps.lenet5 train --like apps/lenet5_fast.json  # 0.91 % after two epochs, 11 CPU s
    python -m apps.lenet5 train --variant 1998                # the paper's network: 0.94 %; published 0.95 %
    python -m apps.lenet5 train --variant 1998 --distortions  # the paper's distortions: 0.74 %; published 0.8 %

Each error is the mean of seeds 0, 1 and 2, but of ten seeds after two epochs. The first command takes 157 CPU s (224 s
on two busy cores, seed 0).

The variant `1998` is exactly the paper's network, except for its optimizer. The variant `modern` has the same maps,
with ReLU, batch normalisation, dropout and a softmax. The network of 1998 has a probability of "none of these", which
`predict` answers for images that are less like a digit than 98 % of the validation images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from common import App, Classification, Count, Data, Fraction, Positive, Published, Schedule, cli
from common.nn import augmentation, layers, losses, optimizers
from common.preprocessing import images

# Table I of the paper: the maps of S2 that each of the sixteen maps of C3 is connected to.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)

# Figure 3 of the paper: 7x12 images of the ten digits, row by row, the target codes of F6 (# is +1, . is -1).
DIGITS = """
.#####.  ...##..  .#####.  #######  .#####.  .#####.  ..####.  #######  .#####.  .#####.
.......  ..###..  .......  .....##  .......  .......  .##....  .....##  ##...##  ##..###
..###..  .####..  .#####.  ....##.  .......  #######  ##.....  .....##  ##...##  ##...##
.##.##.  ...##..  ##...##  ...##..  .##..##  ##.....  ##.....  ....##.  ##...##  ##...##
##...##  ...##..  #....##  ..####.  .##..##  ##.....  ######.  ...##..  .#####.  ##..###
##...##  ...##..  ....##.  .....##  ###..##  .####..  ###..##  ...##..  ##...##  .######
##...##  ...##..  ..###..  .....##  ##...##  ..####.  ##...##  ..##...  ##...##  .....##
##...##  ...##..  .##....  .....##  ##...##  .....##  ##...##  ..##...  ##...##  .....##
.##.##.  ...##..  ##.....  ##...##  ##..###  ##...##  ###..##  ..##...  ##...##  ....##.
..###..  .######  #######  .#####.  .######  .#####.  .#####.  ..##...  .#####.  .####..
.......  .......  .......  .......  .....##  .......  .......  .......  .......  .......
.......  .......  .......  .......  .....##  .......  .......  .......  .......  .......
"""


@dataclass(frozen=True)
class Settings(images.ImageConfig):
    """Settings of LeNet-5."""

    variant: Literal["1998", "modern"] = "modern"
    """The paper's network, or the same maps with ReLU, batch normalisation, dropout and softmax."""
    distortions: bool = False
    """Train on the paper's random planar affine distortions of the images, new ones in every epoch."""
    pooling: Literal["average", "max"] = "max"
    """Type of pooling in the variant `modern`."""
    dropout: Fraction = 0.2
    """Dropout rate of C5 and F6 in the variant `modern`."""
    rubbish: Positive = 5.0
    """Penalty of the class "none of these" in the loss of the variant `1998`; j in the paper."""

    epochs: Count = 25
    batch_size: Count = 64
    learning_rate: Positive = 0.003
    schedule: Schedule = "cosine"


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the network: bytes (28, 28) in, class probabilities out."""
    network = lenet5_1998(config) if config.variant == "1998" else lenet5_modern(config, len(data.outputs))
    distortions = [augmentation.AffineDistortion(seed=config.seed, name="distortions")] if config.distortions else []
    model = keras.Sequential(
        [
            keras.Input(data.input_shape, dtype="uint8"),
            keras.layers.Reshape((*data.input_shape, 1)),
            *distortions,
            *network,
        ]
    )
    loss = losses.NegativeLogLikelihood() if config.variant == "1998" else "sparse_categorical_crossentropy"
    model.compile(optimizers.build(config, data), loss, metrics=["accuracy"])
    return model


def lenet5_1998(config: Settings) -> list[keras.layers.Layer]:
    """Return the layers of section II.B of the paper: 60,000 trainable parameters, 340,908 connections.

    C5 is a dense layer. In the paper it is a convolution whose maps are as large as its kernel, which is the same.
    """
    squash = layers.scaled_tanh
    return [
        keras.layers.ZeroPadding2D(2),
        # "the background level (white) corresponds to -0.1 and the foreground (black) to 1.175"
        keras.layers.Rescaling(1.275 / 255, offset=-0.1),
        keras.layers.Conv2D(6, 5, activation=squash, kernel_initializer=uniform(25), name="C1"),
        layers.Subsampling(activation=squash, initializer=uniform(4), name="S2"),
        layers.TableConv2D(C3_TABLE, 5, activation=squash, initializer=uniform(25 * 60 / 16), name="C3"),
        layers.Subsampling(activation=squash, initializer=uniform(4), name="S4"),
        keras.layers.Flatten(),
        keras.layers.Dense(120, activation=squash, kernel_initializer=uniform(400), name="C5"),
        keras.layers.Dense(84, activation=squash, kernel_initializer=uniform(120), name="F6"),
        layers.RadialBasis(digit_codes().tolist(), name="output"),
        layers.Posterior(config.rubbish, name="probabilities"),
    ]


def lenet5_modern(config: Settings, classes: int) -> list[keras.layers.Layer]:
    """Return layers with the same maps, with ReLU, batch normalisation, dropout and a softmax.

    Pooling comes before normalisation, which takes less time for a quarter of the numbers.
    """
    pool = keras.layers.MaxPooling2D if config.pooling == "max" else keras.layers.AveragePooling2D
    options: dict[str, Any] = {"use_bias": False, "kernel_initializer": "he_normal"}

    def normalised() -> list[keras.layers.Layer]:
        return [layers.BatchNormalization(), keras.layers.Activation("relu")]

    return [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(6, 5, padding="same", **options, name="C1"),
        pool(2, name="S2"),
        *normalised(),
        keras.layers.Conv2D(16, 5, **options, name="C3"),
        pool(2, name="S4"),
        *normalised(),
        keras.layers.Flatten(),
        keras.layers.Dense(120, **options, name="C5"),
        *normalised(),
        keras.layers.Dropout(config.dropout, seed=config.seed),
        keras.layers.Dense(84, **options, name="F6"),
        *normalised(),
        keras.layers.Dropout(config.dropout, seed=config.seed + 1),
        keras.layers.Dense(classes, activation="softmax", name="output"),
    ]


def uniform(fan_in: float) -> keras.initializers.Initializer:
    """Return the initializer of uniform weights in ±2.4 / fan-in (appendix A of the paper)."""
    return keras.initializers.RandomUniform(-2.4 / fan_in, 2.4 / fan_in)


def digit_codes() -> np.ndarray:
    """Return the RBF centres (10, 84): the images of the digits, one per row."""
    rows = np.array([line.split() for line in DIGITS.split("\n") if line])
    return np.array([[1.0 if pixel == "#" else -1.0 for pixel in "".join(digit)] for digit in rows.T])


LECUN = "(LeCun et al. 1998)"
app = App(
    settings=Settings,
    load_data=images.load,
    build_model=build_model,
    task=Classification(rejects=True),
    published=[
        Published(f"0.95 % {LECUN}", {"data": "mnist", "variant": "1998", "distortions": False}),
        Published(f"0.8 % {LECUN}", {"data": "mnist", "variant": "1998", "distortions": True}),
        Published("0.78 %, Keras's `mnist_convnet`", {"data": "mnist", "variant": "modern", "distortions": False}),
    ],
)

if __name__ == "__main__":
    cli.main(app, __doc__)
