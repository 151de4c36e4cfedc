"""Names of layers and inputs that other code looks up in a model."""

import re

CENTRED = "centred"
"""Subtraction of the mean colour in AlexNet."""
FEATURES = "features"
"""Features of a table before standardisation, to which predictions are attributed."""
MACHINE = "machine"
"""Boltzmann machine of a model."""
OFFSET = "offset"
"""Addition of the mean of a target that float32 cannot hold."""
OUTPUT = "output"
"""Last layer with weights: the coefficients of a linear model, or the layer that fine-tuning replaces."""
POOLED = "pooled_features"
"""Features of a pretrained network, before the head."""
STANDARDISE = "standardise"
"""Standardisation of a table's features."""


def column_input(column: str) -> str:
    """Return the name of the input of a column, which no layer has, in characters that all formats allow."""
    return f"column_{column}" if re.fullmatch(r"[A-Za-z0-9_]+", column) else f"columnx_{column.encode().hex()}"


def embedding_of(column: str) -> str:
    """Return the name of the layer that embeds the values of a column of text, in characters that all formats allow."""
    return f"embedding_of_{column.encode().hex()}"


def values_of(column: str) -> str:
    """Return the name of the layer with the values of a column of text, in characters that TensorFlow allows."""
    return f"values_of_{column.encode().hex()}"
