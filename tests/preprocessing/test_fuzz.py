"""Random files: every reader answers in time, and refuses with `UserError` alone."""

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from common.errors import UserError
from tests.preprocessing.fuzzing import READERS

SECONDS = 5
"""Longest CPU time in which a reader must answer, which other work does not lengthen."""
MANY = 100_000
"""Number of files of all readers in the slow test."""


def try_files(name: str, folder: Path, examples: int, derandomize: bool) -> None:
    """Read random files; a file that is refused must be refused with a `UserError`, in time."""
    reader = READERS[name]
    path = folder / reader.name

    @settings(
        max_examples=examples,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.files)
    def trial(content: bytes) -> None:
        path.write_bytes(content)
        start = time.process_time()
        with contextlib.suppress(UserError):
            reader.read(path)
        assert time.process_time() - start < SECONDS

    trial()


@pytest.mark.parametrize("name", READERS)
def test_a_random_file_is_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    try_files(name, tmp_path, READERS[name].examples, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_random_files_are_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    try_files(name, tmp_path, MANY // len(READERS) + 1, derandomize=False)
