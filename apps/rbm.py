"""A restricted Boltzmann machine that learns features without labels, and a logistic regression on these features.

    python -m apps.rbm train
    python -m apps.rbm train --epochs 250 --restore last --annealing 10000   # -84.74 nats, 2.39 % test error
    python -m apps.rbm train --data digits --hidden 300 --batch-size 20 --learning-rate 0.1 --epochs 100
    python -m apps.rbm train --no-persistent --gibbs-steps 25             # CD-25

Results are means of seeds 0, 1 and 2; the third command has 4.12 % test error. Training takes about 3.5 minutes of CPU
time by the first command (30 epochs of 7 CPU s), 29 to 30 minutes by the second, and 44 CPU s by the third (133 s on
two busy cores, seed 0).

Hinton 2002 and Tieleman 2008. Likelihoods are measured as by Salakhutdinov and Murray 2008 (-86.34 nats with CD-25), on
test images whose pixels are sampled once: 1 with a probability equal to their grey value. The digits are those of
scikit-learn's example, whose features have 6.5 % error. The logistic regression learns at the same time and does not
change the machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import keras
import numpy as np

from common import (
    App,
    Array,
    Classification,
    Config,
    Count,
    Data,
    NotNegative,
    Optimizer,
    Positive,
    Published,
    Schedule,
    Share,
    Trained,
    cli,
)
from common.config import Visible
from common.metrics import likelihood
from common.nn import optimizers, rbm
from common.plots import results
from common.preprocessing import features, images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 32
"""Number of images in the figure of reconstructions."""
LOOKS = (0, 1, 3, 10, 30, 100, 300)
"""Steps of Gibbs sampling after which the chains are drawn."""


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the machine and of the logistic regression that reads its features."""

    data: Literal["mnist", "fashion_mnist", "digits"] = "mnist"
    """Data set: handwritten digits, Zalando's clothes, or scikit-learn's small digits with shifted copies."""
    visible: Visible = "bernoulli"
    """Visible units: 0 or 1, with the grey value as the probability of 1; or normal, for standardised pixels."""
    hidden: Count = 500
    """Number of hidden units."""
    gibbs_steps: Count = 1
    """Steps of Gibbs sampling per gradient step, k."""
    persistent: bool = True
    """Continue the Gibbs chains from step to step (PCD) instead of starting them at the data (CD)."""
    sparsity_target: Share = 0.1
    """Target of the share of examples for which a hidden unit is on."""
    sparsity_cost: NotNegative = 0.0
    """Weight in the loss of the cross-entropy between this target and the real share."""
    l2: NotNegative = 0.0
    """Weight in the loss of the sum of squared weights."""
    annealing: Count = 1000
    """Number of steps of the annealed importance sampling for the likelihood."""
    chains: Count = 100
    """Number of samples of the annealed importance sampling."""

    epochs: Count = 30
    batch_size: Count = 100
    patience: Count = 1000
    optimizer: Optimizer = "sgd"
    learning_rate: Positive = 0.05
    schedule: Schedule = "cosine"


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the machine with a logistic regression on its hidden units: bytes in, class probabilities out."""
    machine = rbm.RBM(
        config.hidden,
        config.visible,
        gibbs_steps=config.gibbs_steps,
        particles=config.batch_size if config.persistent else 0,
        sparsity_target=config.sparsity_target,
        sparsity_cost=config.sparsity_cost,
        regularizer=keras.regularizers.L2(config.l2) if config.l2 else None,
        seed=config.seed,
        name="rbm",
    )
    model = rbm.RBMSequential(
        [
            keras.Input(data.input_shape, dtype="uint8"),
            features.normalization("standard_score" if config.visible == "gaussian" else "min_max", data.train[0]),
            keras.layers.Flatten(),
            machine,
            # Gradient descent of the logistic regression is fast only with features of mean 0 and variance 1.
            keras.layers.BatchNormalization(center=False, scale=False),
            keras.layers.Dense(len(data.outputs), "softmax", name="readout"),
        ]
    )
    machine.intercept_visible.assign(machine.independent(mean_visible(model, data)))
    model.compile(optimizers.build(config, data), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def mean_visible(model: keras.Model, data: Data) -> Array:
    """Return the mean visible units (visible,) of the training set: those of the mean image, as scaling is linear."""
    return rbm.visible_units(model, "rbm", data.train[0].mean(axis=0, dtype="float32")[None])[0]


class Features(Classification):
    """Classification by the machine's features, with metrics of the machine as a model of the data."""

    def model_metrics(self, model: keras.Model, config: Settings, data: Data) -> dict[str, float]:
        machine, grey = model.get_layer("rbm"), rbm.visible_units(model, "rbm", data.test[0])
        visible = grey if machine.visible == "gaussian" else drawn(grey)
        start = machine.independent(mean_visible(model, data))
        partition = likelihood.annealed_importance_sampling(machine, start, config.annealing, config.chains)
        metrics = {
            "reconstruction_error": float(np.square(grey - reconstruct(machine, grey)).mean()),
            "log_likelihood": float(-likelihood.free_energies(machine, visible).mean() - partition.value),
            "log_likelihood_error": partition.standard_error,
        }
        if machine.visible == "bernoulli":
            metrics["pseudo_likelihood"] = likelihood.pseudo_likelihood(machine, visible)
        return metrics

    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        value, error = metrics["test_log_likelihood"], metrics["test_log_likelihood_error"]
        words = {
            "test log likelihood": f"{value:.2f} nats, standard error {error:.2f}",
            "test reconstruction": f"mean squared error {metrics['test_reconstruction_error']:.5f} per unit",
        }
        if "test_pseudo_likelihood" in metrics:
            words["test pseudo-likelihood"] = f"{metrics['test_pseudo_likelihood']:.2f} nats"
        return super().summary(metrics, examples) | words

    def figures(self, trained: Trained) -> Iterator[tuple[str, Figure]]:
        yield from super().figures(trained)
        machine, shape = trained.model.get_layer("rbm"), trained.data.input_shape
        shown = rbm.visible_units(trained.model, "rbm", trained.data.test[0][:SHOWN])
        rows = np.stack([shown, reconstruct(machine, shown)], axis=1).reshape(-1, *shape)
        caption = "Test images, and their reconstructions from the probabilities of the hidden units."
        titles = ["pixels", "output"] * len(shown)
        yield "reconstructions", results.image_grid(rows, titles, columns=16, caption=caption)
        chains = np.stack(list(gibbs_chains(machine, shown[:8])), axis=1).reshape(-1, *shape)
        titles = ["pixels", *(f"step {step}" for step in LOOKS[1:])] + [""] * (len(chains) - len(LOOKS))
        caption = "Gibbs chains, one per row: samples of the machine after some steps from a test image."
        yield "gibbs_chains", results.image_grid(chains, titles, columns=len(LOOKS), caption=caption)
        if machine.particles:
            fantasies = next(gibbs_chains(machine, machine.fantasies)).reshape(-1, *shape)
            titles, heading = [""] * len(fantasies), "fantasies: samples of the machine"
            caption = "Samples of the persistent Gibbs chains, which training never set back to the data."
            yield "fantasies", results.image_grid(fantasies, titles, 10, heading=heading, caption=caption)


def drawn(grey: Array) -> Array:
    """Draw pixels with the probability `grey` of 1, with the same shape. The draw is the same in every run."""
    return (np.random.default_rng(0).random(grey.shape) < grey).astype("float32")


def reconstruct(machine: rbm.RBM, visible: Array) -> Array:
    """Return the expected visible units given the expected hidden units of `visible`; both (examples, visible)."""
    return np.asarray(keras.ops.convert_to_numpy(machine.reconstruct(visible)))


def gibbs_chains(machine: rbm.RBM, visible: Array) -> Iterator[Array]:
    """Yield `visible` (examples, visible), then the expected visible units after each number of steps in `LOOKS`."""
    yield np.asarray(keras.ops.convert_to_numpy(visible))
    for before, after in itertools.pairwise(LOOKS):
        hidden = machine.draw(machine.transform(machine.gibbs(visible, after - before - 1)))
        yield np.asarray(keras.ops.convert_to_numpy(machine.mean(machine.visible_field(hidden))))
        visible = machine.sample_visible(machine.visible_field(hidden))


SALAKHUTDINOV = "test log likelihood -86.34, CD-25; -125.53, CD-1 (Salakhutdinov and Murray 2008)"
app = App(
    settings=Settings,
    load_data=images.load,
    build_model=build_model,
    task=Features(),
    features="rbm",
    published=[
        Published(SALAKHUTDINOV, {"data": "mnist", "hidden": 500}),
        Published("6.5 % (scikit-learn's example)", {"data": "digits"}),
    ],
)

if __name__ == "__main__":
    cli.main(app, __doc__)
