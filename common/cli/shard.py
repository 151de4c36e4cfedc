"""Write a data set as a few large files, for images, tables or texts that are too large for memory."""

import shlex
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from common.cli import terminal
from common.cli.parsing import run_program
from common.config import Whole
from common.errors import UserError, print_notes
from common.preprocessing import csv_shards, image_decoding, image_folder, image_shards, storage, tables
from common.preprocessing import shards as files
from common.preprocessing.columns import Decimal
from common.preprocessing.tables import Target


def main(
    data: Positional[str],
    output: Annotated[Path, tyro.conf.arg(metavar="FOLDER")],
    shards: Whole = 0,
    target: str | None = None,
    target_kind: Target = "auto",
    categories: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    decimal: Decimal = "auto",
    text: str | None = None,
    label: str | None = None,
) -> None:
    """Write a folder of images, or CSV or Parquet files, as a few large files. --images or --csv takes the result.

    Args:
        data: Folder of images, with one subfolder per class, or CSV or Parquet file, or their address in an object
            storage, or a pattern of several files in quotes.
        output: Folder to make for the shards.
        shards: Largest number of shards of images; 0: one for each 200 MB, as of tables and texts.
        target: Column of a table to predict.
        target_kind: What the target is. auto: names and a few whole numbers are classes, other numbers a quantity.
        categories: Columns of a table that are names although they look like numbers.
        ignore: Columns of a table to leave out.
        decimal: Decimal separator of columns of a table that fit both. auto: the other columns decide.
        text: Column with the sentences, of a file of texts.
        label: Column with the classes of the sentences.
    """
    if not target:
        files.check_installed()
    path = Path(storage.local(data))
    if path.is_dir() or not (target or text or label):
        if path.is_file():
            raise UserError(f"{data}: a file; name --target for a table, or --text and --label for sentences")
        _write_images(path, output, shards)
        return
    if text or label:
        if not (text and label):
            raise UserError("sentences need --text and --label, their column and that of their classes")
        index = csv_shards.write_texts(path, text, label, output)
        command = ["lstm_text", "--text", text, "--label", label]
    else:
        table = tables.TableConfig(csv=str(path), target=target, categories=categories, ignore=ignore, decimal=decimal)
        index, command = csv_shards.write_table(table, target_kind, output), ["table_mlp", "--target", str(target)]
    print_notes(index.notes)
    size = sum(index.shards.values()) / 1e6
    print(f"{output}: {index.facts['rows']} rows, {len(index.shards):,} shards, {size:,.1f} MB")
    app, *flags = command
    print(f"next  {shlex.join([terminal.this_python(), '-m', f'apps.{app}', 'train', '--csv', str(output), *flags])}")


def _write_images(folder: Path, output: Path, number: int) -> None:
    """Write a folder of images as shards."""
    raw = image_folder.read_folder(str(folder), image_decoding.THUMBNAIL)
    print_notes(raw.description.notes)
    index = image_shards.write(raw, output, number)
    images, size = sum(index.parts.values()), sum(index.shards.values()) / 1e6
    print(
        f"{output}: {images:,} images of {len(index.outputs):,} classes, {len(index.shards):,} shards, {size:,.1f} MB"
    )
    print(f"next  {shlex.join([terminal.this_python(), '-m', 'apps.alexnet', 'train', '--images', str(output)])}")


if __name__ == "__main__":
    run_program(main)
