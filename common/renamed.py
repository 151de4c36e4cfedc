"""Old names of settings, flags, tasks and tags, which recorded runs and shell scripts still use.

Everything here is kept for one release after 0.1.0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

SETTINGS = {"keep": "restore"}
CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}
TASK_FIELDS = {"objective": "monitor", "direction": "mode", "choose_threshold": "tune_threshold"}
TAGS = {"objective": "monitor", "direction": "mode", "figure": "metric", "better": "metric_mode"}


def settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded settings under their names of today."""
    renamed = {SETTINGS.get(name, name): value for name, value in recorded.items()}
    return renamed | ({"cell": CELLS.get(renamed["cell"], renamed["cell"])} if "cell" in renamed else {})


def task(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recorded task under their names of today."""
    return {TASK_FIELDS.get(name, name): value for name, value in recorded.items()}


def tags(recorded: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a run under their names of today."""
    return {TAGS.get(name, name): value for name, value in recorded.items()}


def flags(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments with the flags and choices of today."""
    renamed: list[str] = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        name = flag.removeprefix("--")
        if flag.startswith("--") and name in SETTINGS:
            argument = f"--{SETTINGS[name]}{equals}{value}"
        elif renamed[-1:] == ["--cell"]:
            argument = CELLS.get(argument, argument)
        renamed.append(argument)
    return renamed
