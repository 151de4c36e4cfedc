"""Initial weights, by the name that a user gives them. All are Keras's own."""

from __future__ import annotations

import keras

from common.choices import Initializer


def build(name: Initializer) -> keras.initializers.Initializer:
    """The initialiser called `name`; fan-in is the number of a unit's inputs.

    he_normal: normal, standard deviation sqrt(2 / fan-in), cut off at two of them (He et al. 2015). xavier: sqrt(1 /
    fan-in), as given for tanh. normal: standard deviation 1.
    """
    match name:
        case "he_normal":
            return keras.initializers.HeNormal()
        case "xavier":
            return keras.initializers.LecunNormal()
        case "normal":
            return keras.initializers.RandomNormal(stddev=1.0)
