"""Rosenblatt's rule: Novikoff's bound where a plane separates the classes, no end on XOR, and the layer that helps."""

from typing import Any

import keras
import numpy as np
import pytest
from sklearn.svm import LinearSVC

from common import training
from common.data import Array, Data
from common.training.batches import epoch_order
from tests.conftest import load_app


def trained(**settings: Any) -> tuple[keras.Model, Data, Array]:
    """The perceptron, its data, and its mistakes in each epoch."""
    app = load_app("perceptron")
    config = app.settings(**settings)
    data = app.load_data(config)
    keras.utils.set_random_seed(config.seed)
    model = app.build_model(config, data)
    history = training.fit(model, data, config, app.task)
    # At one example a step an epoch's accuracy counts each example before it teaches.
    return model, data, np.rint((1 - np.array(history["accuracy"])) * len(data.train[1]))


def augmented(data: Data) -> Array:
    """The training set as (x, 1), in float64."""
    columns = [column.astype("float64") for column in data.train[0].values()]
    return np.column_stack([*columns, np.ones(len(data.train[1]))])


@pytest.mark.parametrize("data", ["iris", "and", "or"])
def test_it_learns_what_a_plane_separates_within_novikoffs_bound(data: str) -> None:
    model, parts, mistakes = trained(data=data, epochs=40)
    x, signs = augmented(parts), 2 * parts.train[1] - 1
    plane = LinearSVC(C=1e6, loss="hinge", fit_intercept=False, max_iter=1_000_000).fit(x, signs).coef_[0]
    margin = (signs * (x @ plane)).min() / np.linalg.norm(plane)
    assert margin > 0
    bound = (np.linalg.norm(x, axis=1).max() / margin) ** 2
    assert 0 < mistakes.sum() <= bound
    assert mistakes[-1] == 0
    for inputs, labels in (parts.train, parts.test):
        np.testing.assert_array_equal(model.predict(inputs, verbose=0).argmax(axis=1), labels)


def test_every_step_is_rosenblatts_rule() -> None:
    model, parts, _ = trained(epochs=3)
    x, targets, w = augmented(parts), parts.train[1], np.zeros(5)
    for epoch in range(3):
        for index in epoch_order(0, epoch, len(x), 1).ravel():
            w += (targets[index] - float(w @ x[index] >= 0)) * x[index]
    kernel, bias = model.get_layer("unit").get_weights()
    np.testing.assert_allclose(np.append(kernel, bias), w, atol=1e-4)


def test_it_never_learns_xor() -> None:
    model, parts, mistakes = trained(data="xor", epochs=100)
    assert mistakes.min() >= 1
    assert (model.predict(parts.train[0], verbose=0).argmax(axis=1) == parts.train[1]).mean() <= 0.75


def test_a_hidden_layer_solves_xor() -> None:
    model, parts, _ = trained(data="xor", hidden=8)
    np.testing.assert_array_equal(model.predict(parts.train[0], verbose=0).argmax(axis=1), parts.train[1])
