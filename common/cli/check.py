"""`check`: print what the reader found in the data, without training."""

from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from common.app import App
from common.cli import terminal
from common.data import Data


def check(app: App, config: Any) -> None:
    """Load the data of the settings, and print its content, the notes of its reader and the sizes of its parts.

    Raises:
        UserError: if training cannot start on the data, for all reasons that were found.
    """
    with Console(stderr=True).status(f"reading the data of {app.name}"):
        data = app.load_data(config)
    console = Console()
    facts = {f"{app.name} on {data.name}": "", **data.description.facts, **parts(data)}
    console.print(terminal.key_values(facts))
    for title, table in {**data.description.tables, **classes(data)}.items():
        console.print(terminal.table(table, title))
    for note in data.description.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    print(f"next  {terminal.this_python()} -m apps.{app.name} train, with the same flags")


def parts(data: Data) -> dict[str, str]:
    """Return the number of examples in each part, and the number of outputs."""
    sizes = {part: len(pair[1]) for part, pair in named_parts(data).items()}
    words = ", ".join(f"{size:,} for {part}" for part, size in sizes.items())
    return {"examples": words, "classes" if labelled(data) else "outputs": f"{len(data.outputs):,}"}


def classes(data: Data) -> dict[str, pd.DataFrame]:
    """Return the table of the number of examples of each class in each part, if the targets are classes."""
    if not labelled(data):
        return {}
    counts = {
        part: np.bincount(np.asarray(pair[1]), minlength=len(data.outputs)) for part, pair in named_parts(data).items()
    }
    return {"examples of each class": pd.DataFrame({"class": list(data.outputs), **counts})}


def named_parts(data: Data) -> dict[str, Any]:
    """Return the pairs of the parts by name."""
    return {"training": data.train, "validation": data.validation, "test": data.test}


def labelled(data: Data) -> bool:
    """Return whether the targets are labels of classes."""
    targets = data.train[1]
    return isinstance(targets, np.ndarray) and targets.ndim == 1 and targets.dtype.kind in "iu"
