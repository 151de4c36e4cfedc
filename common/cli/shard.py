"""Write a folder of images as a few large files, for a data set that is too large for single files."""

import shlex
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from common.cli import terminal
from common.cli.parsing import plain_errors
from common.config import Whole
from common.errors import print_notes


def main(images: Positional[str], output: Annotated[Path, tyro.conf.arg(metavar="FOLDER")], shards: Whole = 0) -> None:
    """Write a folder of images, with one subfolder per class, as ArrayRecord files. --images takes the result.

    Args:
        images: Folder of images, or its address in an object storage.
        output: Folder to make for the shards.
        shards: Number of shards; 0: one for each 200 MB.
    """
    from common.preprocessing import image_decoding, image_folder, image_shards, storage

    image_shards.check_installed()
    raw = image_folder.read_folder(storage.local(images), image_decoding.THUMBNAIL)
    print_notes(raw.description.notes)
    index = image_shards.write(raw, output, shards)
    number, size = sum(index.parts.values()), sum(index.shards.values()) / 1e6
    print(
        f"{output}: {number:,} images of {len(index.outputs):,} classes, {len(index.shards):,} shards, {size:,.1f} MB"
    )
    print(f"next  {shlex.join([terminal.this_python(), '-m', 'apps.alexnet', 'train', '--images', str(output)])}")


if __name__ == "__main__":
    with plain_errors({"": [main]}):
        tyro.cli(main, prog="python -m common.cli.shard")
