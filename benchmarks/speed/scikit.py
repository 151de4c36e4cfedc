"""scikit-learn's estimators."""

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import BernoulliRBM

from benchmarks.speed.gate import Run
from benchmarks.speed.numpy_rbm import draw, pixels, sigmoid


def rbm(run: Run) -> dict[str, float]:
    """Train with persistent chains, which is scikit-learn's only algorithm, and without a readout."""
    config, random = run.config, np.random.default_rng(0)
    grey, (batch, steps) = pixels(run.data["x_train"]), (run.config.batch_size, run.steps)
    machine = BernoulliRBM(config.hidden, batch_size=batch, learning_rate=config.learning_rate, random_state=0)
    for _ in range(run.gate.epochs):
        data = draw(random, grey[random.permutation(len(grey))])
        for step in range(steps):
            machine.partial_fit(data[step * batch : (step + 1) * batch])
        run.gate(float("nan"))
    test = pixels(run.data["x_test"])
    hidden = sigmoid(test @ machine.components_.T + machine.intercept_hidden_)
    shown = sigmoid(hidden @ machine.components_ + machine.intercept_visible_)
    return {"reconstruction error": float(np.square(test - shown).mean())}


def logistic_regression(run: Run) -> dict[str, float]:
    """Solve logistic regression with the default solver and penalty, whole, in the first epoch of each round."""
    inputs, labels = pixels(run.data["x_train"]), run.data["y_train"]
    for epoch in range(run.gate.epochs):
        if epoch % run.row.epochs == 0:
            estimator = LogisticRegression(max_iter=100).fit(inputs, labels)
        run.gate(float("nan"))
    return {"test accuracy": float(estimator.score(pixels(run.data["x_test"]), run.data["y_test"]))}


def linear_regression(run: Run) -> dict[str, float]:
    """Solve least squares in each round."""
    inputs, targets = run.data["x_train"], run.data["y_train"]
    for _ in range(run.gate.epochs):
        estimator = LinearRegression().fit(inputs, targets)
        run.gate(float(np.square(estimator.predict(inputs) - targets).mean()))
    difference = estimator.predict(run.data["x_test"]) - run.data["y_test"]
    return {"test rmse": float(np.sqrt(np.square(difference).mean()))}
