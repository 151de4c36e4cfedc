"""Figures of small known arrays: their labels, axes, legends, and the data of their lines, bars and images."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from common.data import Array, Data, Formats, Trained, WindowFormat
from common.plots import attribution, by_task, filters, results, search
from common.plots.colours import SIGNED, by_sign

RED, BLUE = to_hex("C3"), to_hex("C0")


def test_red_is_positive_and_blue_negative_in_all_figures() -> None:
    negative, zero, positive = colormaps[SIGNED]([0.0, 0.5, 1.0])
    assert positive[0] > positive[2]
    assert negative[2] > negative[0]
    assert min(zero) > 0.95
    assert [to_hex(colour) for colour in by_sign(np.array([1, -1]))] == [RED, BLUE]


def legend(axes: Axes) -> list[str]:
    box = axes.get_legend()
    assert box is not None
    return [text.get_text() for text in box.get_texts()]


def line_points(line: Any) -> Array:
    """x and y of each point of a line, shape (points, 2)."""
    return np.column_stack(line.get_data())


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """x and y of the lines that the legend names."""
    drawn, names = axes.get_legend_handles_labels()
    assert legend(axes) == names
    points = [line_points(line) for line in drawn]
    return {name: (list(line[:, 0]), list(line[:, 1])) for name, line in zip(names, points, strict=True)}


def labels(axes: Axes) -> tuple[str, str, str]:
    return axes.get_title(), axes.get_xlabel(), axes.get_ylabel()


def ticks(axes: Axes) -> list[str]:
    """Names at the vertical axis, from top to bottom."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    return names if axes.yaxis.get_inverted() else names[::-1]


def widths(axes: Axes, container: int = 0) -> list[float]:
    return [bar.get_width() for bar in axes.containers[container]]


def colours(axes: Axes, container: int = 0) -> list[str]:
    return [to_hex(bar.get_facecolor()) for bar in axes.containers[container]]


def points(axes: Axes, collection: int = 0) -> Array:
    return np.asarray(axes.collections[collection].get_offsets())


def test_learning_curves() -> None:
    history = {
        "loss": [1.0, 0.5, 0.25],
        "val_loss": [1.25, 0.75, 1.0],
        "accuracy": [0.5, 0.6, 0.7],
        "val_accuracy": [0.4, 0.6, 0.5],
        "learning_rate": [0.1, 0.1, 0.1],
    }
    loss, accuracy = results.learning_curves(history, best_epoch=2).axes
    epochs = [1, 2, 3]
    assert labels(loss) == ("loss", "epoch", "loss")
    assert labels(accuracy) == ("accuracy", "epoch", "accuracy")
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        assert lines(axes) == {
            "training": (epochs, history[name]),
            "validation": (epochs, history[f"val_{name}"]),
            "weights of epoch 2": ([2, 2], [0, 1]),
        }
    assert (loss.get_yscale(), accuracy.get_yscale()) == ("log", "linear")


def test_learning_curves_without_validation_and_with_a_negative_loss() -> None:
    (axes,) = results.learning_curves({"loss": [1.0, -1.0]}, best_epoch=2).axes
    assert list(lines(axes)) == ["training"]
    assert len(axes.lines) == 1
    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize(("mode", "best"), [("max", [0.3, 0.3, 0.5]), ("min", [0.3, 0.1, 0.1])])
def test_best_so_far(mode: Any, best: list[float]) -> None:
    (axes,) = search.best_so_far([None, 0.3, 0.1, 0.5], "val_f1", mode).axes
    assert labels(axes) == ("best of 4 trials", "trials that ended", "val_f1")
    drawn = lines(axes)
    assert list(drawn) == ["trial", "best so far"]
    np.testing.assert_array_equal(drawn["trial"], [[1, 2, 3, 4], [np.nan, 0.3, 0.1, 0.5]])
    np.testing.assert_array_equal(drawn["best so far"], [[1, 2, 3, 4], [np.nan, *best]])
    assert axes.lines[0].get_linestyle() == "None"
    assert axes.lines[1].get_drawstyle() == "steps-post"


def test_parallel_coordinates() -> None:
    """Numbers over an order of magnitude are on a logarithmic axis, others on a linear one, and words are in order."""
    settings = pd.DataFrame(
        {"rate": [0.1, 0.01, 0.001], "units": [(16,), (8,), (8,)], "dropout": [0.5, 0.4, 0.3], "cell": [*"aab"]}
    )
    figure = search.parallel_coordinates(settings, [0.9, 0.8, 0.7], "val_accuracy")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "rate",
        "units",
        "dropout",
        "cell",
        "val_accuracy",
    ]
    drawn = [heights for line in axes.lines if len(heights := line_points(line)[:, 1]) == 5]
    best, second, worst = [1.0, 1, 1, 0, 1], [0.5, 0, 0.5, 0, 0.5], [0.0, 0, 0, 1, 0]
    np.testing.assert_allclose(drawn, np.array([worst, second, best, best]), atol=1e-9)
    assert to_hex(axes.lines[-1].get_color()) == RED
    names = {text.get_text() for text in axes.texts}
    assert names == {"0.001", "0.01", "0.1", "8", "16", "0.3", "0.4", "0.5", "a", "b", "0.7", "0.8", "0.9"}
    assert "val_accuracy" in str(figure.get_label())
    many = search.parallel_coordinates(pd.DataFrame({"units": range(20)}), [0.5] * 20, "loss").axes[0]
    assert {text.get_text() for text in many.texts} == {"0", "19", "0.5"}


def test_confusion_matrix() -> None:
    counts = np.array([[3, 1, 0], [0, 5, 0], [0, 1, 0]])
    (axes,) = results.confusion_matrix(counts, ["cat", "dog", "cow"]).axes
    assert labels(axes) == ("10 test examples", "predicted", "true")
    (image,) = axes.images
    np.testing.assert_allclose(
        np.asarray(image.get_array()), np.sqrt([[0.75, 0.25, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    )
    assert image.get_clim() == (0, 1)
    written = [(text.get_position(), text.get_text(), text.get_color()) for text in axes.texts]
    assert written == [
        ((column, row), words, colour)
        for column, row, both, colour in [
            (0, 0, ("3", "75.0 %"), "white"),
            (1, 0, ("1", "25.0 %"), "black"),
            (1, 1, ("5", "100.0 %"), "white"),
            (1, 2, ("1", "100.0 %"), "white"),
        ]
        for words in both
    ]
    assert ticks(axes) == ["cat", "dog", "cow"]
    assert [(label.get_text(), label.get_rotation()) for label in axes.get_xticklabels()] == [
        ("cat", 45), ("dog", 45), ("cow", 45),
    ]  # fmt: skip


def test_a_confusion_matrix_of_a_class_without_examples_has_no_share_of_it() -> None:
    (axes,) = results.confusion_matrix(np.array([[2, 0], [0, 0]]), ["a", "b"]).axes
    np.testing.assert_array_equal(axes.images[0].get_array(), [[1, 0], [0, 0]])


def test_decision() -> None:
    """With 0.3 as threshold 3 of 4 positives and 1 of 4 negatives are found positive."""
    truth = np.array([0, 0, 1, 0, 0, 1, 1, 1])
    probabilities = np.array([0.05, 0.1, 0.2, 0.25, 0.4, 0.6, 0.7, 0.9])
    roc, precision_recall, calibration = results.decision(truth, probabilities, 0.3, "spam").axes
    titles = ["spam: ROC", "spam: precision and recall", "spam: calibration"]
    assert [axes.get_title() for axes in (roc, precision_recall, calibration)] == titles
    np.testing.assert_allclose(points(roc), [[1 / 4, 3 / 4]])
    np.testing.assert_allclose(points(precision_recall), [[3 / 4, 3 / 4]])
    curve = line_points(roc.lines[0])
    np.testing.assert_allclose(curve, np.array([[0, 0], [0, 1], [0, 3], [2, 3], [2, 4], [4, 4]]) / 4)
    curve = line_points(precision_recall.lines[0])
    for point in ([1, 4 / 6], [3 / 4, 3 / 4], [3 / 4, 1], [1 / 4, 1], [0, 1]):
        assert np.isclose(curve, point).all(axis=1).any()
    named = {line.get_label(): line for line in calibration.lines}
    assert list(line_points(named["threshold 0.300"])[:, 0]) == [0.3, 0.3]
    bins = np.column_stack([probabilities, truth])  # each of one example
    np.testing.assert_allclose(line_points(calibration.lines[1]), bins)
    for axes in (roc, precision_recall, calibration):
        assert "threshold 0.300" in legend(axes)
        styles = [(to_hex(line.get_color()), line.get_linestyle()) for line in axes.lines]
        assert len(set(styles)) == len(styles)


def test_an_image_that_is_all_on_is_not_drawn_as_one_that_is_all_off() -> None:
    grid = results.image_grid(np.stack([np.zeros((2, 2)), np.ones((2, 2))]), ["off", "on"], columns=2)
    off, on = grid.axes[0].images
    assert off.norm(np.zeros(1)) == 0
    assert on.norm(np.ones(1)) == 1


def test_image_grid() -> None:
    pictures = np.array([[[0, 1], [2, 3]], [[-4, 0], [0, 2]], [[5, 6], [7, 8]]], "float64")
    (axes,) = results.image_grid(pictures, ["first", "signed", "below"], columns=2, cmap=SIGNED).axes
    first, signed, below = axes.images
    for image, picture in zip(axes.images, pictures, strict=True):
        np.testing.assert_array_equal(image.get_array(), picture)
        assert image.get_cmap().name == SIGNED
    assert [image.get_clim() for image in axes.images] == [(-3, 3), (-4, 4), (-8, 8)]
    assert first.get_extent()[2:] == signed.get_extent()[2:]  # a row
    assert first.get_extent()[:2] == below.get_extent()[:2]  # a column
    assert first.get_extent()[1] < signed.get_extent()[0]
    assert first.get_extent()[2] < below.get_extent()[3]  # y grows downwards
    for image, text, title in zip(axes.images, axes.texts, ["first", "signed", "below"], strict=True):
        left, right, _, top = image.get_extent()
        assert text.get_text() == title
        assert left < text.get_position()[0] < right
        assert text.get_position()[1] < top
    assert not axes.axison


def test_long_titles_run_neither_into_each_other_nor_out_of_the_figure() -> None:
    titles = ["ankle boot taken for T-shirt/top\n(99 %)", "bag", "photographically unbreakable"] * 4
    figure = results.image_grid(np.zeros((12, 28, 28)), titles, columns=4)
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 12
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(figure.bbox.contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_sentences() -> None:
    (axes,) = results.sentences(["from $5 to $6", "long " * 100], ["cheap", "dull"]).axes
    title, text, second_title, second = axes.texts
    assert [title.get_text(), text.get_text(), second_title.get_text()] == ["cheap", "from $5 to $6", "dull"]
    assert second.get_text().startswith("long long")
    assert second.get_text().endswith("long …")
    assert len(second.get_text()) <= 140
    heights = [written.get_position()[1] for written in axes.texts]
    assert heights == sorted(heights)
    assert axes.yaxis.get_inverted()
    assert not any(written.get_parse_math() for written in axes.texts)


def test_residuals() -> None:
    targets, predictions = np.array([[1.0, 10], [2, 20], [3, 30]]), np.array([[1.5, 10], [1.5, 25], [3.0, 20]])
    axes = results.residuals(targets, predictions, ["mass", "age"]).axes
    for index, quantity in enumerate(["mass", "age"]):
        scatter, histogram = axes[2 * index : 2 * index + 2]
        assert labels(scatter) == (f"{quantity}: residuals of the test set", f"predicted {quantity}", "residual")
        assert histogram.get_xlabel() == "examples"
        prediction, left = predictions[:, index], targets[:, index] - predictions[:, index]
        np.testing.assert_array_equal(points(scatter), np.transpose([prediction, left]))
        (zero,) = scatter.lines
        assert list(line_points(zero)[:, 1]) == [0, 0]
        assert sum(widths(histogram)) == 3
        bars = list(histogram.containers[0])
        assert (bars[0].get_y(), bars[-1].get_y() + bars[-1].get_height()) == pytest.approx((left.min(), left.max()))
        assert histogram.get_ylim() == scatter.get_ylim()


def test_forecast() -> None:
    """Four windows of two steps of 10, 11, 12, 13, 14; of the eight targets the interval misses two."""
    targets = np.array([[10.0, 11], [11, 12], [12, 13], [13, 14]])[..., None]
    predictions, widths = targets + 0.5, np.full(targets.shape, 1.0)
    widths[2] = 0.25
    figure = results.forecast(targets, predictions, {"95 % interval": widths}, ["load"])
    (axes,) = figure.axes
    title = "load, 2 steps ahead from each line; 75 % in the 95 % interval"
    assert labels(axes) == (title, "step of the test part", "load")
    assert legend(axes) == ["true", "forecast", "95 % interval"]
    curves = [line_points(line).T.tolist() for line in axes.lines]
    assert curves == [
        [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]],
        [[0, 1], [10.5, 11.5]],
        [[0, 0], [0, 1]],
        [[2, 3], [12.5, 13.5]],
        [[2, 2], [0, 1]],
    ]
    for band, window in zip(axes.collections, (0, 2), strict=True):
        corners = np.asarray(band.get_paths()[0].vertices)
        for step in (0, 1):
            edges = corners[corners[:, 0] == window + step, 1]
            middle, width = predictions[window, step, 0], widths[window, step, 0]
            assert (edges.min(), edges.max()) == pytest.approx((middle - width, middle + width))


def test_forecasts_of_one_step_are_a_line_over_dates() -> None:
    targets, times = np.arange(5.0)[:, None, None], np.arange("2024-01", "2024-06", dtype="datetime64[M]")[:, None]
    figure = results.forecast(targets, targets + 1, {"80 % interval": np.ones_like(targets)}, ["load"], times)
    (axes,) = figure.axes
    assert labels(axes)[:2] == ("load, one step ahead; 100 % in the 80 % interval", "time")
    true, forecast = axes.lines
    assert np.shape(true.get_xydata()) == np.shape(forecast.get_xydata()) == (5, 2)
    assert forecast.get_marker() == "."
    assert len(axes.collections) == 1
    figure.canvas.draw()
    texts = [label.get_text() for label in axes.get_xticklabels()]
    assert "Feb" in texts


def test_error_by_step() -> None:
    targets = np.zeros((2, 3, 2))
    network = np.array([[3.0, 1, 0], [4, 1, 0]])[..., None] * [1, 10]
    panels = results.error_by_step(targets, {"network": network, "last value": targets}, ["load", "price"]).axes
    for axes, quantity, scale in zip(panels, ["load", "price"], [1, 10], strict=True):
        assert labels(axes) == (quantity, "steps ahead", f"root mean square error, {quantity}")
        drawn = lines(axes)
        np.testing.assert_allclose(drawn["network"], [[1, 2, 3], [scale * 12.5**0.5, scale, 0]])
        np.testing.assert_allclose(drawn["last value"], [[1, 2, 3], [0, 0, 0]])
        assert axes.get_ylim()[0] == 0


def test_gradient_norms() -> None:
    (axes,) = results.gradient_norms({"lstm": np.array([0.1, 1.0]), "tanh": np.array([1e-9, 1e-4, 1.0])}).axes
    assert lines(axes) == {"lstm": ([-2, -1], [0.1, 1.0]), "tanh": ([-3, -2, -1], [1e-9, 1e-4, 1.0])}
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "step, counted from the end"


@pytest.mark.parametrize(
    ("known", "errors", "expected"),
    [
        ([2] * 5 + [10] * 5, [1] * 5 + [3, 4] + [0] * 3, [(2, 1), (10, 5**0.5)]),
        (range(1, 21), [2] * 20, [(group, 2) for group in np.arange(1.5, 20, 2)]),
        ([1] * 2 + [9] * 9 + [20], [1] * 2 + [2] * 9 + [3], [(1, 1), (9.0 + 11 / 10, 4.5**0.5)]),
        ([7] * 3, [1, -1, 1], [(7, 1)]),
    ],
)
def test_error_by_known(known: Sequence[int], errors: Sequence[float], expected: list[tuple[float, float]]) -> None:
    targets = np.full(len(errors), 3.0)
    (axes,) = results.error_by_known(np.array(known), targets, targets + errors).axes
    (line,) = axes.lines
    np.testing.assert_allclose(line_points(line), expected)
    assert labels(axes) == ("test set", "known ratings of the user", "root mean square error")
    assert axes.get_ylim()[0] == 0


def trained(data: Data, predictions: Array, model: keras.Model) -> Trained:
    return Trained(model, data, {"loss": [1.0, 0.5], "val_loss": [1.0, 0.5]}, 2, predictions, None)


def test_figures_of_a_classification_of_images() -> None:
    inputs, truth = np.arange(3 * 4).reshape(3, 2, 2).astype("uint8"), np.array([0, 1, 1])
    probabilities = np.array([[0.4, 0.6], [0.3, 0.7], [0.9, 0.1]])
    model = keras.Sequential([keras.Input((2, 2)), keras.layers.Flatten(), keras.layers.Dense(2, name="hidden")])
    kernel = np.array([[1.0, 10], [2, 20], [3, 30], [4, 40]])
    model.get_layer("hidden").set_weights([kernel, np.zeros(2)])
    pair = (inputs, truth)
    data = Data("toy", "0", pair, pair, pair, ("no", "yes"), kind="image")
    figures = dict(by_task.classification_figures(trained(data, probabilities, model), probabilities.argmax(1), None))
    assert list(figures) == ["learning_curves", "confusion_matrix", "worst_mistakes", "first_layer_filters"]
    (axes,) = figures["worst_mistakes"].axes
    assert [text.get_text() for text in axes.texts] == ["yes taken for no\n(90 %)", "no taken for yes\n(60 %)"]
    np.testing.assert_array_equal([image.get_array() for image in axes.images], inputs[[2, 0]])
    filters = figures["first_layer_filters"]
    assert {image.get_cmap().name for image in filters.axes[0].images} == {SIGNED}
    assert filters.get_suptitle() == "weights of the first layer: red positive, blue negative"
    assert all(str(figure.get_label()).endswith(".") for figure in figures.values())
    drawn = [image.get_array() for image in filters.axes[0].images]
    np.testing.assert_array_equal(drawn, kernel.T[::-1].reshape(2, 2, 2))  # the stronger one first


def test_figures_of_a_classification_of_sentences_with_a_threshold() -> None:
    truth, probabilities = np.array([0, 1, 1]), np.array([[0.4, 0.6], [0.3, 0.7], [0.9, 0.1]])
    pair = (np.array(["fine", "dull", "a $ film"]), truth)
    data = Data("toy", "0", pair, pair, pair, ("no", "yes"), kind="text")
    figures = dict(by_task.classification_figures(trained(data, probabilities, None), probabilities[:, 1] > 0.05, 0.05))
    assert list(figures) == ["learning_curves", "confusion_matrix", "decision", "worst_mistakes"]
    texts = [text.get_text() for text in figures["worst_mistakes"].axes[0].texts]
    assert texts == ["yes taken for no (90 %)", "a $ film", "no taken for yes (60 %)", "fine"]
    counts = [(text.get_position(), text.get_text()) for text in figures["confusion_matrix"].axes[0].texts]
    assert counts == [((1, 0), "1"), ((1, 0), "100.0 %"), ((1, 1), "2"), ((1, 1), "100.0 %")]
    roc = figures["decision"].axes[0]
    assert roc.get_title() == "yes: ROC"
    np.testing.assert_allclose(line_points(roc.lines[0]), np.array([[0, 0], [0, 1], [2, 1], [2, 2]]) / 2)


def test_figures_of_a_forecast() -> None:
    """Of two series, the first is drawn; the errors are those of both."""
    windows, following = np.array([[[4.0], [5.0]], [[5.0], [6.0]]]), np.array([[[6.0]], [[9.0]]])
    pair = (windows, following)
    data = Data("toy", "0", pair, pair, pair, ("load",), kind="sequence", test_series=np.array(["a", "b"]))
    data = dataclasses.replace(data, formats=Formats(windows=WindowFormat(2, 1, 2)))
    predictions = np.array([[[5.0]], [[5.0]]])
    widths = np.full((2, 2, 1, 1), 0.9)
    figures = dict(by_task.forecast_figures(trained(data, predictions, None), widths))
    assert list(figures) == ["learning_curves", "residuals", "forecast", "error_by_step"]
    np.testing.assert_array_equal(points(figures["residuals"].axes[0]), [[5, 1], [5, 4]])
    (axes,) = figures["forecast"].axes
    assert "0 % in the 80 % interval" in axes.get_title()
    assert legend(axes) == ["true", "forecast", "80 % interval", "95 % interval"]
    drawn = lines(figures["error_by_step"].axes[0])
    assert drawn["network"][1] == pytest.approx([8.5**0.5])
    assert drawn["last value"][1] == pytest.approx([5**0.5])  # 5 and 6 for 6 and 9
    assert drawn["value 2 steps before"][1] == pytest.approx([10**0.5])  # 4 and 5


def test_filters_of_a_convolution_are_means_over_its_inputs_in_their_own_order() -> None:
    layer = keras.layers.Conv2D(2, 3, name="convolution")
    model = keras.Sequential([keras.Input((5, 5, 3)), layer])
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 2)).astype("float32")
    layer.set_weights([kernel, np.zeros(2)])
    found = filters.first_layer_filters(model, (5, 5, 3))
    np.testing.assert_allclose(found, [kernel[..., 0].mean(axis=2), kernel[..., 1].mean(axis=2)], rtol=1e-6)
    assert len(filters.first_layer_filters(keras.Sequential([keras.Input((3,)), keras.layers.ReLU()]), (3,))) == 0


@pytest.mark.parametrize("colours", [(), (3,)])
@pytest.mark.parametrize("with_maps", [True, False])
def test_attributions_of_images(colours: tuple[int, ...], with_maps: bool) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.random((2, 4, 6, *colours))
    gradients, integrated = abs(rng.normal(size=inputs.shape)), rng.normal(size=inputs.shape)
    squares, occluded, maps = rng.normal(size=(2, 2, 3)), 5 * rng.normal(size=(2, 2, 3)), rng.random((2, 2, 3))
    titles = ["7, said 7", "a/very/long/path/to/some/image/of/9.png"]
    figure = attribution.images(
        inputs, titles, gradients, integrated, squares, occluded, maps if with_maps else None
    )  # fmt: skip
    columns = 6 if with_maps else 5
    rows = figure.axes[:columns], figure.axes[columns : 2 * columns]  # behind them the colour bars
    assert [axes.get_title() for axes in rows[0]] == [
        "image", "absolute gradient", "integrated gradients", "the same, by square", "occlusion, by square", "Grad-CAM",
    ][:columns]  # fmt: skip
    assert [row[0].get_ylabel() for row in rows] == ["7, said 7", "…g/path/to/some/image/of/9.png"]
    summed = integrated.sum(axis=-1) if colours else integrated
    largest = gradients.max(axis=-1) if colours else gradients
    for index, row in enumerate(rows):
        shown = [np.asarray(axes.images[-1].get_array()) for axes in row]
        for found, expected in zip(
            shown, [inputs, largest, summed, squares, occluded, *([maps] if with_maps else [])], strict=True
        ):
            np.testing.assert_allclose(found, expected[index])
        bound = abs(summed[index]).max()
        assert row[2].images[0].get_clim() == pytest.approx((-bound, bound))
        bound = max(abs(squares[index]).max(), abs(occluded[index]).max())
        for axes in row[3:5]:
            assert axes.images[0].get_clim() == pytest.approx((-bound, bound))
            assert tuple(axes.images[0].get_extent()) == (-0.5, 5.5, 3.5, -0.5)
        assert {axes.images[0].get_cmap().name for axes in row[2:5]} == {SIGNED}
        if with_maps:
            np.testing.assert_array_equal(row[5].images[0].get_array(), inputs[index])
            assert row[5].images[1].get_alpha() == 0.6
    assert figure.get_suptitle() == "red raises the log-odds of the class, blue lowers them"


def test_attributions_of_columns() -> None:
    parts = [["age", "mass", "$a$ column of a name that is far too long for it"], ["age", "mass", "height"]] * 2
    integrated = np.array([[0.1, -2.0, 1.0], [3.0, 0, 0], [0, 1, 2]])
    occluded = np.array([[0.2, -1.0, -4.0], [1.0, 2, 3], [4, 5, 6]])
    figure = attribution.columns(parts, ["first", "second", "third"], integrated, occluded)
    first, second, third, empty = figure.axes
    assert not empty.axison
    assert [axes.get_title() for axes in (first, second, third)] == ["first", "second", "third"]
    assert ticks(first) == ["mass", "… name that is far too long for it", "age"]
    assert widths(first) == [-2.0, 1.0, 0.1]
    assert colours(first) == [BLUE, RED, RED]
    assert widths(first, 1) == [-1.0, -4.0, 0.2]
    assert colours(first, 1) == [BLUE, BLUE, RED]
    assert widths(third) == [2, 1, 0]
    for methods in zip(*(container for container in first.containers), strict=True):
        assert methods[0].get_y() < methods[1].get_y()  # the axis points downwards
    assert "integrated gradients; below, paler: occlusion" in figure.get_suptitle()


def test_of_many_columns_the_largest_are_drawn() -> None:
    values = np.arange(20.0)[None]
    (axes,) = attribution.columns([[f"column {index}" for index in range(20)]], ["row"], values, values).axes
    assert widths(axes) == [*range(19, 7, -1)]
    assert ticks(axes)[0] == "column 19"


def test_attributions_of_steps() -> None:
    sequences = np.array([[[1.0, 5], [2, 6], [3, 7]], [[4.0, 8], [0, 0], [0, 0]]])
    integrated, occluded = np.array([[0.1, -0.2, 0.3], [0.5, 9, 9]]), np.array([[1.0, 2, -3], [4, 9, 9]])
    figure = attribution.steps(sequences, [np.arange(3), np.array([2])], ["a", "b"], integrated, occluded)
    above, below, second, second_below = figure.axes
    assert (above.get_title(), second.get_title()) == ("a", "b")
    assert lines(above) == {"input 0": ([0, 1, 2], [1, 2, 3]), "input 1": ([0, 1, 2], [5, 6, 7])}
    assert lines(second) == {"input 0": ([2], [4]), "input 1": ([2], [8])}
    assert labels(below) == ("", "step", "contribution")
    assert legend(below) == ["integrated gradients", "occlusion"]
    for axes, times, both in ((below, [0, 1, 2], [[0.1, -0.2, 0.3], [1, 2, -3]]), (second_below, [2], [[0.5], [4]])):
        for bars, shift, values in zip(axes.containers, (-0.2, 0.2), both, strict=True):
            assert [bar.get_height() for bar in bars] == values
            assert [bar.get_center()[0] - shift for bar in bars] == pytest.approx(times)
            assert [to_hex(bar.get_facecolor()) for bar in bars] == [RED if value > 0 else BLUE for value in values]
    assert below.get_xlim() == above.get_xlim()
    (alone, _) = attribution.steps(sequences[:1, :, :1], [np.arange(3)], ["a"], integrated[:1], occluded[:1]).axes
    assert alone.get_legend() is None


def test_attributions_of_words() -> None:
    parts = [["", "fine", "dull", "so $ so"]]
    integrated, occluded = np.array([[9.0, 2.0, -10, 0]]), np.array([[0.0, -1, 1, 0]])
    (axes,) = attribution.words(parts, ["yes (90 %)"], integrated, occluded).axes
    written = [text.get_text() for text in axes.texts]
    assert written == [
        "yes (90 %)",
        *("integrated gradients", "fine", "dull", "so $ so"),
        *("occlusion", "fine", "dull", "so $ so"),
        "red raises the score of the class, blue lowers it",
    ]
    boxes = [box for text in axes.texts if (box := text.get_bbox_patch())]
    red, _, blue, _ = np.transpose([box.get_facecolor() for box in boxes])
    assert np.argmax(red - blue) == 0
    assert np.argmin(red - blue) == 1
    assert red[2] == pytest.approx(blue[2], abs=0.05)  # white
    assert [axes.texts[place].get_color() for place in (2, 3, 4)] == ["black", "white", "black"]
    same_line = [axes.texts[place].get_position() for place in (1, 2, 3, 4)]
    assert len({y for _, y in same_line}) == 1
    assert [x for x, _ in same_line] == sorted(x for x, _ in same_line)
    assert axes.yaxis.get_inverted()


def test_long_sentences_go_on_in_the_next_line() -> None:
    values = np.zeros((1, 30))
    (axes,) = attribution.words([["x" * 10] * 30], ["yes"], values, values).axes
    places = [text.get_position() for text in axes.texts if text.get_text() == "x" * 10]
    heights = sorted({y for _, y in places[:30]})
    assert len(heights) == 4
    assert {min(x for x, y in places[:30] if y == height) for height in heights} == {places[0][0]}
    assert max(x for x, _ in places) + 10 <= places[0][0] + attribution.LINE


def test_importance() -> None:
    frame = pd.DataFrame(
        {"column": ["$age", "mass"], "loss of accuracy": [0.3, -0.1], "standard deviation": [0.05, 0.02]}
    )
    (axes,) = attribution.importance(frame, "loss of accuracy").axes
    assert labels(axes) == ("importance on the validation set", "loss of accuracy when the column is permuted", "")
    assert ticks(axes) == ["$age", "mass"]
    bars = axes.containers[-1]
    assert [bar.get_width() for bar in bars] == [0.3, -0.1]
    (errors,) = axes.collections
    assert isinstance(errors, LineCollection)
    spans = [np.asarray(segment)[:, 0] for segment in errors.get_segments()]
    np.testing.assert_allclose(spans, [[0.25, 0.35], [-0.12, -0.08]])


def test_coefficients() -> None:
    frame = pd.DataFrame(
        {
            "output": ["mass", "age", "mass", "age"],
            "feature": ["a", "a", "b", "b"],
            "per_deviation": [0.5, 4.0, -2.0, 1.0],
        }
    )
    mass, age = attribution.coefficients(frame).axes
    assert labels(mass) == ("coefficients: mass", "change per standard deviation of the feature", "")
    assert labels(age)[0] == "coefficients: age"
    assert (ticks(mass), widths(mass), colours(mass)) == (["b", "a"], [-2.0, 0.5], [BLUE, RED])
    assert (ticks(age), widths(age), colours(age)) == (["a", "b"], [4.0, 1.0], [RED, RED])
