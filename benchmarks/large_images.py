"""Measure the memory of training on a generated set of photographs in shards, larger than the memory.

    python -m benchmarks.large_images
    python -m benchmarks.large_images --gigabytes 200    # minutes more to write; the memory stays

A narrow AlexNet takes one pass over some of the images, drawn from all. Nothing is kept.
"""

import itertools
import tempfile
from pathlib import Path

import numpy as np

from apps import alexnet
from benchmarks.large_ratings import measured
from benchmarks.scaling.cost import photographs
from common.cli.parsing import run_program
from common.config import Count
from common.data import RawData
from common.preprocessing import image_shards
from common.preprocessing.image_files import ImageFiles
from common.training.batches import Batches
from common.training.checkpoint import Stopwatch

CLASSES = 10
DIFFERENT = 200
"""Number of different photographs, which are repeated."""


def main(gigabytes: Count = 20, images: Count = 4000) -> None:
    """Write the shards, measure and print.

    Args:
        gigabytes: Size of the set.
        images: Number of images to train on.
    """
    with tempfile.TemporaryDirectory() as name:
        files = photographs(Path(name), DIFFERENT)
        repeated = gigabytes * 10**9 // sum(file.stat().st_size for file in files)
        files = tuple(itertools.chain.from_iterable(itertools.repeat(files, repeated)))
        labels = np.arange(len(files), dtype=np.int32) % CLASSES
        classes = tuple(map(str, range(CLASSES)))
        raw = RawData(
            name="photographs", digest="", kind="image", outputs=classes, train=(ImageFiles(files, 0), labels)
        )
        index = image_shards.write(raw, Path(name) / "shards")
        size = sum(index.shards.values())
        print(f"{len(files):,} images in {len(index.shards):,} shards, {size / 1e9:.1f} GB", flush=True)
        code = f"from benchmarks import large_images;large_images.train({name + '/shards'!r}, {images})"
        measured("loaded and trained", "-c", code, store=name)


def train(shards: str, images: int) -> None:
    """Train on `images` of the shards, and print the images per second."""
    config = alexnet.Settings(images=shards, image_size=63, width=0.25, batch_size=100)
    data = alexnet.load_data(config)
    model = alexnet.build_model(config, data)
    batches = Batches(data.train, config.batch_size, config.seed)
    steps = images // config.batch_size
    watch = Stopwatch()
    model.fit(batches.dataset(), steps_per_epoch=steps, shuffle=False, verbose=0)
    wall, cpu = watch.seconds()
    number = steps * config.batch_size
    print(f"{number:,} images: {number / wall:,.0f} a second, {number / cpu:,.0f} a CPU second", flush=True)


if __name__ == "__main__":
    run_program(main)
