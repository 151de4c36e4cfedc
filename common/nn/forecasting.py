"""The linear part of a forecast, solved exactly: effects of known numbers, and a ridge regression on a window.

On the scale of a transform, a series is the sum of the effects of numbers that are known in advance, such as a
promotion or the month, and of a rest. The rest is forecast from its window: an anchor, such as the value one season
earlier, plus a linear function of the window minus the anchor's level. Transform, anchor, the use of the calendar and
the penalty are those with the least error on the validation set.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from common.data import Array, Data, Pair, WindowFormat
from common.nn import recurrent
from common.preprocessing import series_windows

Transform = Literal["none", "sqrt", "log"]
Anchor = Literal["none", "last", "mean", "season"]
PENALTIES = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
"""Penalties of the ridge regression, per window and squared standardised coefficient."""
EFFECTS = 1e-3
"""Penalty of the effects of known numbers."""
FIRST = 0.01
"""Standard deviation of the first weights of the LSTM's output, if it is added to a linear forecast."""
WINDOWS = 20_000
"""Maximum number of windows by which the linear part is chosen: the latest."""


@dataclass(frozen=True)
class Linear:
    """The linear part of a forecast."""

    transform: Transform
    anchor: Anchor
    known: tuple[Array, Array]
    """Mean and standard deviation of the known numbers (numbers,)."""
    effects: Array
    """Effects of the standardised known numbers (numbers, targets)."""
    scale: Array
    """Standard deviation of the window minus its level (targets,)."""
    others: tuple[Array, Array]
    """Mean and standard deviation of the observed columns (columns,)."""
    kernel: Array
    """Coefficients (window * columns, horizon * targets)."""
    bias: Array
    """Intercepts (horizon * targets,)."""
    error: float
    """Mean squared error on the validation set, in variances of the targets."""


def scale(transform: Transform) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the function to the network's scale, and its inverse."""
    match transform:
        case "none":
            return lambda x: x, lambda z: z
        case "sqrt":
            return lambda x: ops.sqrt(ops.maximum(x, 0.0)), lambda z: ops.square(ops.maximum(z, 0.0))
        case "log":
            return lambda x: ops.log1p(ops.maximum(x, 0.0)), ops.expm1


def anchored(rest: Any, anchor: Anchor, season: int, horizon: int) -> tuple[Any, Any]:
    """Return the level of windows (n, 1, targets), and the anchor of each step to forecast (n, horizon, targets).

    Args:
        rest: Windows (n, window, targets).
        anchor: none: 0; last: the last value; mean: the mean of the last season, or of a window without a season;
            season: the value one season earlier.
        season: Period in steps.
        horizon: Number of steps to forecast.
    """
    last = rest[:, -season:] if season > 1 else rest
    level = ops.mean(last, axis=1, keepdims=True)
    match anchor:
        case "none":
            level = ops.zeros_like(level)
        case "last":
            level = rest[:, -1:]
        case "season":
            repeats = -(-horizon // season)
            return level, ops.concatenate([last] * repeats, axis=1)[:, :horizon]
    return level, ops.repeat(level, horizon, axis=1)


def solve(data: Data, transforms: Sequence[Transform], anchors: Sequence[Anchor], given: int) -> Linear:
    """Solve the linear part with every choice, and return the one with the least error on the validation set.

    Args:
        data: Windows of a series.
        transforms: Transforms to choose from.
        anchors: Anchors to choose from.
        given: Number of known columns. The known numbers after them are positions in the calendar, whose effects may be
            left out.
    """
    form = data.formats.windows
    assert form is not None
    calendar = (True, False) if _parts(data.train)[2].shape[2] > given else (True,)
    choices = product(transforms, anchors, calendar)
    return min(
        (one for choice in choices for one in _solutions(data, form, *choice, given)), key=lambda linear: linear.error
    )


def _parts(pair: Pair) -> tuple[Array, Array, Array, Array]:
    """Return the latest windows of a pair: targets, all columns and known numbers of the inputs, and what follows."""
    inputs, following = pair
    history, known = series_windows.parts_of(inputs, following.shape[1])
    variables = following.shape[2]
    return tuple(part[-WINDOWS:] for part in (history[:, :, :variables], history, known, following))  # type: ignore[return-value]


def _moments(values: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviation (columns,) of `values` (n, steps, columns); 1 for a constant one."""
    deviations = values.std((0, 1), dtype="float64")
    return values.mean((0, 1), dtype="float64"), np.where(deviations > 1e-6, deviations, 1.0)


def _solutions(
    data: Data, form: WindowFormat, transform: Transform, anchor: Anchor, calendar: bool, given: int
) -> Iterator[Linear]:
    """Yield the linear parts with each penalty, the infinite one last: the anchor alone."""
    past, history, known, following = _parts(data.train)
    variables, numbers = following.shape[2], known.shape[2]
    forward, inverse = scale(transform)

    def moved(values: Array) -> Array:
        return np.asarray(ops.convert_to_numpy(forward(values)), "float64")

    columns = slice(variables, history.shape[2] - numbers)
    moments, others = _moments(known), _moments(history[:, :, columns])

    def standardised(values: Array) -> Array:
        return (values - moments[0]) / moments[1]

    before, ahead = standardised(history[:, :, history.shape[2] - numbers :]), standardised(known)
    x = (ahead - before.mean(axis=1, keepdims=True)).reshape(known.shape[0] * known.shape[1], numbers)
    if not calendar:
        x = x * (np.arange(numbers) < given)
    y = (moved(following) - moved(past).mean(axis=1, keepdims=True)).reshape(-1, variables)
    effects = np.linalg.solve(x.T @ x + EFFECTS * len(x) * np.eye(numbers), x.T @ y)

    def rest(pair: Pair) -> tuple[Array, Array, Array, Array]:
        """Return the level, anchors, and linear features of windows, and the effects on what follows."""
        past, history, known, _ = _parts(pair)
        remainder = moved(past) - standardised(history[:, :, history.shape[2] - numbers :]) @ effects
        level, anchors = (
            np.asarray(ops.convert_to_numpy(part), "float64")
            for part in anchored(remainder, anchor, form.season, form.horizon)
        )
        return (
            remainder - level,
            anchors,
            (history[:, :, columns] - others[0]) / others[1],
            standardised(known) @ effects,
        )

    deviations, anchors, observed, after = rest(data.train)
    spread = np.maximum(deviations.std((0, 1)), 1e-6)

    def flat(deviations: Array, observed: Array) -> Array:
        joined = np.concatenate([deviations / spread, observed], axis=2)
        return joined.reshape(len(joined), -1)

    x = flat(deviations, observed)
    y = ((moved(following) - after - anchors) / spread).reshape(len(x), -1)
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    values, vectors = np.linalg.eigh((x - centre).T @ (x - centre))
    turned = vectors.T @ ((x - centre).T @ (y - mean))
    deviations, anchors, observed, after = rest(data.validation)
    inputs, truth = flat(deviations, observed), _parts(data.validation)[3]
    variance = np.maximum(data.train[1].var((0, 1)), 1e-12)
    kernels = [vectors @ (turned / (np.maximum(values, 0) + penalty * len(x))[:, None]) for penalty in PENALTIES]
    for kernel, intercept in [*((kernel, True) for kernel in kernels), (np.zeros_like(kernels[0]), False)]:
        bias = mean - centre @ kernel if intercept else np.zeros_like(mean)
        outputs = anchors + spread * (inputs @ kernel + bias).reshape(anchors.shape) + after
        forecasts = ops.convert_to_numpy(inverse(np.minimum(outputs, 80.0) if transform == "log" else outputs))
        error = float((np.square(forecasts - truth) / variance).mean())
        yield Linear(transform, anchor, moments, effects, spread, others, kernel, bias, error)


def network(data: Data, linear: Linear, units: Sequence[int], dropout: float, seed: int, residual: bool) -> keras.Model:
    """Build an LSTM beside the linear part: windows in, forecasts (horizon, targets) out, with all scaling inside.

    Args:
        data: Windows of a series.
        linear: Its linear part, which is not trained.
        units: Number of cells of each LSTM layer.
        dropout: Dropout rate after the last LSTM layer.
        seed: Seed of dropout.
        residual: Whether the LSTM's output is added to the linear part, and is small at first; else it replaces it.
    """
    form = data.formats.windows
    assert form is not None
    horizon, variables, numbers = form.horizon, data.train[1].shape[2], len(linear.effects)
    layers = keras.layers
    forward, inverse = scale(linear.transform)
    shapes = {name: part.shape[1:] for name, part in _named(data.train[0]).items()}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    history = inputs[series_windows.HISTORY]

    def standardised(x: Any, mean: Array, deviation: Array) -> Any:
        return layers.Normalization(mean=mean.tolist(), variance=np.square(deviation).tolist())(x)

    rest = forward(history[:, :, :variables])
    seen = [history[:, :, variables : history.shape[2] - numbers]] if history.shape[2] > variables + numbers else []
    seen = [standardised(one, *linear.others) for one in seen]
    if numbers:
        effect = layers.Dense(variables, use_bias=False, trainable=False, name="effects")
        before = standardised(history[:, :, history.shape[2] - numbers :], *linear.known)
        ahead = standardised(inputs[series_windows.KNOWN], *linear.known)
        after = effect(ahead)
        rest = rest - effect(before)
        effect.set_weights([linear.effects])
    level, anchors = anchored(rest, linear.anchor, form.season, horizon)
    zero = np.zeros_like(linear.scale)
    x = standardised(rest - level, zero, linear.scale)
    columns = layers.Concatenate()([x, *seen]) if seen else x
    x = layers.Concatenate()([columns, before]) if numbers else columns
    for layer, cells in enumerate(units, start=1):
        x = recurrent.LSTM(cells, return_sequences=layer < len(units))(x)
    x = layers.Dropout(dropout, seed=seed)(x)
    first = keras.initializers.RandomNormal(stddev=FIRST, seed=seed) if residual else "glorot_uniform"
    if numbers:
        hidden = units[-1]
        x = layers.Reshape((horizon, hidden))(layers.Dense(horizon * hidden)(x)) + layers.Dense(hidden)(ahead)
        x = layers.Dense(variables, kernel_initializer=first)(layers.ReLU()(x))
    else:
        x = layers.Reshape((horizon, variables))(layers.Dense(horizon * variables, kernel_initializer=first)(x))
    if residual:
        solved = layers.Dense(horizon * variables, trainable=False, name="linear")
        x = x + layers.Reshape((horizon, variables))(solved(layers.Flatten()(columns)))
        solved.set_weights([linear.kernel, linear.bias])
    variance = np.square(linear.scale).tolist()
    x = layers.Normalization(mean=zero.tolist(), variance=variance, invert=True)(x) + anchors
    x = x + after if numbers else x
    return keras.Model(inputs if numbers else history, inverse(x))


def _named(inputs: Any) -> dict[str, Array]:
    return inputs if isinstance(inputs, dict) else {series_windows.HISTORY: inputs}
