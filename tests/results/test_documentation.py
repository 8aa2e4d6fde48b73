"""What docs/results.md says is true: its queries run, its reference is that of the views."""

import re
from pathlib import Path

import pytest

from atlas_core.errors import AtlasError
from atlas_core.results.database import query
from atlas_core.results.reference import MARKER, update, view_reference
from atlas_core.results.tables import table_names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"
TEXT = PAGE.read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", TEXT, flags=re.S)


def test_there_are_a_dozen_worked_queries():
    assert len(QUERIES) >= 12


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_every_worked_query_answers(con, number):
    answer = query(con, QUERIES[number])
    assert answer.num_rows > 0 or "-- may be empty" in QUERIES[number]


def test_the_reference_is_that_of_the_views():
    assert TEXT.partition(MARKER)[1:] == (MARKER, view_reference().removeprefix(MARKER))


def test_every_table_is_named():
    assert all(f"`{name}`" in TEXT for name in table_names())


def test_a_page_is_updated_from_its_marker_on(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKER}\nold")
    update(page)
    assert page.read_text() == "before\n" + view_reference()
    page.write_text("no marker")
    with pytest.raises(AtlasError, match="no marker"):
        update(page)


def test_the_example_in_python_runs(con, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)
    monkeypatch.setattr("atlas_core.results.current.open_results", lambda store: con)
    exec(example, {})
    assert "Base-to-new generalization" in capsys.readouterr().out
