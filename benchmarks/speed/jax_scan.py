"""Plain JAX: the data on the device, and one program an epoch (the option scan) or one a step (the option step).

An option that contains bfloat16 computes the products in it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax, random

from benchmarks.speed.gate import Run

jax.config.update("jax_default_prng_impl", "rbg")  # faster than JAX's default

Apply = Callable[[Any, Any, Array, Any], tuple[Array, Any]]
"""(parameters, state, inputs, key or None outside training) -> outputs, state."""


def mnist_mlp(run: Run) -> dict[str, float]:
    """Three dense layers with ELU, batch normalisation and dropout."""
    config, keys = run.config, random.split(random.key(0), 10)
    widths = [784, *config.hidden, 10]
    parameters = [
        {"kernel": he_normal(key, (before, after)), "bias": jnp.zeros(after), **scale(after)}
        for key, before, after in zip(keys, widths[:-1], widths[1:], strict=False)
    ]

    def apply(parameters: Any, state: Any, x: Array, key: Any) -> tuple[Array, Any]:
        x, states = dropout(key, 0, x, config.input_dropout), []
        for depth, (layer, moments) in enumerate(zip(parameters[:-1], state, strict=True), start=1):
            x = jax.nn.elu(x @ layer["kernel"] + layer["bias"])
            x, moments = batch_normalization(layer, moments, x, key)
            x = dropout(key, depth, x, config.dropout)
            states.append(moments)
        return x @ parameters[-1]["kernel"] + parameters[-1]["bias"], states

    return classify(run, apply, parameters, [moments_of(width) for width in config.hidden], flat)


def lenet5_modern(run: Run) -> dict[str, float]:
    """Two convolutions with pooling and two dense layers, each with batch normalisation and ReLU."""
    rate, keys = run.config.dropout, random.split(random.key(0), 5)
    shapes = [(5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84)]
    parameters = [
        *({"kernel": he_normal(key, shape), **scale(shape[-1])} for key, shape in zip(keys, shapes, strict=False)),
        {"kernel": glorot(keys[4], (84, 10)), "bias": jnp.zeros(10)},
    ]

    def apply(parameters: Any, state: Any, x: Array, key: Any) -> tuple[Array, Any]:
        states = []
        for depth, (layer, moments) in enumerate(zip(parameters[:-1], state, strict=True)):
            match depth:
                case 0 | 1:
                    x = pool(convolution(x, layer["kernel"], "VALID" if depth else "SAME"), 2)
                case 2:
                    x = x.reshape(len(x), -1) @ layer["kernel"]
                case _:
                    x = dropout(key, 0, x, rate) @ layer["kernel"]
            x, moments = batch_normalization(layer, moments, x, key)
            x = jax.nn.relu(x)
            states.append(moments)
        return dropout(key, 1, x, rate) @ parameters[-1]["kernel"] + parameters[-1]["bias"], states

    return classify(run, apply, parameters, [moments_of(shape[-1]) for shape in shapes], maps)


def lenet5_1998(run: Run) -> dict[str, float]:
    """Train the paper's network; a class "none of these" has a constant score."""
    table, codes, keys = jnp.asarray(run.data["table"]), jnp.asarray(run.data["codes"]), random.split(random.key(0), 6)
    shapes = {"c1": (5, 5, 1, 6), "c3": (5, 5, 6, 16), "c5": (400, 120), "f6": (120, 84), "s2": (6,), "s4": (16,)}
    fans = (25, 25 * float(table.sum()) / 16, 400, 120, 4, 4)
    parameters = {
        name: {"kernel": random.uniform(key, shape, minval=-2.4 / fan, maxval=2.4 / fan), "bias": jnp.zeros(shape[-1])}
        for (name, shape), fan, key in zip(shapes.items(), fans, keys, strict=True)
    }

    def squash(x: Array) -> Array:
        return 1.7159 * jnp.tanh(2 / 3 * x)

    def subsample(layer: Any, x: Array) -> Array:
        total = lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return squash(total * layer["kernel"] + layer["bias"])

    def apply(parameters: Any, state: Any, x: Array, _: Any) -> tuple[Array, Any]:
        c1, c3, c5, f6 = (parameters[name] for name in ("c1", "c3", "c5", "f6"))
        x = subsample(parameters["s2"], squash(convolution(x, c1["kernel"]) + c1["bias"]))
        x = subsample(parameters["s4"], squash(convolution(x, c3["kernel"] * table) + c3["bias"]))
        x = squash(x.reshape(len(x), -1) @ c5["kernel"] + c5["bias"])
        x = squash(x @ f6["kernel"] + f6["bias"])
        scores = -jnp.square(x[:, None] - codes).sum(axis=-1)
        return jnp.pad(scores, ((0, 0), (0, 1)), constant_values=-run.config.rubbish), state

    def padded(images: Any) -> Array:
        return jnp.pad(maps(images), ((0, 0), (2, 2), (2, 2), (0, 0))) * 1.275 - 0.1

    return classify(run, apply, parameters, None, padded)


def lstm_mnist(run: Run) -> dict[str, float]:
    """Read an image row by row with an LSTM."""
    config, keys = run.config, random.split(random.key(0))
    parameters = {"lstm": lstm_weights(keys[0], 28, config.units), "output": dense_weights(keys[1], config.units, 10)}

    def apply(parameters: Any, state: Any, x: Array, key: Any) -> tuple[Array, Any]:
        x = dropout(key, 0, lstm(parameters["lstm"], x), config.dropout)
        return dense(parameters["output"], x), state

    return classify(run, apply, parameters, None, lambda images: jnp.asarray(images, "float32") / 255)


def lstm_text(run: Run) -> dict[str, float]:
    """Classify sentences, which are numbers of words already, with a bidirectional LSTM."""
    config, keys = run.config, random.split(random.key(0), 4)
    parameters = {
        "embedding": random.uniform(keys[0], (config.vocabulary + 2, config.embedding), minval=-0.05, maxval=0.05),
        "forward": lstm_weights(keys[1], config.embedding, config.units),
        "backward": lstm_weights(keys[2], config.embedding, config.units),
        "output": dense_weights(keys[3], 2 * config.units, 2),
    }

    def apply(parameters: Any, state: Any, words: Array, key: Any) -> tuple[Array, Any]:
        x, mask = dropout(key, 0, parameters["embedding"][words], config.word_dropout), words > 0
        ends = [
            lstm(parameters["forward"], x, mask),
            lstm(parameters["backward"], x[:, ::-1], mask[:, ::-1]),
        ]
        return dense(parameters["output"], dropout(key, 1, jnp.concatenate(ends, axis=1), config.dropout)), state

    return classify(run, apply, parameters, None, lambda words: jnp.asarray(words, "int32"))


def lstm_forecast(run: Run) -> dict[str, float]:
    """Forecast the square root of a series, relative to its last value."""
    units, keys = run.config.units[0], random.split(random.key(0))
    past, spread = np.sqrt(run.data["x_train"]), float(run.data["x_train"].std())
    mean, deviation = float(past.mean()), float(past.std())
    parameters = {"lstm": lstm_weights(keys[0], 1, units), "output": dense_weights(keys[1], units, 1)}

    def apply(parameters: Any, state: Any, window: Array, _: Any) -> tuple[Array, Any]:
        x = (jnp.sqrt(window) - mean) / deviation
        last = x[:, -1:]
        x = dense(parameters["output"], lstm(parameters["lstm"], x - last))[:, None] + last
        return jnp.square(jnp.maximum(x * deviation + mean, 0.0)), state

    def loss(outputs: Array, targets: Array) -> Array:
        return jnp.square((outputs - targets) / spread).mean()

    parameters, state, _ = fit(run, apply, parameters, None, jnp.asarray, loss)
    outputs, _ = apply(parameters, state, jnp.asarray(run.data["x_test"]), None)
    return {"test rmse": float(jnp.sqrt(jnp.square(outputs - run.data["y_test"]).mean()))}


def alexnet(run: Run) -> dict[str, float]:
    """Train AlexNet at the suite's size for its data."""
    config, keys = run.config, random.split(random.key(0), 8)
    width = [round(config.width * maps / 2) * 2 for maps in (96, 256, 384, 384, 256, 4096)]
    stride, groups, size = max(1, round(4 * config.image_size / 227)), config.groups, config.image_size
    padding = "VALID" if size >= 227 else "SAME"
    side = (size - 2 * stride - 3) // stride + 1 if size >= 227 else -(-size // stride)
    for _ in range(3):
        side = (side - 3) // 2 + 1
    first, side_of_images = 2 * stride + 3, round(size * 256 / 227)
    shapes = [
        *((first, first, 3, width[0]), (5, 5, width[0] // groups, width[1]), (3, 3, width[1], width[2])),
        *((3, 3, width[2] // groups, width[3]), (3, 3, width[3] // groups, width[4])),
        *((side * side * width[4], width[5]), (width[5], width[5]), (width[5], 1 + int(run.data["y_train"].max()))),
    ]
    deviation, ones = 0.01 / config.width**0.5, (1, 3, 4, 5, 6)
    parameters = [
        {
            "kernel": deviation * random.normal(key, shape),
            "bias": jnp.full(shape[-1], float(depth in ones)),
        }
        for depth, (key, shape) in enumerate(zip(keys, shapes, strict=True))
    ]
    values, vectors = np.linalg.eigh(run.data["covariance"])
    components, mean = jnp.asarray((vectors * values).T * 255, "float32"), jnp.asarray(run.data["mean"], "float32")

    def augmented(x: Array, key: Any) -> Array:
        keys, free = random.split(key, 4), side_of_images - size + 1
        rows, columns = (random.randint(one, (len(x),), 0, free) for one in keys[:2])
        patches = jax.vmap(lambda image, row, column: lax.dynamic_slice(image, (row, column, 0), (size, size, 3)))
        x = patches(x, rows, columns)
        x = jnp.where(random.bernoulli(keys[2], shape=(len(x), 1, 1, 1)), x, x[:, :, ::-1])
        return x + (0.1 * random.normal(keys[3], (len(x), 3)) @ components)[:, None, None]

    def layer(part: Any, x: Array, groups: int = 1, stride: int = 1, padding: str = "SAME") -> Array:
        return jax.nn.relu(convolution(x, part["kernel"], padding, stride, groups) + part["bias"])

    def apply(parameters: Any, state: Any, x: Array, key: Any) -> tuple[Array, Any]:
        conv1, conv2, conv3, conv4, conv5, *hidden, output = parameters
        if x.shape[1] != side_of_images:
            x = jax.image.resize(x, (len(x), side_of_images, side_of_images, 1), "bilinear")
        x, middle = jnp.broadcast_to(x, (*x.shape[:3], 3)) - mean, (side_of_images - size) // 2
        x = (
            x[:, middle : middle + size, middle : middle + size]
            if key is None
            else augmented(x, random.fold_in(key, 9))
        )
        x = pool(normalize_response(layer(conv1, x, 1, stride, padding)), 3)
        x = pool(normalize_response(layer(conv2, x, groups)), 3)
        x = layer(conv5, layer(conv4, layer(conv3, x), groups), groups)
        x = pool(x, 3).reshape(len(x), -1)
        for number, part in enumerate(hidden):
            x = dropout(key, number, jax.nn.relu(dense(part, x)), config.dropout)
        return dense(output, x), state

    def inputs(images: Any) -> Array:
        return jnp.asarray(images.reshape(*images.shape[:3], -1), "float32")

    return classify(run, apply, parameters, None, inputs)


def logistic_regression(run: Run) -> dict[str, float]:
    """One softmax layer."""
    parameters = {"kernel": jnp.zeros((784, 10)), "bias": jnp.zeros(10)}
    return classify(run, lambda parameters, state, x, _: (dense(parameters, x), state), parameters, None, flat)


def rbm(run: Run) -> dict[str, float]:
    """Train a restricted Boltzmann machine with CD-1 and a softmax readout of its hidden units."""
    config, grey = run.config, flat(run.data["x_train"])
    targets, size = jax.nn.one_hot(run.data["y_train"], 10), config.batch_size
    readout = {"kernel": jnp.zeros((config.hidden, 10)), "bias": jnp.zeros(10)}
    carry: Any = {
        "machine": machine(grey, config.hidden),
        "readout": readout,
        "moments": moments_of(config.hidden),
        "step": 0,
        "key": random.key(0),
    }

    def step(grey: Array, targets: Array, carry: Any, rows: Array) -> tuple[Any, Array]:
        key, now = random.split(carry["key"])
        rate = cosine(config.learning_rate, carry["step"], run.cosine)
        gradient, hidden, error = divergence(carry["machine"], grey[rows], now, 0)
        mean, variance = hidden.mean(axis=0), hidden.var(axis=0)
        features = (hidden - mean) * lax.rsqrt(variance + 1e-3)
        difference = (targets[rows] - jax.nn.softmax(dense(carry["readout"], features))) / size
        learned = {"kernel": features.T @ difference, "bias": difference.sum(axis=0)}
        return {
            "machine": moved(carry["machine"], gradient, rate),
            "readout": moved(carry["readout"], learned, rate),
            "moments": averaged(carry["moments"], mean, variance),
            "step": carry["step"] + 1,
            "key": key,
        }, error

    compiled = program(run, step)
    for _ in range(run.gate.epochs):
        carry, error = epoch(run, compiled, (grey, targets), carry)
        run.gate(error)
    test = flat(run.data["x_test"])
    learned, moments = carry["machine"], carry["moments"]
    hidden = jax.nn.sigmoid(test @ learned["weights"] + learned["hidden"])
    features = (hidden - moments["mean"]) * lax.rsqrt(moments["variance"] + 1e-3)
    classes = np.asarray(dense(carry["readout"], features)).argmax(axis=1)
    shown = jax.nn.sigmoid(hidden @ learned["weights"].T + learned["visible"])
    return {
        "test accuracy": float((classes == run.data["y_test"]).mean()),
        "reconstruction error": float(jnp.square(test - shown).mean()),
    }


def dbn(run: Run) -> dict[str, float]:
    """Pretrain a stack of machines and fine-tune it, whole, in each round."""
    config, labels = run.config, jax.nn.one_hot(run.data["y_train"], 10)

    def apply(parameters: Any, state: Any, x: Array, key: Any) -> tuple[Array, Any]:
        x = dropout(key, 0, x, config.input_dropout)
        for depth, part in enumerate(parameters[:-1], start=1):
            x = dropout(key, depth, jax.nn.sigmoid(dense(part, x)), config.dropout)
        return dense(parameters[-1], x), state

    for _ in range(run.gate.epochs):
        visible, parameters = flat(run.data["x_train"]), list[Any]()
        for depth, units in enumerate(config.hidden, start=1):
            pixels, last = visible.shape[1], depth == len(config.hidden)
            visible = jnp.concatenate([visible, labels], axis=1) if last else visible
            learned = pretrained(run, visible, units, labels.shape[1] if last else 0)
            parameters.append({"kernel": learned["weights"][:pixels], "bias": learned["hidden"]})
            visible = jax.nn.sigmoid(dense(parameters[-1], visible)) if not last else visible
        parameters.append({"kernel": learned["weights"][-10:].T, "bias": learned["visible"][-10:]})
        parameters, state, loss = fit(run, apply, parameters, None, flat, cross_entropy, job=True)
        run.gate(loss)
    return accuracy(run, apply, parameters, state, flat)


def pretrained(run: Run, visible: Array, units: int, labels: int) -> Any:
    """Return a machine that has learned `visible` (examples, visible)."""
    config, start = run.config, machine(visible, units)
    steps = config.pretraining * (len(visible) // config.batch_size)
    still = jax.tree.map(jnp.zeros_like, start)
    carry = {"machine": start, "velocity": still, "step": 0, "key": random.key(units)}

    def step(visible: Array, carry: Any, rows: Array) -> tuple[Any, Array]:
        key, now = random.split(carry["key"])
        gradient, _, error = divergence(carry["machine"], visible[rows], now, labels)
        rate = cosine(config.pretraining_rate, carry["step"], steps)
        velocity = jax.tree.map(lambda old, new: config.momentum * old + rate * new, carry["velocity"], gradient)
        learned = moved(carry["machine"], velocity, 1.0)
        return {"machine": learned, "velocity": velocity, "step": carry["step"] + 1, "key": key}, error

    compiled = program(run, step)
    for _ in range(config.pretraining):
        carry, _ = epoch(run, compiled, (visible,), carry)
    return carry["machine"]


def machine(visible: Array, hidden: int) -> dict[str, Array]:
    """Return the weights of a restricted Boltzmann machine before training."""
    share = jnp.clip(visible.mean(axis=0), 1e-3, 1 - 1e-3)
    weights = 0.01 * random.normal(random.key(0), (visible.shape[1], hidden))
    return {"weights": weights, "visible": jnp.log(share / (1 - share)), "hidden": jnp.zeros(hidden)}


def divergence(machine: Any, grey: Array, key: Any, labels: int) -> tuple[Any, Array, Array]:
    """Return the mean gradient of contrastive divergence, the hidden units and the error of the reconstruction."""
    weights, keys = machine["weights"], random.split(key, 4)
    data = jnp.where(random.uniform(keys[0], grey.shape) < grey, 1.0, 0.0)
    hidden = jax.nn.sigmoid(data @ weights + machine["hidden"])
    drawn = jnp.where(random.uniform(keys[1], hidden.shape) < hidden, 1.0, 0.0)
    field = drawn @ weights.T + machine["visible"]
    shown = jax.nn.sigmoid(field)
    sample = jnp.where(random.uniform(keys[2], shown.shape) < shown, 1.0, 0.0)
    if labels:
        label = jax.nn.one_hot(random.categorical(keys[3], field[:, -labels:]), labels)
        sample = jnp.concatenate([sample[:, :-labels], label], axis=1)
    sampled = jax.nn.sigmoid(sample @ weights + machine["hidden"])
    gradient = {
        "weights": (data.T @ hidden - sample.T @ sampled) / len(grey),
        "visible": (data - sample).mean(axis=0),
        "hidden": (hidden - sampled).mean(axis=0),
    }
    return gradient, hidden, jnp.square(grey - shown).mean()


def moved(values: Any, steps: Any, rate: Any) -> Any:
    """Return values after a step."""
    return jax.tree.map(lambda value, step: value + rate * step, values, steps)


def he_normal(key: Array, shape: tuple[int, ...]) -> Array:
    """Draw Keras's `he_normal` weights, normal ones within two standard deviations."""
    return jax.nn.initializers.he_normal()(key, shape)


def glorot(key: Array, shape: tuple[int, ...]) -> Array:
    """Draw Keras's default weights."""
    return jax.nn.initializers.glorot_uniform()(key, shape)


def dense_weights(key: Array, before: int, after: int) -> dict[str, Array]:
    """Return the weights of a dense layer."""
    return {"kernel": glorot(key, (before, after)), "bias": jnp.zeros(after)}


def dense(layer: Any, x: Array) -> Array:
    """Apply a dense layer."""
    return x @ layer["kernel"] + layer["bias"]


def lstm_weights(key: Array, inputs: int, units: int) -> dict[str, Array]:
    """Return the weights of an LSTM with Keras's defaults; the gates are input, forget, cell and output."""
    keys = random.split(key)
    return {
        "kernel": glorot(keys[0], (inputs, 4 * units)),
        "recurrent": jax.nn.initializers.orthogonal()(keys[1], (units, 4 * units)),
        "bias": jnp.zeros(4 * units).at[units : 2 * units].set(1.0),
    }


def lstm(layer: Any, x: Array, mask: Array | None = None) -> Array:
    """Return the last output of an LSTM over (batch, steps, features); masked steps change nothing."""
    fields = jnp.swapaxes(x @ layer["kernel"] + layer["bias"], 0, 1)
    start = jnp.zeros((len(x), layer["recurrent"].shape[0]), x.dtype)

    def step(carry: tuple[Array, Array], given: Any) -> tuple[tuple[Array, Array], None]:
        hidden, cell = carry
        field, seen = given
        ingate, forget, new, outgate = jnp.split(field + hidden @ layer["recurrent"], 4, axis=1)
        after = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(ingate) * jnp.tanh(new)
        output = jax.nn.sigmoid(outgate) * jnp.tanh(after)
        if seen is None:
            return (output, after), None
        return (jnp.where(seen, output, hidden), jnp.where(seen, after, cell)), None

    seen = None if mask is None else jnp.swapaxes(mask, 0, 1)[..., None]
    (hidden, _), _ = lax.scan(step, (start, start), (fields, seen))
    return hidden


def convolution(x: Array, kernel: Array, padding: str = "VALID", stride: int = 1, groups: int = 1) -> Array:
    """Apply a convolution, (batch, height, width, maps)."""
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=layout, feature_group_count=groups
    )


def pool(x: Array, size: int) -> Array:
    """Apply maximum pooling with stride 2."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, 2, 2, 1), "VALID")


def normalize_response(x: Array) -> Array:
    """Apply local response normalisation across five maps."""
    around = lax.reduce_window(jnp.square(x), 0.0, lax.add, (1, 1, 1, 5), (1, 1, 1, 1), "SAME")
    return x * jnp.exp(-0.75 * jnp.log(2 + 1e-4 * around))


def scale(width: int) -> dict[str, Array]:
    """Return the weights of a batch normalisation."""
    return {"gamma": jnp.ones(width), "beta": jnp.zeros(width)}


def moments_of(width: int) -> dict[str, Array]:
    """Return the moving moments of a batch normalisation before training."""
    return {"mean": jnp.zeros(width), "variance": jnp.ones(width)}


def averaged(moments: Any, mean: Array, variance: Array) -> Any:
    """Return the moving moments after a batch."""
    return moved(
        {"mean": 0.99 * moments["mean"], "variance": 0.99 * moments["variance"]},
        {"mean": mean, "variance": variance},
        0.01,
    )


def batch_normalization(layer: Any, moments: Any, x: Array, key: Any) -> tuple[Array, Any]:
    """Apply batch normalisation with Keras's constants."""
    mean, variance = moments["mean"], moments["variance"]
    if key is not None:
        axes = tuple(range(x.ndim - 1))
        mean, variance = x.mean(axes), x.var(axes)
        moments = averaged(moments, mean, variance)
    return (x - mean) * (lax.rsqrt(variance + 1e-3) * layer["gamma"]) + layer["beta"], moments


def dropout(key: Any, number: int, x: Array, rate: float) -> Array:
    """Apply dropout in training, with random numbers of its own for each layer."""
    if key is None or not rate:
        return x
    return jnp.where(random.bernoulli(random.fold_in(key, number), 1 - rate, x.shape), x / (1 - rate), 0.0)


def flat(images: Any) -> Array:
    """Return images of bytes as numbers in [0, 1], (images, 784)."""
    return jnp.asarray(images.reshape(len(images), -1), "float32") / 255


def maps(images: Any) -> Array:
    """Return images of bytes as numbers in [0, 1], (images, 28, 28, 1)."""
    return jnp.asarray(images[..., None], "float32") / 255


def cosine(rate: float, step: Any, steps: int) -> Any:
    """Return the learning rate of a step, along half a cosine if there are steps."""
    return rate * (1 + jnp.cos(jnp.pi * step / steps)) / 2 if steps else rate


def cross_entropy(outputs: Array, targets: Array) -> Array:
    """Return the mean cross-entropy of scores (batch, classes) and labels (batch,)."""
    chosen = jnp.take_along_axis(outputs, targets[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(outputs, axis=1) - chosen).mean()


def classify(run: Run, apply: Apply, parameters: Any, state: Any, inputs: Any) -> dict[str, float]:
    """Train a classifier and return its test accuracy."""
    parameters, state, _ = fit(run, apply, parameters, state, inputs, cross_entropy)
    return accuracy(run, apply, parameters, state, inputs)


def accuracy(run: Run, apply: Apply, parameters: Any, state: Any, inputs: Any) -> dict[str, float]:
    """Return the test accuracy; a class "none of these" after the others is never the answer."""
    answer = jax.jit(lambda x: apply(parameters, state, x, None)[0])
    x, known = inputs(run.data["x_test"]), run.data["y_test"]
    scores = np.concatenate([answer(x[at : at + 1000]) for at in range(0, len(x), 1000)])
    return {"test accuracy": float((scores[:, : 1 + known.max()].argmax(axis=1) == known).mean())}


def fit(
    run: Run, apply: Apply, parameters: Any, state: Any, inputs: Any, loss: Any, job: bool = False
) -> tuple[Any, Any, float]:
    """Train for the epochs of the gate, or for a `job` for those of the settings.

    Returns:
        The parameters, the state and the last mean loss.
    """
    config, still = run.config, jax.tree.map(jnp.zeros_like, parameters)
    momentum = config.optimizer == "momentum"
    optimizer = still if momentum else (still, jax.tree.map(jnp.zeros_like, parameters))
    carry = {"parameters": parameters, "state": state, "optimizer": optimizer, "step": 0, "key": random.key(1)}
    x, y = inputs(run.data["x_train"]), jnp.asarray(run.data["y_train"])
    half = jnp.bfloat16 if "bfloat16" in run.option else None

    def value(parameters: Any, state: Any, key: Any, x: Array, y: Array) -> tuple[Array, Any]:
        if half:
            parameters = jax.tree.map(lambda part: part.astype(half), parameters)
            x = x.astype(half) if x.dtype == jnp.float32 else x
        outputs, state = apply(parameters, state, x, key)
        return loss(outputs.astype("float32"), y), state

    def step(x: Array, y: Array, carry: Any, rows: Array) -> tuple[Any, Array]:
        key, now = random.split(carry["key"])
        parameters = carry["parameters"]
        (found, state), gradient = jax.value_and_grad(value, has_aux=True)(
            parameters, carry["state"], now, x[rows], y[rows]
        )
        rate = cosine(config.learning_rate, carry["step"], run.cosine)
        if momentum:
            gradient = jax.tree.map(
                lambda slope, part: slope + config.weight_decay * part if part.ndim > 1 else slope, gradient, parameters
            )
            optimizer = jax.tree.map(
                lambda old, slope: config.momentum * old - rate * slope, carry["optimizer"], gradient
            )
            parameters = moved(parameters, optimizer, 1.0)
        else:
            parameters, optimizer = adam(parameters, carry["optimizer"], gradient, rate, carry["step"] + 1)
        after = {
            "parameters": parameters,
            "state": state,
            "optimizer": optimizer,
            "step": carry["step"] + 1,
            "key": key,
        }
        return after, found

    if half:
        state = carry["state"] = jax.tree.map(lambda part: part.astype(half), state)
    compiled = program(run, step)
    for _ in range(config.epochs if job else run.gate.epochs):
        carry, mean = epoch(run, compiled, (x, y), carry)
        if not job:
            run.gate(mean)
    return carry["parameters"], carry["state"], mean


def adam(parameters: Any, moments: Any, gradient: Any, rate: Any, step: Any) -> tuple[Any, Any]:
    """Return the parameters and the moments after a step of Adam with Keras's constants."""
    first = jax.tree.map(lambda old, slope: 0.9 * old + 0.1 * slope, moments[0], gradient)
    second = jax.tree.map(lambda old, slope: 0.999 * old + 0.001 * slope * slope, moments[1], gradient)
    size = rate * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    steps = jax.tree.map(lambda one, two: -size * one / (jnp.sqrt(two) + 1e-7), first, second)
    return moved(parameters, steps, 1.0), (first, second)


def program(run: Run, step: Any) -> Any:
    """Return the compiled program of an epoch, or of a step."""
    if "scan" in run.option:
        return jax.jit(lambda data, carry, rows: lax.scan(partial(step, *data), carry, rows), donate_argnums=1)
    return jax.jit(lambda data, carry, rows: step(*data, carry, rows), donate_argnums=1)


def epoch(run: Run, compiled: Any, data: tuple[Array, ...], carry: Any) -> tuple[Any, float]:
    """Train for an epoch in a random order, and return the carry and the mean loss."""
    examples, steps = len(data[0]), run.steps
    used = min(examples, steps * run.config.batch_size)
    rows = np.random.default_rng().permutation(examples)[:used].reshape(steps, -1).astype("int32")
    if "scan" in run.option:
        carry, losses = compiled(data, carry, rows)
        return carry, float(losses.mean())
    losses = []
    for one in rows:
        carry, loss = compiled(data, carry, one)
        losses.append(loss)
    return carry, float(jnp.stack(losses).mean())
