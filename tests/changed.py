"""Print the test files of the files that differ from the last commit, for `make quick`."""

import re
import subprocess
from pathlib import Path

from tests.conftest import ROOT


def changed() -> list[Path]:
    """Return the changed and the new files."""
    commands = ["git diff --name-only --diff-filter=d HEAD", "git ls-files --others --exclude-standard"]
    lines = [
        subprocess.run(command.split(), cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
        for command in commands
    ]
    return sorted(Path(line) for found in lines for line in found if line.endswith(".py"))


def tests_of(file: Path) -> list[Path]:
    """Return the test files of a file: itself, those in its room that begin with its name, or those that import it."""
    if file.parts[0] == "tests":
        return [file] if file.name.startswith("test_") else []
    room = Path("tests", *file.parts[1:-1]) if file.parts[0] == "common" else Path("tests")
    room = Path("tests/tuning") if file.parts[0] == "tuning" else room
    found = [*(ROOT / room).glob(f"test_{file.stem}*.py")] or [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(rf"^from common.*\b{file.stem}\b", path.read_text(), re.MULTILINE)
    ]
    return sorted(path.relative_to(ROOT) for path in found)


if __name__ == "__main__":
    print(*dict.fromkeys(test for file in changed() for test in tests_of(file)))
