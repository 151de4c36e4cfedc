"""The names that a user may choose from, apart from the modules that build what they name: those import Keras."""

from typing import Literal

Activation = Literal[
    "threshold", "sigmoid", "tanh", "scaled_tanh", "relu", "leaky_relu", "prelu", "elu", "softmax", "arctan", "sqnl"
]
Cell = Literal["lstm", "gru", "rnn"]
Initializer = Literal["he_normal", "xavier", "normal"]
Loss = Literal["cross_entropy", "squared_error", "absolute_error", "hinge"]
Optimizer = Literal["sgd", "momentum", "rmsprop", "adam"]
Schedule = Literal["constant", "inverse", "exponential", "k_over_epoch", "cosine", "plateau"]
