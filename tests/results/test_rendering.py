"""Tables as text: every format holds every number, and none is cut."""

import csv
import io
import json
import re

import pyarrow as pa
import pytest
from rich.cells import cell_len

from atlas_core.errors import AtlasError
from atlas_core.results.formatting import signed
from atlas_core.results.latex import tex
from atlas_core.results.rendering import render, render_table, table, table_records
from atlas_core.results.tables import Block, Cell, ResultTable, Row, build_table, table_names

BLOCK = Block(
    "Average_1 & more",
    ("base", "new"),
    (
        Row(("coop", "one_hot", ""), (Cell(80.0, 1.5), Cell(60.125, place=2, marks="*"))),
        Row(("coop", "csl", "K=5|x"), (Cell(81.25, 0.25, 1.25, place=1), Cell(61.0, None, -0.5, place=1, marks="†"))),
        Row(("kgcoop", "csl", ""), (Cell(None), Cell(7))),
    ),
)  # fmt: skip
SMALL = ResultTable(
    "small", "A 100 % title", ("method", "supervision", "setting"), (BLOCK,), ("± is ddof 0",)
)


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_the_terminal_shows_value_spread_difference_and_marks():
    text = render_table(SMALL)
    assert "81.25 ±0.25 (+1.25)" in text
    assert "60.12*" in text or "60.13*" in text
    assert "61.00† (−0.50)" in text
    assert "–" in text
    assert re.search(r"│ +7$", text, flags=re.M), "an integer has no decimals"
    assert "\x1b" not in text


def test_a_terminal_gets_bold_for_the_best_and_underline_for_the_second():
    text = render_table(SMALL, width=100)
    assert "\x1b[1m81.25" in text
    assert "\x1b[4m60.1" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.234, "+1.23"), (-1.235, "−1.24"), (-0.004, "0.00"), (0.0, "0.00"), (0.005001, "+0.01")],
)
def test_a_difference_has_a_sign_unless_it_prints_as_zero(value, text):
    assert signed(value) == text


@pytest.mark.parametrize("name", ["base-to-new", "cross-dataset", "statistics", "published"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_number_is_cut_in_a_narrow_terminal(con, name, width):
    whole = build_table(con, name)
    text = plain(render_table(whole, width=width))
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert "…" not in text
    for record in table_records(whole):
        value = record["value"]
        if isinstance(value, float) and not record["column"].startswith("p"):
            assert f"{value:.2f}".replace("-", "−") in text


def test_a_wide_block_goes_on_below_with_its_labels(con):
    text = plain(render_table(build_table(con, "statistics"), width=60))
    assert "(continued)" in text
    assert text.count("Base-to-new: new classes") > 1


def test_markdown_is_a_table_of_equal_rows_with_bold_and_underline():
    text = render_table(SMALL, "markdown")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
    assert "**81.25** ±0.25 (+1.25)" in text
    assert r"<u>60.12</u>\*" in text
    assert r"K=5\|x" in text
    assert text.rstrip().endswith("- ± is ddof 0")


def test_latex_is_a_booktabs_table_with_escaped_text():
    text = render_table(SMALL, "latex")
    assert r"\caption{A 100 \% title. $\pm$ is ddof 0.}" in text
    assert r"Average\_1 \& more" in text
    assert r"\textbf{81.25} {\scriptsize $\pm$0.25} {\scriptsize ($+1.25$)}" in text
    assert r"\underline{60.12}$^*$" in text
    assert r"\textbf{61.00}$^\dagger$ {\scriptsize ($-0.50$)}" in text
    assert text.count(r"\midrule") == 2
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("name", table_names())
def test_every_row_of_every_latex_table_has_as_many_cells_as_columns(con, name):
    text = table(name, con, "latex")
    for tabular in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, flags=re.S):
        columns, body = tabular
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert rows
        assert all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)
    assert "\\begin{tabular}" in text
    assert text.isascii() or not re.search(r"[±†ε∞−–]", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"a\b{c}", r"a\textbackslash{}b\{c\}"),
        ("x_1 ^ ~ # $ % &", r"x\_1 \textasciicircum{} \textasciitilde{} \# \$ \% \&"),
        ("K=∞, ε=1 ±", r"K=$\infty$, $\epsilon$=1 $\pm$"),
    ],
)
def test_latex_escapes(text, expected):
    assert tex(text) == expected


def test_csv_and_json_hold_the_same_unrounded_numbers(con):
    rows = list(csv.DictReader(io.StringIO(table("base-to-new", con, "csv"))))
    records = json.loads(table("base-to-new", con, "json"))
    assert len(rows) == len(records)
    for row, record in zip(rows, records, strict=True):
        assert float(row["value"]) == record["value"]
        assert row["supervision"] == record["supervision"]
        assert (float(row["delta"]) if row["delta"] else None) == record["delta"]


def test_no_label_is_named_like_a_number_of_a_record(con):
    for name in table_names():
        built = build_table(con, name)
        assert not set(built.labels) & {"block", "column", "value", "std", "delta", "place"}


def test_an_unknown_format_is_refused(con):
    with pytest.raises(AtlasError, match="did you mean 'latex'"):
        table("base-to-new", con, "latx")
    with pytest.raises(AtlasError, match="unknown format 'yaml'"):
        render_table(SMALL, "yaml")
    with pytest.raises(AtlasError, match="unknown format 'latex'"):
        render(pa.table({"a": [1]}), "latex")


ANSWER = pa.table({"name": ["a_b", None], "value": [1.23456, float("nan")], "list": [[1, 2], []]})


def test_a_querys_answer_in_every_format():
    assert list(csv.reader(io.StringIO(render(ANSWER, "csv")))) == [
        ["name", "value", "list"], ["a_b", "1.23456", "[1, 2]"], ["", "nan", "[]"],
    ]  # fmt: skip
    assert json.loads(render(ANSWER, "json")) == [
        {"name": "a_b", "value": 1.23456, "list": [1, 2]},
        {"name": None, "value": None, "list": []},
    ]
    assert render(ANSWER, "markdown").splitlines()[2] == r"| a\_b | 1.235 | [1, 2] |"
    assert "1.235" in render(ANSWER)
    assert "2 rows" in render(ANSWER)
    assert "1 row" in render(ANSWER.slice(0, 1))


def test_an_answer_without_rows_keeps_its_columns():
    empty = ANSWER.slice(0, 0)
    assert render(empty, "csv") == "name,value,list\n"
    assert render(empty, "json") == "[]"
    assert "name" in render(empty)
    assert "0 rows" in render(empty)
