"""A deep belief network: a stack of restricted Boltzmann machines, fine-tuned by backpropagation.

    python -m apps.dbn train                                  # 784-500-500-2000-10: 1.11 % test error
    python -m apps.dbn train --persistent --epochs 30 --restore best   # also generates digits: 1.44 % (seed 0)
    python -m apps.dbn train --pretraining 0                  # the same network from random weights: 1.49 %
    python -m apps.dbn train --labelled 1000 --epochs 300     # pretrain on all digits, with 1,000 labels: 4.76 %

Other errors are means of seeds 0, 1 and 2. The first command takes about 530 CPU s (AMD EPYC).

Hinton, Osindero and Teh 2006, "A fast learning algorithm for deep belief nets" (1.25 %): each machine learns from the
hidden units of the machine below it. The last one also learns from the labels, and the network can then generate digits
of a given class. The weights initialise a network of sigmoid units, which backpropagation fine-tunes as in Hinton and
Salakhutdinov 2006, here with dropout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import keras
import numpy as np
from annotated_types import Ge

from common import App, Array, Classification, Count, Data, Fraction, PartFit, Positive, Published, Schedule, Share, cli
from common.nn import layers, optimizers, rbm
from common.plots import results
from common.preprocessing import features, images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DREAMS = 10
"""Number of generated images per label."""


@dataclass(frozen=True)
class Settings(images.ImageConfig):
    """Settings of the deep belief network."""

    labelled: Annotated[int, Ge(0)] = 0
    """Number of training examples with labels; 0 for all. The others are used for pretraining only."""
    hidden: tuple[Count, ...] = (500, 500, 2000)
    """Number of hidden units of each machine, from the bottom up."""
    pretraining: Annotated[int, Ge(0)] = 20
    """Passes over the training set for each machine; 0 for random weights."""
    pretraining_rate: Positive = 0.05
    """Initial learning rate of the machines, which decreases along half a cosine."""
    gibbs_steps: Count = 1
    """Steps of Gibbs sampling, k, of contrastive divergence."""
    persistent: bool = False
    """Use persistent chains for the last machine, and generate images after pretraining. The test error is higher."""
    dreaming: Count = 500
    """Steps of Gibbs sampling, with a fixed label, before an image is generated."""
    input_dropout: Fraction = 0.2
    """Dropout rate of the pixels in fine-tuning."""
    dropout: Fraction = 0.5
    """Dropout rate of each hidden layer in fine-tuning."""

    epochs: Count = 60
    restore: Literal["best", "last"] = "last"
    batch_size: Count = 100
    patience: Count = 1000
    validation: Share = 0.05
    learning_rate: Positive = 0.001
    schedule: Schedule = "cosine"


def load_data(config: Settings) -> Data:
    """Load images (n, 28, 28) of bytes, 0 for the background, and integer labels (n,), with `labelled` for training."""
    data = images.load(config)
    inputs, labels = data.train
    known = config.labelled or len(labels)
    return dataclasses.replace(data, train=(inputs[:known], labels[:known]))


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the network: bytes (28, 28) in, class probabilities out."""
    model = keras.Sequential([keras.Input(data.input_shape, dtype="uint8")])
    model.add(features.normalization("min_max", data.train[0]))
    model.add(keras.layers.Flatten())
    model.add(layers.Dropout(config.input_dropout, seed=config.seed))
    for depth, units in enumerate(config.hidden, start=1):
        model.add(keras.layers.Dense(units, "sigmoid", name=f"hidden_{depth}"))
        model.add(layers.Dropout(config.dropout, seed=config.seed + depth))
    model.add(keras.layers.Dense(len(data.outputs), "softmax", name="labels"))
    model.compile(optimizers.build(config, data), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def pretrain(model: keras.Model, config: Settings, data: Data, fit: PartFit) -> Iterator[tuple[str, Figure]]:
    """Train the machines from the bottom up on all images, and initialise `model` with their weights.

    The last machine also learns from the labels if all examples have one; only then can it generate images.
    """
    if not config.pretraining:
        return
    whole = load_data(dataclasses.replace(config, labelled=0)) if config.labelled else data
    examples = whole.examples(config)
    classes = 0 if config.labelled else len(data.outputs)
    visible = rbm.visible_units(model, "hidden_1", whole.train[0][:examples])
    labels = whole.train[1][:examples]
    machines: list[rbm.RBM] = []
    for depth, units in enumerate(config.hidden, start=1):
        last = depth == len(config.hidden)
        if last and classes:
            visible = np.concatenate([visible, np.eye(classes, dtype="float32")[labels]], axis=1)
        print(f"pretraining layer {depth} of {len(config.hidden)}: {visible.shape[1]} visible, {units} hidden units")
        machines.append(learn(config, units, visible, classes if last else 0, fit, f"layer_{depth}"))
        layer = model.get_layer(f"hidden_{depth}")
        layer.kernel.assign(machines[-1].components[: layer.kernel.shape[0]])
        layer.bias.assign(machines[-1].intercept_hidden)
        if not last:
            visible = hidden_features(machines[-1], visible)
    if classes:
        output = model.get_layer("labels")
        output.kernel.assign(keras.ops.transpose(machines[-1].components[-classes:]))
        output.bias.assign(machines[-1].intercept_visible[-classes:])
        if config.persistent:
            generated = dreams(machines, classes, config.dreaming).reshape(-1, *data.input_shape)
            titles = [name for name in data.outputs for _ in range(DREAMS)]
            caption = "Images that the network generates for each class after the pretraining of its layers."
            yield "dreams", results.image_grid(generated, titles, columns=DREAMS, caption=caption)


def learn(config: Settings, units: int, visible: Array, labels: int, fit: PartFit, name: str) -> rbm.RBM:
    """Train an RBM with `units` hidden units on `visible` (examples, visible), which ends in `labels` label units."""
    # Generated images need persistent chains, which move far from the data.
    particles = config.batch_size if labels and config.persistent else 0
    machine = rbm.RBM(units, labels=labels, gibbs_steps=config.gibbs_steps, particles=particles, seed=config.seed)
    model = rbm.RBMSequential([keras.Input(visible.shape[1:]), machine])
    machine.intercept_visible.assign(machine.independent(visible.mean(axis=0)))
    steps = max(1, len(visible) // config.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(config.pretraining_rate, config.pretraining * steps)
    model.compile(keras.optimizers.SGD(rate, momentum=config.momentum))
    fit(model, (visible, visible[:, 0]), name, config.pretraining)
    return machine


def hidden_features(machine: rbm.RBM, visible: Array) -> Array:
    """Return p(h = 1 | v), (examples, hidden), of `visible` (examples, visible), computed in batches."""
    parts = np.array_split(visible, -(-len(visible) // 1000))
    return np.concatenate([keras.ops.convert_to_numpy(machine.transform(part)) for part in parts])


def dreams(machines: Sequence[rbm.RBM], classes: int, steps: int) -> Array:
    """Generate images of each class, (classes * `DREAMS`, pixels), ordered by class.

    Runs `steps` of Gibbs sampling in the last machine with a fixed label, then one pass down through the others. It
    starts at those of the machine's persistent chains that are most probable for the label, because other starts need
    many more steps.
    """
    ops = keras.ops
    *below, top = machines
    label = ops.repeat(ops.eye(classes, dtype="float32"), DREAMS, axis=0)
    probabilities = ops.convert_to_numpy(top.mean(top.visible_field(top.transform(top.fantasies))))[:, -classes:]
    nearest = np.resize(np.argsort(-probabilities, axis=0), (DREAMS, classes)).T.reshape(-1)
    visible = ops.take(top.fantasies, nearest, axis=0)[:, :-classes]
    for _ in range(steps):
        visible = top.gibbs(ops.concatenate([visible, label], axis=1))[:, :-classes]
    for machine in reversed(below):
        visible = machine.mean(machine.visible_field(visible))
    return np.asarray(ops.convert_to_numpy(visible))


app = App(
    settings=Settings,
    load_data=load_data,
    build_model=build_model,
    task=Classification(),
    pretrain=pretrain,
    published=[Published("1.25 % (Hinton et al. 2006)", {"data": "mnist", "labelled": 0})],
)

if __name__ == "__main__":
    cli.main(app, __doc__)
