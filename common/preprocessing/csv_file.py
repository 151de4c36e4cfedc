"""CSV files: from bytes to cells. Encoding, delimiter and quoting are decided from the file.

A cell is text without blanks around it, "" if it is empty. Nothing here knows about types of columns.
"""

import contextlib
import csv
import gzip
import io
import itertools
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError, did_you_mean, reading

if TYPE_CHECKING:
    import pandas as pd


DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "vertical bars", ",": "commas"}
"""Characters between cells, in the order of preference if several fit a file."""
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
COLUMNS = 1000
"""Maximum number of columns of a file, because each is an input of the network."""
SEPARATOR = re.compile(rb'(\xef\xbb\xbf)?"?sep=."?(?=[\r\n])', re.IGNORECASE)
"""First line that tells Excel the delimiter."""
INDEX = "index"
"""Name of a first column that has none."""
SAMPLE = 2**20
"""Characters at the beginning of a file that decide the delimiter. The first line must end within them."""
SAMPLED = 200
"""Rows at the beginning of a file that decide the delimiter."""
BLANKS = (b" ", b"\t", b"\v", b"\f", b"\x1c", b"\x1d", b"\x1e", b"\x1f")
"""Characters other than line breaks that `str.strip` removes from ASCII text."""
WIDE = ("utf-16", "utf-32")
"""Encodings in which a byte is no letter."""
LINE_BREAK = r"\r\n?|\n"
CHUNK = 2**25
"""Bytes of a file that are parsed at once, where its cells do not fit into memory."""
NAMED = 5
"""Maximum number of lines that a problem names."""


@dataclass(frozen=True)
class Cells:
    """The cells of a file."""

    frame: "pd.DataFrame"
    """Text by column; the index is the line number in which a row begins."""
    delimiter: str
    notes: tuple[str, ...] = ()
    """Decisions about the file, one line each."""


def read(path: Path) -> Cells:
    """Read all cells of a CSV file.

    Raises:
        UserError: if the file cannot be read, is not text, has a quote that does not close, or rows of unequal length.
    """
    content, encoding, notes = _read_bytes(path)
    return _cells(path, content, encoding, notes)


def read_chunks(path: Path) -> Iterator[Cells]:
    """Read the cells of a CSV file in UTF-8 in parts of about `CHUNK` bytes.

    Raises:
        UserError: as `read`, and if the file is not in UTF-8.
    """
    with reading(path):
        file = _open(path)
    with file:
        rest, header, delimiter, lines, final = b"", b"", "", 0, False
        while not final:
            with _reading(path):
                block = file.read(CHUNK)
            final = len(block) < CHUNK
            content = rest + block
            end = len(content) if final else _end_of_row(content)
            content, rest = content[:end], content[end:]
            if not header:
                content = _without_separator(content.removeprefix(b"\xef\xbb\xbf"))
            if not content.strip() and (header or not final):
                continue
            if b"\0" in content or not _decodes(content, "utf-8"):
                raise UserError(f"{path}: not UTF-8 text; shards need a CSV file in UTF-8")
            try:
                cells = _cells(path, header + content, "utf-8", [], delimiter)
            except UserError as error:
                raise UserError(_moved(str(error), path, lines)) from error
            yield replace(cells, frame=cells.frame.set_axis(cells.frame.index + lines))
            if not header:
                header = _first_row(content)
                lines, delimiter = -header.count(b"\n"), cells.delimiter
            lines += content.count(b"\n")


def _moved(message: str, path: Path, lines: int) -> str:
    """Return the message of an error in a part of a file that begins after `lines` lines."""
    place = message.removeprefix(str(path))
    return f"{path}" + re.sub(r"\bline (\d+)", lambda found: f"line {int(found[1]) + lines}", place)


def _end_of_row(content: bytes) -> int:
    """Return the end of the last line of `content` that is not within quotes; 0 if there is no line.

    If each line is, a quote is a part of a cell, or a later row has the fault.
    """
    end, quotes = len(content), content.count(b'"')
    while end > 0:
        start = content.rfind(b"\n", 0, end) + 1
        quotes -= content.count(b'"', start, end)
        if quotes % 2 == 0:
            return start
        end = start - 1
    return content.rfind(b"\n") + 1


def _first_row(content: bytes) -> bytes:
    """Return the first row of `content`, with the blank lines before it."""
    end = len(content) - len(content.lstrip(b"\r\n"))
    while (end := content.find(b"\n", end) + 1) and content.count(b'"', 0, end) % 2:
        pass
    return content[: end or None]


def _cells(path: Path, content: bytes, encoding: str, notes: list[str], delimiter: str = "") -> Cells:
    """Return all cells of the `content` of a CSV file, which begins with the column names."""
    returns = content.count(b"\r") - content.count(b"\r\n")
    if 0 < returns < content.count(b"\n") and encoding not in WIDE:
        content = re.sub(rb"\r(?!\n)", b" ", content)  # Python's and pandas' writers do not quote such cells
    beginning = content[: 4 * SAMPLE].decode(encoding, "ignore")[:SAMPLE]
    delimiter = delimiter or find_delimiter(beginning)
    if delimiter != ",":
        notes.append(f"{path.name}: its cells are separated by {DELIMITERS[delimiter]}")
    header = _header(path, beginning, delimiter)
    frame = _parse_at_once(content, encoding, delimiter, len(header))
    if frame is None:
        frame = _parse_by_row(path, content.decode(encoding), delimiter, len(header))
    if len(frame) and header[-1] == "" and frame.iloc[:, -1].eq("").all():
        header = header[:-1]  # every line ends with a delimiter
        frame = frame.iloc[:, :-1]
    check_names(path, header)
    if len(frame) and all(re.fullmatch(r"[-+]?\d+([.,]\d+)?", name) for name in header):
        notes.append(f"{path.name}: the first line has only numbers; it is read as the names of the columns")
    return Cells(frame.set_axis(header, axis="columns"), delimiter, tuple(notes))


def release_memory() -> None:
    """Give the memory of cells that are no longer in use back to the system; PyArrow keeps it."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def read_text(path: Path) -> tuple[str, list[str]]:
    """Read a text file in the encoding of its byte order mark, in UTF-8, or else in Windows-1252.

    Returns:
        The text, and notes about its encoding.

    Raises:
        UserError: if the file cannot be read or is not text.
    """
    content, encoding, notes = _read_bytes(path)
    return content.decode(encoding), notes


def _without_separator(content: bytes) -> bytes:
    """Return the content of a file with a blank line in the place of one that tells Excel the delimiter."""
    found = SEPARATOR.match(content)
    return (found[1] or b"") + content[found.end() :] if found else content


def _open(path: Path) -> io.BufferedReader | gzip.GzipFile:
    """Open a file, and decompress one of gzip."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn an error of the block, which reads `path`, into a `UserError`."""
    with reading(path):
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: this file of gzip is damaged or cut off; copy it again") from error


def _read_bytes(path: Path) -> tuple[bytes, str, list[str]]:
    """Return the content of a text file, its encoding, and notes about the encoding."""
    with _reading(path), _open(path) as file:
        content = _without_separator(file.read())
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            if not _decodes(content, encoding):
                raise UserError(f"{path}: not {encoding} text, which its first bytes announce; save it again")
            return content, encoding, []
    if content.startswith(b"PK\x03\x04"):
        raise UserError(f"{path}: a ZIP archive or an Excel workbook, not text; save it as CSV in UTF-8")
    if b"\0" in content:
        raise UserError(f"{path}: not UTF-8 text (it has zero bytes); save it as CSV in UTF-8")
    if _decodes(content, "utf-8"):
        return content, "utf-8", []
    note = f"{path.name}: not UTF-8; read as Windows-1252 (Latin-1). If letters look wrong, save it in UTF-8"
    return content, "cp1252" if _decodes(content, "cp1252") else "latin-1", [note]


def _decodes(content: bytes, encoding: str) -> bool:
    """Return whether `content` is text in an encoding."""
    try:
        content.decode(encoding)
    except UnicodeError:
        return False
    return True


def find_delimiter(beginning: str) -> str:
    """Return the delimiter that splits the first line, and the most rows into as many cells as the first line.

    Of several, the one that makes the most columns is chosen, then the first of `DELIMITERS`.
    """
    best, chosen = (0.0, 1), ","
    for delimiter in DELIMITERS:
        sizes = []
        try:
            for row in itertools.islice(csv.reader(io.StringIO(beginning, newline=""), delimiter=delimiter), SAMPLED):
                sizes += [len(row)] if row else []
        except csv.Error:  # a cell above the limit of the module
            sizes = sizes[:1]
        if len(beginning) == SAMPLE:
            sizes = sizes[:-1] or sizes
        if not sizes or sizes[0] < 2:
            continue
        fitting = sum(size == sizes[0] for size in sizes) / len(sizes)
        if (fitting, sizes[0]) > best:
            best, chosen = (fitting, sizes[0]), delimiter
    return chosen


def _header(path: Path, beginning: str, delimiter: str) -> list[str]:
    """Return the column names in the first line, in which a quoted name may have line breaks.

    A first column without a name has that of `INDEX`: pandas and R write the index of a data frame so.
    """
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(io.StringIO(beginning, newline=""), delimiter=delimiter)
    names = [name.strip() for name in next(filter(None, rows), [])]
    check_number(path, names)
    if not any(names):
        raise UserError(f"{path}: no column names in the first line")
    return [names[0] or INDEX, *names[1:]]


def check_number(path: Path, names: Sequence[str]) -> None:
    """Check that there are not too many columns."""
    if len(names) > COLUMNS:
        raise UserError(f"{path}: more than {COLUMNS:,} columns; remove some")


def check_names(path: Path, names: Sequence[str]) -> None:
    """Check that no column name is missing or repeated."""
    for position, name in enumerate(names, start=1):
        if not name or name in names[: position - 1]:
            fault = f"({name}) repeats the name of another" if name else "has no name"
            raise UserError(f"{path}: column {position} {fault}; rename it")


def _parse_at_once(content: bytes, encoding: str, delimiter: str, columns: int) -> "pd.DataFrame | None":
    """Parse the rows below the first line with PyArrow.

    Returns:
        The cells by the position of their column, and the lines in which rows begin as the index. None if another
        parser could see other cells: the quotes are unusual, rows have unequal lengths, or lines are blank.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv as pyarrow_csv

    if encoding != "utf-8":
        content = content.decode(encoding).encode()
    quoted = b'"' in content
    if columns == 1 or b"\0" in content or (quoted and _unusual_quotes(content, delimiter)):
        return None
    names = list(map(str, range(columns)))
    try:
        table = pyarrow_csv.read_csv(
            pa.BufferReader(content),
            pyarrow_csv.ReadOptions(column_names=names),
            pyarrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=quoted),
            pyarrow_csv.ConvertOptions(check_utf8=False, column_types=dict.fromkeys(names, pa.large_string())),
        )
    except pa.ArrowInvalid:
        return None
    heights = np.ones(len(table), "int64")
    if (lines := _count_lines(content)) != len(table):
        for column in table.columns:
            heights += pc.count_substring_regex(column, LINE_BREAK).to_numpy()
        if heights.sum() != lines:
            return None
    texts = table.slice(1).columns
    if not content.isascii() or any(blank in content for blank in BLANKS):
        texts = [pc.utf8_trim_whitespace(column) for column in texts]
    string = pd.StringDtype(na_value=np.nan)
    frame = pa.table(texts, names).to_pandas(types_mapper={pa.large_string(): string}.get)
    ends = heights.cumsum()
    return frame.set_axis(pd.RangeIndex(2, lines + 1) if lines == len(table) else pd.Index(ends[:-1] + 1))


def _unusual_quotes(content: bytes, delimiter: str) -> bool:
    """Return whether a quote that opens a cell is not closed at the end of a cell."""
    ends = b"\r\n" + re.escape(delimiter).encode()
    cell = re.compile(rb'"(?<![^%b]")(?:[^"]++|"")*+(?:"(?=[%b]|\Z)|())' % (ends, ends))
    return any(found[1] is not None for found in cell.finditer(content))


def _count_lines(content: bytes) -> int:
    """Return the number of lines up to the last one that is not blank."""
    tail = content[-SAMPLED:]
    blank = tail[len(tail.rstrip(b"\r\n")) :]

    def breaks(text: bytes) -> int:
        returns = text.count(b"\r")
        return text.count(b"\n") + returns - (text.count(b"\r\n") if returns else 0)

    return breaks(content) - breaks(blank) + 1


def _parse_by_row(path: Path, text: str, delimiter: str, columns: int) -> "pd.DataFrame":
    """Parse the rows below the first line, and find the place of any problem.

    Blank lines are no rows, except between the rows of a file with one column, where they are empty cells.

    Returns:
        The cells by the position of their column, and the lines in which rows begin as the index.
    """
    import pandas as pd

    csv.field_size_limit(sys.maxsize)  # the default is 131,072 characters
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 1
    try:
        for row in reader:
            if row or columns == 1:
                rows.append(row or [""])
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, {_quoting_fault(text, line, delimiter)}") from error
    named = next(index for index, row in enumerate(rows) if any(cell.strip() for cell in row))
    rows, lines = rows[named + 1 :], lines[named + 1 :]
    while columns == 1 and rows and not rows[-1][0].strip():
        rows.pop()
        lines.pop()
    if ragged := [index for index, row in enumerate(rows) if len(row) != columns]:
        for index in ragged:  # a delimiter too many at the end of a line is no cell
            if len(rows[index]) > columns and not any(cell.strip() for cell in rows[index][columns:]):
                rows[index] = rows[index][:columns]
        _check_lengths(path, [(lines[index], len(rows[index])) for index in ragged], columns)
    cells = {place: [row[place].strip() for row in rows] for place in range(columns)}
    return pd.DataFrame(cells, index=pd.Index(lines, dtype="int64"), dtype="str")


def _check_lengths(path: Path, sizes: Sequence[tuple[int, int]], columns: int) -> None:
    """Check that all rows have as many cells as there are columns, given the line and cells of some of them."""
    wrong = [f"line {line}: {cells} cells" for line, cells in sizes if cells != columns]
    if wrong:
        more = f", and {len(wrong) - NAMED:,} more" if len(wrong) > NAMED else ""
        fix = "put cells with delimiters in quotes, or add the missing cells"
        raise UserError(f"{path}, {', '.join(wrong[:NAMED])}{more}, but there are {columns} columns; {fix}")


def _quoting_fault(text: str, line: int, delimiter: str) -> str:
    """Return a message about the first cell with faulty quotes, in the row that begins in `line`."""
    rest = "".join(itertools.islice(io.StringIO(text, newline=""), line - 1, None))
    cell = re.compile(
        rf'(?:"(?:[^"]|"")*+"|(?!")[^{re.escape(delimiter)}\r\n]*+)(?:{re.escape(delimiter)}|\r\n?|\n|\Z)'
    )
    place = 0
    while place < len(rest) and (found := cell.match(rest, place)) and found.end() > place:
        place = found.end()
    opening = line + len(re.findall(LINE_BREAK, rest[:place]))
    fault = "a quote opens here and does not close at the end of a cell"
    return f"line {opening}: {fault}; close it, and double the quotes inside a cell"


def require(path: Path, frame: "pd.DataFrame", columns: Sequence[str]) -> None:
    """Check that a file has `columns`.

    Raises:
        UserError: if some are missing; one line for each, with the nearest name.
    """
    missing = []
    for name in dict.fromkeys(columns):
        if name not in frame:
            meant = did_you_mean(name, map(str, frame.columns))
            has = f"; it has {', '.join(frame.columns[:20])}" + (", …" if len(frame.columns) > 20 else "")
            missing.append(f"{path}: no column {name}{meant or has}")
    if missing:
        raise UserError("\n".join(missing))
