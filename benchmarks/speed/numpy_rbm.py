"""Contrastive divergence in NumPy: five products a step, single precision."""

import numpy as np

from benchmarks.speed.gate import Array, Run


def rbm(run: Run) -> dict[str, float]:
    """Train a restricted Boltzmann machine with CD-1 and a softmax readout of its hidden units."""
    config, random = run.config, np.random.default_rng(0)
    grey, labels = pixels(run.data["x_train"]), run.data["y_train"]
    batch, steps = config.batch_size, run.steps
    share = np.clip(grey.mean(axis=0), 1e-3, 1 - 1e-3)
    weights = 0.01 * random.standard_normal((grey.shape[1], config.hidden), dtype="float32")
    visible_bias, hidden_bias = np.log(share / (1 - share)), np.zeros(config.hidden, "float32")
    readout, readout_bias = np.zeros((config.hidden, 10), "float32"), np.zeros(10, "float32")
    mean, variance = np.zeros(config.hidden, "float32"), np.ones(config.hidden, "float32")
    targets = np.eye(10, dtype="float32")[labels]
    for epoch in range(run.gate.epochs):
        error = 0.0
        for step, rows in enumerate(random.permutation(len(grey))[: steps * batch].reshape(steps, batch)):
            rate = np.float32(
                config.learning_rate * (1 + np.cos(np.pi * (epoch * steps + step) / run.cosine)) / (2 * batch)
            )
            data = draw(random, grey[rows])
            hidden = sigmoid(data @ weights + hidden_bias)
            shown = sigmoid(draw(random, hidden) @ weights.T + visible_bias)
            sample = draw(random, shown)
            sampled_hidden = sigmoid(sample @ weights + hidden_bias)
            weights += rate * (data.T @ hidden - sample.T @ sampled_hidden)
            visible_bias += rate * (data - sample).sum(axis=0)
            hidden_bias += rate * (hidden - sampled_hidden).sum(axis=0)
            error += float(np.square(grey[rows] - shown).mean())

            moments = hidden.mean(axis=0), hidden.var(axis=0)
            mean, variance = (0.99 * old + 0.01 * new for old, new in zip((mean, variance), moments, strict=True))
            features = (hidden - moments[0]) / np.sqrt(moments[1] + np.float32(1e-3))
            difference = targets[rows] - softmax(features @ readout + readout_bias)
            readout += rate * (features.T @ difference)
            readout_bias += rate * difference.sum(axis=0)
        run.gate(error / steps)
    test = pixels(run.data["x_test"])
    hidden = sigmoid(test @ weights + hidden_bias)
    classes = ((hidden - mean) / np.sqrt(variance + 1e-3) @ readout + readout_bias).argmax(axis=1)
    shown = sigmoid(hidden @ weights.T + visible_bias)
    return {
        "test accuracy": float((classes == run.data["y_test"]).mean()),
        "reconstruction error": float(np.square(test - shown).mean()),
    }


def pixels(images: Array) -> Array:
    """Return images of bytes as numbers in [0, 1], (images, pixels)."""
    return images.reshape(len(images), -1).astype("float32") / 255


def sigmoid(field: Array) -> Array:
    """Return 1 / (1 + exp(-field))."""
    return np.float32(1) / (np.float32(1) + np.exp(-field))


def softmax(scores: Array) -> Array:
    """Return the softmax over the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def draw(random: np.random.Generator, probability: Array) -> Array:
    """Draw 1 with this probability, else 0."""
    return (random.random(probability.shape, dtype="float32") < probability).astype("float32")
