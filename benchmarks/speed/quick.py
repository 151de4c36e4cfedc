"""Measure this work tree beside a commit in one run; a ratio above 1.1 ends with status 1.

python -m benchmarks.speed.quick --base main
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.speed.commands import COMMANDS
from benchmarks.speed.contest import Measured, progress, python, run_program, run_programs, train
from benchmarks.speed.rows import CONTESTANTS
from common.cli.parsing import plain_errors
from common.errors import UserError
from common.files import ROOT

TRAININGS = {"mnist_mlp": 20_000, "lenet5_modern": 10_000, "lstm_mnist": 5_000, "rbm": 20_000, "alexnet": 1_280}
"""Rows that are measured, with their number of training examples."""
PROGRAMS = ("train_1000", "predict_one", "csv_10000")
SLOWER = 1.1
"""Ratio of wall or processor seconds from which a row is flagged."""
HERE, THERE = "work tree", "base"


def main(base: str = "main", rounds: int = 3) -> None:
    """Measure both in turn.

    Args:
        base: Commit to compare with.
        rounds: Rounds of each. The medians are compared.
    """
    slower = list[str]()
    table = Table("", "base: wall s", "CPU s", "work tree: wall s", "CPU s", "wall ratio", "CPU ratio")
    with worktree(base) as tree, tempfile.TemporaryDirectory() as name:
        for row, measured in measure(tree, Path(name), rounds):
            if faults := [f"{label}: {found.fault}" for label, found in measured.items() if found.fault]:
                slower.append(row)
                table.add_row(row, *faults)
                continue
            old, new = measured[THERE], measured[HERE]
            ratios = new.seconds / old.seconds, new.processor / old.processor
            seconds = (old.seconds, old.processor, new.seconds, new.processor, *ratios)
            slower += [row] if max(ratios) > SLOWER else []
            table.add_row(row, *(f"{value:.2f}" for value in seconds))
    Console().print(table)
    if slower:
        print(f"more than {SLOWER} times the seconds of {base}, or failed: {', '.join(slower)}")
        sys.exit(1)


def measure(tree: Path, folder: Path, rounds: int) -> Iterator[tuple[str, dict[str, Measured]]]:
    """Yield each row with the measurements of the work tree and of the base in `tree`."""
    suite = "suite, TensorFlow"
    for name, examples in TRAININGS.items():
        python("-m", "benchmarks.speed.arrays", str(folder), name, str(examples))
        environment = CONTESTANTS[suite].environment
        contestants = {HERE: (suite, environment, ROOT), THERE: (suite, environment, tree)}
        yield name, train(name, contestants, folder, rounds, examples, progress)
    for row in COMMANDS:
        if row.name in PROGRAMS:
            programs = {}
            for label, place in ((HERE, ROOT), (THERE, tree)):
                own = folder / label.replace(" ", "_")
                own.mkdir(exist_ok=True)
                row.prepare(own)
                for program in row.before(own, place):
                    run_program(program, Measured())
                programs[label] = row.programs(own, place)[suite]
            yield row.name, run_programs(row.name, programs, rounds, progress)


@contextmanager
def worktree(base: str) -> Iterator[Path]:
    """Yield a work tree of a commit, with the benchmarks of this one.

    Raises:
        UserError: if there is no such commit.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        added = git("worktree", "add", "--detach", str(tree), base)
        if added.returncode:
            raise UserError(f"`base` {base}: {added.stderr.strip().splitlines()[-1]}")
        try:
            shutil.copytree(ROOT / "benchmarks", tree / "benchmarks", dirs_exist_ok=True)
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run git in this work tree."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
