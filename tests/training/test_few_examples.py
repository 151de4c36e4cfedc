"""Few images or sentences are trained on for enough steps, unless the user has chosen their number."""

import dataclasses

import pytest

from apps.alexnet import Settings
from common.data import RawData
from common.training.few_examples import MINIMUM_STEPS, enough_steps
from tests.conftest import few


@pytest.mark.parametrize("examples", [9, 160, 1000, 1500])
def test_batches_become_smaller_and_epochs_more(
    examples: int, mnist: RawData, capsys: pytest.CaptureFixture[str]
) -> None:
    config, data = Settings(), few(mnist, train=examples)
    adapted = enough_steps(config, data)
    assert adapted.epochs * data.steps(adapted) >= MINIMUM_STEPS > config.epochs * data.steps(config)
    assert data.steps(adapted) >= min(20, examples)
    said = f"{adapted.epochs} epochs in batches of {data.batch_size(adapted)}, for 500 gradient steps"
    assert capsys.readouterr().err == f"note: {examples:,} training examples: {said}\n"
    assert dataclasses.replace(adapted, epochs=config.epochs, fewest_steps=1) == config


def test_what_the_user_has_chosen_stays(mnist: RawData, capsys: pytest.CaptureFixture[str]) -> None:
    data = few(mnist, train=160)
    for config in (Settings(epochs=3), Settings(batch_size=50), Settings(limit=100)):
        assert enough_steps(config, data) is config
    assert enough_steps(Settings(), dataclasses.replace(data, kind="table")) == Settings()
    assert enough_steps(Settings(), few(mnist, train=50_000)) == Settings()
    assert capsys.readouterr().err == ""
