"""Report users' errors in one line with an exit status, without a traceback."""

import contextlib
import itertools
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

# tyro has no public way to change the words of its errors. This module is private and may change in any release:
# pyproject.toml pins tyro's version, and tests/cli/test_commands.py tests the parts that are used here.
from tyro import _errors as parsing

from common.errors import UserError


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Run a whole command in this block: a `UserError` ends it with its message on stderr, without a traceback.

    The exit status is 2 for an error that the user can fix, 130 after Ctrl-C, and 143 after SIGTERM.
    """
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with parsing.on_parse_error(_reword):
            yield
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {as_flags(line, sys.argv[1:])}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def as_flags(message: str, arguments: Sequence[str]) -> str:
    """Return an error's message with flags in place of settings.

    A setting in backticks becomes its flag. If the message starts with the value of a flag, such as a file, the flag is
    put before it.
    """
    pairs = [argument.split("=", 1) for argument in arguments if argument.startswith("--") and "=" in argument]
    pairs += [list(pair) for pair in itertools.pairwise(arguments) if pair[0].startswith("--") and "=" not in pair[0]]
    for flag, value in pairs:
        if value and re.match(rf"{re.escape(value)}[:,]", message):
            message = f"{flag} {message}"
            break
    return re.sub(r"`([a-z][a-z0-9_]*)`", lambda found: f"--{found[1].replace('_', '-')}", message)


def _terminated(signum: int, _frame: FrameType | None) -> NoReturn:
    """Raise SystemExit, so that the run is marked as killed."""
    sys.exit(128 + signum)


def _reword(event: parsing.ParseErrorEvent) -> None:
    """Raise an error of the command line as a `UserError` in one line."""
    match event:
        case parsing.UnrecognizedArgs():
            problem = f"unknown option {' '.join(event.tokens)}"
        case parsing.MissingArgs():
            problem = f"missing {', '.join(argument.arg.display_name() for argument in event.missing_arguments)}"
        case parsing.MissingSubcommand():
            problem = f"no command {event.found_token!r}" if event.found_token else "no command given"
        case parsing.InvalidChoice():
            problem = f"{event.argument.display_name()} must be one of {', '.join(event.choices)}, not {event.value}"
        case parsing.BadValue():
            problem = f"{event.argument.display_name()} needs a value"
        case parsing.InstantiationFailure():
            message = event.message.splitlines()[0]  # for a union of types, the other lines give each type's error
            problem = f"{event.argument.display_name()}: {message}" if event.argument else message
        case _:
            return
    raise UserError(f"{problem}; see {event.prog} --help")
