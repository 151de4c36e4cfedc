"""Runs Python's `-m` commands in one process, which imports TensorFlow once: `python -m tests.commands`.

Asked by a line of JSON on stdin, {"module", "arguments", "parsed"}; answers by one, {"status", "output"}.
"""

import contextlib
import functools
import inspect
import io
import json
import os
import re
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import tyro

from tests.processes import run_forked


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what other processes or native libraries write is no answer
    for line in sys.stdin:
        forget()
        print(json.dumps(answer(**json.loads(line))), file=answers, flush=True)


def forget() -> None:
    """Have the modules of apps and searches imported again, whose files may have been changed since."""
    for name in [
        name for name in sys.modules if re.fullmatch(r"(apps|tuning|tests)\.(?!search|commands|processes).\w+", name)
    ]:
        del sys.modules[name]


def answer(module: str, arguments: Sequence[str], parsed: bool) -> dict[str, object]:
    """The exit status and the output of a command, `parsed` alone or done."""
    if module == "pytest":  # in a process of its own: it rewrites modules when they are first imported
        result = run_forked(module, *arguments, PYTEST_ADDOPTS="-W ignore::pytest.PytestAssertRewriteWarning")
        return {"status": result.returncode, "output": result.stdout + result.stderr}
    output, status = io.StringIO(), 0
    with contextlib.ExitStack() as around:
        around.enter_context(mock.patch.object(sys, "argv", [module, *arguments]))
        around.enter_context(contextlib.redirect_stdout(output))
        around.enter_context(contextlib.redirect_stderr(output))
        if parsed:
            around.enter_context(nothing_done())
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            status = 1
            traceback.print_exc()
    return {"status": status, "output": output.getvalue()}


@contextlib.contextmanager
def nothing_done() -> Iterator[None]:
    """Inside, a command line is parsed and held to its types and bounds, and there it ends."""

    def idle(function: Any) -> Any:
        return functools.wraps(function)(lambda *_, **__: None) if inspect.isfunction(function) else function

    one, several = tyro.cli, tyro.extras.subcommand_cli_from_dict

    def parse(function: Any, **options: Any) -> Any:
        return one(idle(function), **options)

    def parse_several(commands: dict[str, Callable[..., Any]], **options: Any) -> Any:
        return several({name: idle(command) for name, command in commands.items()}, **options)

    with (
        mock.patch.object(tyro, "cli", parse),
        mock.patch.object(tyro.extras, "subcommand_cli_from_dict", parse_several),
    ):
        yield


if __name__ == "__main__":
    main()
