"""Split data into training, validation and test parts, or into cross-validation folds."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

from common.config import Config, FoldStrategy, Split
from common.data import Array, Data, Pair, RawData
from common.errors import UserError
from common.preprocessing import tables


def poolable(data: Data, strategy: FoldStrategy | None) -> bool:
    """Whether the two parts are examples of one kind, and so can be put together."""
    return strategy is not None and data.generate_epoch is None


def pooled(data: Data) -> Pair:
    """The examples of the training part, then those of the validation part."""
    pair: Pair = keras.tree.map_structure(_together, data.train, data.validation)
    return pair


def k_folds(data: Data, folds: int, strategy: FoldStrategy | None, seed: int) -> Iterator[Data]:
    """The data so many times, each with another fold for validation and the rest to train on; the test part stays.

    stratified: every class in each fold in proportion; in order: each fold comes after all that is trained on.

    Raises:
        UserError: where the examples cannot be dealt, or not to so many folds.
    """
    if not poolable(data, strategy):
        raise UserError(f"--folds: the examples of {data.name} cannot be dealt to folds; leave --folds out")
    pair = pooled(data)
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
        dealt = list(splitter.split(np.zeros(len(targets)), targets if strategy == "stratified" else None))
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


def split_training(raw: RawData, validation: float, seed: int) -> Data:
    """Keep the published test part; split `validation`, a share, from the training part, every class in proportion."""
    from sklearn.model_selection import train_test_split  # two seconds, which --help need not wait for

    x, y = raw.train
    x_train, x_validation, y_train, y_validation = train_test_split(
        x, y, test_size=validation, random_state=seed, stratify=y
    )
    return Data(raw.name, raw.digest, (x_train, y_train), (x_validation, y_validation), raw.test, raw.classes)


def shares(split: Split, examples: int) -> tuple[float, float, float]:
    """How much of `examples` each part gets: training, validation, test.

    by_size: 60:20:20 up to tens of thousands, 98:1:1 around a million, 99.5:0.25:0.25 above.
    """
    if split == "by_size":
        split = "60:20:20" if examples < 500_000 else "98:1:1" if examples < 2_000_000 else "99.5:0.25:0.25"
    training, *held, test = (float(part) / 100 for part in split.split(":"))
    return training, sum(held), test


def split_anew(raw: RawData, split: Split, validation: float, seed: int) -> Data:
    """Put the published parts together and split them by `split`, every class in proportion; published: as they were.

    Where a split has no validation part, the training part stands in its place: nothing can be chosen by it then.
    """
    if split == "published":
        return split_training(raw, validation, seed)
    from sklearn.model_selection import train_test_split

    x, y = (np.concatenate(parts) for parts in zip(raw.train, raw.test, strict=True))
    _, held, test = (round(share * len(y)) for share in shares(split, len(y)))
    rest, tested = train_test_split(np.arange(len(y)), test_size=test, random_state=seed, stratify=y)
    taught = kept = rest
    if held:
        taught, kept = train_test_split(rest, test_size=held, random_state=seed, stratify=y[rest])
    digest = hashlib.sha256(f"{raw.digest} {split} {seed}".encode()).hexdigest()[:16]
    train, held_out, unseen = ((x[part], y[part]) for part in (taught, kept, tested))
    return Data(raw.name, digest, train, held_out, unseen, raw.classes)


def split(table: tables.Table, config: Config, test: float) -> Data:
    """Draw `test`, a share, for the test set, and of the rest the validation set, every class in proportion.

    Raises:
        UserError: where there are too few rows for that.
    """
    from sklearn.model_selection import train_test_split

    labels = table.targets if table.targets.ndim == 1 else None
    rows = np.arange(len(table.targets))
    parts = []
    try:
        for share in (test, config.validation):
            stratify = labels if labels is None else labels[rows]
            rows, part = train_test_split(rows, test_size=share, random_state=config.seed, stratify=stratify)
            parts.append(part)
    except ValueError as error:
        raise UserError(f"{table.name}: {len(table.targets)} rows cannot be split like this ({error})") from error
    tested, validation = parts
    return Data(
        table.name, table.digest, take(table, rows), take(table, validation), take(table, tested), table.outputs
    )


def unsplit(table: tables.Table) -> Data:
    """All rows as training, validation and test set alike: for a fit that is published on all of them."""
    everything = table.inputs, table.targets
    return Data(table.name, table.digest, everything, everything, everything, table.outputs)


def take(table: tables.Table, rows: Array) -> tuple[dict[str, Array], Array]:
    """Some rows: their inputs and targets."""
    return {name: column[rows] for name, column in table.inputs.items()}, table.targets[rows]
