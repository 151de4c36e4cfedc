"""The folders of the project and of Keras, and files that are written atomically."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""Folder of the project."""


def keras_home() -> Path:
    """Return Keras's folder of the user: $KERAS_HOME, or ~/.keras.

    Raises:
        RuntimeError: If the user has no home, as in a container that runs as a user whom it does not know.
    """
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block ends without an error.

    The content is flushed to the disk before the rename, so `path` is complete or unchanged if the process dies.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with temporary.open("r+b") as written:  # Windows flushes no file that is open for reading only
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
