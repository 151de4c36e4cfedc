"""Files in an object storage, at s3:// and gs://. Data is downloaded to the cache of data sets.

pyarrow, which parses CSV files, reads both kinds of storage, so no further package is needed.
"""

import contextlib
import glob
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console
from rich.progress import track

from common import files
from common.data import fingerprint
from common.errors import UserError, first_line
from common.preprocessing.download import cache_folder

PATIENCE_SECONDS = 10
"""Longest time until a storage answers."""
LONGEST = 240
"""Longest message of a library, in characters."""
THREADS = 16
"""Number of files that are downloaded at once."""
ADVICE = {
    "ACCESS_DENIED": "; set the credentials of the storage, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "INVALID_ACCESS_KEY_ID": "; check AWS_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH": "; check AWS_SECRET_ACCESS_KEY",
    "NETWORK_CONNECTION": "; check the network and AWS_ENDPOINT_URL",
    "access token": "; set GOOGLE_APPLICATION_CREDENTIALS to the file of your credentials",
    "PERMISSION_DENIED": "; check the permissions of GOOGLE_APPLICATION_CREDENTIALS",
    "CURL error": "; check the network and STORAGE_EMULATOR_HOST",
}
"""Fixes by the kind of an error that Arrow reports."""


def local(address: str) -> str:
    """Return a path of this machine as it is, and that of a file or folder in an object storage after its download.

    Args:
        address: A path, or an address such as s3://bucket/folder, gs://bucket/file.csv or s3://bucket/part-*.csv, of
            which the pattern of the downloaded files is returned.

    Raises:
        UserError: if the storage has no such file or folder, or does not answer, or the cache cannot be written.
    """
    if address.startswith(("http://", "https://")):
        raise UserError(f"{address}: addresses of the web are not read; download the file first")
    if not is_address(address):
        return address
    with _using(address) as (system, place):
        root, pattern, found = place, "", _files(system, place)
        if not found and glob.has_magic(place):
            root, pattern = place.rpartition("/")[::2]
            found = [file for file in _files(system, root, False) if fnmatchcase(file.base_name, pattern)]
        if not found:
            raise UserError(f"{address}: no such file or folder in this storage")
        versions = (f"{file.path}\0{file.size}\0{file.mtime_ns}\0" for file in found)
        folder = cache_folder() / "storage" / fingerprint(f"{address[:5]}{place}", *versions)
        target = folder / root.rpartition("/")[2]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):
                if not target.exists():
                    _download(address, system, root, found, target)
        except OSError as error:
            if error.errno is None:  # Arrow's
                raise
            raise UserError(
                f"{folder}: cannot store the data here ({error.strerror}); set KERAS_HOME to another folder"
            ) from error
    return str(target / pattern)


def named(names: Sequence[str], addresses: Sequence[str], paths: Sequence[str]) -> Sequence[str]:
    """Return names of examples in the files `paths`, with the addresses from which `local` has downloaded them."""
    for address, path in zip(addresses, paths, strict=True):
        if address != path:
            here, there = str(Path(path).parent), address.rstrip("/").rpartition("/")[0]
            names = [name.replace(here, there) for name in names]
    return names


def is_address(text: str) -> bool:
    """Return whether `text` is an address in an object storage."""
    return text.startswith(("s3://", "gs://"))


def check(address: str) -> None:
    """Check that an object storage answers and has the bucket of an address.

    Raises:
        UserError: if it does not.
    """
    from pyarrow import fs

    with _using(address) as (system, place):
        if system.get_file_info(place.partition("/")[0]).type == fs.FileType.NotFound:
            raise UserError(f"{address}: no such bucket in this storage")


def download(address: str, path: Path) -> None:
    """Replace the file `path` by the one at an address, if there is one.

    Raises:
        UserError: if the storage does not answer.
    """
    from pyarrow import fs

    with _using(address) as (system, place):
        if system.get_file_info(place).type == fs.FileType.File:
            path.parent.mkdir(parents=True, exist_ok=True)
            here = fs.LocalFileSystem()
            with files.replacing(path) as temporary:
                fs.copy_files(place, str(temporary), source_filesystem=system, destination_filesystem=here)


def upload(path: Path, address: str) -> None:
    """Write a file to an address, where the earlier one stays until the new one is complete.

    Raises:
        UserError: if the storage does not answer, or refuses it.
    """
    from pyarrow import fs

    with _using(address, "written") as (system, place):
        fs.copy_files(str(path), place, source_filesystem=fs.LocalFileSystem(), destination_filesystem=system)


def delete(address: str) -> None:
    """Delete the file at an address, or all files below it.

    Raises:
        UserError: if the storage does not answer, or refuses it.
    """
    from pyarrow import fs

    # Google's storage has no folders, and misses the one of which pyarrow has deleted the files.
    with _using(address, "deleted") as (system, place), contextlib.suppress(FileNotFoundError):
        match system.get_file_info(place).type:
            case fs.FileType.File:
                system.delete_file(place)
            case fs.FileType.Directory:
                system.delete_dir(place)


@contextlib.contextmanager
def _using(address: str, verb: str = "read") -> Iterator[tuple[Any, str]]:
    """Yield pyarrow's file system of an address, and the place in it; its errors are those of a user."""
    from pyarrow import ArrowException

    place = address[5:].strip("/")
    if not place:
        raise UserError(f"{address}: has no bucket; an address is {address[:5]}BUCKET/FOLDER")
    try:
        yield _system(address[:2]), place
    except (ImportError, OSError, ArrowException) as error:
        raise _failed(address, error, verb) from error


def _system(kind: str) -> Any:
    """Return pyarrow's file system of a storage, "s3" or "gs"."""
    from pyarrow import fs

    if kind == "gs":
        scheme, _, emulator = os.environ.get("STORAGE_EMULATOR_HOST", "").rpartition("://")
        place = {"anonymous": True, "scheme": scheme or "http", "endpoint_override": emulator} if emulator else {}
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=PATIENCE_SECONDS), **place)
    server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return fs.S3FileSystem(endpoint_override=server, connect_timeout=PATIENCE_SECONDS)


def _files(system: Any, place: str, recursive: bool = True) -> list[Any]:
    """Return pyarrow's facts about the file at `place`, or about the files in it, in order."""
    from pyarrow import fs

    info = system.get_file_info(place)
    if info.type == fs.FileType.File:
        return [info]
    found = system.get_file_info(fs.FileSelector(place, allow_not_found=True, recursive=recursive))
    return sorted((file for file in found if file.type == fs.FileType.File), key=lambda file: file.path)


def _download(address: str, system: Any, place: str, files: Sequence[Any], target: Path) -> None:
    """Download the files, with a progress bar on a terminal, and rename them to `target` when they are complete."""
    from pyarrow import fs

    partial, here = target.with_name(f".{target.name}.partial"), fs.LocalFileSystem()
    megabytes = sum(file.size for file in files) / 1e6
    print(f"{address}: downloading {len(files):,} files, {megabytes:,.1f} MB …", file=sys.stderr, flush=True)

    def one(file: Any) -> None:
        path = Path(f"{partial}{file.path.removeprefix(place)}")
        if ".." in path.parts:
            raise OSError(f"{file.path} has .. in its name")
        path.parent.mkdir(parents=True, exist_ok=True)
        fs.copy_files(file.path, str(path), source_filesystem=system, destination_filesystem=here)
        if path.stat().st_size != file.size:
            raise OSError(f"{file.path} has changed or is incomplete")

    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    with ThreadPoolExecutor(THREADS) as pool:
        done = pool.map(one, files)
        for _ in track(done, "downloading", len(files), console=console, transient=True, disable=quiet):
            pass
    partial.rename(target)


def _failed(address: str, error: Exception, verb: str = "read") -> UserError:
    """Return the error of a storage in one line, with the fix if it is known."""
    message = first_line(error)
    advice = next((advice for kind, advice in ADVICE.items() if kind in message), "")
    return UserError(f"{address}: cannot be {verb} ({textwrap.shorten(message, LONGEST, placeholder=' …')}){advice}")
