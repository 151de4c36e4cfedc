"""Split data into training, validation and test parts, or into cross-validation folds."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from common.config import FoldStrategy, Split
from common.data import Array, Data, Pair, RawData, fingerprint, numbered
from common.errors import UserError


def split(raw: RawData, validation: float, seed: int, test: float = 0.2, test_seed: int | None = None) -> Data:
    """Draw the parts that `raw` lacks from its training part, stratified by class.

    Args:
        raw: The data set.
        validation: Share, or number, of the training examples for validation, after the test part is drawn.
        seed: Seed of the validation part.
        test: Share, or number, of the training examples for the test part.
        test_seed: Seed of the test part; `seed` by default.

    Raises:
        UserError: if there are too few examples, or too few of a class.
    """
    train, validation_part, test_part, groups = raw.train, raw.validation, raw.test, raw.groups
    divided = None
    if test_part is None:
        rest, drawn = _draw(raw, train, groups, test, seed if test_seed is None else test_seed)
        train, test_part = take_pair(train, rest), take_pair(train, drawn)
        groups = None if groups is None else groups[rest]
    if validation_part is None:
        rest, drawn = _draw(raw, train, groups, validation, seed)
        train, validation_part = take_pair(train, rest), take_pair(train, drawn)
        divided = None if groups is None else (groups[rest], groups[drawn])
    elif groups is not None:
        divided = groups, groups.max() + 1 + np.arange(len(validation_part[1]))
    parts = train, validation_part, test_part
    return Data(
        *(raw.name, raw.digest, *parts, raw.outputs),
        kind=raw.kind,
        formats=raw.formats,
        groups=divided,
        description=raw.description,
    )


def _draw(raw: RawData, pair: Pair, groups: Array | None, share: float, seed: int) -> tuple[Array, Array]:
    """Draw a `share` of the examples of `pair`, stratified by class if the targets are labels.

    Each class is in the rest and in the drawn part, also if it is rare. With `groups` (examples,), groups are drawn.

    Returns:
        The rows of the rest, and the rows that are drawn.
    """
    targets = pair[1]
    labels = np.asarray(targets) if targets.ndim == 1 else None
    rows = numbered(len(targets)) if groups is None else np.unique(groups, return_index=True)[1]
    classes = None if labels is None else labels[rows]
    number = share if isinstance(share, int) else math.ceil(share * len(rows))
    if classes is not None:
        number = max(number, len(np.unique(classes)))
    try:
        rest, drawn = _draw_rows(rows, classes, number, seed)
    except ValueError as error:
        smallest = "" if labels is None else f"; its smallest class has {np.bincount(labels).min()}"
        raise UserError(
            f"{raw.name}: {len(targets):,} examples are too few for training, validation and test parts{smallest}; "
            "add some, or change the shares"
        ) from error
    if labels is not None:
        for label in np.setdiff1d(labels[rest], labels[drawn]):
            moved = rest[labels[rest] == label][0]
            rest, drawn = rest[rest != moved], np.append(drawn, moved)
    if groups is not None:
        rest, drawn = (np.flatnonzero(np.isin(groups, groups[chosen])) for chosen in (rest, drawn))
    return rest, drawn


def _draw_rows(rows: Array, classes: Array | None, number: int, seed: int) -> tuple[Array, Array]:
    """Draw `number` of `rows` (n,) at random, stratified by `classes` (n,) if there are any; shuffle `rows`.

    Returns:
        The rows of the rest, and those that are drawn.

    Raises:
        ValueError: if there are too few rows, or too few of a class.
    """
    if classes is None and 0 < number < len(rows):  # as `train_test_split`, which needs several times the memory
        np.random.RandomState(seed).shuffle(rows)
        return rows[number:], rows[:number]
    from sklearn.model_selection import train_test_split

    rest, drawn = train_test_split(rows, test_size=number, random_state=seed, stratify=classes)
    return rest, drawn


def take_pair(pair: Pair, rows: Array) -> Pair:
    """Return the examples at `rows` (n,)."""
    inputs, targets = pair
    if isinstance(inputs, dict):
        return {name: column[rows] for name, column in inputs.items()}, targets[rows]
    return inputs[rows] if isinstance(inputs, np.ndarray) else inputs.part(rows), targets[rows]


def take_per_class(data: Data, number: int, seed: int) -> Data:
    """Return the data with `number` random training examples of each class, and the same share of the validation set.

    Args:
        data: Data with integer labels.
        number: Number of training examples of each class. Classes that have fewer keep all.
        seed: Seed of the choice.
    """
    rng = np.random.default_rng(seed)

    def few(labels: Array, most: int) -> Array:
        rows = rng.permutation(len(labels))
        chosen = [rows[labels[rows] == label][:most] for label in np.unique(labels)]
        return rng.permutation(np.concatenate(chosen))

    pairs = data.train, data.validation
    numbers = number, max(1, round(number * len(data.validation[1]) / len(data.train[1])))
    rows = [few(pair[1], most) for pair, most in zip(pairs, numbers, strict=True)]
    train, validation = (take_pair(pair, some) for pair, some in zip(pairs, rows, strict=True))
    groups = data.groups and (data.groups[0][rows[0]], data.groups[1][rows[1]])
    return dataclasses.replace(data, train=train, validation=validation, groups=groups)


def join_pairs(first: Pair, second: Pair) -> Pair:
    """Return the examples of `first` followed by those of `second`."""

    def join(one: Any, other: Any) -> Any:
        if isinstance(one, dict):
            return {name: np.concatenate([column, other[name]]) for name, column in one.items()}
        return np.concatenate([one, other]) if isinstance(one, np.ndarray) else one.joined(other)

    return join(first[0], second[0]), join(first[1], second[1])


def shares(split: Split, examples: int) -> tuple[float, float, float]:
    """Return the shares of the training, validation and test parts.

    by_size: 60:20:20 below 500,000 `examples`, 98:1:1 below 2,000,000, 99.5:0.25:0.25 from there.
    """
    if split == "by_size":
        split = "60:20:20" if examples < 500_000 else "98:1:1" if examples < 2_000_000 else "99.5:0.25:0.25"
    training, *validation, test = (float(part) / 100 for part in split.split(":"))
    return training, sum(validation), test


def split_anew(raw: RawData, kind: Split, validation: float, seed: int) -> Data:
    """Join the published training and test part of `raw` and split them anew, stratified by class.

    Args:
        raw: The data set.
        kind: Shares of the parts. published: keep the test part, and draw the share `validation` for validation.
        validation: Share of the training examples for validation, for published.
        seed: Seed of the split.

    Returns:
        The split data. If `kind` has no validation part, it is the training part, and cannot be used to choose.
    """
    if kind == "published":
        return split(raw, validation, seed)
    joined = join_pairs(raw.train, raw.test)
    examples = len(joined[1])
    _, for_validation, test = (round(share * examples) for share in shares(kind, examples))
    digest = fingerprint(f"{raw.digest} {kind} {seed}")
    raw = dataclasses.replace(raw, digest=digest, train=joined, test=None)
    if for_validation:
        return split(raw, for_validation, seed, test)
    rest, drawn = (take_pair(joined, rows) for rows in _draw(raw, joined, None, test, seed))
    return split(dataclasses.replace(raw, train=rest, validation=rest, test=drawn), validation, seed)


def poolable(data: Data, strategy: FoldStrategy | None) -> bool:
    """Return whether the training and validation parts can be joined and split into folds."""
    return strategy is not None and data.generate_epoch is None


def k_folds(data: Data, folds: int, strategy: FoldStrategy | None, seed: int) -> Iterator[Data]:
    """Yield the data of each cross-validation fold; the test part is the same in all.

    Args:
        data: The data. Its training and validation parts are joined and split into folds.
        folds: Number of folds.
        strategy: stratified: by class; shuffled: at random; in order: each fold comes after its training examples.
        seed: Seed of the folds.

    Raises:
        UserError: if the examples cannot be split into folds, or there are too few for so many folds.
    """
    from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

    if not poolable(data, strategy):
        raise UserError(f"`folds`: the examples of {data.name} cannot be split into folds; leave `folds` out")
    pair = join_pairs(data.train, data.validation)
    targets = np.asarray(pair[1])
    groups = None if data.groups is None else np.concatenate(data.groups)
    splitter: Any
    match strategy:
        case "stratified" if groups is not None:
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        case "stratified":
            splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
        case "shuffled":
            splitter = KFold(folds, shuffle=True, random_state=seed)
        case _:
            splitter = TimeSeriesSplit(folds)
    try:
        rows = list(splitter.split(np.zeros(len(targets)), targets if strategy == "stratified" else None, groups))
    except ValueError as error:
        raise UserError(f"`folds` {folds}: too many for {len(targets)} examples of {data.name} ({error})") from error
    for train, validation in rows:
        yield dataclasses.replace(data, train=take_pair(pair, train), validation=take_pair(pair, validation))
