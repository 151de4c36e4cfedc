"""Import Keras."""

import keras

print(keras.__version__)
