"""CSV files: encodings, delimiters, quotes and rows of unequal length."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from common.errors import UserError
from common.preprocessing import csv_file, table_files


def read(folder: Path, content: str | bytes) -> csv_file.Cells:
    file = folder / "file.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return csv_file.read(file)


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb\n1,5\t2;5\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ('"a;b",c\n"1;2",3\n', ","),
        ("a;value, EUR\n1;1,5\n2;2,5\n", ";"),
        ("Price, EUR;b\n1;2\n", ";"),
        ("text\na\n", ","),
    ],
)
def test_the_header_and_the_rows_decide_the_delimiter(content: str, delimiter: str, tmp_path: Path) -> None:
    found = read(tmp_path, content)
    assert found.delimiter == delimiter
    assert len(found.frame) == len(content.splitlines()) - 1
    assert any("separated by" in note for note in found.notes) == (delimiter != ",")


@pytest.mark.parametrize(
    ("encoding", "noted"),
    [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("utf-32", False), ("latin-1", True), ("cp1252", True)],
)
def test_the_encoding_is_decided_from_the_bytes(encoding: str, noted: bool, tmp_path: Path) -> None:
    found = read(tmp_path, "größe,b\ncafé,1\n".encode(encoding))
    assert found.frame.to_dict("list") == {"größe": ["café"], "b": ["1"]}
    assert any("Windows-1252" in note for note in found.notes) == noted


def test_every_byte_is_a_character_of_some_encoding(tmp_path: Path) -> None:
    assert read(tmp_path, b"a,b\n\x81\x8d,1\n").frame["b"].tolist() == ["1"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_first_line_for_excel_is_no_header(mark: bytes, tmp_path: Path) -> None:
    content = mark + b"sep=;\r\na;b\r\n1,5;2\r\n3,5;4\r\n"
    cells = read(tmp_path, content)
    assert cells.frame.to_dict("list") == {"a": ["1,5", "3,5"], "b": ["2", "4"]}
    assert cells.frame.index.tolist() == [3, 4]
    (part,) = csv_file.read_chunks(tmp_path / "file.csv")
    assert part.frame.equals(cells.frame)


def test_the_index_of_a_data_frame_is_a_column(tmp_path: Path) -> None:
    content = pd.DataFrame({"a": [3, 4]}).to_csv()
    assert read(tmp_path, content).frame.to_dict("list") == {"index": ["0", "1"], "a": ["3", "4"]}
    with pytest.raises(UserError, match=r"column 2 \(index\) repeats the name"):
        read(tmp_path, content.replace(",a", ",index"))


def test_a_file_of_gzip_is_decompressed(tmp_path: Path) -> None:
    compressed = gzip.compress(b"a,b\n1,2\n" + b"3,4\n" * 5000)
    expected = {"a": ["1", *["3"] * 5000], "b": ["2", *["4"] * 5000]}
    assert read(tmp_path, compressed).frame.to_dict("list") == expected
    parts = list(csv_file.read_chunks(tmp_path / "file.csv"))
    assert table_files.joined(parts).frame.to_dict("list") == expected
    for damaged in (compressed[:-20], compressed[:-8] + bytes(8), compressed[:20] + bytes(50)):
        with pytest.raises(UserError, match=r"file\.csv: this file of gzip is damaged or cut off"):
            read(tmp_path, damaged)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no column names in the first line"),
        ("a,b\n1,2\n".encode("utf-16-le"), "not UTF-8 text"),
        (b"\xff\xfea", "not utf-16 text"),
        (b"PK\x03\x04\0\0", "an Excel workbook"),
        ("a,a\n1,2\n", r"column 2 \(a\) repeats the name"),
        ("a,\n1,2\n", "column 2 has no name"),
        (",".join(map(str, range(2000))), "more than 1,000 columns"),
        ('a,b\n1,2\n1,"x\n2,y\n', "line 3: a quote opens here"),
        ('a,b\n1,"x\ny"\n2,"y\n3,z\n', "line 4: a quote opens here"),
        ('a,b\n1,"x"z\n', "line 2: a quote opens here"),
        ("a,b\n1,2\n1\n1,2,3\n", "line 3: 1 cells, line 4: 3 cells, but there are 2 columns"),
        ("a,b\n" + "1\n" * 9, "and 4 more, but there are 2 columns"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(content: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)


def test_long_cells_line_breaks_and_quotes_in_cells_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, f'a,"b"\n{"x" * 200_000},1\n"say ""hi""\nthere",2\n\n c ,3\n').frame
    assert found["b"].tolist() == ["1", "2", "3"]
    assert [len(cell) for cell in found["a"]] == [200_000, 14, 1]
    assert found.index.tolist() == [2, 3, 6]  # the lines in which the rows begin


def test_delimiters_at_the_end_of_lines_are_no_column(tmp_path: Path) -> None:
    assert list(read(tmp_path, "a,b,\n1,2,\n").frame) == ["a", "b"]
    assert read(tmp_path, "a,b\n1,2,\n3,4,,\n").frame["b"].tolist() == ["2", "4"]


def test_blank_lines_are_rows_only_in_a_file_with_one_column(tmp_path: Path) -> None:
    assert read(tmp_path, "a\nx\n\ny\n\n\n").frame["a"].tolist() == ["x", "", "y"]
    assert len(read(tmp_path, "a,b\n1,2\n\n3,4\n").frame) == 2


def test_a_first_line_of_numbers_is_noted(tmp_path: Path) -> None:
    assert "only numbers" in read(tmp_path, "1,2\n3,4\n").notes[0]


def test_a_mistyped_column_gets_the_nearest_name(tmp_path: Path) -> None:
    frame = read(tmp_path, "target,other\n1,2\n").frame
    with pytest.raises(UserError) as error:
        csv_file.require(Path("f.csv"), frame, ["targt", "zzz", "other"])
    lines = str(error.value).splitlines()
    assert lines[0] == "f.csv: no column targt; did you mean target?"
    assert lines[1] == "f.csv: no column zzz; it has target, other"


def test_a_carriage_return_within_a_cell_is_a_blank(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b"a,b\n1,first\rsecond\n2,third\n")  # as pandas writes it
    assert csv_file.read(file).frame["b"].tolist() == ["first second", "third"]
