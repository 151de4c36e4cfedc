"""Compute where data-parallel training of AlexNet stops getting faster.

The model, for N GPUs that share a batch: a GPU computes its share of the images; then a ring adds up the gradients,
each GPU sending 2 (N - 1) / N of their bytes in 2 (N - 1) messages; meanwhile the host's cores decode the next images,
which a storage that all hosts share delivers. So a step takes the longest of computing and adding up, decoding, and
reading. Computing and adding up do not overlap in the model, and a small share of a batch is computed at the rate of a
large one.
"""

import dataclasses
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_images

from apps import alexnet
from common.config import Count
from common.data import Data
from common.preprocessing.image_files import ImageFiles
from common.training.checkpoint import Stopwatch

import keras  # isort: skip - deferred by `common`

SIZE = (500, 375)
"""Width and height in pixels of a usual photograph of ImageNet."""
CLASSES = 1000
GRADIENT_BYTES = 4
WORTH = 0.5
"""Scaling ends where a GPU does less than this share of the work that it does alone."""


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
