"""The progress of a training: one moving line in a terminal, one line per epoch in a log file."""

import io
import re
import sys

import keras
import numpy as np
import pytest
import rich

from common.training import epochs
from common.training.batches import Batches
from tests.conftest import run_app

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """A terminal that keeps all that was written."""

    def isatty(self) -> bool:
        return True


def train(last: int, examples: int = 88) -> None:
    """Train a line on batches of 8: 11 steps an epoch, fewer than one call into the compiled graph has."""
    x = np.linspace(-1, 1, examples, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    epochs.fit(
        model, lambda **start: Batches((x, 2 * x), 8, 0, **start), last, validation=(x, 2 * x), monitor="val_loss"
    )


def test_a_log_file_has_one_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    train(3)
    lines = capsys.readouterr().out.splitlines()
    pattern = r"Epoch {}/3: loss [\d.e-]+, val_loss [\d.e-]+, \d+\.\d s"
    assert len(lines) == 3
    for number, line in enumerate(lines, start=1):
        assert re.fullmatch(pattern.format(number), line)


def test_a_terminal_has_one_moving_line_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    rich.get_console()  # the console of an earlier bar, which was none of a terminal
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    train(3)
    shown = ANSI.sub("", terminal.getvalue())
    assert shown.count("\n") == 1
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", shown) if line.strip()]
    assert max(map(len, lines)) <= 80
    assert re.fullmatch(r"Epoch 3/3 ━+ step 11/11 0:00:00 best val_loss [\d.e-]+", lines[-1])
    steps = [tuple(map(int, pair)) for pair in re.findall(r"step (\d+)/(\d+)", shown)]
    assert all(done <= total == 11 for done, total in steps)
    assert "-" not in re.sub(r"[\d.]+e-\d+", "", "".join(re.findall(r"step .*", shown)).replace("-:--:--", ""))


@pytest.mark.usefixtures("store")
def test_train_prints_a_line_per_epoch() -> None:
    result = run_app("perceptron", "train", "--epochs", "5", "--patience", "5")
    assert result.returncode == 0, result.stderr
    epochs = [line for line in result.stdout.splitlines() if line.startswith("Epoch ")]
    assert [line.split(":")[0] for line in epochs] == [f"Epoch {number}/5" for number in range(1, len(epochs) + 1)]
    assert len([line for line in result.stdout.splitlines() if "val_loss" in line and "best" not in line]) <= len(
        epochs
    )
