"""The experiments of docs/lab.md, a figure each: `python -m benchmarks.lab NAME`.

Every function draws one figure. With `quick`, it trains on few examples for a few epochs, so that it ends in seconds.
"""

import io
from collections.abc import Callable, Mapping

from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from common import lazy

with lazy.quiet_native_log():  # in a notebook too
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

COLOURS = 128
"""Number of colours of an image, which keep its file small."""


def image(name: str, quick: bool = False) -> bytes:
    """Carry out an experiment and return its figure as a small PNG, with its caption as the description in the file."""
    file, small, described = io.BytesIO(), io.BytesIO(), PngInfo()
    with lazy.quiet_native_log():
        figure = EXPERIMENTS[name](quick)
    figure.savefig(file, dpi=80)
    described.add_itxt("Description", str(figure.get_label()))
    with Image.open(file) as drawn:
        few = drawn.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
        few.save(small, "PNG", optimize=True, pnginfo=described)
    return small.getvalue()
