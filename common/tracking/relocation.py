"""Let the artifacts of a store follow its database when its folder is moved or copied.

MLflow records the place of artifacts as absolute addresses, in columns of its database that have no public interface.
pyproject.toml pins MLflow's version, and tests/tracking/test_relocation.py tests the columns that are used here.
"""

import contextlib
import itertools
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlparse

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and their columns that hold addresses of artifacts."""


def outdated(database: Path) -> dict[str, str]:
    """Return the new address of each folder of artifacts that is not beside the database any more.

    A folder that the suite did not create, or that is still in its old place and not in the new one, is left out.
    """
    root, moved = database.parent / "artifacts", {}
    with contextlib.closing(sqlite3.connect(database.as_uri() + "?mode=ro", uri=True)) as connection:
        locations = [row[0] for row in connection.execute("SELECT artifact_location FROM experiments")]
    for location in locations:
        before = _path(location)
        after = root / before.name
        if not location.startswith("file:") or before.parent.name != root.name or before == after:
            continue
        if after.exists() and before.exists() and after.samefile(before):
            continue
        if after.exists() or not before.exists():
            moved[location] = after.as_uri()
    return moved


def relocate(database: Path) -> str:
    """Change the outdated addresses in the database, after a backup.

    Returns:
        A note about it; empty if there were no artifacts.
    """
    if not (moved := outdated(database)):
        return ""
    backup = database.with_name(f"{database.name}.before-move")
    found = any(_path(address).exists() for address in moved.values())
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
        if found:
            with contextlib.closing(sqlite3.connect(backup)) as copy:
                connection.backup(copy)
        with connection:  # all or nothing
            for (table, column), (before, after) in itertools.product(COLUMNS, moved.items()):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
                )
    if not found:
        return ""
    old, number = _path(next(iter(moved))).parents[1], len(moved)
    return (
        f"{database.parent} was {old}; {number} experiments have new addresses now, those in {backup.name} the old ones"
    )


def _path(address: str) -> Path:
    return Path(unquote(urlparse(address).path))
