"""`train --animation` and `train --tensorboard`: files for those who watch a training."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common import tracking
from common.training.watching import Animation
from tests.conftest import assert_user_error, load_app, run_app

pytestmark = pytest.mark.usefixtures("store")


@pytest.mark.parametrize(
    ("app", "settings"),
    [
        ("perceptron", ("--data", "iris")),
        ("linear_regression", ("--data", "diabetes")),
        ("mnist_mlp", ("--limit", "500", "--hidden", "16", "--learning-rate", "0.1")),
    ],
)
def test_an_animation_begins_before_training_and_ends_with_the_last_epoch(
    app: str, settings: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "training.gif"
    result = run_app(app, "train", "--epochs", "3", *settings, "--animation", str(file))
    assert result.returncode == 0, result.stderr
    with Image.open(file) as image:
        frames = [np.asarray(frame.convert("RGB"), "int16")[60:] for frame in ImageSequence.Iterator(image)]  # no title
    assert len(frames) == 4
    assert (frames[0] != frames[-1]).any()


def test_an_animation_of_many_epochs_has_few_frames(tmp_path: Path) -> None:
    file, data = tmp_path / "training.gif", load_app("perceptron").load_data(load_app("perceptron").settings())
    animation = Animation(file, lambda figure, *_: figure.text(0, 0, f"{animation.epoch}"), data)
    animation.on_train_begin()
    for epoch in range(300):
        animation.on_epoch_end(epoch)
    animation.on_train_end()
    with Image.open(file) as image:
        assert 21 < sum(1 for _ in ImageSequence.Iterator(image)) < 100
        image.seek(0)
        assert image.info["duration"] == 150


def test_tensorboard_reads_the_curves_of_a_run(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    result = run_app("perceptron", "train", "--data", "and", "--epochs", "3", "--tensorboard", str(logs))
    assert result.returncode == 0, result.stderr
    assert f"tensorboard --logdir {logs}" in result.stdout
    (run,) = tracking.find({"app": "perceptron"})
    client = tracking.connect()
    for part, metric in {"train": "loss", "validation": "val_loss"}.items():
        (folder,) = logs.glob(f"perceptron-*/{part}")
        read = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
        values = [
            float(np.frombuffer(one.tensor_proto.tensor_content, "float32")[0]) for one in read.Tensors("epoch_loss")
        ]
        assert values == pytest.approx(tracking.curve(client, run.info.run_id, metric))


def test_nothing_is_written_without_the_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    assert run_app("perceptron", "train", "--data", "and", "--epochs", "2").returncode == 0
    written = {path for path in set(tmp_path.rglob("*")) - before if "mlruns" not in path.parts}
    assert not written


@pytest.mark.parametrize(
    ("app", "flags", "words"),
    [
        ("lenet5", ("--animation", "lenet.gif"), ("--animation", "lenet5 draws none")),
        ("perceptron", ("--animation", "perceptron.mp4"), ("--animation", ".gif")),
        ("perceptron", ("--animation", "nowhere/perceptron.gif"), ("--animation", "nowhere")),
        ("perceptron", ("--tensorboard", "README.md"), ("--tensorboard", "name a folder")),
    ],
)
def test_a_wrong_place_is_reported_before_training(app: str, flags: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_user_error(run_app(app, "train", *flags), *words)
    assert not tracking.find({"app": app})
