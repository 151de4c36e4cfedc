"""Compare the suite's whole `train` with a bare `model.fit` of the same compiled model, both on all of MNIST.

    python -m benchmarks.overhead

`train` includes settings, data, recording, test set, figures, and the saved and registered model. `fit` includes the
training alone. Both run the same epochs with the same compilation.
"""

import contextlib
import io
import os
import tempfile

import keras
import tyro

from apps import mnist_mlp
from benchmarks import measure
from common import training
from common.preprocessing.arrays import PREDICTION_BATCH


def main(epochs: int = 20, rounds: int = 3) -> None:
    """Measure both alternately.

    Args:
        epochs: Epochs per run.
        rounds: Runs of each. The medians are printed.
    """
    config = mnist_mlp.Settings(epochs=epochs, patience=epochs)
    data = mnist_mlp.load_data(config)

    def bare_fit() -> None:
        keras.utils.set_random_seed(config.seed)
        model = mnist_mlp.build_model(config, data)
        model.jit_compile = training.benefits_from_xla(model, config.batch_size)
        options = {"epochs": epochs, "batch_size": config.batch_size, "validation_data": data.validation}
        model.fit(*data.train, **options, validation_batch_size=PREDICTION_BATCH, verbose=0)

    def suite_train() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            training.train(mnist_mlp.app, config)

    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        measure.compare(f"mnist_mlp, {epochs} epochs", {"model.fit": bare_fit, "train": suite_train}, rounds)


if __name__ == "__main__":
    tyro.cli(main)
