"""The benchmark of speed: its page, its rows and its answers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speed import report
from benchmarks.speed.contest import Measured, Resident, results_in
from benchmarks.speed.report import Section
from benchmarks.speed.rows import CONTESTANTS, GPU_ROWS, ROWS, find
from tests.conftest import ROOT, assert_user_error
from tests.processes import run_forked

RATES = (2e11, 1e11)


def section(name: str, suite: float, peer: float) -> Section:
    measured = {
        "suite, TensorFlow": Measured(
            [suite, suite + 0.5, suite], [2 * suite] * 3, 9.0, 900.0, {"test accuracy": 0.98}
        ),
        "PyTorch": Measured([peer, peer, peer], [peer] * 3, 5.0, 500.0, {"test accuracy": 0.97}),
        "JAX, scan": Measured(fault="no | module"),
    }
    return Section(f"title of {name}", name, "Trainings", measured, (1.0, 2.0))


def test_the_page_has_ratios_to_the_suite_and_what_failed() -> None:
    text = report.page([section("slow", 4.0, 2.0)], 3, 1, RATES, "")
    assert "| suite, TensorFlow | 4.00 (4.00–4.50) | 8.00 | 1.00 | 1.00 | 9.0 | 900 | test accuracy 0.98 |" in text
    assert "| PyTorch | 2.00 (2.00–2.00) | 2.00 | 0.50 | 0.25 | 5.0 | 500 | test accuracy 0.97 |" in text
    assert "| JAX, scan | | | | | | | not measured: no   module |" in text
    assert "| title of slow | 4.00 / 8.00 (TensorFlow) | 2.00 / 2.00 | PyTorch | 0.50 (0.44–0.50) | 1.0 / 2.0 |" in text


def test_rounds_of_another_run_count_like_those_of_the_first() -> None:
    """Runs of 4.0, 4.5, 4.0 and 1.0, 1.5, 1.0 s have the median 2.75 s."""
    both = section("slow", 4.0, 2.0)
    both.extend(section("slow", 1.0, 8.0))
    text = report.page([both], 3, 2, RATES, "")
    assert "All this was done 2 times, each time with new processes." in text
    assert "| suite, TensorFlow | 2.75 (1.00–4.50) | 5.00 | 1.00 | 1.00 | 9.0 | 900 | test accuracy 0.98 |" in text
    assert "| PyTorch | 5.00 (2.00–8.00) | 5.00 | 1.82 |" in text
    assert "0.44–8.00" in text


def test_what_is_written_by_hand_stays_and_rows_that_are_behind_are_listed_once() -> None:
    sections = [section("slow", 4.0, 2.0), section("fast", 1.0, 2.0)]
    first = report.page(sections, 3, 1, RATES, "")
    assert "The geometric mean of the wall ratios of 2 rows is 1.00." in first
    assert f"- `slow`: {report.UNEXPLAINED}." in first
    assert "- `fast`" not in first
    explained = first.replace(report.UNEXPLAINED, "the optimizer takes half of the step")
    again = report.page(sections, 3, 1, RATES, explained)
    assert again.count("- `slow`") == 1
    assert "the optimizer takes half of the step" in again
    assert report.UNEXPLAINED not in again
    together = explained.replace("- `slow`:", "- `other`, `slow`:")
    assert report.UNEXPLAINED not in report.page(sections, 3, 1, RATES, together)


def test_rows_that_are_measured_again_replace_those_of_the_page() -> None:
    sections = [section("slow", 4.0, 2.0), section("fast", 1.0, 2.0), section("last", 1.0, 3.0)]
    first = report.page(sections, 3, 1, RATES, "").replace(report.UNEXPLAINED, "the optimizer")
    again = [section("slow", 2.0, 8.0), section("last", 1.0, 4.0)]
    text = report.update(again, 1, 3, first)
    assert "The geometric mean of the wall ratios of 3 rows is 3.17." in text  # of 4, 2 and 4
    assert text.count("Measured again on ") == 2
    assert text.count("one round, 3 times, each time with new processes.") == 2
    table = first.partition("### title of fast")[2].partition("###")[0]
    assert table in text
    for one in (again[0], sections[1], again[1]):
        assert "\n".join(report.lines(one)) in text
        assert text.count("\n".join(list(report.summary([one]))[2:])) == 1
    assert text.endswith("- `slow`: the optimizer.\n")
    assert report.update(again, 1, 3, text) == text
    assert report.has(first, "title of slow")
    assert not report.has(first, "title of new")


def test_the_page_of_the_docs_has_the_mark() -> None:
    assert report.MARK in report.PAGE.read_text()


def test_rows_have_known_contestants_and_a_function_of_each_peer() -> None:
    for row in (*ROWS, *map(find, GPU_ROWS)):
        for label in row.contestants:
            source = (ROOT / "benchmarks" / "speed" / f"{CONTESTANTS[label].module}.py").read_text()
            assert f"def {row.function or row.name}(" in source or "def any_row(" in source, (row.name, label)


def test_the_floor_counts_the_products_of_a_step() -> None:
    """A perceptron's: forward, the gradient of the weights, and in all layers but the first that of the inputs."""
    assert find("mnist_mlp").flops == 2 * (2 * 784 * 512 + 3 * (2 * 512 * 512 + 512 * 10))


def test_results_are_read_from_what_a_program_prints() -> None:
    printed = "epoch 1\n  test accuracy  97.50 % of 10,000 examples\n test R²   0.9312\n"
    assert results_in(printed) == {"test accuracy": 0.975, "test R²": 0.9312}


def test_a_contestant_trains_when_it_is_asked_and_answers_with_its_seconds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.speed.arrays", str(tmp_path), "rbm", "500"]
    subprocess.run(command, cwd=ROOT, check=True)
    assert json.loads((tmp_path / "rbm.json").read_text())["persistent"] is False
    contestant = Resident(["-m", "benchmarks.speed.worker", "rbm", "NumPy", str(tmp_path), "2", "500"], {})
    contestant.round(last=False)
    contestant.round(last=True)
    contestant.close()
    found = contestant.measured
    assert not found.fault
    assert len(found.wall) == len(found.cpu) == 2
    assert set(found.results) == {"test accuracy", "reconstruction error"}
    assert found.peak > 10


def test_a_contestant_that_fails_is_reported_with_its_last_line(tmp_path: Path) -> None:
    contestant = Resident(["-m", "benchmarks.speed.worker", "rbm", "NumPy", str(tmp_path), "2", "0"], {})
    contestant.round(last=True)
    contestant.close()
    assert "rbm.json" in contestant.measured.fault


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--rows", "mlp"], "mlp unknown"), (["--rounds", "9"], "between 1 and 8"), (["--runs", "0"], "at least 1")],
)
def test_mistakes_are_named(flags: list[str], said: str) -> None:
    assert_user_error(run_forked("benchmarks.speed", *flags), said)


def test_a_page_without_the_row_is_named_before_anything_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(report.page([section("slow", 4.0, 2.0)], 3, 1, RATES, ""))
    before = file.read_text()
    assert_user_error(run_forked("benchmarks.speed", "--rows", "rbm", "--output", str(file)), str(file), "no row rbm")
    assert file.read_text() == before


def test_an_unknown_base_is_named() -> None:
    assert_user_error(run_forked("benchmarks.speed.quick", "--base", "no-such-commit"), "no-such-commit")
