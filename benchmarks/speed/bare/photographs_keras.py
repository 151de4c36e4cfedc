"""Train AlexNet at a quarter of its width for an epoch on photographs with Keras: FOLDER."""

import sys

import keras
from keras import layers, ops

train, valid = (
    keras.utils.image_dataset_from_directory(
        sys.argv[1], batch_size=128, image_size=(71, 71), validation_split=0.19, subset=part, seed=0
    ).prefetch(2)
    for part in ("training", "validation")
)


class Crop(layers.RandomCrop):
    """Random patches in training, and the one in the middle otherwise, which Keras's layer leaves out."""

    def call(self, x: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        if training:
            return super().call(x, training=True)
        top, left = (x.shape[1] - self.height) // 2, (x.shape[2] - self.width) // 2
        return x[:, top : top + self.height, left : left + self.width]


def normalize(x: keras.KerasTensor) -> keras.KerasTensor:
    """Apply local response normalisation across five maps."""
    squares = ops.pad(ops.square(x), ((0, 0), (0, 0), (0, 0), (2, 2)))
    return x * (2 + 1e-4 * sum(squares[..., shift : shift + x.shape[-1]] for shift in range(5))) ** -0.75


def convolution(x: keras.KerasTensor, maps: int, size: int) -> keras.KerasTensor:
    """Apply a convolution with ReLU."""
    return layers.Conv2D(maps, size, padding="same", activation="relu")(x)


inputs = x = keras.Input((71, 71, 3))
x = layers.RandomFlip("horizontal")(Crop(63, 63)(x - 110.0))
x = normalize(convolution(x, 24, 5))
x = normalize(convolution(layers.MaxPooling2D(3, 2)(x), 64, 5))
x = convolution(layers.MaxPooling2D(3, 2)(x), 96, 3)
x = convolution(convolution(x, 96, 3), 64, 3)
x = layers.Flatten()(layers.MaxPooling2D(3, 2)(x))
x = layers.Dropout(0.3)(layers.Dense(1024, "relu")(x))
x = layers.Dropout(0.3)(layers.Dense(1024, "relu")(x))
model = keras.Model(inputs, layers.Dense(4, "softmax")(x))
steps = int(train.cardinality())
optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.0005, steps))
model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(train, epochs=1, verbose=2)
print(f"test accuracy {model.evaluate(valid, verbose=0)[1]:.4f}")
