"""The exception for a mistake that the user can fix, and how other errors become one."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


class UserError(Exception):
    """A mistake that the user can fix. The message is one line that names the file or setting, and the fix.

    A setting is written by its field name in backticks: `batch_size`. The command line shows it as the flag
    --batch-size, prints the message without a traceback, and exits with status 2.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if the message is empty."""
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an error of the block, which reads `path`, into a `UserError`.

    Raises:
        UserError: if the file is missing, cannot be read, or is not UTF-8 text.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeError as error:
        raise UserError(f"{path}: not UTF-8 text; save it in UTF-8") from error
