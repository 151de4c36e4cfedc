"""Read 5,000 JPEG files in batches: with the suite's threads, and with the threads and worker processes of Grain.

    python -m benchmarks.image_reading

All decode with the same function, in an order that depends on the seed. None trains. The clock starts at the first
batch: Grain's processes import the suite before it, once for all epochs.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grain
import numpy as np
from absl import flags

from benchmarks.scaling.cost import SIZE, photographs
from common.cli.parsing import run_program
from common.config import Count
from common.data import Array
from common.preprocessing.image_decoding import THREADS
from common.preprocessing.image_files import ImageFiles

DIFFERENT = 200
"""Number of different photographs, which are repeated."""
BATCH = 100


def main(images: Count = 5000, side: Count = 72, workers: Count = 2, rounds: Count = 3) -> None:
    """Measure in turn and print.

    Args:
        images: Number of images.
        side: Side to which they are scaled, in pixels.
        workers: Number of Grain's processes.
        rounds: Number of rounds.
    """
    flags.FLAGS.mark_as_parsed()  # Grain reads them
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = itertools.cycle(photographs(Path(folder), DIFFERENT))
        stored = ImageFiles(tuple(itertools.islice(files, images)), side)
        for _ in range(rounds):
            rates.setdefault("threads", []).append(rate(by_threads(stored)))
            rates.setdefault("Grain, threads", []).append(rate(by_grain(stored)))
            rates.setdefault(f"Grain, {workers} processes", []).append(rate(by_grain(stored, workers)))
    print(f"images a second, JPEG files of {SIZE[0]} x {SIZE[1]} pixels, medians of {rounds} rounds")
    for name, values in rates.items():
        print(f"{name}: {statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})")


def rate(batches: Iterator[Array]) -> float:
    """Return the images a second after the first batch."""
    next(batches)
    start = time.perf_counter()
    return sum(map(len, batches)) / (time.perf_counter() - start)


def by_threads(stored: ImageFiles) -> Iterator[Array]:
    """Yield all images in batches, as the suite reads them."""
    order = np.random.default_rng(0).permutation(len(stored))
    return (stored[order[start : start + BATCH]] for start in range(0, len(order), BATCH))


def by_grain(stored: ImageFiles, workers: int = 0) -> Iterator[Array]:
    """Yield all images in batches, read by the threads of Grain, in this process or in `workers` others.

    By default, it would read 500 batches ahead: all images before the first batch is taken.
    """
    numbers = grain.MapDataset.range(len(stored)).shuffle(seed=0)
    threads = 2 if workers else THREADS
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    dataset = numbers.map(lambda index: stored[index]).batch(BATCH).to_iter_dataset(ahead)
    return iter(dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)) if workers else dataset)


if __name__ == "__main__":
    run_program(main)
