"""A Boltzmann machine: connections between any two units, also between hidden ones.

    python -m apps.boltzmann train                              # bars and stripes, 4 x 4: -3.481 nats, 48 CPU s
    python -m apps.boltzmann train --data encoder --hidden 2    # the 4-2-4 encoder: -1.445 nats, 11 CPU s
    python -m apps.boltzmann train --restricted                 # a restricted Boltzmann machine on the same data

Ackley, Hinton and Sejnowski 1985, "A Learning Algorithm for Boltzmann Machines": Gibbs sampling one unit at a time, and
learning in two phases. The reported log likelihood per pattern is exact, from an enumeration of all states; training
does not use it. The maximum is -log 30 = -3.401 nats for bars and stripes, and -log 4 = -1.386 for the encoder.

The encoder finds a separate code for each pattern with 7 of the seeds 0 to 9. With the others it ends in a local
optimum in which two patterns share a code, at a cost of log(2) / 2 = 0.35 nats; try another --seed.

`python -m benchmarks.mixing` compares the cost of a sample with that of a restricted machine of the same size.
`predict` takes .npy files of patterns (n, units) with 0, 1, and nan for an unknown unit. It returns the probability
that each unit is on, given the known units before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import keras
import numpy as np
from annotated_types import Ge, Lt

from common import (
    App,
    Array,
    Config,
    Count,
    Data,
    Examples,
    Positive,
    SavedModel,
    Schedule,
    Task,
    Trained,
    UserError,
    cli,
    layer_names,
)
from common.config import Mode
from common.data import fingerprint
from common.nn import boltzmann, optimizers
from common.plots import results
from common.preprocessing import arrays

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from sklearn.dummy import DummyRegressor


SIDE = 4
"""Side of an image of bars or stripes in pixels, and number of units in each group of the encoder."""
SHOWN = 40
"""Number of patterns in the figure, the most probable first."""


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the machine."""

    data: Literal["bars", "encoder"] = "bars"
    """Patterns. bars: the 30 images of whole rows or whole columns; encoder: four patterns with the same unit on in
    each of two groups, which only hidden units connect."""
    hidden: Annotated[int, Ge(1), Lt(11)] = 6
    """Number of hidden units; small, because all states are enumerated."""
    restricted: bool = False
    """Connect visible units only with hidden units: a restricted Boltzmann machine."""
    chains: Count = 100
    """Number of free-running chains, which continue from step to step."""
    sweeps: Count = 5
    """Number of Gibbs sweeps in each phase of a step."""
    examples: Count = 1500
    """Number of examples in an epoch, in which the patterns repeat."""

    epochs: Count = 30
    batch_size: Count = 30
    patience: Count = 1000
    learning_rate: Positive = 0.05
    schedule: Schedule = "cosine"


def load_data(config: Settings) -> Data:
    """Load all patterns (n, units) of 0 and 1, as inputs and as targets.

    The validation and test parts are all patterns: the question is how well the machine models this distribution.
    """
    patterns, names = (bars_and_stripes(), pixels()) if config.data == "bars" else (encoder(), groups())
    digest = fingerprint(patterns.tobytes())
    repeated = np.resize(patterns, (config.examples, patterns.shape[1]))
    once = patterns, patterns
    name = "bars_and_stripes" if config.data == "bars" else "encoder_4_2_4"
    return Data(name, digest, (repeated, repeated), once, once, names, kind="vector")


def bars_and_stripes() -> Array:
    """Return the 30 different images, (30, 16), in which every row, or every column, is completely on or off."""
    rows = np.repeat(boltzmann.all_states(SIDE)[:, :, None], SIDE, axis=2)
    both = np.concatenate([rows, rows.transpose(0, 2, 1)])
    return np.unique(both.reshape(len(both), -1), axis=0)


def pixels() -> tuple[str, ...]:
    """Return the names of the pixels, row by row."""
    return tuple(f"r{row}c{column}" for row in range(1, SIDE + 1) for column in range(1, SIDE + 1))


def encoder() -> Array:
    """Return four patterns, (4, 8), with one unit on in the first group, and the same one in the second."""
    return np.tile(np.eye(SIDE, dtype="float32"), 2)


def groups() -> tuple[str, ...]:
    """Return the names of the units in both groups."""
    return tuple(f"{group}{unit}" for group in "ab" for unit in range(1, SIDE + 1))


def connections(config: Settings, visible: int) -> list[tuple[int, int]]:
    """Return the connected pairs of units. The encoder's two groups are not connected with each other."""
    pairs = boltzmann.all_pairs(visible + config.hidden)
    if config.data == "encoder":
        pairs = [(first, second) for first, second in pairs if not first < SIDE <= second < visible]
    if config.restricted:
        pairs = [(first, second) for first, second in pairs if first < visible <= second]
    return pairs


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the machine: patterns (units,) in, the probability of each unit given those before it out."""
    (visible,) = data.input_shape
    pairs, means = connections(config, visible), data.train[0].mean(axis=0)
    machine = boltzmann.BoltzmannMachine(
        config.hidden, pairs, means.tolist(), config.chains, config.sweeps, config.seed, name=layer_names.MACHINE
    )
    model = keras.Sequential([keras.Input((visible,)), machine])
    model.compile(optimizers.build(config, data), boltzmann.negative_log_likelihood)
    return model


@dataclass(frozen=True)
class Density(Task):
    """Density estimation: predictions are the probability of each unit given those before it, (examples, units)."""

    monitor: str = "val_loss"
    mode: Mode = "min"
    metric: ClassVar[str] = "log_likelihood"
    metric_mode: ClassVar[Mode] = "max"

    def predict(self, estimator: Any, inputs: Any) -> Array:
        return estimator.predict(inputs)

    def score(self, targets: Array, predictions: Array) -> dict[str, float]:
        # In float32, 1 - 1e-7 is about the largest number below 1.
        given = np.clip(predictions.astype("float64"), 1e-7, 1 - 1e-7)
        likelihood = np.where(targets > 0.5, np.log(given), np.log1p(-given)).sum(axis=1).mean()
        _, counts = np.unique(targets, axis=0, return_counts=True)
        shares = counts / counts.sum()
        best = (shares * np.log(shares)).sum()
        return {"log_likelihood": likelihood, "best_possible": best, "divergence": best - likelihood}

    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        best = f"{metrics['test_best_possible']:.4f} at best"
        return {
            "test log likelihood": f"{metrics['test_log_likelihood']:.4f} nats, {best}, {examples} patterns",
            "test divergence": f"{metrics['test_divergence']:.4f} nats, Kullback-Leibler, KL(data, machine)",
        }

    def figures(self, trained: Trained) -> Iterator[tuple[str, Figure]]:
        yield "learning_curves", results.learning_curves(trained.history, trained.best_epoch)
        machine = trained.model.get_layer(layer_names.MACHINE)
        probabilities = machine.probabilities()
        likeliest = np.argsort(-probabilities, kind="stable")[:SHOWN]
        patterns = machine.visible_states[likeliest].reshape(len(likeliest), -1, SIDE)
        titles = [f"{100 * probability:.1f} %" for probability in probabilities[likeliest]]
        caption = "The most probable patterns of the machine, and their probabilities."
        yield "likeliest_patterns", results.image_grid(patterns, titles, columns=10, caption=caption)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(predictions, columns=list(outputs))


def tables(model: keras.Model, data: Data) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the hidden code of each pattern."""
    yield "codes", codes(model.get_layer(layer_names.MACHINE), data.test[0])


def codes(machine: boltzmann.BoltzmannMachine, patterns: Array) -> pd.DataFrame:
    """Return a table of the most probable hidden state for each of `patterns` (n, units), and its probability."""
    import pandas as pd

    hidden = machine.hidden_states
    states = np.concatenate(
        [np.repeat(patterns, len(hidden), axis=0), np.tile(hidden, (len(patterns), 1))], axis=1, dtype="float32"
    )
    energies = np.asarray(keras.ops.convert_to_numpy(machine.energy(states)), "float64").reshape(len(patterns), -1)
    weights = np.exp(energies.min(axis=1, keepdims=True) - energies)
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    likeliest = probabilities.argmax(axis=1)

    def digits(states: Array) -> list[str]:
        return ["".join(map(str, row.astype(int))) for row in states]

    columns = {"pattern": digits(patterns), "hidden": digits(hidden[likeliest])}
    return pd.DataFrame(columns | {"probability": probabilities.max(axis=1)})


def read_patterns(files: Sequence[str], saved: SavedModel) -> Examples:
    """Read patterns of 0, 1 and NaN for an unknown unit from .npy files, (units,) or (n, units).

    Returns:
        The patterns (n, units).

    Raises:
        UserError: if a file cannot be read, or its array has another shape or other values.
    """
    named = []
    for path in map(Path, files):
        for name, pattern in arrays.read_examples(path, (len(saved.outputs),), "patterns", "biuf", allow_nan=True):
            if not np.isin(pattern[~np.isnan(pattern)], (0, 1)).all():
                raise UserError(f"{path}: has values other than 0, 1 and nan")
            named.append((name, pattern))
    return Examples([name for name, _ in named], np.stack([pattern for _, pattern in named]).astype("float32"))


def independent(_config: Settings, _data: Data) -> DummyRegressor:
    """Return an estimator that predicts the frequency of each unit, as a machine without connections would."""
    from sklearn.dummy import DummyRegressor

    return DummyRegressor()


app = App(
    settings=Settings,
    load_data=load_data,
    build_model=build_model,
    task=Density(),
    read_inputs=read_patterns,
    baseline=independent,
    tables=tables,
)

if __name__ == "__main__":
    cli.main(app, __doc__)
