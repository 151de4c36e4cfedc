"""List the programs of a package: `python -m apps` and `python -m tuning`."""

import ast
from pathlib import Path
from types import ModuleType

from rich.console import Console

from common.cli import terminal


def list_programs(package: ModuleType) -> None:
    """Print the command of each program of a package, with the first line of its docstring."""
    folder = Path(package.__path__[0])
    rows = {}
    for file in sorted(folder.glob("[a-z]*.py")):
        description = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        rows[f"python -m {package.__name__}.{file.stem}"] = description.partition("\n")[0]
    Console().print(terminal.key_values(rows), highlight=False)
    print(f"next  {terminal.this_python()} -m {package.__name__}.NAME --help")
