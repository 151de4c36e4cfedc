"""Copies of checkpoints in an object storage: the newer one is read, and an outage loses no training."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common import tracking
from common.errors import UserError
from common.training.checkpoint import Checkpoint, State
from tests.buckets import google_bucket, keys, new_bucket


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with new_bucket() as found:
        monkeypatch.setenv("CHECKPOINTS", "s3://data/some/folder/")
        yield found


def state(epochs: int) -> State:
    return State(history={"loss": [1.0] * epochs})


@pytest.mark.usefixtures("store")
def test_the_copy_takes_the_place_of_the_file_and_both_are_deleted(bucket: Any) -> None:
    file = tracking.checkpoints("a1") / "trial_0/1.npz"
    Checkpoint(file).save(state(2))
    assert keys(bucket) == ["some/folder/a1/trial_0/1.npz"]
    state(1).write(file)  # an older one, as on a machine that has lost the trial to another
    assert Checkpoint(file).state.epochs == 2
    file.unlink()
    assert Checkpoint(file.with_name("2.npz"), earlier=file).state.epochs == 2
    Checkpoint(tracking.checkpoints("b2") / "training.npz").save(state(1))
    tracking.delete_checkpoint(file)
    assert keys(bucket) == ["some/folder/b2/training.npz"]
    tracking.delete_checkpoints("b2")
    assert keys(bucket) == []
    assert not tracking.checkpoints("b2").exists()


@pytest.mark.usefixtures("store")
def test_google_keeps_copies_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with google_bucket():
        monkeypatch.setenv("CHECKPOINTS", "gs://data/some")
        tracking.check_checkpoints()
        file = tracking.checkpoints("a1") / "training.npz"
        Checkpoint(file).save(state(2))
        file.unlink()
        assert Checkpoint(file).state.epochs == 2
        tracking.delete_checkpoints("a1")
        assert Checkpoint(file).state.epochs == 0


@pytest.mark.usefixtures("store")
def test_a_storage_that_does_not_answer_stops_no_training(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bucket
    tracking.check_checkpoints()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    checkpoint = Checkpoint(Path("elsewhere.npz"), state=state(0))
    checkpoint.path = tracking.checkpoints("a1") / "training.npz"
    checkpoint.save(state(2))
    assert State.read(checkpoint.path).epochs == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("note: s3://data/some/folder/a1/training.npz: cannot be written (")
    assert line.endswith("check the network and AWS_ENDPOINT_URL; the checkpoint is on this machine alone")
    with pytest.raises(UserError, match=r"^s3://data/some/folder/a1/.*: cannot be read .*; check the network"):
        Checkpoint(checkpoint.path)


def test_a_wrong_address_is_one_line(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bucket
    for address, words in (
        ("folder", "CHECKPOINTS folder: not an address"),
        ("s3://no/x", "s3://no/x: no such bucket"),
    ):
        monkeypatch.setenv("CHECKPOINTS", address)
        with pytest.raises(UserError, match=words):
            tracking.check_checkpoints()
