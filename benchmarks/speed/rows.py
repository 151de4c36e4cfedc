"""The trainings that are compared: their settings, their contestants, and the products that they cannot do without."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.speed import files

TENSORFLOW, JAX = {"KERAS_BACKEND": "tensorflow"}, {"KERAS_BACKEND": "jax"}


@dataclass(frozen=True)
class Contestant:
    """Who trains: a module of this package, an option of it, and its environment."""

    module: str
    option: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


CONTESTANTS = {
    "suite, TensorFlow": Contestant("suite", environment=TENSORFLOW),
    "suite, JAX": Contestant("suite", environment=JAX),
    "Keras, TensorFlow": Contestant("keras_default", environment=TENSORFLOW),
    "Keras, JAX": Contestant("keras_default", environment=JAX),
    "PyTorch": Contestant("pytorch"),
    "PyTorch, compiled": Contestant("pytorch", "compiled"),
    "JAX, scan": Contestant("jax_scan", "scan", JAX),
    "JAX, step": Contestant("jax_scan", "step", JAX),
    "PyTorch, cuda": Contestant("pytorch", "cuda"),
    "PyTorch, cuda, compiled": Contestant("pytorch", "cuda compiled"),
    "PyTorch, cuda, bfloat16": Contestant("pytorch", "cuda compiled bfloat16 channels_last"),
    "NumPy": Contestant("numpy_rbm"),
    "scikit-learn": Contestant("scikit"),
}
SUITE = ("suite, TensorFlow", "suite, JAX")
PEERS = ("PyTorch", "PyTorch, compiled", "JAX, scan", "JAX, step")
ALL = (*SUITE, "Keras, TensorFlow", "Keras, JAX", *PEERS)


@dataclass(frozen=True)
class Row:
    """One training. A round of it is measured after one that compiles."""

    name: str
    title: str
    app: str
    flops: float
    """Floating-point operations of the matrix products for one example in one epoch."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the app that differ from its defaults."""
    contestants: tuple[str, ...] = ALL
    function: str = ""
    """Function of the peers' modules; by default `name`."""
    epochs: int = 1
    """Epochs of a round."""
    jobs: bool = False
    """Whether a round is a whole training with its compilation, instead of epochs of one training."""
    examples: int = 0
    """Number of training examples to repeat or cut the training set to; 0 for as many as there are."""
    rounds: int = 5
    """Largest number of rounds."""
    wide: bool = False
    """Whether the suite's network computes a part in float64, which JAX must be told."""
    group: str = "Trainings"
    prepare: Callable[[Path], None] | None = None
    """Writes the files that the settings name."""

    def environment(self, contestant: str) -> dict[str, str]:
        """Return the variables of a contestant in this row, in addition to its own."""
        return {"JAX_ENABLE_X64": "true"} if self.wide and contestant == "suite, JAX" else {}


def learned(first: float, *others: float) -> float:
    """Return the operations to train layers for one example, from the multiplications of each layer's forward pass.

    A product forward and one for the weights' gradient; in all layers but the first, also one for the inputs'. Each
    multiplication comes with an addition.
    """
    return 4 * first + 6 * sum(others)


PAPER = {
    "groups": 2,
    "dropout": 0.5,
    "optimizer": "momentum",
    "learning_rate": 0.01,
    "schedule": "plateau",
    "batch_size": 128,
    "crops": 1,
}
"""Settings of the paper's AlexNet, but with one patch of each image, as its peers have."""
PIXELS = {"restore": "best", "optimizer": "adam", "batch_size": 256, "epochs": 30, "learning_rate": 0.001, "l2": 0.0}
CONVOLUTIONAL = tuple(name for name in ALL if name != "JAX, scan")
"""Without the scan of LeNet-5: on a CPU, XLA's convolutions inside a loop take many times the time of those outside."""
LENET5 = (28 * 28 * 25 * 6, 10 * 10 * 25 * 6 * 16, 25 * 16 * 120, 120 * 84, 84 * 10)
DIVERGENCE = 2 * 5
"""Operations per weight and example of contrastive divergence with one step, which takes five products."""
WORDS = 20
"""Mean number of words of a sentence in `movie_reviews`, at most 40."""
LOGISTIC = ("logistic_regression", learned(784 * 10), {"data": "mnist"} | PIXELS)

ROWS = (
    Row(
        "mnist_mlp",
        "mnist_mlp, batches of 256",
        "mnist_mlp",
        learned(784 * 512, 512 * 512, 512 * 512, 512 * 10),
    ),
    Row("lenet5_modern", "lenet5, modern, batches of 64", "lenet5", learned(*LENET5), contestants=CONVOLUTIONAL),
    Row(
        "lenet5_1998",
        "lenet5, 1998, batches of 64",
        "lenet5",
        learned(LENET5[0], 10 * 10 * 25 * 60, *LENET5[2:]),
        {"variant": "1998"},
        CONVOLUTIONAL,
        wide=True,
    ),
    Row(
        "lstm_mnist",
        "lstm_mnist, 28 steps, batches of 128",
        "lstm_mnist",
        learned(28 * 28 * 512, 28 * 128 * 512, 128 * 10),
    ),
    Row(
        "lstm_text",
        "lstm_text, batches of 64 sentences",
        "lstm_text",
        learned(0, WORDS * 2 * (100 + 64) * 256, 128 * 2),
        {"linear": False},
        contestants=("suite, TensorFlow", "Keras, TensorFlow", "Keras, JAX", *PEERS),
    ),
    Row(
        "lstm_forecast",
        "lstm_forecast, 20 epochs, batches of 16 windows",
        "lstm_forecast",
        learned(22 * 128, 22 * 32 * 128, 32),
        {
            "window": 22,
            "horizon": 1,
            "season": 11,
            "transform": "sqrt",
            "anchor": "last",
            "linear": False,
            "batch_size": 16,
            "learning_rate": 0.003,
        },
        epochs=20,
    ),
    Row(
        "rbm",
        "rbm, CD-1, 500 hidden units, batches of 100",
        "rbm",
        DIVERGENCE * 784 * 500,
        {"persistent": False},
        (*SUITE, *PEERS, "NumPy", "scikit-learn"),
    ),
    Row(
        "dbn",
        "dbn, one pass for each machine and one of fine-tuning, with compilation, batches of 100",
        "dbn",
        DIVERGENCE * (784 * 500 + 500 * 500 + 510 * 2000) + learned(784 * 500, 500 * 500, 500 * 2000, 2000 * 10),
        {"pretraining": 1, "epochs": 1},
        (*SUITE, *PEERS),
        jobs=True,
        rounds=3,
    ),
    Row(
        "alexnet",
        "alexnet on Fashion-MNIST, 10 steps of 128",
        "alexnet",
        learned(
            *(25 * 25 * 25 * 3 * 18, 12 * 12 * 25 * 9 * 48, 5 * 5 * 9 * 48 * 72, 5 * 5 * 9 * 36 * 72),
            *(5 * 5 * 9 * 36 * 48, 2 * 2 * 48 * 768, 768 * 768, 768 * 10),
        ),
        {"limit": 1280, "width": 0.1875, **PAPER},
    ),
    Row("logistic_regression", "logistic_regression on MNIST, 5 epochs, batches of 256", *LOGISTIC, epochs=5),
    Row(
        "logistic_solution",
        "logistic_regression on MNIST, the whole training of 30 epochs",
        *LOGISTIC,
        (*SUITE, "PyTorch", "JAX, scan", "scikit-learn"),
        function="logistic_regression",
        epochs=30,
        rounds=1,
    ),
    Row(
        "linear_regression",
        "linear_regression on 200,000 x 20 numbers, the fit alone, with compilation",
        "linear_regression",
        0.0,
        {"csv": "{folder}/table_200000.csv", "target": "y"},
        ("suite, TensorFlow", "scikit-learn"),
        jobs=True,
        rounds=3,
        prepare=lambda folder: files.table(folder, 200_000),
    ),
    *(
        Row(
            f"growth_{examples}",
            f"logistic_regression on {examples:,} images, 1 epoch, batches of 256",
            *LOGISTIC,
            ("suite, TensorFlow", "suite, JAX", "Keras, TensorFlow", "PyTorch", "JAX, scan"),
            function="logistic_regression",
            examples=examples,
            rounds=3,
            group="Growth",
        )
        for examples in (6_000, 60_000, 600_000)
    ),
)

LARGE = Row(
    "alexnet_227",
    "alexnet at 227 pixels on Fashion-MNIST, 20 steps of 128",
    "alexnet",
    learned(
        *(55 * 55 * 121 * 3 * 96, 27 * 27 * 25 * 48 * 256, 13 * 13 * 9 * 256 * 384, 13 * 13 * 9 * 192 * 384),
        *(13 * 13 * 9 * 192 * 256, 9216 * 4096, 4096 * 4096, 4096 * 10),
    ),
    {"image_size": 227, "width": 1.0, "limit": 2560, **PAPER},
    function="alexnet",
)
"""The paper's network, for a GPU."""
GPU_ROWS = ("mnist_mlp", "lenet5_modern", "lstm_mnist", "rbm", "alexnet", LARGE.name)
"""Names of the rows that are measured on a GPU."""


def find(name: str, examples: int = 0) -> Row:
    """Return a row by its name, with at most this number of training examples if it is not 0."""
    row = next(row for row in (*ROWS, LARGE) if row.name == name)
    return replace(row, examples=min(examples, row.examples or examples)) if examples else row
