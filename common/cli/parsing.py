"""Report users' errors in one line with an exit status, without a traceback."""

import contextlib
import dataclasses
import functools
import itertools
import re
import sys
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tyro

# tyro has no public way to change the words of its errors. This module is private and may change in any release:
# pyproject.toml pins tyro's version, and tests/cli/test_commands.py tests the parts that are used here.
from tyro import _errors as parsing

from common import interruption
from common.errors import DivergenceError, UserError, did_you_mean
from common.files import ROOT
from common.interruption import InterruptionError

Commands = Mapping[str, Sequence[Callable[..., Any]]]
"""Functions and dataclasses by the name of a command: their parameters are its options."""

READABLE = {
    r"invalid literal for int\(\) with base 10: (.*)": r"\1 is not a whole number",
    r"could not convert string to float: (.*)": r"\1 is not a number",
    r"no type matching (.*) could be instantiated from \[(.*)\]\.": r"\2 is not \1",
    r"Could not find valid parse for arguments: \[(.*)\]": r"cannot read \1",
}
"""Messages of Python and tyro about a value, and clearer ones."""


@contextlib.contextmanager
def plain_errors(commands: Commands = MappingProxyType({})) -> Iterator[None]:
    """Run a whole command in this block: a `UserError` ends it with its message on stderr, without a traceback.

    So does an error of code that is not the suite's, such as an app that a user wrote, with its place in that code.

    The exit status is 2 for an error that the user can fix, 1 if training diverged or code of an app failed, 130 after
    Ctrl-C, and 143 after SIGTERM, whose number is 15.

    Args:
        commands: The commands of the program, to suggest a name for one that is mistyped. The name of a program's only
            command is empty.
    """
    try:
        with interruption.handled(), parsing.on_parse_error(functools.partial(_reword, commands)):
            yield
    except (UserError, DivergenceError) as error:
        for line in str(error).splitlines():
            print(f"error: {with_flags(line, sys.argv[1:])}", file=sys.stderr)
        sys.exit(1 if isinstance(error, DivergenceError) else 2)
    except InterruptionError as error:
        print(error, file=sys.stderr)
        interruption.end(128 + error.number)
    except Exception as error:
        calls = own_calls(error)
        if not calls or sys.flags.dev_mode:
            raise
        for place, line in calls:
            print(f"{place}: {line}", file=sys.stderr)
        print("python -X dev -m … shows the calls in libraries too", file=sys.stderr)
        print(f"error: {calls[-1][0]}: {type(error).__name__}: {str(error).strip()}", file=sys.stderr)
        sys.exit(1)


def run_program(main: Callable[..., None]) -> None:
    """Run a program that has one command, `main`, whose parameters are its options."""
    with plain_errors({"": [main]}):
        tyro.cli(main, prog=f"python -m {main_module()}")


def own_calls(error: BaseException) -> list[tuple[str, str]]:
    """Return the calls in apps and tuning files that led to an error, the last call last.

    Returns:
        The place and the line of each call; none if the error did not come from such a file.
    """
    folders = ROOT / "apps", ROOT / "tuning"
    frames = [(Path(frame.filename).resolve(), frame) for frame in traceback.extract_tb(error.__traceback__)]
    return [
        (f"{file.relative_to(ROOT)}:{frame.lineno}, in {frame.name}", frame.line or "")
        for file, frame in frames
        if file.parent in folders and frame.name != "<module>"  # whose last line calls the command line
    ]


def with_flags(message: str, arguments: Sequence[str]) -> str:
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


def last_value(flag: str, arguments: Sequence[str]) -> str | None:
    """Return the last value of a flag on the command line, as `--flag value` or `--flag=value`; None without it."""
    values = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{flag}=")]
    values += [value for name, value in itertools.pairwise(arguments) if name == flag]
    return values[-1] if values else None


def main_module() -> str:
    """Return the name of the module that was run with -m."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None
    return spec.name


def options(command: Callable[..., Any]) -> list[str]:
    """Return the options of a command: its parameters, or for a parameter that is a dataclass its fields."""
    names: list[str] = []
    for name, hint in typing.get_type_hints(command).items():
        if dataclasses.is_dataclass(hint):
            names += options(typing.cast("Callable[..., Any]", hint))
        elif name != "return":
            names.append("--" + name.replace("_", "-"))
    return names


def _reword(commands: Commands, event: parsing.ParseErrorEvent) -> None:
    """Raise an error of the command line as a `UserError` in one line."""
    command = next((word for word in sys.argv[1:2] if word in commands), "")
    match event:
        case parsing.UnrecognizedArgs():
            problem = _unrecognized(commands, command, event.tokens)
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
            for pattern, clearer in READABLE.items():
                message = re.sub(pattern, clearer, message)
            problem = f"{event.argument.display_name()}: {message}" if event.argument else message
        case _:
            return
    program = event.prog if event.prog.endswith(f" {command}") else f"{event.prog} {command}".strip()
    raise UserError(f"{problem} See {program} --help" if problem.endswith("?") else f"{problem}; see {program} --help")


def _unrecognized(commands: Commands, command: str, tokens: Sequence[str]) -> str:
    """Return the problem of words on the command line that are neither options nor values."""
    if flag := next((token.split("=")[0] for token in tokens if token.startswith("-")), None):
        known = itertools.chain.from_iterable(map(options, commands.get(command, ())))
        return f"unknown option {flag}{did_you_mean(flag, known)}"
    if not command and "" not in commands:
        return f"no command {tokens[0]!r}{did_you_mean(tokens[0], commands)}"
    return f"unexpected {' '.join(tokens)}"
