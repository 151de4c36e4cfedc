"""Train on several devices: each one computes the gradient of its share of every batch.

The variables are the same on all devices. On JAX, `keras.distribution.DataParallel` divides the batches, and the
compiled step is the same computation as on one device. On TensorFlow, `MirroredStrategy` runs the step on each device's
share, and averages the gradients.

An app may divide its variables too, on JAX, by a layout for `keras.distribution.ModelParallel`.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import keras

from common.errors import UserError
from common.training import hosts

Devices = int | Literal["all"]
"""Number of devices to train on."""
Layout = Callable[[Sequence[Any]], keras.distribution.LayoutMap | None]
"""Devices -> how they divide the variables; None if every device has all of them."""


def whole(_devices: Sequence[Any]) -> None:
    """Give all variables to every device."""


def available() -> list[str]:
    """Return the names of the devices that networks are trained on: GPUs or TPUs if there are any, else processors."""
    if keras.backend.backend() == "jax":
        import jax

        return [f"{device.platform}:{device.id}" for device in jax.local_devices()]
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def on_all_hosts(count: int) -> int:
    """Return the number of devices of all hosts together, given that of each."""
    return count * hosts.number()


def check(requested: Devices, batch_size: int, validation: int, layout: Layout = whole) -> int:
    """Return the number of devices of each host to train on.

    Args:
        requested: Number of devices, or all.
        batch_size: Examples per gradient step, over all devices of all hosts.
        validation: Number of examples to validate on.
        layout: How the devices divide the variables.

    Raises:
        UserError: if there are fewer devices, they do not divide a batch or the variables, or there are fewer examples.
    """
    if requested == on_all_hosts(1) == 1:
        return 1
    found = len(available())
    count = found if requested == "all" else requested
    if count > found:
        raise UserError(f"`devices` {count}: {keras.backend.backend()} finds {found} on this machine; use {found}")
    total = on_all_hosts(count)
    if batch_size % total:
        lower = batch_size - batch_size % total
        nearest = " or ".join(str(size) for size in (lower, lower + total) if size)
        raise UserError(f"`batch_size` {batch_size}: not a multiple of {total} devices; use {nearest}")
    if validation < total:
        raise UserError(f"`devices` {total}: the validation set has {validation} examples; use fewer")
    if keras.backend.backend() == "jax" and _distribution(count, layout).num_model_replicas % hosts.number():
        raise UserError(f"`devices` {count}: those of a host do not divide the network; use more")
    return count


def check_loss(model: keras.Model, targets: Any, outputs: Any) -> None:
    """Check that a strategy of TensorFlow averages the loss of a network over the devices.

    Keras adds up the devices' losses if the loss is one number for a batch, instead of one for each example.

    Raises:
        UserError: if it does not.
    """
    if keras.backend.backend() != "tensorflow" or not callable(model.loss):
        return
    loss = model.loss.call if isinstance(model.loss, keras.losses.Loss) else model.loss
    if keras.ops.ndim(loss(keras.ops.convert_to_tensor(targets), keras.ops.convert_to_tensor(outputs))) == 0:
        words = "the loss of this network is one number for a batch, which TensorFlow cannot divide"
        raise UserError(f"`devices`: {words}; use `backend` jax")


@contextlib.contextmanager
def parallel(count: int, layout: Layout = whole) -> Iterator[None]:
    """Distribute a network that is built and fitted in this block over the first `count` devices of each host.

    Args:
        count: Number of devices of each host.
        layout: How the devices divide the variables, on JAX.
    """
    with _distribution(count, layout).scope():
        yield


def _distribution(count: int, layout: Layout) -> Any:
    if keras.backend.backend() == "tensorflow":
        return _strategy(count)
    found = _on_all_hosts(count)
    if divided := layout(found):
        return keras.distribution.ModelParallel(layout_map=divided, auto_shard_dataset=False)
    return keras.distribution.DataParallel(devices=found, auto_shard_dataset=False)


def _on_all_hosts(count: int) -> list[Any]:
    """Return the first `count` devices of each host, in the order of the hosts, on JAX."""
    import jax

    found = [[one for one in jax.devices() if one.process_index == host] for host in range(jax.process_count())]
    return [device for local in found for device in local[:count]]


@functools.cache
def _strategy(count: int) -> Any:
    """Return the strategy of TensorFlow: the same one each time, because a second one fails in the same process."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(available()[:count])


class _OnEveryDevice(keras.distribution.DataParallel):
    """A distribution with all examples of a batch on every device."""

    def get_data_layout(self, data_shape: tuple[int, ...]) -> Any:
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


@contextlib.contextmanager
def undivided() -> Iterator[None]:
    """Give all examples of a batch to every device in this block, on JAX."""
    found = keras.distribution.distribution().device_mesh.devices.flatten().tolist()
    with _OnEveryDevice(devices=found, auto_shard_dataset=False).scope():
        yield


def number() -> int:
    """Return the number of devices that share a batch here: more than 1 within `parallel`."""
    if keras.backend.backend() == "jax":
        distribution = keras.distribution.distribution()
        return distribution.num_model_replicas if distribution else 1
    import tensorflow as tf

    count: int = tf.distribute.get_strategy().num_replicas_in_sync
    return count


def divisible(size: int, examples: int) -> int:
    """Return the size of batches nearest to `size` that the devices divide, if there are so many examples."""
    count = number()
    return size if count == 1 else max(count, min(size, examples) // count * count)


def share(examples: int) -> slice:
    """Return the rows of a batch that this process reads, where several processes train a network."""
    distribution = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    if distribution is None:
        return slice(0, examples)
    size = examples // distribution.num_processes
    return slice(size * distribution.data_shard_id, size * (distribution.data_shard_id + 1))
