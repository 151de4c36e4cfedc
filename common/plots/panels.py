"""Make figures of panels, label them, and give them captions."""

from typing import Any

from matplotlib.figure import Figure

from common.data import Array


def subplots(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, Array]:
    """Return a figure and its panels (rows, columns), each `width` by `height` inches."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def finish(axes: Any, integers: bool = False, **labels: Any) -> None:
    """Add labels, a grid, a legend of the labelled curves, and ticks at integers of x."""
    axes.set(**labels)
    if integers:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def captioned(figure: Figure, caption: str) -> Figure:
    """Return the figure with a caption, which the file of the figure contains and the page of a run shows."""
    figure.set_label(caption)
    return figure
