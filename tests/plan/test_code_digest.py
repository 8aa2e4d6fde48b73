"""The digest of code: what changes it, what does not, and that it is the same on every Python."""

import ast
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas_core import code_digest
from atlas_core.code_digest import code_digests, source_digest

# Every kind of syntax whose tree differs between Python 3.11, 3.12 and 3.13: functions, classes and aliases with their
# type parameters, calls and literals without elements, format strings with a width that is computed.
SOURCE = """
class Box(dict):
    def put(self, *names, width=None, **rest): return f"  {names:<{width}}  {rest!r}", [], (), {}
async def wait(): pass
def nothing(): return None
"""


def digest(source: str) -> str:
    return source_digest(ast.parse(source))


def test_the_digest_is_the_same_on_every_python() -> None:
    """The number was computed alike by 3.11.7, 3.12.1 and 3.13.0."""
    assert digest(SOURCE) == "7e6cbbc92673a1a3"


def test_comments_docstrings_and_layout_do_not_count() -> None:
    assert digest("def f(x):\n    return x") == digest(
        'def f( x ):\n    """Says."""\n    # why\n    return (x)'
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f('')", "f()"),
        ("['', 'a']", "['a']"),
        ("f'{a}b'", "f'{a}'"),
        ("f'{a}{b}'", "f'{a:{b}}'"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x = '1'", "x = b'1'"),
        ("return_ = None", "return_: None"),
        ("f(a=None)", "f(None)"),
        ("{**a}", "{a}"),
        ("x[1:]", "x[:1]"),
        ("try: pass\nexcept A: pass", "try: pass\nexcept* A: pass"),
        ("def f(a, /): pass", "def f(a): pass"),
        ("def f(*, a=1, b): pass", "def f(*, a, b=1): pass"),
    ],
)
def test_code_that_does_something_else_has_another_digest(one: str, other: str) -> None:
    assert digest(one) != digest(other)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `ponds` of three modules, and a home in which nothing is kept yet."""
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "ponds", raising=False)
    folder = tmp_path / "ponds"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "fish.py").write_text("from ponds import water\nfrom ponds.plants import reed\n")
    (folder / "water.py").write_text("DEPTH = 1\n")
    (folder / "plants.py").write_text("reed = 1\n")
    forget()
    yield folder
    forget()


def forget() -> None:
    """As a new process starts."""
    importlib.invalidate_caches()
    code_digest._parsed.cache_clear()
    code_digest._source_path.cache_clear()


def test_digests_are_kept_between_processes_and_are_the_same(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = code_digests(["ponds.fish"])
    assert list(first) == ["ponds.fish", "ponds.plants", "ponds.water"]
    forget()
    monkeypatch.setattr(code_digest.ast, "parse", lambda *_, **__: pytest.fail("parsed again"))
    assert code_digests(["ponds.fish"]) == first


def test_an_edit_counts_though_size_and_time_stay_as_they_were(package: Path) -> None:
    first = code_digests(["ponds.fish"])
    stat = (package / "water.py").stat()
    (package / "water.py").write_text("DEPTH = 2\n")
    os.utime(package / "water.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for _ in range(2):
        now = code_digests(["ponds.fish"])
        assert {name for name in first if first[name] != now[name]} == {"ponds.water"}
        forget()


def test_a_name_that_becomes_a_module_is_followed_though_its_importer_stays(package: Path) -> None:
    code_digests(["ponds.fish"])
    (package / "plants.py").unlink()
    (package / "plants").mkdir()
    (package / "plants" / "__init__.py").write_text("")
    (package / "plants" / "reed.py").write_text("HEIGHT = 3\n")
    forget()
    assert "ponds.plants.reed" in code_digests(["ponds.fish"])


def test_a_kept_file_that_is_damaged_is_as_if_there_were_none(package: Path) -> None:
    first = code_digests(["ponds.fish"])
    (kept,) = (package.parent / "home" / "kept").iterdir()
    for content in ("", "{}x", '{"a": 1}', '{"a": ["b"]}'):
        kept.write_text(content)
        forget()
        assert code_digests(["ponds.fish"]) == first
