"""Trains a small network on one device and on several: `python -m tests.training.on_devices FOLDER`.

The last line is JSON: the metrics of each training by its name, the error of a command for more devices, and on JAX a
small AlexNet on one device, and on two which divide its weights; with `--four`, on four.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from apps import alexnet, mnist_mlp
from common import training
from common.data import Data
from common.nn.augmentation import AffineDistortion
from common.training.checkpoint import Checkpoint
from tests.conftest import run_app

SETTINGS = mnist_mlp.Settings(epochs=3, batch_size=16)
Metrics = dict[str, list[float]]


def load_data(_config: Any) -> Data:
    """Noise, whose class is the brighter half; 4 devices do not divide the 43 examples to validate on."""
    generator = np.random.default_rng(0)
    inputs = generator.random((150, 8, 8, 1), "float32")
    targets = (inputs[:, :4].mean((1, 2, 3)) > inputs[:, 4:].mean((1, 2, 3))).astype("int64")
    train, validation, test = (
        (inputs[rows], targets[rows]) for rows in (slice(0, 64), slice(64, 107), slice(107, 150))
    )
    return Data("noise", "0", train, validation, test, ("lower", "upper"), kind="image")


def build_model(_config: Any, _data: Data) -> keras.Model:
    """A network; on JAX with augmentation and dropout, whose random numbers are those of one device."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(8, "relu"), keras.layers.Dense(2, "softmax")]
    if keras.backend.backend() == "jax":
        layers = [AffineDistortion(), *layers[:2], keras.layers.Dropout(0.5), *layers[2:]]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


app = dataclasses.replace(mnist_mlp.app, load_data=load_data, build_model=build_model)


def trained(devices: int, checkpoint: Checkpoint | None = None, until: int = 3) -> Metrics:
    """The metrics of every epoch, and the sum of each weight."""
    data = load_data(SETTINGS)
    keras.utils.set_random_seed(0)
    model = build_model(SETTINGS, data)
    options = training.FitOptions(until, checkpoint, devices=devices)
    history = training.fit_on_devices(app, model, data, SETTINGS, options)
    sums = [float(np.abs(keras.ops.convert_to_numpy(weight)).sum()) for weight in model.trainable_weights]
    return {**history, "weights": sums}


class Shares(keras.callbacks.Callback):
    """Notes the shape of each weight, and of the part that the first device has."""

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        weights = self.model.trainable_weights
        self.shapes = {one.path: (one.shape, one.value.addressable_shards[0].data.shape) for one in weights}


def model_parallel(devices: int) -> dict[str, Any]:
    """The metrics of a divided AlexNet, how far each of its weights moved, and the shapes of the parts."""
    config = alexnet.Settings(
        backend="jax",
        model_parallel=True,
        image_size=15,
        width=0.05,
        groups=2,
        epochs=2,
        batch_size=16,
        optimizer="momentum",
        learning_rate=0.03,
        restore="last",
    )
    noise = load_data(config)
    train, validation, test = (
        ((255 * np.resize(inputs, (len(inputs), 17, 17, 3))).astype("uint8"), targets)
        for inputs, targets in (noise.train, noise.validation, noise.test)
    )
    data = Data("noise", "0", train, validation, test, noise.outputs, kind="image")
    keras.utils.set_random_seed(0)
    model = alexnet.build_model(config, data)
    before, shares = model.get_weights(), Shares()
    options = training.FitOptions(callbacks=(shares,), devices=devices)
    history = training.fit_on_devices(alexnet.app, model, data, config, options)
    moved = [float(np.abs(new - old).sum()) for new, old in zip(model.get_weights(), before, strict=True)]
    return {"metrics": {**history, "moved": moved}, "shapes": shares.shapes}


def main() -> None:
    """Train, on 4 and 2 devices of JAX, or on 2 of TensorFlow, whose processes have one group of devices."""
    several, fewer = (4, 2) if keras.backend.backend() == "jax" else (2, 1)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * several)
    found = {"one": trained(1), "several": trained(several)}
    path = Path(sys.argv[1], "state.npz")
    trained(several, Checkpoint(path), until=1)
    found["several, then fewer"] = trained(fewer, Checkpoint(path))
    too_many = run_app("perceptron", "train", "--devices", "5").stderr
    counts = (1, 2, 4) if "--four" in sys.argv else (1, 2)
    divided = {count: model_parallel(count) for count in counts} if keras.backend.backend() == "jax" else {}
    print(json.dumps({"metrics": found, "error": too_many, "model_parallel": divided}))


if __name__ == "__main__":
    main()
