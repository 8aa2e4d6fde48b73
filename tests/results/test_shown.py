"""Names that a terminal, a page or a spreadsheet would obey are shown, and do nothing."""

from __future__ import annotations

import csv
import io
import json
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from atlas_core.cli import main
from atlas_core.results.case_study import soft_label_figure
from atlas_core.results.figure_style import inline_svg
from atlas_core.results.latex import tex
from atlas_core.results.rendering import artifact_description, artifact_records, render, render_table
from atlas_core.results.report.write import page_text
from atlas_core.results.tables import Block, Cell, ResultTable, Row
from atlas_core.shown import shown, shown_in_markdown, shown_in_markup
from atlas_core.use.comparison_text import _aligned, _number
from atlas_core.use.predict import ImagePrediction, RankedClass, render_predictions

HOSTILE = {
    "colours": "\x1b[31mred\x1b[0m",
    "title of the window": "\x1b]0;gone\x07",
    "one-byte escape": "\x9b31m",
    "line break": "a\nb",
    "carriage return": "safe\rgone",
    "paragraph separator": "a\u2029b",
    "turned around": "abc\u202ecba",
    "isolates": "\u2067abc\u2069",
    "invisible": "a\u200bb\ufeff",
    "formula": "=cmd|' /C calc'!A0",
    "sum": "@SUM(1+1)",
    "plus": "+1",
    "minus": "-1+2",
    "rich markup": "[bold]x[/bold] [/x]",
    "LaTeX": r"\input{/etc/passwd} $x$ [2pt] & %",
    "HTML": "<script>alert(1)</script>&amp;",
    "Markdown": "a|b `c` [d](javascript:e) *f*",
    "half a character": "\ud800",
}
NAMES = list(HOSTILE.values())
BAD = set(
    map(
        chr,
        [
            *range(32),
            *range(127, 160),
            0x200B,
            0x200E,
            0x200F,
            *range(0x2028, 0x202F),
            *range(0x2066, 0x206A),
        ],
    )
)


def table_of(name: str) -> ResultTable:
    rows = tuple(Row((name, "ls"), (Cell(value),)) for value in (50.0, 60.0))
    return ResultTable(
        "x",
        f"Table {name}",
        ("method", "supervision"),
        (Block(f"Block {name}", (f"column {name}",), rows),),
        (name,),
    )


@pytest.mark.parametrize("name", NAMES, ids=list(HOSTILE))
def test_nothing_that_acts_reaches_a_terminal(name: str) -> None:
    answer = pa.table({"class": [name.replace("\ud800", "x")], "n": [1]})
    predictions = [ImagePrediction(name, (RankedClass(name, 0.5),))]
    texts = [
        render(answer),
        render(answer, "markdown"),
        render_table(table_of(name)),
        render_table(table_of(name), "markdown"),
        render_table(table_of(name), "latex"),
        render_predictions(predictions, "table"),
        _aligned(["a"], [[_number(name)]]),
    ]
    for text in texts:
        assert not BAD & set(text.replace("\n", "")), text


@pytest.mark.parametrize("name", NAMES, ids=list(HOSTILE))
def test_an_error_on_the_command_line_is_shown_as_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["atlas", "table", name])
    with pytest.raises(SystemExit):
        main()
    message = capsys.readouterr().err
    assert not BAD & set(message.replace("\n", "")), message
    assert "Traceback" not in message


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_is_shown_in_markup_is_the_text_itself(text: str) -> None:
    text = text.rstrip("\\")  # rich shows a backslash at the very end twice
    visible = shown(text)
    assert Text.from_markup(shown_in_markup(text)).plain == visible
    assert not BAD & set(visible)


def test_plain_text_stays_as_it_is() -> None:
    for text in ("sea snake", "Löwe 猫 🦊 שלום", "naïve café – 100 % ±1", "a\u200cb"):
        assert shown(text) == text
    assert shown("a\nb", keep="\n") == "a\nb"
    assert (shown("\x1b"), shown("\n"), shown("\u202e")) == (r"\x1b", r"\n", r"\u202e")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "＝1", "\n=1"])
def test_a_spreadsheet_runs_no_cell(name: str) -> None:
    answer = pa.table({"class": [name], "value": [-1.5]})
    rows = list(csv.reader(io.StringIO(render(answer, "csv", spreadsheet=True))))
    assert not rows[1][0].lstrip("\t\n\r ").startswith(("=", "+", "-", "@", "＝"))
    assert rows[1][1] == "-1.5", "a number is no formula"
    predictions = [ImagePrediction("1.png", (RankedClass(name, 0.5),))]
    cell = list(csv.reader(io.StringIO(render_predictions(predictions, "csv", spreadsheet=True))))[1][2]
    assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝"))
    records = list(csv.DictReader(io.StringIO(render_table(table_of(name), "csv", spreadsheet=True))))
    assert all(not cell.lstrip().startswith(("=", "+", "-", "@", "＝")) for cell in records[0].values())


@pytest.mark.parametrize("name", NAMES, ids=list(HOSTILE))
def test_files_for_programs_keep_every_character(name: str) -> None:
    name = name.replace("\ud800", "x")
    answer = pa.table({"class": [name]})
    assert json.loads(render(answer, "json")) == [{"class": name}]
    assert list(csv.reader(io.StringIO(render(answer, "csv"), newline="")))[1] == [name]


def test_markdown_shows_markup_and_html() -> None:
    text = render(pa.table({"class": [HOSTILE["Markdown"], HOSTILE["HTML"]]}), "markdown")
    assert text.splitlines()[2] == r"| a\|b \`c\` [d\](javascript:e) \*f\* |"
    assert "<script>" not in text
    assert "<script>" not in render_table(table_of(HOSTILE["HTML"]), "markdown")
    assert shown_in_markdown("a\n# b") == r"a\\n# b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[2pt]", "{[}2pt{]}"),
        ("\x1b", r"\textbackslash{}x1b"),
        ("\u202e", r"\textbackslash{}u202e"),
        ("a\nb", "a b"),
    ],
)
def test_latex_takes_nothing_for_a_command(text: str, expected: str) -> None:
    assert tex(text) == expected


@pytest.mark.parametrize("name", NAMES, ids=list(HOSTILE))
def test_a_prefect_artifact_shows_what_the_table_shows(name: str) -> None:
    for record in artifact_records(table_of(name)):
        assert not BAD & set("".join(str(value) for value in record.values()))
    assert not BAD & set(artifact_description(name))
    assert "<script" not in artifact_description(name)


@pytest.mark.parametrize("name", NAMES, ids=list(HOSTILE))
def test_a_page_shows_names_and_its_drawings_are_well_formed(name: str) -> None:
    assert not BAD & set(str(page_text(name)).replace("\n", ""))
    table = np.full((1, 2), 0.5)
    images = [np.zeros((4, 4, 3), dtype=np.uint8)]
    svg = inline_svg(lambda: soft_label_figure(images, [0], [name, "other"], table, table), "x")
    drawn = "".join(ElementTree.fromstring(svg).itertext())
    assert not BAD & set(drawn.replace("\n", ""))
    assert shown(name)[:22].rstrip("…") in drawn
