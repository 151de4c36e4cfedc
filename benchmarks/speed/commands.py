"""The whole commands that are compared, with their imports, data and records; `bare/` does the same work alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed import files
from benchmarks.speed.contest import Program
from benchmarks.speed.rows import JAX, TENSORFLOW
from common.files import ROOT

BARE = "-m benchmarks.speed.bare"
SUITE = {"suite, TensorFlow": TENSORFLOW, "suite, JAX": JAX | {"JAX_ENABLE_X64": "true"}}


@dataclass(frozen=True)
class Command:
    """A command of the suite and the programs that do its work, as arguments of Python with {folder} in them."""

    name: str
    title: str
    suite: str
    peers: Mapping[str, str]
    prepare: Callable[[Path], None]
    """Writes the files that the programs read."""
    once: tuple[str, ...] = ()
    """Commands to run before, such as a training whose model is used."""
    backends: tuple[str, ...] = ("suite, TensorFlow", "suite, JAX")
    rounds: int = 5
    group: str = "Commands"
    fresh: bool = False
    """Whether each round has a store of its own, because a second search would only continue the first."""

    def programs(self, folder: Path, tree: Path = ROOT) -> dict[str, Program]:
        """Return the programs by the name of the contestant, with their files and their store in `folder`."""
        found = {
            label: Program(self.words(self.suite, folder), SUITE[label] | self.store(folder), tree)
            for label in self.backends
        }
        own = TENSORFLOW | self.store(folder)
        return found | {label: Program(self.words(text, folder), own) for label, text in self.peers.items()}

    def before(self, folder: Path, tree: Path = ROOT) -> list[Program]:
        """Return the programs to run before."""
        return [Program(self.words(text, folder), TENSORFLOW | self.store(folder), tree) for text in self.once]

    def store(self, folder: Path) -> dict[str, str]:
        """Return the variable that names the store for the runs."""
        name = f"{self.name}_{{round}}" if self.fresh else self.name
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/stores/{name}/mlflow.db"}

    def words(self, text: str, folder: Path) -> list[str]:
        """Return the arguments in a text."""
        return [word.format(folder=folder) for word in text.split()]


TRAIN = "-m apps.mnist_mlp train --epochs 1 --limit 1000"
TRIALS, EACH = 10, "--epochs 2 --limit 5000"

COMMANDS = (
    Command(
        "train_1000",
        "train mnist_mlp for 1 epoch of 1,000 examples, test, record and save",
        TRAIN,
        {
            "Keras": f"{BARE}.train_keras {{folder}}/mnist.npz {{folder}}/bare.keras",
            "PyTorch": f"{BARE}.train_pytorch {{folder}}/mnist.npz {{folder}}/bare.pt",
        },
        files.mnist,
    ),
    Command(
        "predict_one",
        "predict one.png with a trained mnist_mlp",
        "-m apps.mnist_mlp predict {folder}/one.png",
        {"Keras": f"{BARE}.predict_keras {{folder}}/bare.keras {{folder}}/one.png"},
        files.mnist,
        (TRAIN, f"{BARE}.train_keras {{folder}}/mnist.npz {{folder}}/bare.keras"),
    ),
    Command(
        "compare",
        "compare the runs on mnist",
        "-m common.cli.compare mnist",
        {"MLflow": f"{BARE}.compare_mlflow mnist"},
        files.mnist,
        (TRAIN,),
        ("suite, TensorFlow",),
    ),
    Command(
        "dry_run",
        "show the first trials of a search, beside an import of Keras",
        "-m tuning.lenet5 --dry-run",
        {"import keras": f"{BARE}.import_keras"},
        files.mnist,
        backends=("suite, TensorFlow",),
    ),
    Command(
        "trials",
        "ten short trials of lenet5, and the training of the best",
        f"-m tuning.lenet5 --trials {TRIALS} {EACH}",
        {"Keras": f"{BARE}.trials_keras {{folder}}/trials.txt"},
        lambda folder: files.trials(folder, TRIALS, EACH),
        backends=("suite, TensorFlow",),
        rounds=3,
        fresh=True,
    ),
    Command(
        "photographs",
        "train alexnet for 1 epoch on 2,000 JPEGs of 500 x 375, at 63 pixels and a quarter of the width",
        "-m apps.alexnet train --images {folder}/photographs --image-size 63 --width 0.25 --epochs 1",
        {
            "Keras": f"{BARE}.photographs_keras {{folder}}/photographs",
            "PyTorch": f"{BARE}.photographs_pytorch {{folder}}/photographs",
        },
        files.photographs,
        backends=("suite, TensorFlow",),
        rounds=3,
    ),
    Command(
        "csv_200000",
        "linear_regression on a CSV file of 200,000 x 21, whole",
        "-m apps.linear_regression train --csv {folder}/table_200000.csv --target y",
        {"pandas and scikit-learn": f"{BARE}.table_scikit {{folder}}/table_200000.csv y"},
        lambda folder: files.table(folder, 200_000),
        rounds=3,
    ),
    *(
        Command(
            f"csv_{rows}",
            f"linear_regression on a CSV file of {rows:,} x 21, three epochs",
            f"-m apps.linear_regression train --csv {{folder}}/table_{rows}.csv --target y --epochs 3",
            {"pandas and scikit-learn": f"{BARE}.table_scikit {{folder}}/table_{rows}.csv y"},
            lambda folder, rows=rows: files.table(folder, rows),  # type: ignore[misc]
            rounds=3,
            group="Growth",
        )
        for rows in (10_000, 100_000, 1_000_000)
    ),
)
