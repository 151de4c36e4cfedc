"""Random files for each reader, and functions that read one."""

import contextlib
import csv
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from PIL import Image

from apps.lstm_forecast import Settings as LstmForecast
from apps.lstm_forecast import load_data
from common.data import Formats, ImageFormat, SavedModel
from common.errors import UserError
from common.preprocessing import arrays, csv_file, images, rating_files, series, series_windows, tables, text

VALUE = series.Columns(("value",))
ANYTHING = st.text(max_size=12)
NUMBERS = st.one_of(
    st.integers(-5, 40),
    st.integers(-(2**65), 2**65),
    st.integers(10**9, 10**10),
    st.sampled_from([10**12, 10**15, 10**18, 2**62, 2**63 - 1, 2**63, 10**400]),
)
FORMATS = st.sampled_from(
    [
        *("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y", "%y%m%d", "%Y%m%d", "%Y%m", "%b-%y", "%y-%b", "%B %d, %Y"),
        *("%d-%b", "%m-%y", "%m/%d", "%H:%M", "%Y-%m-%dT%H:%M:%SZ", "%d/%m/%Y %H:%M", "%Y-%m-%d %I %p", "%G-W%V"),
        *("%a %d %b %Y", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M CET", "%Y-%m-%dT%H:%M+05:30", "%Y-%j", "%YQ1"),
    ]
)
VALUES = st.one_of(
    st.floats().map(str),
    st.integers(-(10**40), 10**40).map(str),
    st.sampled_from(["", "NA", "1,5", "1.234,5", "1e999", "-0", "٣", "½", "1_000", "=1+1", "6%", "$6", "(1)", "a"]),
    ANYTHING,
)
STEPS = st.sampled_from([1, 60, 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400, 10**9])
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
BROKEN = st.one_of(st.none(), st.tuples(st.integers(0, 400), st.binary(max_size=4)))
"""A place in a file, and bytes that replace the following ones."""


def damaged(content: bytes, broken: tuple[int, bytes] | None) -> bytes:
    """Return the content with other bytes at a place; without bytes, it ends there."""
    if broken is None:
        return content
    place, other = broken
    return content[:place] + other + content[place + len(other) :] if other else content[:place]


def as_csv(draw: st.DrawFn, rows: list[list[str]]) -> bytes:
    """Return rows as a CSV file with a random delimiter and encoding, sometimes damaged."""
    written = io.StringIO()
    csv.writer(written, delimiter=draw(st.sampled_from(",,,;\t|"))).writerows(rows)
    return damaged(written.getvalue().encode(draw(ENCODINGS), errors="replace"), draw(BROKEN))


@st.composite
def stamps(draw: st.DrawFn) -> list[str]:
    """Return a column of times: regular or at random, in one format or several, with foreign cells among them."""
    rows = draw(st.integers(0, 40))
    kind = draw(st.sampled_from(["regular", "dates", "numbers", "arithmetic", "anything"]))
    if kind == "anything":
        return draw(st.lists(ANYTHING, min_size=rows, max_size=rows))
    if kind == "numbers":
        return draw(st.lists(NUMBERS.map(str), min_size=rows, max_size=rows))
    if kind == "arithmetic":
        start, step = draw(NUMBERS), draw(NUMBERS)
        return [str(start + step * row) for row in range(rows)]
    form = draw(FORMATS)
    if kind == "dates":
        moments = draw(st.lists(st.datetimes(), min_size=rows, max_size=rows))
        column = [moment.strftime(form) for moment in moments]
    else:
        start = draw(st.integers(-60 * 10**9, 250 * 10**9))
        step = draw(STEPS)
        column = [time.strftime(form, time.gmtime(start + step * row)) for row in range(rows)]
    foreign: bool = draw(st.booleans())
    if column and foreign:
        place = draw(st.integers(0, rows - 1))
        column[place] = draw(st.one_of(ANYTHING, st.sampled_from(list(column)), NUMBERS.map(str)))
    return column


@st.composite
def series_files(draw: st.DrawFn) -> bytes:
    """Return a CSV file with a column of times and one of values."""
    times = draw(stamps())
    values = [str(row) for row in range(len(times))]
    if draw(st.integers(0, 5)) == 0:
        values = draw(st.lists(VALUES, min_size=len(times), max_size=len(times)))
    return as_csv(draw, [["time", "value"], *map(list, zip(times, values, strict=True))])


@st.composite
def table_files(draw: st.DrawFn) -> bytes:
    """Return a CSV file whose last column is y: numbers, dates, categories or anything."""
    rows = draw(st.integers(0, 30))
    names = draw(st.lists(ANYTHING, max_size=3))
    columns = []
    for _ in [*names, "y"]:
        few = st.sampled_from(draw(st.lists(VALUES, min_size=1, max_size=3)))
        cells = draw(st.sampled_from([VALUES, few, NUMBERS.map(str), st.floats(-5, 5).map(str)]))
        columns.append(draw(st.one_of(stamps(), st.lists(cells, min_size=rows, max_size=rows))))
    length = min(map(len, columns))
    body = [[column[row] for column in columns] for row in range(length)]
    if body and draw(st.integers(0, 5)) == 0:
        body[draw(st.integers(0, length - 1))] = draw(st.lists(ANYTHING, max_size=5))
    return as_csv(draw, [[*names, "y"], *body])


@st.composite
def ratings_files(draw: st.DrawFn) -> bytes:
    """Return a file in a layout of MovieLens, with some cells of other kinds."""
    cells = st.one_of(st.integers(1, 9).map(str), st.sampled_from(["0.5", "5", "-1", "nan", "1e9"]), VALUES)
    lines = draw(st.lists(st.lists(cells, min_size=2, max_size=4), max_size=20))
    separator = draw(st.sampled_from([",", "::", "\t"]))
    header = ["userId,movieId,rating,timestamp"] if separator == "," else []
    content = "\n".join([*header, *(separator.join(line) for line in lines)])
    return damaged(content.encode(errors="replace"), draw(BROKEN))


@st.composite
def array_files(draw: st.DrawFn) -> bytes:
    """Return a .npy file of any type and shape."""
    types = st.one_of(
        arrays_of.integer_dtypes(), arrays_of.unsigned_integer_dtypes(), arrays_of.floating_dtypes(),
        arrays_of.boolean_dtypes(), arrays_of.complex_number_dtypes(), arrays_of.unicode_string_dtypes(max_len=3),
    )  # fmt: skip
    sides = st.sampled_from([0, 1, 2, 3, 4, 8, 9, 10, 64])
    shape = draw(st.lists(sides, max_size=4).filter(lambda found: np.prod(found) <= 10_000))
    array = draw(arrays_of.arrays(draw(types), tuple(shape), fill=st.nothing() if np.prod(shape) < 20 else None))
    written = io.BytesIO()
    np.save(written, array)
    return damaged(written.getvalue(), draw(BROKEN))


@st.composite
def image_files(draw: st.DrawFn) -> bytes:
    """Return an image file of any mode and format."""
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr"]))
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    content = draw(st.binary(min_size=1, max_size=32))
    length = len(Image.new(mode, size).tobytes())
    image = Image.frombytes(mode, size, (content * length)[:length])
    written = io.BytesIO()
    with contextlib.suppress(OSError, ValueError, KeyError):  # the format cannot hold the mode
        image.save(written, draw(st.sampled_from(["PNG", "TIFF", "JPEG", "GIF", "BMP", "WEBP", "ICO"])))
    return damaged(written.getvalue(), draw(BROKEN))


def read_series(path: Path) -> None:
    """Read a file as training does, and name the times after its end."""
    settings = {"csv": str(path), "target": ("value",), "window": 2, "season": 1, "transform": "none"}
    with contextlib.suppress(UserError):  # too short for windows, for example
        load_data(LstmForecast(**settings))  # type: ignore[arg-type]
    (found,) = series.read(path, VALUE)
    names = found.following(3)
    assert len(set(names)) == 3
    (again,) = series.read(path, VALUE, found.axis.format)
    assert again.table.equals(found.table)
    assert series.read(path, VALUE, like=found.axis)[0].following(3) == names


def read_quantities(path: Path) -> None:
    """Read a table with a quantity to predict."""
    tables.load(tables.TableConfig(csv=str(path), target="y"), "quantity")


def read_classes(path: Path) -> None:
    """Read a table with a class to predict."""
    tables.load(tables.TableConfig(csv=str(path), target="y"), "class")


def read_text(path: Path) -> None:
    """Read the sentences in the first column of a table that is read at all."""
    text.read(path, str(csv_file.read(path).frame.columns[0]), "y")


def read_arrays(path: Path) -> None:
    """Read an array of images, and of sequences."""
    with contextlib.suppress(UserError):
        assert images.read([str(path)], saved(8)).inputs.shape[1:] == (8, 8)
    with contextlib.suppress(UserError):
        series_windows.read_windows(path, 4, 2)
    arrays.read_examples(path, (None, 2), "sequences")


def read_image(path: Path) -> None:
    """Read an image for a network of grey images of 8x8 pixels."""
    assert images.read([str(path)], saved(8)).inputs.shape == (1, 8, 8)


def saved(side: int) -> SavedModel:
    """Return what the reader of images must know of a model: its format."""
    model: Any = None
    formats = Formats(image=ImageFormat(side, side))
    return SavedModel(model=model, label="net", data="x", kind="image", outputs=(), settings={}, formats=formats)


@dataclass(frozen=True)
class Reader:
    """A reader with random files."""

    files: st.SearchStrategy[bytes]
    """Contents of a file."""
    name: str
    """Name of the file."""
    read: Callable[[Path], object]
    examples: int
    """Number of files in the fast tests."""


READERS = {
    "series": Reader(series_files(), "file.csv", read_series, 400),
    "quantities": Reader(table_files(), "file.csv", read_quantities, 400),
    "classes": Reader(table_files(), "file.csv", read_classes, 300),
    "text": Reader(table_files(), "file.csv", read_text, 300),
    "ratings": Reader(ratings_files(), "ratings.csv", rating_files.read, 200),
    "arrays": Reader(array_files(), "file.npy", read_arrays, 200),
    "image": Reader(image_files(), "file.png", read_image, 200),
}
