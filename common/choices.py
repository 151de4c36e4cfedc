"""The names that a user may choose from, apart from the modules that build what they name: those import Keras."""

from typing import Literal

Activation = Literal[
    "threshold", "sigmoid", "tanh", "scaled_tanh", "relu", "leaky_relu", "prelu", "elu", "softmax", "arctan", "sqnl"
]
Cell = Literal["lstm", "gru", "rnn"]
Initializer = Literal["he_normal", "xavier", "normal"]
Kind = Literal["train", "search", "trial", "fold", "baseline"]
"""What a recorded run was for."""
Loss = Literal[
    "cross_entropy",
    "categorical_cross_entropy",
    "binary_cross_entropy",
    "squared_error",
    "summed_squared_error",
    "half_squared_error",
    "absolute_error",
    "hinge",
]
Metric = Literal[
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "cosine_proximity",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "top_5_accuracy",
    "true_class_probability",
]
Format = Literal["keras", "saved_model", "onnx", "litert"]
Normalization = Literal["min_max", "standard_score", "none"]
Optimizer = Literal["sgd", "momentum", "rmsprop", "adam"]
Schedule = Literal["constant", "inverse", "exponential", "k_over_epoch", "cosine", "plateau"]
Split = Literal["published", "by_size", "70:30", "60:20:20", "98:1:1", "99.5:0.25:0.25"]
Visible = Literal["bernoulli", "gaussian"]
