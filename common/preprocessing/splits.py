"""Split data into training, validation and test parts, or into cross-validation folds."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from common.config import FoldStrategy, Split
from common.data import Array, Data, Pair, RawData, fingerprint
from common.errors import UserError


def split(raw: RawData, validation: float, seed: int, test: float = 0.2, test_seed: int | None = None) -> Data:
    """Draw the parts that `raw` lacks from its training part, with every class in proportion.

    Args:
        raw: The data set; parts that it has stay as they are.
        validation: Share, or number, of the remaining training examples to draw for validation.
        seed: Draws the validation part.
        test: Share, or number, of the training examples to draw for the test part.
        test_seed: Draws the test part; `seed` by default.

    Raises:
        UserError: if there are too few examples, or too few of a class.
    """
    train, held_out, tested = raw.train, raw.validation, raw.test
    if tested is None:
        train, tested = _draw(raw, train, test, seed if test_seed is None else test_seed)
    if held_out is None:
        train, held_out = _draw(raw, train, validation, seed)
    return Data(
        raw.name, raw.digest, train, held_out, tested, raw.outputs, kind=raw.kind, image_format=raw.image_format
    )


def _draw(raw: RawData, pair: Pair, share: float, seed: int) -> tuple[Pair, Pair]:
    """Split `pair` into the rest and a `share` of it; of class labels, every class in proportion."""
    from sklearn.model_selection import train_test_split

    targets = pair[1]
    labels = targets if targets.ndim == 1 else None
    try:
        rest, drawn = train_test_split(np.arange(len(targets)), test_size=share, random_state=seed, stratify=labels)
    except ValueError as error:
        smallest = "" if labels is None else f"; its smallest class has {np.bincount(labels).min()}"
        raise UserError(
            f"{raw.name}: {len(targets):,} examples are too few for training, validation and test parts{smallest}; "
            "add some, or change the shares"
        ) from error
    return take_pair(pair, rest), take_pair(pair, drawn)


def take_pair(pair: Pair, rows: Array) -> Pair:
    """Return the inputs and targets at `rows` (n,)."""
    inputs, targets = pair
    if isinstance(inputs, dict):
        return {name: column[rows] for name, column in inputs.items()}, targets[rows]
    return inputs[rows] if isinstance(inputs, np.ndarray) else inputs.part(rows), targets[rows]


def join_pairs(first: Pair, second: Pair) -> Pair:
    """Return the examples of `first`, then those of `second`."""

    def join(one: Any, other: Any) -> Any:
        if isinstance(one, dict):
            return {name: np.concatenate([column, other[name]]) for name, column in one.items()}
        return np.concatenate([one, other]) if isinstance(one, np.ndarray) else one.joined(other)

    return join(first[0], second[0]), join(first[1], second[1])


def shares(split: Split, examples: int) -> tuple[float, float, float]:
    """Return the shares of the training, validation and test parts of a data set with so many `examples`.

    by_size: 60:20:20 up to tens of thousands, 98:1:1 around a million, 99.5:0.25:0.25 above.
    """
    if split == "by_size":
        split = "60:20:20" if examples < 500_000 else "98:1:1" if examples < 2_000_000 else "99.5:0.25:0.25"
    training, *held_out, test = (float(part) / 100 for part in split.split(":"))
    return training, sum(held_out), test


def split_anew(raw: RawData, kind: Split, validation: float, seed: int) -> Data:
    """Join the published parts and split them by `kind`, with every class in proportion; published: keep them.

    If a split has no validation part, the training part stands in for it: nothing can be chosen by it then.
    """
    if kind == "published":
        return split(raw, validation, seed)
    together = join_pairs(raw.train, raw.test)
    examples = len(together[1])
    _, held_out, test = (round(share * examples) for share in shares(kind, examples))
    digest = fingerprint(f"{raw.digest} {kind} {seed}")
    raw = dataclasses.replace(raw, digest=digest, train=together, test=None)
    if held_out:
        return split(raw, held_out, seed, test)
    rest, drawn = _draw(raw, together, test, seed)
    return split(dataclasses.replace(raw, train=rest, validation=rest, test=drawn), validation, seed)


def poolable(data: Data, strategy: FoldStrategy | None) -> bool:
    """Return whether the training and the validation part can be joined, as they are where none is generated."""
    return strategy is not None and data.generate_epoch is None


def k_folds(data: Data, folds: int, strategy: FoldStrategy | None, seed: int) -> Iterator[Data]:
    """Yield `data` once per fold, which is its validation part; the rest is its training part, the test part stays.

    stratified: every class in each fold in proportion; in order: each fold comes after all that is trained on.

    Raises:
        UserError: if the examples cannot be split into folds, or not into so many.
    """
    from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

    if not poolable(data, strategy):
        raise UserError(f"`folds`: the examples of {data.name} cannot be split into folds; leave `folds` out")
    pair = join_pairs(data.train, data.validation)
    targets = np.asarray(pair[1])
    splitter: Any
    match strategy:
        case "stratified":
            splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
        case "shuffled":
            splitter = KFold(folds, shuffle=True, random_state=seed)
        case _:
            splitter = TimeSeriesSplit(folds)
    try:
        rows = list(splitter.split(np.zeros(len(targets)), targets if strategy == "stratified" else None))
    except ValueError as error:
        raise UserError(f"`folds` {folds}: too many for {len(targets)} examples of {data.name} ({error})") from error
    for train, validation in rows:
        yield dataclasses.replace(data, train=take_pair(pair, train), validation=take_pair(pair, validation))
