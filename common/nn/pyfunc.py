"""Load a saved network for `mlflow.pyfunc`, which imports this module from the copy that each model has of it."""

import keras

from common.data import Array, Examples
from common.lazy import register_layers


class Network:
    """A network with the interface that `mlflow.pyfunc` expects."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    def predict(self, inputs: Examples) -> Array:
        """Return the predictions (examples, outputs) for `inputs`: an array, or an array for each input by name."""
        return self.model.predict(inputs, verbose=0)


def _load_pyfunc(path: str) -> Network:
    register_layers()
    return Network(keras.saving.load_model(path, compile=False))
