"""Show the page of a run in the browser: `make report RUN=…`."""

import shutil
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import Positional

from common.cli import browser, terminal
from common.cli.parsing import run_program
from common.errors import writing
from common.files import replacing


def main(
    run: Positional[Annotated[str | None, tyro.conf.arg(metavar="[RUN]")]] = None,
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Print the file with the page of a run, and open it in the browser.

    The page needs no other file: it can be sent by mail, and printed.

    Args:
        run: Id of the run of a training or a search; by default the one that began last.
        output: Copy the page to this .html file.
    """
    terminal.check_output(output, ".html")
    with Console(stderr=True).status("reading the run …"):
        from common import tracking

        page = tracking.report(tracking.get(run) if run else tracking.newest())
    if output:
        with writing(f"--output {output}"), replacing(output) as temporary:
            shutil.copyfile(page, temporary)
        page = output
    print(page)
    browser.show(page.absolute().as_uri())


if __name__ == "__main__":
    run_program(main)
