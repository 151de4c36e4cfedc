"""Files of checkpoints: on this machine, and copies in an object storage if CHECKPOINTS is an address there.

With the copies, a training or a trial goes on with a machine that has no folder in common with the lost one.
"""

import os
import shutil
from pathlib import Path

from common.errors import UserError, print_notes
from common.preprocessing import storage
from common.tracking import store

VARIABLE = "CHECKPOINTS"
"""Environment variable with the address of the folder for the copies."""


def checkpoints(run_id: str) -> Path:
    """Return the folder of a run's checkpoints, on this machine."""
    return _folder() / run_id


def check_checkpoints() -> None:
    """Check the address of the copies.

    Raises:
        UserError: if it is no address, or the storage does not answer.
    """
    if address := os.environ.get(VARIABLE):
        if not storage.is_address(address):
            raise UserError(f"{VARIABLE} {address}: not an address, such as s3://BUCKET/FOLDER")
        storage.check(address)


def has_checkpoint(file: Path) -> bool:
    """Return whether a checkpoint exists. If it has a copy, which may be newer, the copy replaces it first.

    Raises:
        UserError: if the storage of the copies does not answer.
    """
    if address := _copy(file):
        storage.download(address, file)
    return file.exists()


def copy_checkpoint(file: Path) -> None:
    """Copy a checkpoint to the object storage. If this fails, a note says so: the next one may succeed."""
    try:
        if address := _copy(file):
            storage.upload(file, address)
    except UserError as error:
        print_notes([f"{error}; the checkpoint is on this machine alone"])


def delete_checkpoint(path: Path) -> None:
    """Delete a checkpoint, or a folder of them, and the copies. If the storage does not answer, a note says so."""
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    try:
        if address := _copy(path):
            storage.delete(address)
    except UserError as error:
        print_notes([str(error)])


def delete_checkpoints(run_id: str) -> None:
    """Delete the checkpoints of a run."""
    delete_checkpoint(checkpoints(run_id))


def _folder() -> Path:
    return store.local_folder() / "checkpoints"


def _copy(path: Path) -> str | None:
    """Return the address of the copy of a checkpoint, or of a folder of them; None if there is none."""
    address = os.environ.get(VARIABLE)
    if not address or not path.is_relative_to(_folder()):
        return None
    return f"{address.rstrip('/')}/{path.relative_to(_folder()).as_posix()}"
