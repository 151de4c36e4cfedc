"""Pictures that can be read."""

import itertools

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from common.plots import results


def test_a_picture_that_is_all_on_is_not_drawn_as_one_that_is_all_off() -> None:
    grid = results.image_grid(np.stack([np.zeros((2, 2)), np.ones((2, 2))]), ["off", "on"], columns=2)
    off, on = grid.axes[0].images
    assert off.norm(np.zeros(1)) == 0
    assert on.norm(np.ones(1)) == 1


def test_long_titles_run_neither_into_each_other_nor_out_of_the_figure() -> None:
    titles = ["ankle boot taken for T-shirt/top\n(99 %)", "bag", "photographically unbreakable"] * 4
    figure = results.image_grid(np.zeros((12, 28, 28)), titles, columns=4)
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 12
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(figure.bbox.contains(*corner) for box in boxes for corner in (box.min, box.max))
