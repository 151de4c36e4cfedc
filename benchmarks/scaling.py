"""Compute where data-parallel training of AlexNet stops getting faster, and measure two devices beside the model.

    python -m benchmarks.scaling cost --machine h200     # 1 to 1,024 GPUs: measured sizes, published links
    python -m benchmarks.scaling split                   # the two-GPU split: weights and bytes between the devices
    python -m benchmarks.scaling strong                  # one and two cores, as one and two devices of JAX; Linux only

The model, for N GPUs that share a batch: a GPU computes its share of the images; then a ring adds up the gradients,
each GPU sending 2 (N - 1) / N of their bytes in 2 (N - 1) messages; meanwhile the host's cores decode the next images,
which a storage that all hosts share delivers. So a step takes the longest of computing and adding up, decoding, and
reading. Computing and adding up do not overlap in the model, and a small share of a batch is computed at the rate of a
large one.
"""

import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_images

from apps import alexnet, mnist_mlp
from common import training
from common.config import Count
from common.data import Data
from common.preprocessing.image_files import ImageFiles
from common.training import FitOptions
from common.training.checkpoint import Stopwatch

import keras  # isort: skip - deferred by `common`

SIZE = (500, 375)
"""Width and height in pixels of a usual photograph of ImageNet."""
CLASSES = 1000
GRADIENT_BYTES = 4
WORTH = 0.5
"""Scaling ends where a GPU does less than this share of the work that it does alone."""
SENT = {"all-reduce": 1, "all-gather": 0.5, "reduce-scatter": 1, "all-to-all": 0.5, "collective-permute": 1}
"""Bytes that each of two devices sends, for a byte of the result."""


@dataclass(frozen=True)
class Machine:
    """A host with several GPUs, and its links."""

    rate: float
    """Images per second that a GPU trains on; 0: `share` of `peak`."""
    peak: float
    """Operations per second of a GPU, for the numbers that it computes with."""
    share: float
    """Share of the peak that a training reaches, where no rate was measured."""
    link: float
    """Bytes per second from each GPU to another one of its host."""
    network: float
    """Bytes per second from each GPU to other hosts."""
    cores: float
    """Processor cores for each GPU."""
    gpus: int = 8
    """GPUs of a host."""
    latency: float = 1e-5
    """Seconds until a message arrives; an assumption."""
    storage: float = 1e10
    """Bytes per second of a storage that all hosts share; an assumption."""


MACHINES = {
    # NVIDIA's DGX-1: 4 NVLinks of 20 GB/s, 4 InfiniBand ports of 100 Gb/s and 40 cores for 8 GPUs. The rate is that of
    # TensorFlow's benchmarks of May 2017, AlexNet on made-up images, 512 for each GPU.
    "p100": Machine(rate=2987, peak=10.6e12, share=0, link=80e9, network=6.25e9, cores=5),
    # NVIDIA's DGX H200: NVLink of 900 GB/s in both directions, 400 Gb/s of network and 14 cores for each GPU; 989 TFLOP
    # a second in bfloat16. The share of them is an assumption.
    "h200": Machine(rate=0, peak=989e12, share=0.3, link=450e9, network=50e9, cores=14),
}
PUBLISHED = {1: 2987, 2: 5658, 4: 10509, 8: 17822}
"""Images per second of AlexNet on a DGX-1, by the number of GPUs: TensorFlow's benchmarks of May 2017, docs_src/
performance/benchmarks.md of its repository, made-up images."""


@dataclass(frozen=True)
class Work:
    """The work of a training, as measured here."""

    parameters: int
    operations: float
    """Operations for a training image: the forward pass, and twice as many for the gradients."""
    image_bytes: float
    """Bytes of a JPEG file."""
    decoded: float
    """JPEG files that a core decodes and scales in a second."""


def cost(
    machine: Literal["p100", "h200"] = "h200",
    batch: Count = 8192,
    decode: bool = True,
    rate: float = 0,
    link: float = 0,
    network: float = 0,
    cores: float = 0,
    storage: float = 0,
    largest: Count = 1024,
) -> None:
    """Print the model's table for 1, 2, 4, … GPUs.

    Args:
        machine: Host whose figures are the defaults of the following ones.
        batch: Images of a batch over all GPUs, at most those for which the accuracy is known to hold. Goyal et al. 2017
            trained with 8,192 without a loss.
        decode: Whether the cores decode JPEG files; False for images that are decoded elsewhere.
        rate: Images per second that a GPU trains on.
        link: GB per second from each GPU to another one of its host.
        network: GB per second from each GPU to other hosts.
        cores: Processor cores for each GPU.
        storage: GB per second of the storage that all hosts share.
        largest: Largest number of GPUs.
    """
    given: dict[str, Any] = {
        "rate": rate,
        "link": link * 1e9,
        "network": network * 1e9,
        "cores": cores,
        "storage": storage * 1e9,
    }
    host = dataclasses.replace(MACHINES[machine], **{name: value for name, value in given.items() if value})
    work = measure()
    host = dataclasses.replace(host, rate=host.rate or host.share * host.peak / work.operations)
    work = work if decode else dataclasses.replace(work, decoded=float("inf"), image_bytes=0)
    table = Table("GPUs", "images each", "compute ms", "all-reduce ms", "decode ms", "read ms", box=box.MARKDOWN)
    for name in ("images/s", "efficiency", "limit"):
        table.add_column(name)
    ends: tuple[int, str] | None = None
    for number in powers(largest):
        parts = step(host, work, number, batch)
        seconds = max(parts["compute"] + parts["all-reduce"], parts["decode"], parts["read"])
        efficiency = batch / seconds / (number * host.rate)
        limit = max(parts, key=lambda name: parts[name])
        ends = ends or ((number, limit) if efficiency < WORTH else None)
        times = [f"{1000 * value:,.1f}" for value in parts.values()]
        table.add_row(
            f"{number:,}", f"{batch / number:,.0f}", *times, f"{batch / seconds:,.0f}", f"{efficiency:.0%}", limit
        )
    show = Console(width=200, highlight=False).print
    show(
        f"{work.parameters:,} parameters, {GRADIENT_BYTES * work.parameters / 1e6:.0f} MB of gradients; "
        f"{work.operations / 1e9:.2f} GFLOP and {work.image_bytes / 1e3:.0f} kB an image; "
        f"{work.decoded:.0f} images decoded a second by a core"
    )
    show(
        f"{machine}: {host.rate:,.0f} images a second alone, which need {host.rate / work.decoded:.0f} cores to decode"
    )
    show(table)
    words = f"from {ends[0]:,} on, because of {ends[1]}" if ends else "on none of these numbers of GPUs"
    show(f"a GPU does less than {WORTH:.0%} of its work {words}")
    if machine == "p100" and not decode:
        show("beside TensorFlow's measurements, with 512 images for each GPU: " + ", ".join(beside(host, work)))


def powers(largest: int) -> Iterator[int]:
    """Yield 1, 2, 4, … up to `largest`."""
    number = 1
    while number <= largest:
        yield number
        number *= 2


def step(host: Machine, work: Work, number: int, batch: float) -> dict[str, float]:
    """Return the seconds of each part of a step on `number` GPUs."""
    rings = host.link if number <= host.gpus else min(host.link, host.gpus * host.network)  # each port has its ring
    size = GRADIENT_BYTES * work.parameters
    return {
        "compute": batch / number / host.rate,
        "all-reduce": 2 * (number - 1) * (size / number / rings + host.latency),
        "decode": batch / number / (host.cores * work.decoded),
        "read": batch * work.image_bytes / host.storage,
    }


def beside(host: Machine, work: Work) -> Iterator[str]:
    """Yield the model's images per second and the published ones, for each published number of GPUs."""
    for number, measured in PUBLISHED.items():
        parts = step(host, work, number, 512 * number)
        modelled = 512 * number / (parts["compute"] + parts["all-reduce"])
        yield f"{number} GPUs {modelled:,.0f} ({measured:,} measured)"


def measure(images: int = 200) -> Work:
    """Count the network's parameters and operations, and measure decoding with all cores at work."""
    model = network(alexnet.Settings(images="folder"))
    operations = 6 * sum(map(products, model.layers))
    with tempfile.TemporaryDirectory() as name:
        files = photographs(Path(name), images)
        reader = ImageFiles(files, alexnet.Settings(images="folder").side)
        reader[np.arange(images // 10)]
        watch = Stopwatch()
        reader[np.arange(images)]
        _, cpu = watch.seconds()
        size = statistics.fmean(file.stat().st_size for file in files)
    return Work(model.count_params(), operations, size, images / cpu)


def network(config: alexnet.Settings) -> keras.Model:
    """Build AlexNet for ImageNet's classes."""
    pair = np.zeros((2, config.side, config.side, 3), "uint8"), np.zeros(2, "int32")
    data = Data("photographs", "", pair, pair, pair, tuple(map(str, range(CLASSES))), kind="image")
    return alexnet.network(config, data, (0.0, 0.0, 0.0), np.eye(3, dtype="float32"))


def products(layer: Any) -> int:
    """Return the number of multiplications of a convolution or dense layer for one image; 0 for other layers."""
    if not hasattr(layer, "kernel"):
        return 0
    return int(np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:-1]))


def photographs(folder: Path, number: int) -> tuple[Path, ...]:
    """Write JPEG files: different parts of scikit-learn's two photographs."""
    generator = np.random.default_rng(0)
    sources = [Image.fromarray(image) for image in load_sample_images().images]
    files = tuple(folder / f"{index}.jpg" for index in range(number))
    for index, file in enumerate(files):
        source = sources[index % len(sources)]
        left, top = (int(generator.integers(0, most + 1)) for most in np.subtract(source.size, SIZE))
        source.crop((left, top, left + SIZE[0], top + SIZE[1])).save(file, quality=92)
    return files


def split(size: Count = 227, batch: Count = 128) -> None:
    """Print how two devices divide AlexNet's step with `--split`, from the program that XLA compiled.

    Args:
        size: Side of the patches in pixels.
        batch: Images of a batch.
    """
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    for kind in ("one", "batch", "split"):
        flags = f"--xla_force_host_platform_device_count={1 if kind == 'one' else 2}"
        code = f"from benchmarks import scaling; scaling.compiled({kind!r}, {size}, {batch})"
        subprocess.run([sys.executable, "-c", code], env=environment | {"XLA_FLAGS": flags}, check=True)


def compiled(kind: Literal["one", "batch", "split"], size: int, batch: int) -> None:
    """Compile the gradient on the devices of this process, and print a device's weights and the communication."""
    import jax

    from common.training import devices

    config = alexnet.Settings(images="folder", image_size=size, backend="jax", split=kind == "split", crops=1)
    count = jax.device_count()
    with devices.parallel(count, lambda found: alexnet.layout(config, found)):
        model = network(config)
        weights, others = (
            [one.value for one in some] for some in (model.trainable_variables, model.non_trainable_variables)
        )
        distribution = keras.distribution.distribution()

        def inputs(shape: tuple[int, ...], kind: str) -> Any:
            layout = distribution.get_data_layout(shape).backend_layout
            return jax.ShapeDtypeStruct(shape, kind, sharding=layout)

        def loss(weights: list[Any], x: Any, y: Any) -> Any:
            outputs, others_after, losses = model.stateless_call(weights, others, x, training=True, return_losses=True)
            return keras.losses.SparseCategoricalCrossentropy()(y, outputs) + sum(losses), others_after

        shardings = [one.sharding for one in weights]
        gradient = jax.jit(jax.grad(loss, has_aux=True), out_shardings=(shardings, None))
        images, labels = inputs((batch, config.side, config.side, 3), "uint8"), inputs((batch,), "int32")
        program: Any = gradient.lower(weights, images, labels).compile()
    own = sum(one.addressable_shards[0].data.nbytes for one in weights)
    sent = communication(program.as_text())
    operations = program.cost_analysis()["flops"]
    lines = ", ".join(f"{number} {name} of {size / 1e6:.1f} MB" for name, (number, size) in sent.items())
    total = sum(SENT[name] * size for name, (_, size) in sent.items())
    print(
        f"{kind}: {own / 1e6:.1f} MB of weights and {operations / 1e9:.0f} GFLOP on each device, "
        f"which sends {total / 1e6:.0f} MB ({lines or 'nothing'})"
    )


def communication(program: str) -> dict[str, tuple[int, int]]:
    """Return the number of messages of each kind in a compiled program, and the bytes of their results."""
    widths = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "u8": 1, "pred": 1}
    found: dict[str, tuple[int, int]] = {}
    for line in re.sub(r"/\*.*?\*/", "", program).splitlines():
        message = re.search(rf"= (.+?) ({'|'.join(SENT)})(?:-start)?\(", line)
        if not message or "replica_groups={{0},{1}}" in line:  # each device alone
            continue
        result, name = message.groups()
        size = sum(
            widths[kind] * int(np.prod([int(side) for side in shape.split(",") if side]))
            for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", result)
        )
        count, total = found.get(name, (0, 0))
        found[name] = count + 1, total + size
    return found


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
        code = f"from benchmarks import scaling; scaling.train({count}, {cores[:count]}, {epochs}, {limit})"
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
    training.loop.fit_on_devices(mnist_mlp.app, model, data, config, options)
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


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"cost": cost, "split": split, "strong": strong})
