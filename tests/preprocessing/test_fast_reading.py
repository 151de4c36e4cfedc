"""The fast readers of CSV files and of columns of numbers find exactly what the careful ones do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common.errors import UserError
from common.preprocessing import cell_numbers, cells, columns, csv_file, tables

PLAIN = st.one_of(
    st.integers(-50, 50).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
    st.floats(-5, 5).map(lambda value: f"{value:.3f}"),
    st.integers(-(10**25), 10**25).map(str),
    st.integers(10**14, 10**30).map(lambda digits: f"{digits / 10**12:.20f}"),
    st.sampled_from(["-0", "0", "-0.0", "007", "1e5", "1E-400", ".5", "5.", "4.000", "1.234", "12.345.678", "1e29"]),
)
MISSING = st.sampled_from([*cells.MISSING, " NA ", " "])
ODD = st.one_of(
    st.sampled_from(["+1", "+1.5", "1_000", "0x10", "inf", "-Infinity", "nan", "-nan", "1e", "e5", ".", "-", "1e400"]),
    st.sampled_from(
        ["٣", "²", "½", "1,5", "4,000", "6%", "$6", "(1)", "−5", "1 000", "True", "20240131", "2024-01-31"]
    ),
    st.sampled_from(['a"b', '"', '""', "a\nb", "a\r\nb", "a\rb", "a,b", "a;b", " a ", "\u00a01\u2003", "\x1c2", "é"]),
    st.text(max_size=4),
)


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Return a CSV file: each column of one kind, some quoted cells, and in some files unusual lines."""
    kinds = [PLAIN, PLAIN, st.one_of(PLAIN, PLAIN, MISSING), st.one_of(PLAIN, MISSING, ODD), ODD]
    cells = [draw(st.sampled_from(kinds)) for _ in range(draw(st.integers(1, 4)))]
    quote = draw(
        st.sampled_from([lambda cell: cell, lambda cell: quoted(cell) if set(cell) & set(',;"\r\n') else cell])
    )
    rows = [[quote(draw(kind)) for kind in cells] for _ in range(draw(st.integers(0, 15)))]
    names = draw(st.sampled_from([["a", "b", "c", "y"], ["a", '"b\nb"', " c ", "y"], ["1", "2", "3", "4"]]))
    lines = [draw(st.sampled_from(",,,;\t")).join(row) for row in [names[-len(cells) :], *rows]]
    if draw(st.integers(0, 3)) == 0:
        unusual = st.sampled_from(["", " ", ",", "1", "1,2,3,4,5", '"1', '"1"2,3', 'x"1",2', '"a\n\nb",2', '""'])
        lines.insert(draw(st.integers(0, len(lines))), draw(unusual))
    if draw(st.integers(0, 3)) == 0:
        lines = [f"{line}," for line in lines]
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    content = end.join(lines) + draw(st.sampled_from(["", end, end * 3]))
    return content.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"])), "replace")


def found(path: Path) -> Any:
    """Return all that the readers find in a file, or their error."""
    try:
        file = csv_file.read(path)
        decisions = columns.decide(path, file.frame, (), "auto", file.delimiter)
    except UserError as error:
        return str(error)
    cells = {name: (list(cells), cells.index.tolist()) for name, cells in file.frame.items()}
    decided = {
        name: (
            one.rule,
            one.format,
            one.content,
            one.note,
            one.problem,
            {key: exact(one.inputs[key]) for key in one.inputs},
        )
        for name, one in decisions.items()
    }
    return cells, file.delimiter, file.notes, decided, described(path, str(file.frame.columns[-1]))


def exact(values: Any) -> Any:
    """Return the type and the bits of numbers, with one NaN, or strings."""
    if values.dtype == object:
        return values.tolist()
    return str(values.dtype), np.where(np.isnan(values), np.nan, values).tobytes()


def described(path: Path, target: str) -> Any:
    """Return the description and the fingerprint of a table, or the reader's error."""
    try:
        raw = tables.read_csv(tables.TableConfig(csv=str(path), target=target), "quantity")
    except UserError as error:
        return str(error)
    overview = {title: table.to_dict("list") for title, table in raw.description.tables.items()}
    return raw.digest, raw.description.notes, raw.description.facts, overview


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(files())
@example(b'a,b\n1,"2\n3"\n4,5\n')
@example(b"a,b\n-0,1\n0,2\n")
@example(b"a,b\n-0,1\n0.5,2\n")
@example('\ufeff"a"x,b\n1,2\n'.encode())
@example(b"a,b\n1.234,4.000\n5.678,5.000\n")
def test_the_fast_readers_find_what_the_careful_ones_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    fast = found(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("common.preprocessing.csv_file._parse_at_once", lambda *_: None)
        patch.setattr("common.preprocessing.cell_numbers._read_plain", lambda *_: None)
        assert fast == found(path)


@pytest.mark.parametrize("content", ["a,b\n1.5,x\n-2,\n", 'a,b\n"1","x, ""y"""\n2,"z\nz"\n', "a;b\r\n1; x\r\n\r\n"])
def test_ordinary_files_are_read_at_once(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.csv").write_bytes(content.encode())
    monkeypatch.setattr("common.preprocessing.csv_file._parse_by_row", None)
    monkeypatch.setattr("common.preprocessing.cell_numbers._read_decorated", None)
    frame = csv_file.read(tmp_path / "file.csv").frame
    assert cell_numbers.read_numbers(frame["a"]).decided in ("", ".")
    assert len(frame) == content.count("1") + content.count("2")
