"""AlexNet (Krizhevsky, Sutskever and Hinton 2012, "ImageNet Classification with Deep Convolutional Neural Networks").

    python -m apps.alexnet train                              # Fashion-MNIST: 7.41 % test error, mean of 3 seeds
    python -m apps.alexnet train --images FOLDER              # photographs, a folder per class: the paper's network
    python -m apps.alexnet train --images FOLDER --image-size 63 --width 0.25        # hundreds of images, on a CPU
    python -m apps.alexnet train --images FOLDER --init-from RUN --freeze features   # fine-tune a trained model
    python -m apps.alexnet train --images FOLDER --backend jax --model-parallel --devices 2   # two GPUs

The first command takes 1,421 CPU s (789 s on two cores, seed 0).

With `--image-size 227 --width 1`, the defaults for photographs, this is the paper's network: 60,965,224 parameters for
1,000 classes. Its two towers exchange their maps where the paper's two GPUs do, and with `--model-parallel` they are on
two GPUs. The training is the paper's with one difference: the mean colour is subtracted, not the mean image.

Below 227 pixels there is one tower, Adam trains with a learning rate along a cosine, and dropout is lower: the paper's
training needs many more images before the weights leave their small initial values. The first layer's stride is 4 size
/ 227, rounded, but at least 1; its kernel is twice the stride plus 3. So on patches of 25x25 it has a 5x5 kernel with
stride 1, and it pads the border. At every size a patch has 227/256 of the image's side: 25x25 for the 28x28 images of
Fashion-MNIST. `--width` is the share of the paper's maps and units in each layer. The standard deviation of the initial
weights is multiplied by 1 / sqrt(width), so that the variance of each unit's sum stays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import keras
from annotated_types import Ge

from common import (
    App,
    Array,
    Classification,
    Count,
    Data,
    Fraction,
    NotNegative,
    Optimizer,
    Positive,
    Published,
    SavedModel,
    Schedule,
    Share,
    UserError,
    cli,
    layer_names,
)
from common.config import FineTuneConfig
from common.nn import augmentation, layers, optimizers
from common.preprocessing import images

FOR_PHOTOGRAPHS = {"image_size": 227, "width": 1.0, "batch_size": 128, "validation": 0.1}
"""Defaults with --images, which are the paper's."""
FOR_BUILT_IN = {"image_size": 25, "width": 0.25, "batch_size": 64, "validation": 0.05}
"""Defaults for the built-in images: a network that a CPU trains in minutes."""
LARGE = {"groups": 2, "dropout": 0.5, "optimizer": "momentum", "schedule": "plateau"}
"""Defaults for patches of at least 227 pixels, which are the paper's."""
SMALL = {"groups": 1, "dropout": 0.3, "optimizer": "adam", "schedule": "cosine"}
"""Defaults for smaller patches."""


@dataclass(frozen=True)
class Settings(images.ImageConfig, FineTuneConfig):
    """Settings of AlexNet."""

    data: Literal["fashion_mnist", "mnist"] = "fashion_mnist"
    """Data set if --images is not given: Zalando's clothes, or handwritten digits in the same format."""
    images: str | None = None
    """Folder of photographs to train on instead, with one subfolder per class."""
    image_size: Annotated[int, Ge(15)] = 0
    """Side of the network's input patches in pixels; 0: 227 for --images, else 25."""
    width: NotNegative = 0.0
    """Share of the paper's maps and units in each layer; 0: 1 for --images, else 0.25."""
    groups: Literal[0, 1, 2] = 0
    """Number of towers of the second, fourth and fifth convolution; 0: 2 from 227 pixels, as in the paper, else 1."""
    model_parallel: bool = False
    """Divide the maps and units of each layer between the two GPUs of --devices 2, as in the paper; on JAX."""
    dropout: Fraction | None = None
    """Dropout rate of both hidden dense layers; None: 0.5 from 227 pixels, as in the paper, else 0.3."""
    weight_decay: NotNegative = 0.0005
    """Share of each weight that a step with learning rate 1 subtracts."""
    reflections: bool = True
    """Mirror half of the patches in training, and use each patch and its mirror image in evaluation."""
    crops: Literal[1, 10] = 10
    """Patches whose predictions are averaged: the centre, or also the corners and mirror images."""
    freeze: Literal["none", "features"] = "none"
    """Layers of --init-from that are not trained: none, or the five convolutions."""

    epochs: Count = 20
    batch_size: Count = 0
    """Examples per gradient step; 0: 128 for --images, as in the paper, else 64."""
    validation: Share = 0.0
    """Share of the training set for validation, as in the other apps; 0: 0.1 for --images, else 0.05."""
    optimizer: Optimizer | None = None  # type: ignore[assignment]  # never None after `__post_init__`
    """Optimizer, as in the other apps; None: momentum from 227 pixels, as in the paper, else adam."""
    learning_rate: NotNegative = 0.0
    """Initial learning rate a0; 0: 0.0005 for adam, else 0.01, as in the paper."""
    schedule: Schedule | None = None  # type: ignore[assignment]  # never None after `__post_init__`
    """Learning rate in epoch e, as in the other apps; None: plateau from 227 pixels, as in the paper, else cosine."""
    decay: Positive = 0.1
    patience: Count = 6

    def __post_init__(self) -> None:
        """Replace settings of 0 or None by those for the data and the size, then check the bounds of every field.

        Raises:
            UserError: if a setting is outside its bounds, there is no model to freeze, or no division between devices.
        """
        self.complete(FOR_PHOTOGRAPHS if self.images else FOR_BUILT_IN)
        self.complete(LARGE if self.image_size >= 227 else SMALL)
        self.complete({"learning_rate": 0.0005 if self.optimizer == "adam" else 0.01})
        if self.model_parallel and (self.groups, self.backend) != (2, "jax"):
            raise UserError("`model_parallel` needs `groups` 2 and `backend` jax")
        if self.freeze != "none" and not self.init_from:
            raise UserError("`freeze` needs `init_from`, the trained model whose layers are frozen")
        super().__post_init__()

    @property
    def rescales(self) -> bool:
        """Whether the optimizer rescales gradients, and therefore subtracts the weight decay itself."""
        return self.optimizer in ("adam", "rmsprop")

    @property
    def side(self) -> int:
        """Side in pixels of the images that patches are cut from: 256 for patches of 227, as in the paper."""
        return round(self.image_size * 256 / 227)


def load_data(config: Settings) -> Data:
    """Load images of bytes, (n, 28, 28) grey or (n, side, side, 3) in colour, and integer labels (n,)."""
    if config.images:
        return images.load_folder(config.images, config.side, config.validation, config.seed)
    return images.load(config)


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the network: bytes in, class probabilities out."""
    mean, covariance = images.colour_statistics(data.train[0])
    return network(config, data, mean, covariance)


def fine_tune(start: SavedModel, config: Settings, data: Data) -> keras.Model:
    """Build the network with the weights of `start` in all layers except the last.

    Raises:
        UserError: if the network of `start` has other sizes.
    """
    shapes, before = ("image_size", "width", "groups"), Settings.from_dict(start.settings)
    if any(getattr(before, name) != getattr(config, name) for name in (*shapes, "model_parallel")):
        values = ", ".join(f"`{name}` {getattr(before, name):g}" for name in shapes)
        other = ""
        if before.model_parallel != config.model_parallel:
            other = f", {'and add' if before.model_parallel else 'without'} `model_parallel`"
        raise UserError(f"`init_from` {config.init_from}: its network differs; set {values}{other}")
    # The features of `start` were learned with its mean colour.
    mean = start.model.get_layer(layer_names.CENTRED).get_config()["mean"]
    model = network(config, data, mean, images.colour_statistics(data.train[0])[1])
    for layer in model.layers:
        if layer.weights and layer.name != layer_names.OUTPUT:
            layer.set_weights(start.model.get_layer(layer.name).get_weights())
            layer.trainable = config.freeze == "none" or not layer.name.startswith("conv")
    return model


def network(config: Settings, data: Data, mean: Sequence[float], covariance: Array) -> keras.Model:
    """Build the compiled network, given the mean colour (3,) and the colours' covariance (3, 3)."""
    inputs = x = keras.Input(data.input_shape, dtype="uint8")
    if len(data.input_shape) == 2:
        x = keras.layers.Reshape((*data.input_shape, 1))(x)
        x = keras.layers.Concatenate(name="colours")([x, x, x])
    if x.shape[1:3] != (config.side, config.side):
        x = keras.layers.Resizing(config.side, config.side)(x)
    x = keras.layers.Normalization(mean=mean, variance=[1.0] * len(mean), name=layer_names.CENTRED)(x)
    crops = augmentation.Crops(config.image_size, config.crops > 1, config.reflections, seed=config.seed, name="crops")
    x = crops(x)
    x = augmentation.ColourShift(covariance, seed=config.seed + 1, name="colour_shift")(x)
    x = classifier(config, len(data.outputs), features(config, x))
    model = keras.Model(inputs, augmentation.CropMean(crops.patches, name="probabilities")(x), name="alexnet")
    optimizer = optimizers.build(config, data, weight_decay=config.weight_decay if config.rescales else None)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def features(config: Settings, x: Any) -> Any:
    """Apply the five convolutions of section 3.5, with overlapping pooling and response normalisation.

    Patches (batch, size, size, 3) -> features, (batch, 6, 6, 256) at the paper's size.
    """
    stride = max(1, round(4 * config.image_size / 227))
    padding = "valid" if config.image_size >= 227 else "same"
    x = convolution(config, x, 96, 2 * stride + 3, name="conv1", strides=stride, padding=padding)
    x = layers.LocalResponseNormalization(name="norm1")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = convolution(config, x, 256, 5, bias=1, towers=config.groups, name="conv2")
    x = layers.LocalResponseNormalization(name="norm2")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = convolution(config, x, 384, 3, name="conv3")
    x = convolution(config, x, 384, 3, bias=1, towers=config.groups, name="conv4")
    x = convolution(config, x, 256, 3, bias=1, towers=config.groups, name="conv5")
    return keras.layers.MaxPooling2D(3, 2, name="pool5")(x)


def classifier(config: Settings, classes: int, x: Any) -> Any:
    """Apply the three dense layers, with dropout after the first two (section 4.2): (batch, …) -> (batch, classes)."""
    x = keras.layers.Flatten()(x)
    for depth in (6, 7):
        x = keras.layers.Dense(share(config, 4096), "relu", **initial(config, bias=1), name=f"dense{depth}")(x)
        x = keras.layers.Dropout(config.dropout, seed=config.seed + depth)(x)
    return keras.layers.Dense(classes, "softmax", **initial(config), name=layer_names.OUTPUT)(x)


def convolution(
    config: Settings, x: Any, maps: int, size: int, name: str, bias: int = 0, towers: int = 1, **options: Any
) -> Any:
    """Apply a convolution with ReLU, in `towers` that each have their own share of the input and output maps."""
    options = {"padding": "same", "activation": "relu"} | options | initial(config, bias)
    maps = share(config, maps)
    if towers == 1:
        return keras.layers.Conv2D(maps, size, **options, name=name)(x)
    if config.model_parallel:
        return layers.TowerConv2D(maps, size, groups=towers, **options, name=name)(x)
    parts = enumerate(keras.ops.split(x, towers, axis=-1), start=1)
    outputs = [
        keras.layers.Conv2D(maps // towers, size, **options, name=f"{name}_tower{index}")(part) for index, part in parts
    ]
    return keras.layers.Concatenate(name=name)(outputs)


def layout(config: Settings, devices: Sequence[Any]) -> keras.distribution.LayoutMap | None:
    """Divide the kernels of each layer between two devices, as in figure 2 of the paper, if `model_parallel` is set.

    Each pair of devices trains on its share of a batch.

    Raises:
        UserError: if the number of devices is odd.
    """
    if not config.model_parallel:
        return None
    if len(devices) % 2:
        raise UserError(f"`devices` {len(devices)}: `model_parallel` needs an even number")
    mesh = keras.distribution.DeviceMesh((len(devices) // 2, 2), ("batch", "towers"), devices)
    divided = keras.distribution.LayoutMap(mesh)
    divided["conv./kernel"] = (None, None, None, "towers")
    divided["dense./kernel"] = (None, "towers")
    divided["(conv|dense)./bias"] = ("towers",)
    divided[f"{layer_names.OUTPUT}/kernel"] = ("towers", None)
    return divided


def share(config: Settings, number: int) -> int:
    """Return the number of maps or units of a layer at the network's width, rounded to an even number."""
    return 2 * max(1, round(config.width * number / 2))


def initial(config: Settings, bias: int = 0) -> dict[str, Any]:
    """Return the options of a layer for the paper's initial weights, biases and weight decay (section 5).

    The paper's update subtracts rate * decay * weight, which is the gradient step of decay / 2 * weight². It is
    left out if the optimizer subtracts the decay itself.
    """
    decay = 0.0 if config.rescales else config.weight_decay
    return {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=0.01 / config.width**0.5),
        "bias_initializer": keras.initializers.Constant(bias),
        "kernel_regularizer": keras.regularizers.L2(decay / 2) if decay else None,
    }


app = App(
    settings=Settings,
    load_data=load_data,
    build_model=build_model,
    task=Classification(),
    fine_tune=fine_tune,
    layout=layout,
    published=[
        Published(
            "8.4 %, two convolutions; 6.5 %, VGG16 (Fashion-MNIST's own list)",
            {"data": "fashion_mnist", "images": None},
        )
    ],
)

if __name__ == "__main__":
    cli.main(app, __doc__)
