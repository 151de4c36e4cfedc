"""A page of known sections: its parts, and text that would be markup."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from common.plots.panels import captioned
from common.plots.search import best_so_far
from common.report import page
from common.report.page import Section

EVIL = "<script>alert('&')</script>"


def test_all_text_is_escaped() -> None:
    figure = captioned(best_so_far([1.0], EVIL, "max"), EVIL)
    buffer = io.BytesIO()
    figure.savefig(buffer, metadata={"Description": figure.get_label()})
    section = Section(
        EVIL,
        [EVIL],
        [EVIL],
        {EVIL: EVIL},
        [page.table(pd.DataFrame({EVIL: [EVIL]}), EVIL)],
        [page.image(buffer.getvalue())],
        {EVIL: EVIL},
    )
    html = page.render(EVIL, EVIL, [EVIL], [section])
    assert "<script" not in html
    # Title 2, subtitle, fact, heading 3, paragraph, item, fact 2, table 3, image 2, command 2.
    assert html.lower().count("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;") == 18


def test_tables_show_numbers_tuples_and_missing_values_and_say_what_they_leave_out() -> None:
    frame = pd.DataFrame({"x": [1 / 3, np.nan], "n": pd.array([1, None], "Int64"), "t": [(1, 2), None]})
    table = page.table(frame, "numbers")
    assert table.rows == [["0.33333", "1", "1 2"], ["", "", ""]]
    assert table.numeric == [True, True, False]
    assert table.caption == "numbers"
    many = page.table(pd.DataFrame({"x": range(1000)}), "numbers")
    assert len(many.rows) == page.LARGEST
    assert many.caption == "numbers; the first 30 of 1,000 rows"


def test_an_item_of_a_list_has_its_remark() -> None:
    html = page.render("", "", [], [Section("S", points=["one", "two"], remarks={"one": "& why", "two": ""})])
    assert re.findall(r"<li>(.*?)</li>", html) == ["one<small>&amp; why</small>", "two"]


def test_sections_without_content_are_left_out() -> None:
    html = page.render("title", "", [], [Section("Full", ["words"]), Section("Empty")])
    assert "Full" in html
    assert "Empty" not in html


def test_images_without_room_are_named_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 10)).save(buffer, "PNG")
    png = buffer.getvalue()
    monkeypatch.setattr(page, "ROOM", 2 * len(png))
    shown, (sentence,) = page.fitting({"one": png, "two": png, "three": png})
    assert [(image.width, image.height, image.wide, image.caption) for image in shown] == [(30, 10, True, "")] * 2
    assert sentence.endswith(": three.png.")
    assert page.fitting({"one": png})[1] == []
