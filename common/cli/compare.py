"""Runs on a data set as a leaderboard in the terminal: `python -m common.cli.compare mnist`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich import box
from rich.console import Console
from tyro.conf import Positional

from common.cli import terminal
from common.cli.parsing import plain_errors
from common.errors import UserError
from common.tracking.runs import Kind

if TYPE_CHECKING:
    import pandas as pd

    from common import tracking


WIDE = 10_000
"""Columns of a terminal that breaks no line."""


def main(
    data: Positional[str],
    kind: tuple[Kind, ...] = ("train", "baseline"),
    csv: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    markdown: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """List the finished runs on a data set, the best on its validation set first, the test figure beside it.

    Runs on other data of the same name, or judged by another figure, do not compare: they stand in a table of their
    own.

    Args:
        data: Name of the data set, which is also that of its MLflow experiment.
        kind: Kinds of runs to list.
        csv: Write all tables, with each run's id, to this file instead of the terminal.
        markdown: Print tables in Markdown.
    """
    if csv and markdown:
        raise UserError("--csv and --markdown: choose one of them")
    if csv and csv.suffix != ".csv":
        raise UserError(f"--csv {csv}: the name must end in .csv")
    with Console(stderr=True).status("reading the recorded runs …"):
        from common import tracking

        boards = tracking.leaderboards(data, kind)
    if csv:
        import pandas as pd

        every = pd.concat(board.runs.assign(digest=board.digest, metric=board.metric) for board in boards)
        terminal.write("--csv", csv, every)
        print(f"{len(every)} runs on {data} in {csv}")
        return
    for board in boards:
        title = f"{data} {board.digest[:8]}, by val_{board.metric}, the {_best(board)} first"
        _print(board, title, markdown)
    if len(boards) > 1 and not markdown:
        print("Runs in different tables do not compare: their data or what they are judged by differ.")


def _best(board: "tracking.Leaderboard") -> str:
    return "highest" if board.metric_mode == "max" else "lowest"


def _print(board: "tracking.Leaderboard", title: str, markdown: bool) -> None:
    shown = board.runs.drop(columns=["begun", "id"]).round({"seconds": 1}).astype(object)
    shown = shown.where(shown.notna(), "").loc[:, lambda cells: (cells != "").any()]
    table = terminal.table(shown, title)
    if markdown:
        table.title, table.box, table.show_edge, table.pad_edge = None, box.MARKDOWN, True, True
        console = Console(width=WIDE)
        with console.capture() as written:
            console.print(table)
        print(f"### {title}\n\n{written.get().strip()}\n")
        return
    console = Console()
    if console.measure(table, options=console.options.update(max_width=WIDE)).maximum > console.width:
        table = terminal.table(_narrow(shown), title)
    for row, kind in zip(table.rows, board.runs["kind"], strict=True):
        row.style = "bold" if kind == "baseline" else None  # what the others have to beat
    console.print(table)


def _narrow(shown: "pd.DataFrame") -> "pd.DataFrame":
    """The numbers, and behind them what is said of a run in words, a line each; its name tells its kind, too."""
    words = shown.columns.intersection(["run", "model", "settings that differ"])
    said = ["\n".join(filter(None, cells)) for cells in shown[words].itertuples(index=False)]
    return shown.drop(columns=[*words, "kind"]).assign(run=said)


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main, prog="python -m common.cli.compare")
