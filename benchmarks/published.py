"""Measure our results beside published ones and write them into the table of docs/results.md.

    python -m benchmarks.published              # every row: hours
    python -m benchmarks.published lenet5       # the rows of one app; the others stay as they are

Each result is of three seeds. Models are selected on the validation set and evaluated once on the test set.
"""

import dataclasses
import multiprocessing
import re
import shlex
import statistics
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module

import tyro

from common.app import App
from common.cli.parsing import plain_errors
from common.config import Config
from common.errors import UserError
from common.files import ROOT

SEEDS = (0, 1, 2)
RESULTS = ROOT / "docs" / "results.md"
TABLE = re.compile(r"(?<=<!-- make results -->\n).*?(?=<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Measure:
    """A metric of each run and its summary over three seeds; lower is better."""

    metric: str
    combine: Callable[[Iterable[float]], float]
    words: str
    """Format of the summary."""


ERROR = Measure("test_error", statistics.fmean, "{:.2%} error")
RMSE = Measure("test_rmse", statistics.fmean, "{:.2f} root mean square error")
STARS = Measure("test_rmse", statistics.fmean, "{:.3f} root mean square error, of 1 to 5")
NATS = Measure("test_log_likelihood", lambda values: -statistics.fmean(values), "-{:.2f} nats per test image")
WRONG = Measure("test_wrong", max, "{:,.0f} of 2,560 wrong at worst")


@dataclass(frozen=True)
class Row:
    """One row of the table: the command after `python -m apps.`, its measure and the results it is compared with."""

    command: str
    measure: Measure
    published: str
    baseline: str | None
    """Command of the suite's own baseline, if it has one; the best of several results counts."""
    bar: float | None = None
    """Largest value that the tests allow; by default the baseline's."""


PIXELS = "--restore best --optimizer adam --batch-size 256 --epochs 30 --learning-rate 0.001 --l2 0"
LONG = "--epochs 250 --restore last"
DIGITS = "--data digits --hidden 300 --batch-size 20 --learning-rate 0.1 --epochs 100"
LECUN = "LeCun et al. 1998"
ADDING = "at most 1 wrong, after as many sequences (Hochreiter and Schmidhuber 1997)"
ROWS = (
    Row(
        "mnist_mlp train",
        ERROR,
        "1.25 %, with dropout (Srivastava et al. 2014); 1.60 %, Keras's `mnist_mlp`",
        "mnist_mlp baseline",
        0.0130,
    ),
    Row(
        f"logistic_regression train --data mnist {PIXELS}",
        ERROR,
        f"12.0 %, linear classifier ({LECUN})",
        "logistic_regression baseline --data mnist",
        0.0750,
    ),
    Row(
        f"logistic_regression train --data fashion_mnist {PIXELS}",
        ERROR,
        "",
        "logistic_regression baseline --data fashion_mnist",
        0.1600,
    ),
    Row("lenet5 train --variant 1998", ERROR, f"0.95 % ({LECUN})", "lenet5 baseline", 0.0095),
    Row("lenet5 train --variant 1998 --distortions", ERROR, f"0.8 % ({LECUN})", "lenet5 baseline", 0.0080),
    Row("lenet5 train", ERROR, "0.78 %, Keras's `mnist_convnet`", "lenet5 baseline", 0.0080),
    Row("lenet5 train --distortions", ERROR, "", "lenet5 baseline", 0.0060),
    Row(
        "alexnet train",
        ERROR,
        "8.4 %, two convolutions; 6.5 %, VGG16 (Fashion-MNIST's own list)",
        "alexnet baseline",
        0.0770,
    ),
    Row("lstm_mnist train", ERROR, "about 1.1 %, 256 cells (public notebooks)", "lstm_mnist baseline", 0.0110),
    Row("lstm_memory train", WRONG, ADDING, "lstm_memory baseline", 1),
    Row("lstm_memory train --length 500 --epochs 104", WRONG, ADDING, "lstm_memory baseline --length 500", 1),
    Row("lstm_forecast train --horizon 1", RMSE, "", "lstm_forecast baseline --horizon 1"),
    Row("lstm_text train", ERROR, "", "lstm_text baseline"),
    Row(
        f"rbm train {LONG} --annealing 10000",
        NATS,
        "-86.34, CD-25; -125.53, CD-1 (Salakhutdinov and Murray 2008)",
        None,
        86.3,
    ),
    Row(f"rbm train {LONG}", ERROR, "", "rbm baseline", 0.0250),
    Row(f"rbm train {DIGITS}", ERROR, "6.5 % (scikit-learn's example)", "rbm baseline --data digits", 0.0500),
    Row("dbn train", ERROR, "1.25 % (Hinton et al. 2006)", "dbn baseline", 0.0125),
    Row("rbm_recommender train", STARS, "", "rbm_recommender baseline", 0.72),
)


def runs(command: str, seeds: Sequence[int] = SEEDS) -> list[dict[str, float]]:
    """Run `command`, `APP train …` for each seed or `APP baseline …`, and return the metrics of each run or baseline.

    Each run has its own process, as on the command line.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        if command.split()[1] == "baseline":
            return pool.submit(_baselines, command).result()
        return list(pool.map(_trained, [command] * len(seeds), seeds))


def _trained(command: str, seed: int) -> dict[str, float]:
    from common import training

    app, config = settings(command)
    return training.train(app, dataclasses.replace(config, seed=seed)).metrics


def _baselines(command: str) -> list[dict[str, float]]:
    from common import training

    return [result.metrics for result in training.baseline(*settings(command)).values()]


def settings(command: str) -> tuple[App, Config]:
    """Return the app and the settings of `command`."""
    name, _, *words = shlex.split(command)
    app: App = import_module(f"apps.{name}").app
    return app, tyro.cli(app.settings, args=words)


def measure(row: Row) -> tuple[float, float | None]:
    """Return the suite's result and its baseline's."""
    metric = row.measure.metric
    ours = row.measure.combine(metrics[metric] for metrics in runs(row.command))
    return ours, min(metrics[metric] for metrics in runs(row.baseline)) if row.baseline else None


def rewrite(text: str, lines: dict[str, str]) -> str:
    """Return the page's `text` with these `lines` of its table, by command, in the order of `ROWS`; others stay."""
    header, rule, *rows = TABLE.search(text)[0].splitlines()  # type: ignore[index]
    known = {row.split("`")[1]: row for row in rows} | lines
    table = [header, rule, *(known[row.command] for row in ROWS if row.command in known)]
    return TABLE.sub(lambda _: "\n".join(table) + "\n", text)


def main(apps: tyro.conf.Positional[tuple[str, ...]] = ()) -> None:
    """Measure and write the rows.

    Args:
        apps: Apps whose rows are measured; by default all.
    """
    chosen = [row for row in ROWS if not apps or row.command.split()[0] in apps]
    if not chosen:
        raise UserError(f"{' '.join(apps)}: no app with a published result")
    for row in chosen:
        ours, baseline = (
            "" if value is None else row.measure.words.format(value).replace("%", " %") for value in measure(row)
        )
        line = f"| `{row.command}` | {ours} | {row.published} | {baseline} |"
        RESULTS.write_text(rewrite(RESULTS.read_text(), {row.command: line}))
        print(line)
    print(f"{len(chosen)} rows written into the table of docs/{RESULTS.name}; next: git diff docs/{RESULTS.name}")


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
