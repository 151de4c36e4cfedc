"""The experiments of docs/lab.md, a figure each: `python -m benchmarks.lab NAME`.

Every function draws one figure. With `quick`, it trains on few examples for a few epochs, so that it ends in seconds.
"""

import io
from collections.abc import Callable, Mapping

from matplotlib.figure import Figure
from PIL import Image

from benchmarks.lab import descent, features, networks

EXPERIMENTS: Mapping[str, Callable[[bool], Figure]] = {
    "overfitting": networks.overfitting,
    "more_data": networks.more_data,
    "learning_rates": networks.learning_rates,
    "dead_units": networks.dead_units,
    "vanishing_gradients": networks.vanishing_gradients,
    "batch_normalization": networks.batch_normalization,
    "initial_weights": networks.initial_weights,
    "standardised_inputs": descent.standardised_inputs,
    "batches": descent.batches,
    "optimizers": descent.optimizers,
    "features": features.learned,
}
"""The experiments by name."""

COLOURS = 48
"""Number of colours of an image, which keep its file small."""


def image(name: str, quick: bool = False) -> bytes:
    """Carry out an experiment and return its figure as a small PNG."""
    file, small = io.BytesIO(), io.BytesIO()
    EXPERIMENTS[name](quick).savefig(file, dpi=80)
    with Image.open(file) as drawn:
        drawn.convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True)
    return small.getvalue()
