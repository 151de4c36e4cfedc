"""Training and validation part put together again, and dealt anew: for cross-validation, and for the last training."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

from common.app import Data, Pair
from common.errors import UserError
from common.tasks import Dealing


def poolable(data: Data, dealing: Dealing | None) -> bool:
    """Whether the two parts are examples of one kind, and so can be put together."""
    return dealing is not None and data.fresh is None


def pooled(data: Data) -> Pair:
    """The examples of the training part, then those of the validation part."""
    pair: Pair = keras.tree.map_structure(_together, data.train, data.validation)
    return pair


def deal(data: Data, folds: int, dealing: Dealing | None, seed: int) -> Iterator[Data]:
    """The data so many times, each with another fold for validation and the rest to train on; the test part stays.

    stratified: every class in each fold in proportion; in order: each fold comes after all that is trained on.

    Raises:
        UserError: where the examples cannot be dealt, or not to so many folds.
    """
    if not poolable(data, dealing):
        raise UserError(f"--folds: the examples of {data.name} cannot be dealt to folds; leave --folds out")
    pair = pooled(data)
    targets = np.asarray(pair[1])
    splitter: Any
    match dealing:
        case "stratified":
            splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
        case "shuffled":
            splitter = KFold(folds, shuffle=True, random_state=seed)
        case _:
            splitter = TimeSeriesSplit(folds)
    try:
        dealt = list(splitter.split(np.zeros(len(targets)), targets if dealing == "stratified" else None))
    except ValueError as error:
        raise UserError(f"--folds {folds}: too many for {len(targets)} examples of {data.name} ({error})") from error
    for train, validation in dealt:
        yield dataclasses.replace(data, train=_part(pair, train), validation=_part(pair, validation))


def _together(first: Any, second: Any) -> Any:
    return np.concatenate([first, second]) if isinstance(first, np.ndarray) else first.joined(second)


def _part(pair: Pair, indices: Any) -> Pair:
    part: Pair = keras.tree.map_structure(
        lambda examples: examples[indices] if isinstance(examples, np.ndarray) else examples.part(indices), pair
    )
    return part
