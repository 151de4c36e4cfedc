"""Predict the digit in an image with a saved model of Keras: MODEL IMAGE."""

import sys

import keras
import numpy as np
from PIL import Image

model = keras.saving.load_model(sys.argv[1])
probabilities = model.predict(np.asarray(Image.open(sys.argv[2]))[None], verbose=0)[0]
print(probabilities.argmax(), probabilities.max())
