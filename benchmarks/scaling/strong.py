"""Measure strong scaling on this machine beside its model: one and two cores, as one and two devices of JAX."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from apps import mnist_mlp
from common import training
from common.config import Count
from common.training import FitOptions

import keras  # isort: skip - deferred by `common`


def strong(epochs: Count = 6, limit: int = 0) -> None:
    """Train mnist_mlp on one device with one core, and on two with two, beside the model.

    Args:
        epochs: Epochs of each training; the first one compiles and does not count.
        limit: Largest number of training examples, for a quick look; 0 for all.
    """
    cores = sorted(os.sched_getaffinity(0))
    results = []
    for count in (1, 2):
        flags = f"--xla_force_host_platform_device_count={count}"
        environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        code = f"from benchmarks.scaling.strong import train; train({count}, {cores[:count]}, {epochs}, {limit})"
        done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    one, two = results
    modelled = one["step"] / 2 + two["all-reduce"]
    table = Table("devices", "ms a step", "all-reduce ms", "speedup", "the model's", box=box.MARKDOWN)
    table.add_row("1", f"{1000 * one['step']:.2f}", "", "1.00", "1.00")
    speedups = f"{one['step'] / two['step']:.2f}", f"{one['step'] / modelled:.2f}"
    table.add_row("2", f"{1000 * two['step']:.2f}", f"{1000 * two['all-reduce']:.2f}", *speedups)
    Console().print(table)


def train(count: int, cores: list[int], epochs: int, limit: int) -> None:
    """Train mnist_mlp on `count` devices, and print the seconds of a step and of adding up its gradients, as JSON."""
    os.sched_setaffinity(0, cores)
    config = mnist_mlp.Settings(epochs=epochs, limit=limit, restore="last", backend="jax")
    data = mnist_mlp.app.load_data(config)
    model = mnist_mlp.app.build_model(config, data)
    ends: list[float] = []
    noted = keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: ends.append(time.perf_counter()))
    options = FitOptions(validate=False, callbacks=[noted], devices=count)
    training.fit_on_devices(mnist_mlp.app, model, data, config, options)
    step = statistics.median(np.diff(ends)) / data.steps(config)
    found = {"step": step, "all-reduce": 0.0 if count == 1 else adding_up(count, model.count_params())}
    print(json.dumps(found))


def adding_up(count: int, size: int) -> float:
    """Return the seconds in which `count` devices add up arrays of `size` numbers."""
    import jax

    mesh = jax.make_mesh((count,), ("batch",))
    whole, divided = (jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes)) for axes in ((), ("batch",)))
    numbers = jax.device_put(np.ones((count, size), "float32"), divided)
    add: Callable[[Any], Any] = jax.jit(lambda parts: parts.sum(axis=0), out_shardings=whole)
    found = []
    for _ in range(20):
        began = time.perf_counter()
        add(numbers).block_until_ready()
        found.append(time.perf_counter() - began)
    return statistics.median(found)
