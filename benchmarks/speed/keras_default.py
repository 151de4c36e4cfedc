"""Plain Keras programs: the networks written out, and `fit` with its defaults."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.speed.gate import Array, Run
from benchmarks.speed.pause import Pause


def mnist_mlp(run: Run) -> dict[str, float]:
    """Three dense layers with ELU, batch normalisation and dropout."""
    config = run.config
    model = keras.Sequential([keras.Input((784,)), layers.Dropout(config.input_dropout)])
    for units in config.hidden:
        model.add(layers.Dense(units, "elu", kernel_initializer="he_normal"))
        model.add(layers.BatchNormalization())
        model.add(layers.Dropout(config.dropout))
    model.add(layers.Dense(10, "softmax", kernel_initializer="he_normal"))
    return fit(run, model, flat)


def lenet5_modern(run: Run) -> dict[str, float]:
    """Two convolutions with pooling and two dense layers, each with batch normalisation and ReLU."""
    plain: dict[str, Any] = {"use_bias": False, "kernel_initializer": "he_normal"}
    model = keras.Sequential([keras.Input((28, 28, 1))])
    for maps, padding in ((6, "same"), (16, "valid")):
        model.add(layers.Conv2D(maps, 5, padding=padding, **plain))
        model.add(layers.MaxPooling2D(2))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    for units in (120, 84):
        model.add(layers.Dense(units, **plain))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.Dropout(run.config.dropout))
    model.add(layers.Dense(10, "softmax"))
    return fit(run, model, maps_of)


def lenet5_1998(run: Run) -> dict[str, float]:
    """Train the paper's network; a class "none of these" has a constant score."""
    codes, rubbish = ops.convert_to_tensor(run.data["codes"]), run.config.rubbish
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(6, 5, activation=squash, kernel_initializer=uniform(25)),
            Subsampling(),
            TableConv2D(run.data["table"]),
            Subsampling(),
            layers.Flatten(),
            layers.Dense(120, squash, kernel_initializer=uniform(400)),
            layers.Dense(84, squash, kernel_initializer=uniform(120)),
            layers.Lambda(lambda x: -ops.sum(ops.square(x[:, None] - codes), axis=-1)),
            layers.Lambda(lambda scores: ops.pad(scores, ((0, 0), (0, 1)), constant_values=-rubbish)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return fit(run, model, lambda images: np.pad(maps_of(images), ((0, 0), (2, 2), (2, 2), (0, 0))) * 1.275 - 0.1, loss)


def squash(x: Any) -> Any:
    """Return 1.7159 tanh(2x/3)."""
    return 1.7159 * ops.tanh(2 / 3 * x)


def uniform(fan_in: float) -> keras.initializers.Initializer:
    """Return the initializer of uniform weights in ±2.4 / fan-in."""
    return keras.initializers.RandomUniform(-2.4 / fan_in, 2.4 / fan_in)


class Subsampling(layers.Layer):
    """Sums of 2x2 blocks with a coefficient and a bias for each map."""

    def build(self, shape: Any) -> None:
        self.coefficient = self.add_weight((shape[-1],), uniform(4))
        self.bias = self.add_weight((shape[-1],), "zeros")

    def call(self, x: Any) -> Any:
        return squash(4 * ops.average_pool(x, 2, 2) * self.coefficient + self.bias)


class TableConv2D(layers.Layer):
    """A convolution whose kernel is 0 where a table (maps in, maps out) is."""

    def __init__(self, table: Array) -> None:
        super().__init__()
        self.table = table

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight((5, 5, *self.table.shape), uniform(25 * self.table.sum() / self.table.shape[1]))
        self.bias = self.add_weight((self.table.shape[1],), "zeros")

    def call(self, x: Any) -> Any:
        return squash(ops.conv(x, self.kernel * self.table) + self.bias)


def lstm_mnist(run: Run) -> dict[str, float]:
    """Read an image row by row with an LSTM."""
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.LSTM(run.config.units),
            layers.Dropout(run.config.dropout),
            layers.Dense(10, "softmax"),
        ]
    )
    return fit(run, model, lambda images: images.astype("float32") / 255)


def lstm_text(run: Run) -> dict[str, float]:
    """Classify sentences, which are numbers of words already, with a bidirectional LSTM."""
    config = run.config
    model = keras.Sequential(
        [
            keras.Input((config.length,), dtype="int32"),
            layers.Embedding(config.vocabulary + 2, config.embedding, mask_zero=True),
            layers.Dropout(config.word_dropout),
            layers.Bidirectional(layers.LSTM(config.units)),
            layers.Dropout(config.dropout),
            layers.Dense(2, "softmax"),
        ]
    )
    return fit(run, model, lambda words: words.astype("int32"))


def lstm_forecast(run: Run) -> dict[str, float]:
    """Forecast the square root of a series, relative to its last value."""
    past = np.sqrt(run.data["x_train"])
    mean, deviation, spread = float(past.mean()), float(past.std()), float(run.data["x_train"].std())
    window = keras.Input(run.data["x_train"].shape[1:])
    x = (ops.sqrt(window) - mean) / deviation
    last = x[:, -1:]
    x = layers.LSTM(run.config.units[0])(x - last)
    x = layers.Reshape((1, 1))(layers.Dense(1)(x)) + last
    model = keras.Model(window, ops.square(ops.maximum(x * deviation + mean, 0.0)))

    def loss(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square((y_true - y_pred) / spread), axis=-1)

    compile_and_fit(run, model, lambda windows: windows, loss, ["mae"])
    answers = model.predict(run.data["x_test"], verbose=0)
    return {"test rmse": float(np.sqrt(np.square(answers - run.data["y_test"]).mean()))}


def alexnet(run: Run) -> dict[str, float]:
    """Train AlexNet at the suite's size for Fashion-MNIST."""
    config = run.config
    inputs = keras.Input((28, 28, 1))
    x = ops.concatenate([inputs] * 3, axis=-1) - run.data["mean"]
    x = layers.RandomFlip("horizontal")(Crop(25, 25)(x))
    x = ColourShift(run.data["covariance"])(x)
    x = layers.MaxPooling2D(3, 2)(ResponseNormalization()(convolution(config, x, 96, 5, 0)))
    x = layers.MaxPooling2D(3, 2)(ResponseNormalization()(towers(config, x, 256, 5)))
    x = towers(config, convolution(config, x, 384, 3, 0), 384, 3)
    x = layers.Flatten()(layers.MaxPooling2D(3, 2)(towers(config, x, 256, 3)))
    for _ in range(2):
        x = layers.Dense(round(config.width * 4096), "relu", **initial(config, 1))(x)
        x = layers.Dropout(config.dropout)(x)
    model = keras.Model(inputs, layers.Dense(10, "softmax", **initial(config, 0))(x))
    return fit(run, model, lambda images: images[..., None].astype("float32"))


def initial(config: Any, bias: int) -> dict[str, Any]:
    """Return the options of a layer for initial weights and weight decay."""
    return {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=0.01 / config.width**0.5),
        "bias_initializer": keras.initializers.Constant(bias),
        "kernel_regularizer": keras.regularizers.L2(config.weight_decay / 2),
    }


def convolution(config: Any, x: Any, maps: int, size: int, bias: int, parts: int = 1) -> Any:
    """Apply a convolution with ReLU."""
    maps = round(config.width * maps) // parts
    return layers.Conv2D(maps, size, padding="same", activation="relu", **initial(config, bias))(x)


def towers(config: Any, x: Any, maps: int, size: int) -> Any:
    """Apply a convolution in two groups; with `groups=2` it is many times slower on a CPU."""
    parts = [convolution(config, part, maps, size, 1, 2) for part in ops.split(x, 2, axis=-1)]
    return layers.Concatenate()(parts)


class Crop(layers.RandomCrop):
    """Random patches in training, and the one in the middle otherwise, which Keras's layer leaves out."""

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            return super().call(x, training=True)
        top, left = (x.shape[1] - self.height) // 2, (x.shape[2] - self.width) // 2
        return x[:, top : top + self.height, left : left + self.width]


class ResponseNormalization(layers.Layer):
    """Local response normalisation across five maps."""

    def call(self, x: Any) -> Any:
        squares = ops.pad(ops.square(x), ((0, 0), (0, 0), (0, 0), (2, 2)))
        around = sum(squares[..., shift : shift + x.shape[-1]] for shift in range(5))
        return x * (2 + 1e-4 * around) ** -0.75


class ColourShift(layers.Layer):
    """Random shifts along the principal components of the colours."""

    def __init__(self, covariance: Array) -> None:
        super().__init__()
        values, vectors = np.linalg.eigh(covariance)
        self.components = ((vectors * values).T * 255).astype("float32")

    def call(self, x: Any, training: bool = False) -> Any:
        if not training:
            return x
        drawn = keras.random.normal((ops.shape(x)[0], 3), stddev=0.1)
        return x + ops.matmul(drawn, self.components)[:, None, None]


def logistic_regression(run: Run) -> dict[str, float]:
    """One softmax layer."""
    model = keras.Sequential([keras.Input((784,)), layers.Dense(10, "softmax", kernel_initializer="zeros")])
    return fit(run, model, flat)


def flat(images: Array) -> Array:
    """Return images of bytes as numbers in [0, 1], (images, 784)."""
    return images.reshape(len(images), -1).astype("float32") / 255


def maps_of(images: Array) -> Array:
    """Return images of bytes as numbers in [0, 1], (images, 28, 28, 1)."""
    return images[..., None].astype("float32") / 255


def fit(run: Run, model: keras.Model, inputs: Any, loss: Any = "sparse_categorical_crossentropy") -> dict[str, float]:
    """Train a classifier and return its test accuracy."""
    compile_and_fit(run, model, inputs, loss, ["accuracy"])
    answers = model.predict(inputs(run.data["x_test"]), verbose=0)
    classes = answers[:, : 1 + run.data["y_test"].max()].argmax(axis=1)  # without "none of these"
    return {"test accuracy": float((classes == run.data["y_test"]).mean())}


def compile_and_fit(run: Run, model: keras.Model, inputs: Any, loss: Any, metrics: list[str]) -> None:
    """Train with the optimizer and the schedule of the settings, and with Keras's defaults for all else."""
    config = run.config
    rate = (
        keras.optimizers.schedules.CosineDecay(config.learning_rate, run.cosine) if run.cosine else config.learning_rate
    )
    optimizer = (
        keras.optimizers.SGD(rate, momentum=config.momentum)
        if config.optimizer == "momentum"
        else keras.optimizers.Adam(rate)
    )
    model.compile(optimizer, loss, metrics=metrics)
    x, y = inputs(run.data["x_train"]), run.data["y_train"]
    model.fit(x, y, config.batch_size, run.gate.epochs, callbacks=[Pause(run.gate)], verbose=0)
