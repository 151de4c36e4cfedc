"""Images in shards: the same data as the folder, each image once an epoch, and errors in one line."""

import importlib.util
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common import training
from common.cli import shard
from common.data import Data
from common.errors import UserError
from common.preprocessing import image_folder, image_shards, images
from common.training import batches, devices
from tests.conftest import assert_user_error, run

SIDE = 8


def draw(folder: Path, each: int = 12) -> Path:
    """Write images, of two classes, of which no two are equal but one with its copy."""
    random = np.random.default_rng(0)
    for name in ("dark", "light"):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = random.integers(0, 128, (20, 24, 3)) + 127 * (name == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.{('png', 'jpg')[index % 2]}")
    (folder / "dark" / "copy.png").write_bytes((folder / "dark" / "0.png").read_bytes())
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw(tmp_path / "pictures")


@pytest.fixture
def shards(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    shard.main(str(folder), tmp_path / "shards", 3)
    assert "shards: 25 images of 2 classes, 3 shards, " in capsys.readouterr().out
    return tmp_path / "shards"


def load(folder: Path) -> Data:
    return images.load_folder(str(folder), SIDE, 0.2, seed=1)


def assert_equal(first: Data, second: Data) -> None:
    assert (first.name, first.digest, first.outputs) == (second.name, second.digest, second.outputs)
    for part in ("train", "validation", "test"):
        for one, other in zip(getattr(first, part), getattr(second, part), strict=True):
            np.testing.assert_array_equal(one[:], other[:])


def test_shards_are_the_same_data_as_the_folder(folder: Path, shards: Path) -> None:
    assert len(list(shards.glob("*.array_record"))) == 3
    data = load(shards)
    assert isinstance(data.train[0], image_shards.ImageShards)
    assert_equal(data, load(folder))
    assert data.groups is not None
    first = data.train[0]
    np.testing.assert_array_equal(first[3], first[:][3])
    np.testing.assert_array_equal(first.joined(data.test[0])[:], np.concatenate([first[:], data.test[0][:]]))
    assert first.thumbnails().shape == (len(first), 16, 16, 3)


def test_the_parts_of_the_folder_stay_the_parts(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "parts" / place).mkdir(parents=True)
        for index in range(3):
            pixels = random.integers(0, 256, (9, 9), np.uint16) * 100
            Image.fromarray(pixels).save(tmp_path / "parts" / place / f"{index}.png")
    shard.main(str(tmp_path / "parts"), tmp_path / "out")
    data = load(tmp_path / "out")
    assert_equal(data, load(tmp_path / "parts"))
    assert data.formats == load(tmp_path / "parts").formats  # white is the same for all 16 bits
    assert len(data.test[1]) == 6


def test_each_image_is_read_exactly_once_an_epoch_over_all_hosts(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the images that do not fill a batch of all hosts, which differ in each epoch."""
    pictures, labels = load(shards).train
    numbers = np.arange(len(labels))
    for epoch in range(3):
        read = []
        for host in range(2):
            half = slice(2 * host, 2 * host + 2)
            monkeypatch.setattr(devices, "share", lambda _, half=half: half)
            gathered = batches.GatheredBatches(batches.Batches((pictures, numbers), 4, seed=0, epoch=epoch))
            for index in range(len(gathered)):
                pixels, rows = gathered[index]
                np.testing.assert_array_equal(pixels, pictures[rows])
                read += list(rows)
        assert len(read) == len(set(read)) == len(labels) // 4 * 4


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_training_from_shards_equals_training_from_the_folder(folder: Path, shards: Path) -> None:
    from apps.alexnet import Settings, app

    def metrics(place: Path) -> dict[str, float]:
        settings = Settings(images=str(place), image_size=15, width=0.02, crops=1, epochs=1, batch_size=4)
        found = training.train(app, settings).metrics
        return {name: value for name, value in found.items() if "test" in name or "val" in name}

    assert metrics(shards) == metrics(folder) != {}


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_reads_shards_that_its_parent_has_read(shards: Path) -> None:
    pictures = load(shards).train[0]
    before = pictures[:]
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(pictures[:], before) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_half_written_stays_and_nothing_is_overwritten(folder: Path, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"shards: exists already; remove it"):
        shard.main(str(folder), shards)
    raw = image_folder.read_folder(str(folder), SIDE)
    (folder / "light" / "7.jpg").unlink()
    with pytest.raises(UserError, match=r"7\.jpg: cannot be read or written"):
        image_shards.write(raw, tmp_path / "second")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))  # as on a full disk
    try:
        with pytest.raises(UserError, match=r"second: cannot be written") as error:
            image_shards.write(image_folder.read_folder(str(folder), SIDE), tmp_path / "second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "shards"}


def test_a_damaged_or_missing_shard_is_named(shards: Path) -> None:
    first = shards / "00000.array_record"
    content = first.read_bytes()
    first.write_bytes(content[:-9])
    with pytest.raises(
        UserError, match=rf"00000\.array_record: {len(content) - 9:,} bytes instead of {len(content):,}"
    ):
        load(shards)
    first.write_bytes(b"\0" * len(content))
    with pytest.raises(UserError, match=r"a shard is damaged .*; copy it again"):
        load(shards)
    first.write_bytes(content[:5000] + bytes(500) + content[5500:])
    with pytest.raises(UserError, match=r"shards/image \d+: not an image that can be read"):
        image_shards.read(shards, SIDE).train[0][:]
    first.unlink()
    with pytest.raises(UserError, match=r"00000\.array_record: no such file"):
        load(shards)
    (shards / "index.json").write_text("{")
    with pytest.raises(UserError, match=r"index\.json or examples\.npz is damaged"):
        load(shards)


def test_without_the_package_one_line_names_the_requirements(
    folder: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for command in (lambda: load(shards), lambda: shard.main(str(folder), tmp_path / "more")):
        with pytest.raises(UserError, match=r"shards need array-record; .*-m pip install -r requirements-shards\.txt"):
            command()


def test_a_folder_that_is_missing_ends_the_command_with_status_2(tmp_path: Path) -> None:
    assert_user_error(
        run("-m", "common.cli.shard", "nowhere", "--output", str(tmp_path / "out")), "nowhere: no such folder"
    )
