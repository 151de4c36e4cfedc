"""Batches of the training set, in an order that depends on the seed and the epoch alone."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from common.data import Array, Pair, numbered
from common.preprocessing import arrays, row_shards
from common.training import devices

READ_AT_ONCE = 8192
"""Rows or sentences in shards that are read at once."""


def epoch_order(seed: int, epoch: int, examples: int, batch_size: int) -> Array:
    """Draw the order of the examples in an epoch; the arguments alone decide it.

    Args:
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        examples: Number of training examples.
        batch_size: Examples per batch; at most all.

    Returns:
        Indices (steps, batch). Examples that do not fill a batch are left out, different ones in every epoch.
    """
    batch = min(batch_size, examples)
    steps = examples // batch
    order = numbered(examples)
    np.random.default_rng((seed, epoch)).shuffle(order)
    return order[: steps * batch].reshape(steps, batch)


class Batches(keras.callbacks.Callback):
    """The training set in `epoch_order`; as a callback of `fit`, it learns which epoch runs.

    Args:
        pair: Training examples.
        batch_size: Examples per batch.
        seed: Seed of the run.
        examples: Number of training examples to use; by default all.
        generate_epoch: As in `Data`.
        epoch: First epoch, from 0. Keras reads its first batches before it calls `on_epoch_begin`.
        step: First step of the epochs, from 0.
    """

    def __init__(
        self,
        pair: Pair,
        batch_size: int,
        seed: int,
        examples: int | None = None,
        generate_epoch: Callable[[int], Pair] | None = None,
        epoch: int = 0,
        step: int = 0,
    ) -> None:
        super().__init__()
        self.step, self.begun = step, False
        self.pair, self.generate_epoch = pair, generate_epoch
        self.batch_size, self.seed, self.examples, self.epoch = batch_size, seed, examples or len(pair[1]), epoch
        if epoch:
            self.on_epoch_begin(epoch)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.begun = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch
        if self.generate_epoch:
            self.pair = self.generate_epoch(epoch)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        # TensorFlow keeps the data set's functions until the process ends; the examples need not stay with them.
        self.pair, self.generate_epoch = (None, None), None

    @property
    def steps(self) -> int:
        """Number of steps of a whole epoch."""
        return self.examples // min(self.batch_size, self.examples)

    def order(self) -> Array:
        """Return the order of the current epoch from the first step on, (steps, batch)."""
        return self.order_of(self.epoch)

    def order_of(self, epoch: int) -> Array:
        """Return the order of an epoch from the first step on, (steps, batch)."""
        return epoch_order(self.seed, int(epoch), self.examples, self.batch_size)[self.step :]

    def dataset(self, endless: bool = False) -> Any:
        """Return the data that `fit` reads: a `tf.data.Dataset` on TensorFlow, else a `PyDataset`.

        Arrays in memory are gathered by TensorFlow's own threads, without Python.

        Args:
            endless: Whether one pass has this epoch and all that follow, where the arrays are in memory; else a pass
                has the current epoch.
        """
        if keras.backend.backend() != "tensorflow":
            return GatheredBatches(self)
        import tensorflow as tf

        first = self.order()
        (steps, batch), kind = first.shape, first.dtype

        def rows(epoch: Any) -> Any:
            order = tf.ensure_shape(tf.numpy_function(self.order_of, [epoch], kind), (steps, batch))
            return tf.data.Dataset.from_tensor_slices(order)

        def current(_: Any) -> Any:
            return rows(tf.numpy_function(lambda: self.epoch, [], tf.int64))

        gather = functools.partial(_gather_in_python, lambda: self.pair)
        if arrays.in_memory(self.pair) and not self.generate_epoch:
            gather = functools.partial(_gather, keras.tree.map_structure(tf.constant, self.pair))
            if endless:
                epochs = tf.data.Dataset.range(self.epoch, tf.int64.max)
                return _untuned(epochs.flat_map(rows).map(gather).prefetch(2))
        dataset = tf.data.Dataset.range(1).flat_map(current)
        if isinstance(self.pair[0], row_shards.Rows):  # to read many small examples at once costs less
            dataset = dataset.batch(-(-READ_AT_ONCE // batch)).map(gather).prefetch(1).unbatch()
        else:
            dataset = dataset.map(gather).prefetch(2)
        return _untuned(dataset.apply(tf.data.experimental.assert_cardinality(steps)))


def _untuned(dataset: Any) -> Any:
    """Return a `tf.data.Dataset` without tf.data's autotuning, which has nothing to tune here.

    The end of a pass waits for the thread that tunes. TensorFlow 2.21 sometimes loses the signal that wakes it, and
    then it sleeps on: for about as long as the pass took, at most a minute.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _gather_in_python(pair: Callable[[], Any], indices: Any) -> Any:
    """Return the examples at `indices`, (batch,) or (batches, batch), of the arrays that `pair` returns, as tensors."""
    import tensorflow as tf

    def read(indices: Array) -> list[Array]:
        found: list[Array] = keras.tree.flatten([part[indices] for part in keras.tree.flatten(pair())])
        return found

    example = keras.tree.map_structure(lambda part: part[:1], pair())  # one of `TableRows` has several arrays
    parts = keras.tree.flatten(example)
    examples = tf.numpy_function(read, [indices], [part.dtype for part in parts])
    for tensor, part in zip(examples, parts, strict=True):
        tensor.set_shape((*indices.shape, *part.shape[1:]))
    return keras.tree.pack_sequence_as(example, examples)


def _gather(tensors: Any, indices: Any) -> Any:
    """Return the examples at `indices` (batch,) of tensors (examples, …)."""
    import tensorflow as tf

    return keras.tree.map_structure(lambda part: tf.gather(part, indices), tensors)


class GatheredBatches(keras.utils.PyDataset):
    """The same batches for backends without tf.data."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches
        self.order = batches.order()

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Pair:
        indices = self.order[index]
        indices = indices[devices.share(len(indices))]
        pair: Pair = keras.tree.map_structure(lambda part: part[indices], self.batches.pair)
        return pair

    def on_epoch_begin(self) -> None:
        self.order = self.batches.order()


class InOrder(keras.utils.PyDataset):
    """Batches of examples in their given order, the last one smaller; `LazyArray` examples are read batch by batch.

    Args:
        parts: Arrays, or structures of arrays, (examples, …).
        size: Examples per batch.
        examples: Number of examples to read; by default all.
    """

    def __init__(self, parts: tuple[Any, ...], size: int, examples: int | None = None) -> None:
        super().__init__()
        self.parts, self.size = parts, size
        self.examples = len(keras.tree.flatten(parts)[0]) if examples is None else examples

    def __len__(self) -> int:
        return -(-self.examples // self.size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        first = index * self.size
        share = devices.share(min(self.size, self.examples - first))
        rows = slice(first + share.start, first + share.stop)
        batch: tuple[Any, ...] = keras.tree.map_structure(lambda part: part[rows], self.parts)
        return batch


def in_order(pair: tuple[Any, ...], patches: int = 1) -> Any:
    """Return batches of `pair`, or of more or fewer parts, in its given order; `patches` as in `prediction_batch`."""
    examples = len(keras.tree.flatten(pair)[0])
    size = devices.divisible(arrays.prediction_batch(pair[0], patches), examples)
    if keras.backend.backend() != "tensorflow":
        return InOrder(pair, size)
    import tensorflow as tf

    if not arrays.in_memory(pair[0]):
        spans = tf.data.Dataset.range(examples).batch(size)
        return _untuned(spans.map(functools.partial(_gather_in_python, lambda: pair)).prefetch(2))
    tensors = keras.tree.map_structure(tf.constant, pair)
    if examples <= size:  # a pass that calls no function begins thirty times as fast
        return _untuned(tf.data.Dataset.from_tensors(tensors))

    def read(start: Any) -> Any:
        return keras.tree.map_structure(lambda part: part[start : start + size], tensors)

    return _untuned(tf.data.Dataset.range(0, examples, size).map(read).prefetch(2))
