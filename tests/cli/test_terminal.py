"""Tables and commands on a terminal of 80 columns."""

import subprocess
import sys

import pandas as pd
import pytest
from rich.console import Console

from common.cli import terminal
from tests.conftest import ROOT

ODDS = pd.DataFrame(
    {
        "feature": ["mean_fractal_dimension_of_all_cells", "area"],
        "weight_per_standard_deviation": [0.123456, 12345.6],
        "odds_ratio_per_unit": [1.23456, 1.0],
        "odds_ratio_per_deviation": [2.34567, 0.5],
        "standard_error": [0.1, 0.2],
    }
)


def shown(capsys: pytest.CaptureFixture[str], table: object) -> str:
    Console().print(table)
    return capsys.readouterr().out


def test_no_word_is_broken_inside_and_no_column_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(capsys, terminal.table(ODDS, "odds"))
    assert max(map(len, text.splitlines())) <= 80
    parts = {part for line in text.splitlines() for part in line.split()}
    for name in (
        "feature",
        "weight_per_",
        "standard_",
        "deviation",
        "odds_ratio_",
        "per_unit",
        "dimension_of_",
        "error",
    ):
        assert name in parts, text
    for number in ("0.12346", "12346", "1.2346", "2.3457", "0.5", "0.1"):
        assert number in parts, text


def test_a_wide_terminal_has_the_names_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "odds_ratio_per_deviation" in shown(capsys, terminal.table(ODDS, "odds"))


def test_paths_and_commands_are_not_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = "/" + "a" * 100
    text = shown(capsys, terminal.key_values({"recorded in": path}))
    assert "".join(text.removeprefix("recorded in").split()) == path
    command = f"{path}/python -m apps.lenet5 predict FILE..."
    terminal.print_next([command, "make ui"])
    assert capsys.readouterr().out.splitlines() == ["next", f"  {command}", "  make ui"]


def test_the_completion_that_the_documents_show_works() -> None:
    """The lines of docs/apps.md, and then bash's call for the words that may follow."""
    page = (ROOT / "docs" / "apps.md").read_text()
    lines = page.split("## Completion in the shell")[1].split("```text\n")[1].split("```")[0]
    script = lines.replace(".venv/bin/python", sys.executable) + (
        "complete -p lenet5 >/dev/null\n"
        "COMP_WORDS=(lenet5 train --lear); COMP_CWORD=2; _tyro_python__m_apps_lenet5 lenet5 --lear train\n"
        'echo "${COMPREPLY[@]}"'
    )
    result = subprocess.run(["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout == "--learning-rate\n", result.stderr
