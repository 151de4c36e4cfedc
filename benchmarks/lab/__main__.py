"""Draw the figure of an experiment of docs/lab.md: `python -m benchmarks.lab NAME`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from benchmarks import lab
from common import lazy
from common.cli.parsing import plain_errors

Name = Literal[tuple(lab.EXPERIMENTS)]  # type: ignore[valid-type]


def main(
    name: Positional[Name],
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    quick: bool = False,
) -> None:
    """Carry out an experiment of the lab and draw its figure.

    Args:
        name: Name of the experiment.
        output: Image to write; by default NAME.png in the current folder.
        quick: Train on few examples for a few epochs, to see whether it works.
    """
    file = output or Path(f"{name}.png")
    with lazy.quiet_native_log():
        figure = lab.EXPERIMENTS[name](quick)
    figure.savefig(file)
    print(f"{figure.get_label()}\n{file}")


if __name__ == "__main__":
    with plain_errors({"": [main]}):
        tyro.cli(main, prog="python -m benchmarks.lab")
