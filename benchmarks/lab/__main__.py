"""Draw the figure of an experiment of docs/lab.md: `python -m benchmarks.lab NAME`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

from benchmarks import lab
from common.cli import terminal
from common.cli.parsing import plain_errors
from common.errors import UserError
from common.report import page

if TYPE_CHECKING:
    Name = str
else:
    Name = Literal[tuple(lab.EXPERIMENTS)]


def main(
    name: Positional[Name],
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE.png")] = None,
    quick: bool = False,
) -> None:
    """Carry out an experiment of the lab and draw its figure.

    Args:
        name: Name of the experiment.
        output: Image to write; by default NAME.png in the current folder.
        quick: Train on few examples for a few epochs, to see whether it works.
    """
    file = output or Path(f"{name}.png")
    if file.suffix != ".png":
        raise UserError(f"--output {file}: the name must end in .png")
    terminal.check_output(file)
    image = lab.image(name, quick)
    file.write_bytes(image)
    print(f"{page.image(image).caption}\n{file}")


if __name__ == "__main__":
    with plain_errors({"": [main]}):
        tyro.cli(main, prog="python -m benchmarks.lab")
