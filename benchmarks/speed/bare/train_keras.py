"""Train a perceptron on 1,000 images of MNIST for an epoch with Keras, test it and save it: MNIST MODEL."""

import sys

import keras
import numpy as np
from keras import layers

mnist, path = sys.argv[1:]
with np.load(mnist) as data:
    x_train, y_train, x_test, y_test = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
x_valid, y_valid = x_train[-3000:], y_train[-3000:]

model = keras.Sequential([keras.Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dropout(0.2)])
for _ in range(3):
    model.add(layers.Dense(512, "elu", kernel_initializer="he_normal"))
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.2))
model.add(layers.Dense(10, "softmax"))
model.compile(keras.optimizers.Adam(0.004), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train[:1000], y_train[:1000], 256, 1, validation_data=(x_valid, y_valid), verbose=2)
print(f"test accuracy {model.evaluate(x_test, y_test, 256, verbose=0)[1]:.4f}")
model.save(path)
