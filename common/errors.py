"""The exception for a mistake that the user can fix, how other errors become one, and notes for the user."""

import contextlib
import difflib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

REPORTED = 20
"""Maximum number of problems that an error reports."""


class UserError(Exception):
    """A mistake that the user can fix. The message is one line that names the file or setting, and the fix.

    `Problems` makes an error of several mistakes, with one line for each.

    A setting is written by its field name in backticks: `batch_size`. The command line shows it as the flag
    --batch-size, prints the message without a traceback, and exits with status 2.
    """


class DivergenceError(Exception):
    """Training whose loss is no longer finite. The message is one line, as that of a `UserError`; exit status 1."""


class Problems:
    """Collects the problems of a user's files and settings, so that one error reports all of them."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, message: str) -> None:
        """Add a problem. `message` is as that of a `UserError`."""
        self.found.append(message)

    @contextlib.contextmanager
    def collect(self) -> Iterator[None]:
        """Add a `UserError` of the block to the problems, and go on after the block."""
        try:
            yield
        except UserError as error:
            self.found += str(error).splitlines()

    def check(self) -> None:
        """Report the problems.

        Raises:
            UserError: if there are any. Its message has one line for each.
        """
        if self.found:
            more = [f"and {len(self.found) - REPORTED:,} more problems"] if len(self.found) > REPORTED else []
            raise UserError("\n".join(self.found[:REPORTED] + more))


def print_notes(notes: Iterable[str]) -> None:
    """Print the notes of a reader on stderr: what it decided about the user's data."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message that suggests the most similar of the `known` words, or nothing."""
    similar = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {similar[0]}?" if similar else ""


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


@contextlib.contextmanager
def writing(place: str) -> Iterator[None]:
    """Turn an error of the block, which writes `place`, the words for a file or folder, into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{place}: cannot write ({error.strerror})") from error
