"""Experiments with gradient descent on a surface of two weights, which can be drawn."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from common.data import Array
from common.plots.panels import captioned
from common.preprocessing import datasets

COLUMNS = ("s5", "bmi")
"""The two columns of the diabetes data that predict best: the logarithm of triglycerides, and the body mass index."""


def standardised_inputs(quick: bool = False) -> Figure:
    """Draw the path of gradient descent for a linear regression with inputs in their units, and standardised."""
    steps = 5 if quick else 40
    inputs, targets = _diabetes()
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=(2, 1))
    for axes, title, scaled in (
        (panels[0], "in their units", inputs),
        (panels[1], "standardised", inputs / inputs.std(axis=0)),
    ):
        curvatures = np.linalg.eigvalsh(2 * scaled.T @ scaled / len(scaled))
        best = np.linalg.lstsq(scaled, targets, rcond=None)[0]
        path = _descent(1.6 / curvatures[-1], functools.partial(_gradient, scaled, targets), steps)
        left = np.linalg.norm(path[-1] - best) / np.linalg.norm(best)
        _contours(axes, scaled, targets, [*path, 1.4 * best])
        axes.plot(*path.T, ".-", color="C1", linewidth=1, label=f"{steps} steps of gradient descent")
        axes.plot(*best, "*", color="black", markersize=10, label="least-squares solution")
        axes.set_title(f"{title}: curvatures {curvatures[-1] / curvatures[0]:.0f} : 1,\n{left:.0%} of the way is left")
        axes.set_aspect("equal")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return captioned(
        figure,
        "Contours of the mean squared error over the two weights of a linear regression on the diabetes data, and"
        " the path of gradient descent with the learning rate 1.6 / largest curvature. Both axes of a panel have "
        "one scale.",
    )


def batches(quick: bool = False) -> Figure:
    """Draw the paths of descent with all examples, one example, and 32 examples in each step, and their losses."""
    epochs = 2 if quick else 10
    inputs, targets = _diabetes()
    inputs = inputs / inputs.std(axis=0)
    figure = Figure(figsize=(12, 6.8), layout="constrained")
    panels = figure.subplot_mosaic([["batch", "stochastic", "mini-batch"], ["loss"] * 3])
    below = panels["loss"]
    best = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    for name, size, rate in (("batch", len(inputs), 0.3), ("stochastic", 1, 0.005), ("mini-batch", 32, 0.05)):
        axes, title = panels[name], f"{name}: {size}"
        path = _descent(rate, _sampled(inputs, targets, size), epochs * -(-len(inputs) // size))
        _contours(axes, inputs, targets, [np.zeros(2), 1.7 * best])
        axes.plot(*path.T, color="C1", linewidth=0.8)
        axes.plot(*best, "*", color="black", markersize=10)
        axes.set_title(f"{title} per step, {len(path) - 1:,} steps")
        excess = _losses(inputs, targets, path) - _losses(inputs, targets, best)
        below.plot(np.linspace(0, epochs, len(path)), excess, linewidth=1, label=f"{title}, learning rate {rate:g}")
    below.set(xlabel="epochs: passes over the examples", ylabel="mean squared error above its minimum", yscale="log")
    below.legend()
    below.grid(alpha=0.3)
    return captioned(
        figure,
        f"{epochs} epochs of gradient descent with batches of three sizes on the diabetes data: above, the path of"
        " the two weights on the contours of the loss (the star is the solution); below, the excess of the mean "
        "squared error after each step over that of the solution.",
    )


def optimizers(quick: bool = False) -> Figure:
    """Draw the paths of four optimizers on one elongated bowl, and the height after each step."""
    steps = 20 if quick else 150
    curvatures, start = np.array([1.0, 100.0]), np.array([-9.0, 1.5])
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    panels = figure.subplots(2, 1, height_ratios=(1, 1.1))
    chosen = {
        "gradient descent, rate 0.018": keras.optimizers.SGD(0.018),
        "momentum 0.8, rate 0.018": keras.optimizers.SGD(0.018, momentum=0.8),
        "RMSprop, rate 0.1": keras.optimizers.RMSprop(0.1),
        "Adam, rate 0.3": keras.optimizers.Adam(0.3),
    }
    across, up = np.meshgrid(np.linspace(-10, 3, 200), np.linspace(-1.9, 1.9, 120))
    heights = (curvatures[0] * across**2 + curvatures[1] * up**2) / 2
    panels[0].contour(across, up, heights, levels=np.geomspace(0.5, 500, 10), colors="0.7", linewidths=0.8)
    for label, optimizer in chosen.items():
        path = _path(optimizer, curvatures, start, steps)
        panels[0].plot(*path.T, ".-", markersize=3, linewidth=1, label=label)
        panels[1].plot((curvatures * np.square(path)).sum(axis=1) / 2, label=label)
    panels[0].plot(0, 0, "*", color="black", markersize=10)
    panels[0].set(title="paths", xlabel="first weight", ylabel="second weight", ylim=(-1.9, 1.9))
    panels[1].set(yscale="log", ylim=(1e-6, 200), title="height", xlabel="step", ylabel="height above the minimum")
    panels[1].grid(alpha=0.3)
    panels[0].legend(loc="upper right", fontsize=8)
    return captioned(
        figure,
        f"{steps} steps of four optimizers on the bowl (w1² + 100 w2²) / 2, from the left: above, their paths on "
        "its contours (the star is the minimum); below, the height after each step.",
    )


def _diabetes() -> tuple[Array, Array]:
    """Return two columns (examples, 2) of the diabetes data and the targets (examples,), all with mean 0."""
    raw = datasets.load("diabetes")
    columns: Mapping[str, Array] = raw.train[0]
    inputs = np.column_stack([columns[name] for name in COLUMNS]).astype("float64")
    targets = raw.train[1].ravel().astype("float64")
    return inputs - inputs.mean(axis=0), targets - targets.mean()


def _gradient(inputs: Array, targets: Array, weights: Array) -> Array:
    """Return the gradient (2,) of the mean squared error."""
    gradient: Array = 2 * inputs.T @ (inputs @ weights - targets) / len(inputs)
    return gradient


def _sampled(inputs: Array, targets: Array, size: int) -> Callable[[Array], Array]:
    """Return a function that gives the gradient for the next `size` examples, in a new random order in each epoch."""
    rng = np.random.default_rng(0)

    def orders() -> Iterator[Array]:
        while True:
            order = rng.permutation(len(inputs))
            yield from (order[start : start + size] for start in range(0, len(order), size))

    chosen = orders()

    def gradient(weights: Array) -> Array:
        rows = next(chosen)
        return _gradient(inputs[rows], targets[rows], weights)

    return gradient


def _descent(rate: float, gradient: Callable[[Array], Array], steps: int) -> Array:
    """Return the weights (steps + 1, 2) before and after each step of gradient descent from (0, 0)."""
    path = [np.zeros(2)]
    for _ in range(steps):
        path.append(path[-1] - rate * gradient(path[-1]))
    return np.array(path)


def _path(optimizer: Any, curvatures: Array, start: Array, steps: int) -> Array:
    """Return the weights (steps + 1, 2) before and after each step of one of Keras's optimizers on a bowl."""
    weights = keras.Variable(start, dtype="float32")
    path = [keras.ops.convert_to_numpy(weights)]
    for _ in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(curvatures * path[-1], "float32")], [weights])
        path.append(keras.ops.convert_to_numpy(weights))
    return np.array(path)


def _losses(inputs: Array, targets: Array, weights: Array) -> Array:
    """Return the mean squared error for each of `weights` (…, 2)."""
    losses: Array = np.square(weights @ inputs.T - targets).mean(axis=-1)
    return losses


def _contours(axes: Any, inputs: Array, targets: Array, shown: list[Array]) -> None:
    """Draw the contours of the mean squared error where the weights in `shown` are."""
    low, high = np.min(shown, axis=0), np.max(shown, axis=0)
    margin = 0.15 * (high - low)
    first, second = (np.linspace(low[axis] - margin[axis], high[axis] + margin[axis], 150) for axis in range(2))
    errors = _losses(inputs, targets, np.stack(np.meshgrid(first, second), axis=-1))
    excess = errors - errors.min()
    axes.contour(first, second, excess, np.linspace(0.02, 1, 9) ** 2 * excess.max(), colors="0.7", linewidths=0.8)
    axes.set(xlabel=f"weight of {COLUMNS[0]}", ylabel=f"weight of {COLUMNS[1]}")
