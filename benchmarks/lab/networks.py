"""Experiments with the networks of the apps: the same settings as those of `train`, without a recorded run."""

import contextlib
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from apps import lenet5, lstm_memory, mnist_mlp
from common import training
from common.app import App
from common.config import Activation, Config, Initializer
from common.data import Array, Data
from common.nn import gradients
from common.plots.panels import captioned
from common.preprocessing import arrays
from common.training.diagnosis import Diagnosis

PLAIN = mnist_mlp.Settings(
    hidden=(256,),
    activation="relu",
    batch_normalization="none",
    input_dropout=0.0,
    dropout=0.0,
    learning_rate=0.001,
    schedule="constant",
    restore="last",
    patience=10_000,
    limit=1000,
    batch_size=50,
    epochs=30,
)
"""A network with one hidden layer, without any help against overfitting, on 1,000 digits."""


def overfitting(quick: bool = False) -> Figure:
    """Draw how a network learns 1,000 digits by heart, and how dropout, penalties and distortions help."""
    base = _quick(PLAIN) if quick else PLAIN
    cures = {
        "none": base,
        "dropout": dataclasses.replace(base, input_dropout=0.2, dropout=0.5),
        "L1 penalty 0.0005": dataclasses.replace(base, l1=0.0005),
        "L2 penalty 0.003": dataclasses.replace(base, l2=0.003),
    }
    data = mnist_mlp.load_data(base)
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    panels = figure.subplots(1, 3)
    for name, settings in cures.items():
        history = _validated(mnist_mlp.app, settings, data)
        if name == "none":
            _training_and_validation(panels[0], history)
        panels[1].plot(*_by_epoch(history["cross-entropy"]), label=name)
    lenet = lenet5.Settings(
        limit=base.limit, epochs=base.epochs, batch_size=50, restore="last", dropout=0.0, schedule="constant"
    )
    lenet = dataclasses.replace(lenet, patience=10_000, learning_rate=0.001)
    for name, distortions in {"none": False, "distorted copies": True}.items():
        history = _validated(lenet5.app, dataclasses.replace(lenet, distortions=distortions), data)
        panels[2].plot(*_by_epoch(history["cross-entropy"]), label=name)
    panels[0].set(title="a network with 256 hidden units, without a cure", ylabel="cross-entropy", yscale="log")
    panels[1].set(title="its cures", ylabel="cross-entropy of the validation set", ylim=(0.25, 0.7))
    panels[2].set(title="a cure of LeNet-5", ylabel="cross-entropy of the validation set", yscale="log")
    _epochs(panels)
    return captioned(
        figure,
        f"Cross-entropy of a network with 256 hidden units and of LeNet-5, trained on {base.limit:,} digits. Left: "
        "early stopping takes the weights of the dotted line.",
    )


def more_data(quick: bool = False) -> Figure:
    """Draw the test error of a network and of a logistic regression over the number of examples."""
    sizes = [100, 200] if quick else [100, 300, 1000, 3000, 10_000]
    base = dataclasses.replace(PLAIN, dropout=0.3, restore="best")
    data = mnist_mlp.load_data(base)
    images, labels = data.test
    flat, steps = images.reshape(len(images), -1) / 255.0, 50 if quick else 1000
    errors: dict[str, list[float]] = {"network": [], "logistic regression": []}
    for size in sizes:
        settings = dataclasses.replace(base, limit=size, epochs=max(3, steps * base.batch_size // size))
        model, _ = fitted(mnist_mlp.app, settings, data)
        errors["network"].append(100 * np.mean(training.predict(model, images).argmax(axis=1) != labels))
        inputs = data.train[0][:size].reshape(size, -1) / 255.0
        # The penalty of scikit-learn's default, which keeps the coefficients of few examples small.
        linear = LogisticRegression(C=1.0 if size < 1000 else 0.1, max_iter=10 if quick else 100)
        linear.fit(inputs, data.train[1][:size])
        errors["logistic regression"].append(100 * np.mean(linear.predict(flat) != labels))
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, values in errors.items():
        axes.plot(sizes, values, marker="o", label=name)
        for size, value in zip(sizes, values, strict=True):
            axes.annotate(f"{value:.1f}", (size, value), (0, 6), textcoords="offset points", fontsize=8, ha="center")
    axes.set(xscale="log", yscale="log", xlabel="training examples", ylabel="test error in %")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return captioned(
        figure,
        f"Error on {len(labels):,} test digits of a network with 256 hidden units and of a logistic regression, "
        "over the number of training examples; both axes are logarithmic.",
    )


def learning_rates(quick: bool = False) -> Figure:
    """Draw the training loss with learning rates that are too low, right and too high."""
    base = dataclasses.replace(_quick(PLAIN) if quick else PLAIN, optimizer="sgd", epochs=2 if quick else 20)
    data = mnist_mlp.load_data(base)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for rate, words in ((0.002, "too low"), (0.2, "right"), (2.0, "too high")):
        settings = dataclasses.replace(base, learning_rate=rate)
        _, history = fitted(mnist_mlp.app, settings, data, before=True)
        axes.plot(history["loss"], marker=".", label=f"{rate:g}, {words}")
    axes.set(yscale="log", ylabel="training loss")
    _epochs([axes])
    axes.legend(title="learning rate")
    return captioned(
        figure,
        f"Training loss of gradient descent on {base.limit:,} digits with three learning rates. Epoch 0 is before "
        "training.",
    )


def dead_units(quick: bool = False) -> Figure:
    """Draw the share of hidden units that are 0 for all examples, with three initial weights and activations."""
    base = dataclasses.replace(PLAIN, hidden=(128, 128, 128), optimizer="sgd", learning_rate=0.01, epochs=15)
    base = _quick(base) if quick else base
    data = mnist_mlp.load_data(base)
    shown, _ = arrays.first(data.train, 500)
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    kinds: dict[str, tuple[Activation, Initializer]] = {
        "ReLU, weights N(0, 1)": ("relu", "normal"),
        "ReLU, He's weights": ("relu", "he_normal"),
        "leaky ReLU, weights N(0, 1)": ("leaky_relu", "normal"),
    }
    for label, (activation, initializer) in kinds.items():
        settings = dataclasses.replace(base, activation=activation, initializer=initializer)
        shares = list[float]()

        def watch(model: keras.Model, shares: list[float] = shares) -> None:
            shares.append(100 * _silent(model, shown))

        _, history = fitted(mnist_mlp.app, settings, data, watch=watch)
        panels[0].plot(shares, marker=".", label=label)
        panels[1].plot(range(1, len(history["accuracy"]) + 1), 100 * np.array(history["val_accuracy"]), label=label)
    panels[0].set(title="hidden units that are at most 0 for all of 500 digits", ylabel="share in %", ylim=(-2, None))
    panels[1].set(title="accuracy", ylabel="validation accuracy in %", ylim=(0, 100))
    _epochs(panels)
    return captioned(
        figure,
        f"A network with three hidden layers of 128 units, trained by gradient descent on {base.limit:,} digits. "
        "Left: the share of hidden units that are silent: a silent ReLU unit has no gradient and stays so, a "
        "leaky one can recover. Right: accuracy on the validation set.",
    )


def vanishing_gradients(quick: bool = False) -> Figure:
    """Draw gradients by depth in feedforward networks, and by time in recurrent ones, before training."""
    deep = dataclasses.replace(PLAIN, hidden=(100,) * (3 if quick else 10))
    data = mnist_mlp.load_data(deep)
    inputs, targets = arrays.first(data.train, 128)
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    kinds: dict[str, dict[str, Any]] = {
        "sigmoid": {"activation": "sigmoid", "initializer": "xavier"},
        "ReLU, He's weights": {"activation": "relu", "initializer": "he_normal"},
        "sigmoid, batch normalisation": {
            "activation": "sigmoid",
            "initializer": "xavier",
            "batch_normalization": "before",
        },
    }
    for label, settings in kinds.items():
        keras.utils.set_random_seed(0)
        model = training.build(mnist_mlp.app, dataclasses.replace(deep, **settings), data)
        found = gradients.by_weight(model, model.loss)(inputs, targets)
        norms = [np.linalg.norm(gradient) for path, gradient in found.items() if gradient.ndim == 2]
        panels[0].plot(range(1, len(norms) + 1), norms, marker="o", label=label)
    sequences = lstm_memory.load_data(lstm_memory.Settings(seed=0)).test[0]
    biases = lstm_memory.Settings.forget_bias, lstm_memory.Settings.input_bias
    for cell, label in {"SimpleRNN": "plain recurrent network", "LSTM": "LSTM"}.items():
        keras.utils.set_random_seed(0)
        network = lstm_memory.network(cell, lstm_memory.Settings.units, *biases)
        by_step = lstm_memory.gradient_norms(network, sequences)
        panels[1].plot(np.arange(-len(by_step), 0), by_step, label=label)
    panels[0].set(yscale="log", title="depth", xlabel="layer", ylabel="norm of the gradient of its weights")
    panels[1].set(yscale="log", title="time", xlabel="steps before the end", ylabel="norm of the gradient of the state")
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.legend()
    return captioned(
        figure,
        "Norms of gradients before training, on logarithmic axes. Left: of the loss by the weights of each layer "
        f"of a network with {len(deep.hidden)} hidden layers, for 128 digits. Right: of the output by the state "
        "before each step of recurrent networks, for sequences of the adding problem.",
    )


def batch_normalization(quick: bool = False) -> Figure:
    """Draw how a deep sigmoid network learns with and without batch normalisation."""
    base = dataclasses.replace(PLAIN, hidden=(100,) * 5, activation="sigmoid", initializer="xavier", limit=2000)
    base = dataclasses.replace(base, optimizer="sgd", learning_rate=0.3, epochs=15)
    base = _quick(base) if quick else base
    data = mnist_mlp.load_data(base)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    words: dict[Literal["none", "before", "after"], str] = {
        "none": "none",
        "before": "before the activations",
        "after": "after the activations",
    }
    for place, label in words.items():
        _, history = fitted(mnist_mlp.app, dataclasses.replace(base, batch_normalization=place), data)
        axes.plot(range(1, base.epochs + 1), 100 * np.array(history["val_accuracy"]), marker=".", label=label)
    axes.set(ylabel="validation accuracy in %", ylim=(0, 100))
    _epochs([axes])
    axes.legend(title="batch normalisation")
    return captioned(
        figure,
        "Accuracy on the validation set of a network with five hidden layers of sigmoid units, trained on "
        f"{base.limit:,} digits by gradient descent.",
    )


def initial_weights(quick: bool = False) -> Figure:
    """Draw the outputs of a tanh layer before training, and the accuracy, with weights N(0, 1) and smaller ones."""
    base = dataclasses.replace(PLAIN, hidden=(256, 256, 256), activation="tanh", optimizer="sgd", learning_rate=0.05)
    base = dataclasses.replace(base, epochs=15)
    base = _quick(base) if quick else base
    data = mnist_mlp.load_data(base)
    shown, _ = arrays.first(data.train, 200)
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    initializers: dict[Initializer, str] = {"normal": "N(0, 1)", "xavier": "N(0, 1 / inputs)"}
    for initializer, label in initializers.items():
        outputs = list[Array]()

        def watch(model: keras.Model, outputs: list[Array] = outputs) -> None:
            outputs.append(_hidden(model, shown)[-1])

        _, history = fitted(mnist_mlp.app, dataclasses.replace(base, initializer=initializer), data, watch=watch)
        panels[0].hist(outputs[0].ravel(), bins=50, range=(-1, 1), density=True, alpha=0.6, label=label)
        panels[1].plot(range(1, base.epochs + 1), 100 * np.array(history["val_accuracy"]), marker=".", label=label)
    panels[0].set(title="outputs of the third hidden layer before training", xlabel="tanh", ylabel="density")
    panels[1].set(title="accuracy", ylabel="validation accuracy in %", ylim=(0, 100))
    _epochs(panels[1:])
    panels[0].legend(title="initial weights")
    return captioned(
        figure,
        f"A network with three hidden layers of tanh units, trained on {base.limit:,} digits. Left: outputs of the"
        " third layer for 200 digits before training. Right: accuracy on the validation set.",
    )


def fitted(
    app: App,
    settings: Config,
    data: Data,
    watch: Callable[[keras.Model], None] = lambda _: None,
    before: bool = False,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Return the app's network, trained as `train` trains it, and its metrics by epoch.

    Args:
        app: The app.
        settings: The settings.
        data: The data.
        watch: Called with the network before training and after each epoch.
        before: Whether the training loss before the first epoch is added.
    """
    keras.utils.set_random_seed(settings.seed)
    model = training.build(app, settings, data)
    watch(model)
    first = Diagnosis(model, *arrays.first(data.train, 500)).initial_loss if before else None
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: watch(model))
    with contextlib.redirect_stdout(io.StringIO()):
        history = training.fit(model, data, settings, app.task, training.FitOptions(callbacks=[callback]))
    return model, history if first is None else {**history, "loss": [first, *history["loss"]]}


def _quick(settings: mnist_mlp.Settings) -> mnist_mlp.Settings:
    return dataclasses.replace(settings, epochs=2, limit=200)


def _hidden(model: keras.Model, inputs: Array) -> list[Array]:
    """Return the outputs (examples, units) of the activation of each hidden layer."""
    kinds = keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU
    layers = [layer.output for layer in model.layers if isinstance(layer, kinds)]
    return [ops.convert_to_numpy(output) for output in keras.Model(model.inputs, layers)([inputs])]


def _silent(model: keras.Model, inputs: Array) -> float:
    """Return the share of hidden units whose output is at most 0 for all inputs."""
    return float(np.mean(np.concatenate([(outputs <= 0).all(axis=0) for outputs in _hidden(model, inputs)])))


def _training_and_validation(axes: Any, history: Mapping[str, Sequence[float]]) -> None:
    epochs = range(1, len(history["loss"]) + 1)
    axes.plot(epochs, history["loss"], label="training")
    axes.plot(epochs, history["val_loss"], label="validation")
    best = int(np.argmin(history["val_loss"])) + 1
    axes.axvline(best, color="grey", linestyle=":", label=f"lowest validation loss, epoch {best}")


def _validated(app: App, settings: Config, data: Data) -> dict[str, list[float]]:
    """Return the metrics by epoch, with the cross-entropy of the validation set, without penalties."""
    found = list[float]()
    inputs, labels = arrays.first(data.validation, 1000)

    def watch(model: keras.Model) -> None:
        probabilities = ops.convert_to_numpy(model(inputs, training=False))
        found.append(float(log_loss(labels, probabilities)))

    _, history = fitted(app, settings, data, watch=watch)
    return {**history, "cross-entropy": found[1:]}


def _by_epoch(values: Sequence[float]) -> tuple[Sequence[int], Sequence[float]]:
    return range(1, len(values) + 1), values


def _epochs(panels: Sequence[Any]) -> None:
    for axes in panels:
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
