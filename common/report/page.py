"""A page of sections as one HTML file, without scripts and without files from elsewhere.

Learning curves are SVG, which stays sharp at every size, and a click on an image doubles its width. Plotly's script,
which would add zooming by the mouse, has 4.5 MB: more than all images of a page together.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image as PngImage

TEMPLATE = "page.html"
LARGEST = 30
"""Largest number of rows of a table on a page."""
DPI = 100
"""Pixels of an inch of a figure."""
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
"""Element of an SVG file with the caption."""
ROOM = 2_000_000
"""Bytes of the images on a page. HTML writes three bytes of an image as four letters."""
PYTHON = ".venv/bin/python"
"""Python in the commands of a page, as the README writes it: other people read a page on other machines."""


@dataclass(frozen=True)
class Image:
    """An image with its caption."""

    content: bytes
    caption: str
    width: int
    height: int
    kind: str = "image/png"
    """Media type of the content."""

    @property
    def wide(self) -> bool:
        """Whether the image would be too low to read at the width of a phone."""
        return self.width > 1.4 * self.height

    @property
    def address(self) -> str:
        """The image as the address of an HTML image."""
        return f"data:{self.kind};base64,{base64.b64encode(self.content).decode()}"


def image(content: bytes) -> Image:
    """Return a PNG or SVG image with the caption in its file, as `tracking.ActiveRun.log_figure` writes it."""
    if content.startswith(b"\x89PNG"):
        with PngImage.open(io.BytesIO(content)) as opened:
            return Image(content, opened.info.get("Description", ""), opened.width, opened.height)
    drawing = ElementTree.fromstring(content)
    width, height = (round(float(drawing.attrib[side].removesuffix("pt")) / 72 * DPI) for side in ("width", "height"))
    caption = drawing.findtext(f".//{DESCRIPTION}", "")
    return Image(content, caption, width, height, "image/svg+xml")


def fitting(files: Mapping[str, bytes]) -> tuple[list[Image], list[str]]:
    """Return the images, by name, that a page has room for, and a sentence about the others, if any."""
    shown, left, room = list[Image](), list[str](), ROOM
    for name, content in files.items():
        if len(content) <= room:
            shown.append(image(content))
            room -= len(content)
        else:
            left.append(f"{name}.png")
    return shown, [f"Among the artifacts of the run, too large for this page: {', '.join(left)}."] if left else []


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]
    """Whether a column has numbers, which are aligned on the right."""


def table(frame: pd.DataFrame, caption: str = "") -> Table:
    """Return the first rows of a data frame as text: numbers have five digits, and missing values are empty."""
    rows = [[_cell(value) for value in row] for row in frame.head(LARGEST).itertuples(index=False)]
    cut = f"the first {LARGEST} of {len(frame):,} rows" if len(frame) > LARGEST else ""
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]
    return Table("; ".join(filter(None, [caption, cut])), [str(name) for name in frame.columns], rows, numeric)


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading; its parts are shown in this order."""

    title: str
    text: Sequence[str] = ()
    """Paragraphs."""
    points: Sequence[str] = ()
    """Items of a list."""
    facts: Mapping[str, str] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    images: Sequence[Image] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    """Commands by their purpose."""
    remarks: Mapping[str, str] = field(default_factory=dict)
    """Remarks on some of the items of the list, by item."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing below the heading."""
        return not any((self.text, self.points, self.facts, self.tables, self.images, self.commands))


def command(module: str, *words: str) -> str:
    """Return the command line that runs a module of the suite with `words`, which are quoted where necessary."""
    return " ".join(filter(None, [f"{PYTHON} -m {module}", *words]))


def render(title: str, subtitle: str, facts: Iterable[str], sections: Iterable[Section]) -> str:
    """Return a page as HTML, in which all text is escaped. Empty sections are left out.

    Args:
        title: Title.
        subtitle: A sentence below it.
        facts: Short facts in one line below it.
        sections: The sections, in order.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    shown = [section for section in sections if not section.empty]
    return environment.get_template(TEMPLATE).render(title=title, subtitle=subtitle, facts=facts, sections=shown)
