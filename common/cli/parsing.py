"""End a command in one line and an exit status, never a traceback for a user's mistake."""

import contextlib
import itertools
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

# tyro has no public way to say its errors in other words. This module is private and may change in any release:
# pyproject.toml pins tyro's version, and tests/test_cli.py holds the parts that are used here.
from tyro import _errors as parsing

from common.errors import UserError


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Around a whole command: end it in one line on stderr and an exit status, never a traceback for what a user did.

    Status 2: a mistake that the user can mend; 130 and 143: stopped by Ctrl-C and SIGTERM, after unwinding.
    """
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with parsing.on_parse_error(_reword):
            yield
    except UserError as error:
        print(f"error: {as_flags(str(error), sys.argv[1:])}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def as_flags(message: str, arguments: Sequence[str]) -> str:
    """Return an error's message in the words of the command line.

    A setting in backticks becomes its flag. A message that begins with the value of a flag, as a file, gets the flag.
    """
    pairs = [argument.split("=", 1) for argument in arguments if argument.startswith("--") and "=" in argument]
    pairs += [list(pair) for pair in itertools.pairwise(arguments) if pair[0].startswith("--") and "=" not in pair[0]]
    for flag, value in pairs:
        if value and re.match(rf"{re.escape(value)}[:,]", message):
            message = f"{flag} {message}"
            break
    return re.sub(r"`([a-z][a-z0-9_]*)`", lambda found: f"--{found[1].replace('_', '-')}", message)


def _terminated(signum: int, _frame: FrameType | None) -> NoReturn:
    """Unwind, so that the run is marked, where a bare SIGTERM would just end the process."""
    sys.exit(128 + signum)


def _reword(event: parsing.ParseErrorEvent) -> None:
    """Say what is wrong with the command line in one line."""
    match event:
        case parsing.UnrecognizedArgs():
            what = f"unknown option {' '.join(event.tokens)}"
        case parsing.MissingArgs():
            what = f"missing {', '.join(argument.arg.display_name() for argument in event.missing_arguments)}"
        case parsing.MissingSubcommand():
            what = f"no command {event.found_token!r}" if event.found_token else "no command given"
        case parsing.InvalidChoice():
            what = f"{event.argument.display_name()} must be one of {', '.join(event.choices)}, not {event.value}"
        case parsing.BadValue():
            what = f"{event.argument.display_name()} needs a value"
        case parsing.InstantiationFailure():
            message = event.message.splitlines()[0]  # where a type is one of several, the rest says why it is none
            what = f"{event.argument.display_name()}: {message}" if event.argument else message
        case _:
            return
    raise UserError(f"{what}; see {event.prog} --help")
