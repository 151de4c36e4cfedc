"""How training and validation part are put together and dealt anew."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from common.config import FoldStrategy
from common.data import Data, RawData
from common.errors import UserError
from common.preprocessing import image_files, splits


def numbered(training: int = 30, validation: int = 10) -> Data:
    """Examples that say which they are, of two classes, two of one to each of the other."""
    every = np.arange(training + validation)
    targets = (every % 3 == 0).astype("int32")
    cut = slice(0, training), slice(training, None)
    train, held = ((every[part], targets[part]) for part in cut)
    return Data("numbers", "digest", train, held, (every + 1000, targets), kind="vector")


def test_a_quantity_is_split_as_by_scikit_learn() -> None:
    every = np.arange(41)
    raw = RawData(name="numbers", digest="digest", kind="vector", outputs=("y",), train=(every, every[:, None]))
    data = splits.split(raw, 0.25, seed=3, test=0.2)
    rest, test = train_test_split(every, test_size=0.2, random_state=3)
    train, validation = train_test_split(rest, test_size=0.25, random_state=3)
    for (inputs, targets), expected in zip(
        (data.train, data.validation, data.test), (train, validation, test), strict=True
    ):
        np.testing.assert_array_equal(inputs, expected)
        np.testing.assert_array_equal(targets[:, 0], expected)


@pytest.mark.parametrize("strategy", ["stratified", "shuffled", "in order"])
def test_every_fold_validates_on_what_it_does_not_train_on(strategy: FoldStrategy) -> None:
    data = numbered()
    dealt = list(splits.k_folds(data, 4, strategy, seed=3))
    assert len(dealt) == 4
    held = np.concatenate([one.validation[0] for one in dealt])
    assert len(np.unique(held)) == len(held) == (32 if strategy == "in order" else 40)
    for one in dealt:
        assert not set(one.train[0]) & set(one.validation[0])
        np.testing.assert_array_equal(one.test[0], data.test[0])
        for inputs, targets in (one.train, one.validation):
            np.testing.assert_array_equal(targets, inputs % 3 == 0)
        if strategy == "in order":
            assert one.train[0].max() < one.validation[0].min()
        else:
            assert len(one.validation[0]) == 10
        if strategy == "stratified":
            assert 3 <= one.validation[1].sum() <= 4
    again = list(splits.k_folds(data, 4, strategy, seed=3))
    np.testing.assert_array_equal(again[1].validation[0], dealt[1].validation[0])
    if strategy != "in order":
        assert list(next(splits.k_folds(data, 4, strategy, seed=4)).validation[0]) != list(dealt[0].validation[0])


def test_named_inputs_and_pictures_on_the_disk_are_dealt_too(tmp_path: Path) -> None:
    data = numbered()
    named = dataclasses.replace(
        data, train=({"x": data.train[0]}, data.train[1]), validation=({"x": data.validation[0]}, data.validation[1])
    )
    assert len(next(splits.k_folds(named, 4, "shuffled", 0)).validation[0]["x"]) == 10
    files = tuple(tmp_path / str(number) for number in range(40))
    stored = dataclasses.replace(
        data,
        train=(image_files.ImageFiles(files[:30], 8), data.train[1]),
        validation=(image_files.ImageFiles(files[30:], 8), data.validation[1]),
    )
    pictures, labels = next(splits.k_folds(stored, 4, "shuffled", 0)).validation
    assert [int(file.name) % 3 == 0 for file in pictures.files] == list(labels)
    assert splits.join_pairs(stored.train, stored.validation)[0].files == files


def test_what_cannot_be_dealt_is_a_users_error() -> None:
    data = numbered()
    for bad, number, strategy in (
        (data, 4, None),
        (dataclasses.replace(data, generate_epoch=lambda _epoch: data.train), 4, "shuffled"),
        (data, 41, "shuffled"),
        (data, 30, "stratified"),
    ):
        with pytest.raises(UserError, match="`folds`"):
            list(splits.k_folds(bad, number, strategy, 0))  # type: ignore[arg-type]
