"""The published results, each held by its command: `make test-slow`."""

import re

import pytest

from benchmarks import published
from benchmarks.published import RESULTS, ROWS, TABLE, Row
from tests.conftest import assert_user_error, run


@pytest.mark.slow
@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command)
def test_a_network_reaches_what_is_published(row: Row) -> None:
    ours, baseline = published.measure(row)
    bar = baseline if row.bar is None else row.bar
    assert bar is not None
    assert ours <= bar


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_plain_recurrent_network_does_not_learn_to_add() -> None:
    assert min(figures["test_wrong"] for figures in published.runs("lstm_memory train --cell rnn")) > 1000


def test_the_table_has_rows_of_published_results_alone_and_in_their_order() -> None:
    table = TABLE.search(RESULTS.read_text())
    assert table
    commands = re.findall(r"^\| `(.*?)`", table[0], re.MULTILINE)
    assert commands
    assert commands == [row.command for row in ROWS if row.command in commands]


def test_a_row_is_written_in_its_place_and_the_others_stay() -> None:
    text = RESULTS.read_text()
    command = "lenet5 train"
    line = f"| `{command}` | 1 | 2 | 3 |"
    changed = published.rewrite(text, {command: line})
    differing = [
        (before, after)
        for before, after in zip(text.splitlines(), changed.splitlines(), strict=True)
        if before != after
    ]
    assert [after for _, after in differing] == [line]
    assert f"`{command}`" in differing[0][0]


@pytest.mark.parametrize("row", [row for row in ROWS if row.published], ids=lambda row: row.command)
def test_the_page_of_a_run_has_the_published_result_of_the_table(row: Row) -> None:
    app, config = published.settings(row.command)
    assert row.published in app.published_for(config)


def test_a_run_on_other_data_has_no_published_result() -> None:
    app, config = published.settings("mnist_mlp train --data fashion_mnist")
    assert app.published_for(config) == ""


def test_an_app_without_a_published_result_is_named() -> None:
    assert_user_error(run("-m", "benchmarks.published", "perceptron"), "perceptron", "no app with a published result")
