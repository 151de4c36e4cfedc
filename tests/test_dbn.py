"""Pretraining: what the machines learnt is what the network begins with, and what it dreams of."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest

from apps import dbn, rbm
from common.config import Visible
from common.data import Array, Data, Pair, RawData
from common.metrics import likelihood
from common.nn.rbm import RBM, visible_units
from common.preprocessing import datasets
from tests.conftest import few


def halves(examples: int) -> Data:
    """Pictures (6, 6) with the left half black for the first label, the right half for the second, a tenth flipped."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=examples).astype("int32")
    left = np.broadcast_to(np.arange(6) < 3, (examples, 6, 6))
    ink = (left == (labels == 0)[:, None, None]) ^ (rng.random((examples, 6, 6)) < 0.1)
    pictures = (255 * ink).astype("uint8")
    return Data(
        "halves", "", (pictures, labels), (pictures, labels), (pictures, labels), ("left", "right"), kind="image"
    )


CONFIG = dbn.Settings(
    persistent=True, hidden=(20, 30), pretraining=30, pretraining_rate=0.1, batch_size=20, dreaming=100
)


@dataclass(frozen=True)
class Pretrained:
    """A network that was pretrained on halves, what its machines were, and what it dreamt."""

    model: keras.Model
    machines: list[RBM]
    dreams: list[Array]
    pictures: list[str]


def fit(model: keras.Model, pair: Pair, _name: str, epochs: int) -> None:
    """Train a machine as Keras does."""
    model.fit(*pair, batch_size=CONFIG.batch_size, epochs=epochs, verbose=0)


@pytest.fixture(scope="module")
def pretrained() -> Pretrained:
    data, machines, dreams = halves(1000), list[RBM](), list[Array]()

    def learn(*arguments: Any, original: Any = dbn.learn) -> RBM:
        machines.append(original(*arguments))
        return machines[-1]

    def dream(*arguments: Any, original: Any = dbn.dreams) -> Array:
        dreams.append(original(*arguments))
        return dreams[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dbn, "load_data", lambda _config: data)
        patch.setattr(dbn, "learn", learn)
        patch.setattr(dbn, "dreams", dream)
        model = dbn.build_model(CONFIG, data)
        pictures = [name for name, _ in dbn.pretrain(model, CONFIG, data, fit)]
    return Pretrained(model, machines, dreams, pictures)


def test_the_network_knows_the_labels_before_backpropagation(pretrained: Pretrained) -> None:
    pictures, labels = halves(1000).test
    assert (pretrained.model.predict(pictures, verbose=0).argmax(axis=1) == labels).mean() > 0.99


def test_each_layer_begins_as_the_machine_that_learnt_it(pretrained: Pretrained) -> None:
    model, pictures = pretrained.model, halves(50).test[0]
    hidden = keras.Model(model.inputs, [model.get_layer(f"hidden_{depth}").output for depth in (1, 2)])
    first, second = hidden.predict(pictures, verbose=0)
    bottom, top = pretrained.machines
    np.testing.assert_allclose(
        first, dbn.hidden_features(bottom, visible_units(model, "hidden_1", pictures)), rtol=1e-4
    )
    # The last machine sees the labels too: here none is on.
    below = np.concatenate([first, np.zeros((50, 2), "float32")], axis=1)
    np.testing.assert_allclose(second, dbn.hidden_features(top, below), rtol=1e-4)


def test_pretraining_ends_with_a_figure_of_the_dreams(pretrained: Pretrained) -> None:
    assert pretrained.pictures == ["dreams"]
    assert pretrained.dreams[0].shape == (2 * dbn.DREAMS, 36)


def test_a_dream_is_an_image_of_its_label() -> None:
    """Of machines with known weights: a label turns on two features, and a feature turns on half of the pixels."""
    bottom, top = RBM(4), RBM(2, labels=2, particles=20)
    bottom.build((None, 36))
    top.build((None, 4 + 2))
    left = np.broadcast_to(np.arange(6) < 3, (6, 6)).reshape(-1, 1)
    bottom.components.assign(np.where(left == [True, True, False, False], 10.0, 0.0))
    bottom.intercept_visible.assign(np.full(36, -10.0))
    first = np.array([[10.0], [10], [-10], [-10], [40], [-40]])
    top.components.assign(np.concatenate([first, -first], axis=1))
    ink = dbn.dreams([bottom, top], 2, steps=5).reshape(2, dbn.DREAMS, 36)
    expected = np.broadcast_to(np.stack([left, ~left]).reshape(2, 1, 36), ink.shape)
    np.testing.assert_allclose(ink, expected, atol=1e-3)


def test_pictures_without_a_label_serve_to_pretrain_alone() -> None:
    config = dbn.Settings(labelled=100)
    data, every = (dbn.load_data(dataclasses.replace(config, labelled=known)) for known in (100, 0))
    assert len(data.train[1]) == 100
    assert len(every.train[1]) == 57_000
    assert len(data.validation[1]) == len(every.validation[1])


def test_no_pretraining_leaves_the_random_weights() -> None:
    data, config = halves(100), dataclasses.replace(CONFIG, pretraining=0)
    model = dbn.build_model(config, data)
    before = model.get_weights()
    assert list(dbn.pretrain(model, config, data, fit)) == []
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_the_likelihood_that_is_reported_is_the_exact_one_of_a_small_machine(visible: Visible, mnist: RawData) -> None:
    data = few(mnist, train=500, test=100)
    config = rbm.Settings(visible=visible, hidden=10, epochs=2, annealing=300, learning_rate=0.01)
    model = rbm.build_model(config, data)
    machine = model.get_layer("rbm")
    machine.components.assign(np.random.default_rng(0).normal(0, 0.1, machine.components.shape))
    figures = rbm.Features().model_metrics(model, config, data)
    grey = data.test[0].reshape(100, -1) / 255
    shown = rbm.drawn(grey) if visible == "bernoulli" else visible_units(model, "rbm", data.test[0])
    exact = -likelihood.free_energies(machine, shown).mean() - likelihood.log_partition(machine)
    assert abs(figures["log_likelihood"] - exact) < 3 * figures["log_likelihood_error"] < 0.5


def test_the_digits_are_those_of_the_published_example() -> None:
    """Its shifts are convolutions with a kernel of a single one."""
    from scipy.ndimage import convolve
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pictures, labels = load_digits().images, load_digits().target
    shifted = [pictures]
    for row, column in ((0, 1), (1, 0), (1, 2), (2, 1)):
        kernel = np.zeros((3, 3))
        kernel[row, column] = 1
        shifted.append(np.stack([convolve(picture, kernel, mode="constant") for picture in pictures]))
    parts = train_test_split(np.concatenate(shifted), np.tile(labels, 5), test_size=0.2, random_state=0)
    raw = datasets.load("digits")
    for ours, theirs in zip((raw.train[0], raw.test[0]), parts[:2], strict=True):
        np.testing.assert_array_equal(ours, np.round(theirs * 255 / 16))
    for ours, theirs in zip((raw.train[1], raw.test[1]), parts[2:], strict=True):
        np.testing.assert_array_equal(ours, theirs)
