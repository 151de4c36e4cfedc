"""Compare the suite's restricted Boltzmann machine with scikit-learn's: time, reconstructions and features.

    python -m benchmarks.rbm

MNIST: processor time and mean squared error of reconstructed test images, in batches of 100 at the same learning rate;
scikit-learn's needs more epochs to reconstruct as well. Digits: scikit-learn's own example of features for a logistic
regression, with its settings and with ours.
"""

import contextlib
import io
import os
import tempfile

import numpy as np
import tyro
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import minmax_scale

from apps import dbn, rbm
from benchmarks import measure
from common import training
from common.data import Array
from common.nn.rbm import RBM
from common.preprocessing import datasets


def main(hidden: int = 256, epochs: int = 3, theirs: int = 10, rounds: int = 3, rate: float = 0.05) -> None:
    """Measure both alternately.

    Args:
        hidden: Number of hidden units on MNIST.
        epochs: Epochs per run of ours on MNIST.
        theirs: Epochs per run of scikit-learn's on MNIST.
        rounds: Runs of each. The medians are printed.
        rate: Learning rate on MNIST.
    """
    raw = datasets.load("mnist")
    shown, test = (part[0].reshape(-1, 784).astype("float32") / 255 for part in (raw.train, raw.test))
    machines: dict[str, RBM] = {}

    def scikit_learn() -> None:
        machine = BernoulliRBM(hidden, batch_size=100, learning_rate=rate, n_iter=theirs, random_state=0)
        machines["scikit-learn"] = from_scikit_learn(machine.fit(shown))

    def suite() -> None:
        config = dbn.Settings(pretraining=epochs, pretraining_rate=rate)
        with contextlib.redirect_stdout(io.StringIO()):
            machines["ours"] = dbn.learn(config, hidden, shown, labels=0)

    contestants = {f"scikit-learn, {theirs} epochs": scikit_learn, f"ours, {epochs} epochs": suite}
    measure.compare(f"RBM of {hidden} hidden units on MNIST", contestants, rounds)
    for name, machine in machines.items():
        error = np.square(test - rbm.reconstruct(machine, test)).mean()
        print(f"{name}: mean squared error of the reconstructions {error:.5f} a pixel")
    digits()


def from_scikit_learn(theirs: BernoulliRBM) -> RBM:
    """Return a machine of ours with the weights of scikit-learn's."""
    machine = RBM(len(theirs.components_))
    machine.build((None, theirs.components_.shape[1]))
    machine.components.assign(theirs.components_.T)
    machine.intercept_hidden.assign(theirs.intercept_hidden_)
    machine.intercept_visible.assign(theirs.intercept_visible_)
    return machine


def digits() -> None:
    """Print the test accuracy of logistic regression on pixels and on the features of both machines."""
    raw = datasets.load("digits")

    def pixels(images: Array) -> Array:
        return minmax_scale(images.reshape(len(images), -1).astype("float64"))

    x_train, x_test = pixels(raw.train[0]), pixels(raw.test[0])
    features = BernoulliRBM(100, learning_rate=0.06, n_iter=10, random_state=0)
    published = make_pipeline(features, LogisticRegression(C=6000, max_iter=1000))
    alone = LogisticRegression(C=100, max_iter=1000)
    for name, estimator in {"pixels": alone, "scikit-learn's RBM": published}.items():
        print(f"digits, {name}: {estimator.fit(x_train, raw.train[1]).score(x_test, raw.test[1]):.4f}")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        config = rbm.Settings(data="digits", hidden=300, batch_size=20, learning_rate=0.1, epochs=100)
        ours = training.train(rbm.app, config).metrics["test_accuracy"]
    print(f"digits, ours: {ours:.4f}")


if __name__ == "__main__":
    tyro.cli(main)
