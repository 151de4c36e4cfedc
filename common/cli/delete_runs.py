"""Delete old runs with their artifacts and checkpoints: `python -m common.cli.delete_runs --older-than 90`."""

import math
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from common.cli.parsing import run_program
from common.errors import UserError, print_notes

if TYPE_CHECKING:
    from common.tracking.retention import OldRun

MEGABYTE = 1e6


def main(
    older_than: Annotated[float, tyro.conf.arg(metavar="DAYS")],
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Delete runs that ended long ago, with their models, artifacts and checkpoints, and say how much space that freed.

    Runs whose model is registered stay, whether it is champion or not. So do running runs, the search of a run that
    stays, and runs that other programs recorded.

    Args:
        older_than: Delete runs that ended more than this number of days ago.
        dry_run: Print the list, and delete nothing.
    """
    if not (older_than >= 0 and math.isfinite(older_than)):
        raise UserError(f"`older_than` {older_than:g}: must be a number of days, at least 0")
    with Console(stderr=True).status("reading the runs …"):
        from common.tracking import retention

        found = retention.old_runs(older_than)
    if found.kept:
        print_notes([f"{found.kept} older runs stay: their models are registered, or a run that stays needs them"])
    if not found.deletable:
        print(f"no runs to delete that ended more than {older_than:g} days ago")
        return
    deleted = []
    try:
        for old in found.deletable:
            if dry_run or retention.delete(old):
                print(_line(old), flush=True)
                deleted.append(old)
    finally:
        space = sum(old.bytes for old in deleted) / MEGABYTE
        verb, gain = ("would delete", "would free") if dry_run else ("deleted", "freed")
        print(f"{verb} {len(deleted)} of {len(found.deletable)} runs, {gain} {space:,.1f} MB")
    if not dry_run and not retention.backend():
        note = "the server's database has these runs still, marked as deleted; name it in MLFLOW_BACKEND_STORE_URI"
        print_notes([f"{note} to delete them from it"])


def _line(old: "OldRun") -> str:
    info = old.run.info
    ended = datetime.fromtimestamp((info.end_time or info.start_time) / 1000)
    return (
        f"{info.run_id}  {ended:%Y-%m-%d}  {old.bytes / MEGABYTE:8.1f} MB  {info.run_name} on {old.data}, {info.status}"
    )


if __name__ == "__main__":
    run_program(main)
