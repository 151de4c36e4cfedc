"""Compare features of the suite's restricted Boltzmann machine with those of scikit-learn's, on scikit-learn's example.

    python -m benchmarks.rbm

The example is a logistic regression on features of shifted digits, with its settings and with ours. `python -m
benchmarks.speed --rows rbm` compares the time.
"""

import contextlib
import io
import os
import tempfile

from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import minmax_scale

from apps import rbm
from common import training
from common.data import Array
from common.preprocessing import datasets


def main() -> None:
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
    main()
