"""Print the runs on a data set as a leaderboard, or how two runs differ: `python -m common.cli.compare mnist`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich import box
from rich.console import Console
from tyro.conf import Positional

from common.cli import terminal
from common.cli.parsing import run_program
from common.errors import UserError
from common.tracking.runs import Kind

if TYPE_CHECKING:
    import pandas as pd

    from common import tracking


def main(
    data: Positional[str],
    run: Annotated[Positional[str | None], tyro.conf.arg(metavar="[RUN|FILE]")] = None,
    kind: tuple[Kind, ...] = ("train", "baseline"),
    csv: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    markdown: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """List the finished runs on a data set, the best on its validation set first; of two runs, show how they differ.

    Runs on other data of the same name, or with another metric, are not comparable: they are in separate tables.

    Args:
        data: Name of the data set and of its MLflow experiment; or the id of a run.
        run: Id of another run, or JSON file of settings, to show how it differs from the first one.
        kind: Kinds of runs to list.
        csv: Write all tables, with each run's id, to this file instead of the terminal.
        markdown: Print tables in Markdown.
    """
    if run:
        from common.cli import differences

        differences.show(data, run)
        return
    if csv and markdown:
        raise UserError("--csv and --markdown: choose one of them")
    if csv and csv.suffix != ".csv":
        raise UserError(f"--csv {csv}: the name must end in .csv")
    with Console(stderr=True).status("reading the runs …"):
        from common import tracking

        boards = tracking.leaderboards(data, kind)
    if csv:
        import pandas as pd

        every = pd.concat(board.runs.assign(digest=board.digest, metric=board.metric) for board in boards)
        terminal.write("--csv", csv, every)
        print(f"{len(every)} runs on {data} in {csv}")
        return
    for board in boards:
        best = "highest" if board.metric_mode == "max" else "lowest"
        title = f"{data} {board.digest[:8]}, by val_{board.metric}, the {best} first"
        _print(board, title, markdown)
    if len(boards) > 1 and not markdown:
        print("Runs in different tables are not comparable: their data or their metrics differ.")


def _print(board: "tracking.Leaderboard", title: str, markdown: bool) -> None:
    shown = board.runs.drop(columns=["started", "id"]).round({"seconds": 1}).astype(object)
    shown = shown.where(shown.notna(), "").loc[:, lambda cells: (cells != "").any()]
    table = terminal.table(shown, title, terminal.WIDE)
    if markdown:
        table.title, table.box, table.show_edge, table.pad_edge = None, box.MARKDOWN, True, True
        console = Console(width=terminal.WIDE)
        with console.capture() as written:
            console.print(table)
        print(f"### {title}\n\n{written.get().strip()}\n")
        return
    console = Console()
    if console.measure(table, options=console.options.update(max_width=terminal.WIDE)).maximum > console.width:
        table = terminal.table(_narrow(shown), title)
    for row, kind in zip(table.rows, board.runs["kind"], strict=True):
        row.style = "bold" if kind == "baseline" else None
    console.print(table)


def _narrow(shown: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with the columns of words in one last column, one line each; a run's name includes its kind."""
    words = shown.columns.intersection(["run", "model", "settings that differ"])
    lines = ["\n".join(filter(None, cells)) for cells in shown[words].itertuples(index=False)]
    return shown.drop(columns=[*words, "kind"]).assign(run=lines)


if __name__ == "__main__":
    run_program(main)
