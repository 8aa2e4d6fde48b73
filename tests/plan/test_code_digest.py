"""The digest of code: what changes it, what does not, and that it is the same on every Python."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atlas_core.code import modules, sources
from atlas_core.code.closure import Sources
from atlas_core.errors import AtlasError

# Every kind of syntax whose tree differs between Python 3.11, 3.12 and 3.13: functions, classes and aliases with their
# type parameters, calls and literals without elements, format strings with a width that is computed.
SOURCE = """
class Box(dict):
    def put(self, *names, width=None, **rest): return f"  {names:<{width}}  {rest!r}", [], (), {}, "\\u1c89"
async def wait(): pass
def nothing(): return None
def root(): return Box().put, wait, nothing
"""
Digest = Callable[..., str]


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Digest]:
    """The digest of `ponds.fish:root` in a package of the files given; a home in which nothing is kept yet."""
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [each for each in sys.modules if each.partition(".")[0] == "ponds"]:
        monkeypatch.delitem(sys.modules, name)

    def of(fish: str, *, root: str = "ponds.fish:root", **others: str) -> str:
        folder = tmp_path / "ponds"
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.py"):
            old.unlink()
        for name, text in {"__init__": "", "fish": fish, **others}.items():
            (folder / f"{name}.py").write_text(text)
        forget()
        return Sources().digest([root])

    forget()
    yield of
    forget()


def forget() -> None:
    """As a new process starts."""
    importlib.invalidate_caches()
    modules._kept.cache_clear()
    sources.source_path.cache_clear()


def in_root(body: str) -> str:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"def root(x, y=2):\n{lines}\n"


def test_the_digest_is_the_same_on_every_python(digest: Digest) -> None:
    """The number was computed alike by 3.11, 3.12 and 3.13."""
    assert digest(SOURCE)[:16] == "1ffc662fd3b5abe7"


def test_the_digest_is_the_same_in_another_process(digest: Digest, tmp_path: Path) -> None:
    here = digest("import torch\nNAMES = {'a', 'b'}\ndef root(): return NAMES & torch.x.y\n")
    script = "from atlas_core.code.closure import Sources; print(Sources().digest(['ponds.fish:root']))"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}", "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == here, done.stderr


# What is not computed: (one, other) of equal digests.
EQUAL = {
    "comment, docstring, layout": (
        "def root(x):\n    return x",
        'def root( x ):\n    """Says."""\n    # why\n    return (x)',
    ),
    "annotations of a function": (
        "def root(x, y=1): return x",
        "from typing import Any\ndef root(x: 'Any', y: int = 1) -> list[Any]: return x",
    ),
    "annotation of a variable": (in_root("a = x\nreturn a"), in_root("b: int\na: int = x\nreturn a")),
    "annotation of a constant": ("A = 1\ndef root(): return A", "A: int = 1\ndef root(): return A"),
    "what only annotations name": (
        "def root(x): return x",
        "class Box:\n    a = 1\ndef root(x: Box) -> Box: return x",
    ),
    "cast": (in_root("return x"), "from typing import cast\n" + in_root("return cast(int, x)")),
    "name of a local variable": (
        in_root("a = [b for b in x]\nfor c, d in a:\n    y += c(lambda c: c + d)\nreturn y"),
        in_root("k = [j for j in x]\nfor i, h in k:\n    y += i(lambda c: c + h)\nreturn y"),
    ),
    "name of a constant, function and helper": (
        "A = 1\ndef f(x): return x + A\ndef root(): return f(A)",
        "K = 1\ndef g(x): return x + K\ndef root(): return g(K)",
    ),
    "order of definitions": (
        "A = 1\nB = 2\ndef root(): return A, B",
        "B = 2\ndef root(): return A, B\nA = 1",
    ),
    "a further definition": (
        "def root(): return 1",
        "EXTRA = 1\ndef other(): return EXTRA\ndef root(): return 1",
    ),
    "import order and alias": (
        "import math\nimport os\ndef root(): return math.floor(os.sep)",
        "from os import sep as s\nfrom math import floor\nimport json\ndef root(): return floor(s)",
    ),
    "import inside the function": (
        "from math import floor\ndef root(): return floor(1)",
        "def root():\n    from math import floor\n    return floor(1)",
    ),
    "words of an error": (
        in_root("if x:\n    raise ValueError(f'{x} is bad')\nreturn y"),
        in_root("if x:\n    raise ValueError('wrong: ' + repr(x))\nreturn y"),
    ),
    "words of this project's error": (
        "from atlas_core.errors import AtlasError\ndef root(x): raise AtlasError(f'{x}', fix='this')",
        "from atlas_core.errors import AtlasError\ndef say(x): return x\n"
        "def root(x): raise AtlasError(say(x), expected=say(1), fix='that')",
    ),
    "words of an error of one's own": (
        "class Bad(ValueError): pass\ndef root(x): return Bad('this', x)",
        "class Bad(ValueError): pass\ndef root(x): return Bad('that', x)",
    ),
    "message of an assertion": (in_root("assert x, 'this'"), in_root("assert x")),
    "log statement": (
        "import logging\nlog = logging.getLogger(__name__)\ndef root(x):\n    log.info('%s', x)\n    return x",
        "import logging\nlog = logging.getLogger(__name__)\ndef root(x):\n    return x",
    ),
    "warning": (
        "import warnings\ndef root(x):\n    warnings.warn('this')\n    return x",
        "import warnings\ndef root(x):\n    warnings.warn('that', stacklevel=2)\n    return x",
    ),
    "imports for types": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef root(x: torch.T): return x",
        "def root(x): return x",
    ),
    "__all__": ("__all__ = ['root']\ndef root(): return 1", "def root(): return 1"),
    "annotation of a dataclass's field": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\ndef root(): return A()",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: float = 1\ndef root(): return A()",
    ),
    "description of a field": (
        "from pydantic import BaseModel, Field\nclass A(BaseModel):\n"
        "    x: int = Field(1, ge=0)\ndef root(): return A()",
        "from pydantic import BaseModel, Field\nclass A(BaseModel):\n"
        "    x: int = Field(1, ge=0, description='x', title='X')\ndef root(): return A()",
    ),
    "a further entry of a registry": (
        "from atlas_core.registry import Registry\nR = Registry('kind', 'group')\ndef root(): return R.get('a')",
        "from atlas_core.registry import Registry\nR = Registry('kind', 'group')\nfor name in ('a', 'b'):\n"
        "    R.add_lazy(name, f'ponds.{name}:A', 'words')\n"
        "@R.register('c')\nclass C: pass\ndef root(): return R.get('a')",
    ),
    "how a class is registered": (
        "from atlas_core.registry import Registry\nR = Registry('kind', 'group')\n@R.register('c')\nclass root: pass",
        "from atlas_core.registry import Registry\nR = Registry('kind', 'group')\n"
        "@R.register('d', summary='x')\nclass root: pass",
    ),
    "when a stage is looked for": (
        "from atlas_core.stages.stage import Stage\ndef run(): return 1\nroot = Stage(run)",
        "from atlas_core.stages.stage import Stage\ndef run(): return 1\ndef there(): pass\n"
        "root = Stage(run, usable=there)",
    ),
}


@pytest.mark.parametrize("case", EQUAL)
def test_what_computes_nothing_does_not_count(case: str, digest: Digest) -> None:
    one, other = EQUAL[case]
    assert digest(one) == digest(other)


DIFFERENT = [
    (in_root("return f('')"), in_root("return f()")),
    (in_root("return ['', 'a']"), in_root("return ['a']")),
    (in_root("return f'{x}b'"), in_root("return f'{x}'")),
    (in_root("return f'{x}{y}'"), in_root("return f'{x:{y}}'")),
    (in_root("return 1"), in_root("return 1.0")),
    (in_root("return 1"), in_root("return True")),
    (in_root("return '1'"), in_root("return b'1'")),
    (in_root("return f(a=None)"), in_root("return f(None)")),
    (in_root("return {**x}"), in_root("return {x}")),
    (in_root("return x[1:]"), in_root("return x[:1]")),
    (in_root("return x < y"), in_root("return x <= y")),
    (in_root("return x - y"), in_root("return y - x")),
    (in_root("a, b = x\nreturn a"), in_root("a, b = x\nreturn b")),
    (in_root("a = x\nb = y\nreturn a"), in_root("a = x\nb = y\nreturn b")),
    (in_root("return [a for a in x for b in y]"), in_root("return [b for a in x for b in y]")),
    (in_root("if x: return 1\nreturn 2"), in_root("return 2")),
    (in_root("try: return 1\nexcept A: return 2"), in_root("try: return 1\nexcept* A: y = 2")),
    (in_root("try: return 1\nexcept KeyError: pass"), in_root("try: return 1\nexcept ValueError: pass")),
    (in_root("raise KeyError(x)"), in_root("raise KeyError(y)")),
    (in_root("raise KeyError('x')"), in_root("raise ValueError('x')")),
    (in_root("raise ValueError(f'{next(x)}')"), in_root("raise ValueError('x')")),
    ("def root(x, y=2): return x", "def root(x, y=3): return x"),
    ("def root(x, /): return x", "def root(x): return x"),
    ("def root(*, a=1, b): return a", "def root(*, a, b=1): return a"),
    ("def root(a): return a", "def root(b): return b"),  # a caller may name it
    ("A = 1\ndef root(): return A", "A = 2\ndef root(): return A"),
    ("A = 1\ndef root(): return A", "A = 1\nA += 1\ndef root(): return A"),
    ("A, B = 1, 2\ndef root(): return A", "B, A = 1, 2\ndef root(): return A"),
    ("A, B = f()\ndef root(): return A", "B, A = f()\ndef root(): return A"),
    ("D = {}\ndef root(): return D", "D = {}\nD['a'] = 1\ndef root(): return D"),
    ("D = []\ndef root(): return D", "D = []\nD.append(1)\ndef root(): return D"),
    ("def f(): return 1\ndef root(): return f()", "def f(): return 2\ndef root(): return f()"),
    ("def f(): pass\ng = f\ndef root(): f(g)", "def f(): pass\ndef g(): pass\ndef root(): f(g)"),
    ("from math import floor as f\ndef root(): return f", "from math import ceil as f\ndef root(): return f"),
    (
        "def root():\n    from math import pi as a\n    return a",
        "def root():\n    from math import e as a\n    return a",
    ),
    ("def sum(x): return x\ndef root(x): return sum(x)", "def root(x): return sum(x)"),
    ("class A:\n    x = 1\ndef root(): return A.x", "class A:\n    x = 1\ndef root(): return A.y"),
    ("class A: pass\nclass root(A): pass", "class A:\n    def f(self): return 1\nclass root(A): pass"),
    ("class A: pass\ndef root(): return A.__name__", "class B: pass\ndef root(): return B.__name__"),
    (
        "from dataclasses import dataclass\n@dataclass\nclass root:\n    x: int = 1",
        "from dataclasses import dataclass\nfrom typing import ClassVar\n@dataclass\nclass root:\n"
        "    x: ClassVar[int] = 1",
    ),
    (
        "from pydantic import BaseModel\nclass A(BaseModel): pass\nclass root(A):\n    x: int = 1",
        "from pydantic import BaseModel\nclass A(BaseModel): pass\nclass root(A):\n    x: float = 1",
    ),
    (
        "from typing import NamedTuple\nclass root(NamedTuple):\n    x: int",
        "from typing import NamedTuple\nclass root(NamedTuple):\n    x: int\n    y: int",
    ),
    (
        "from functools import singledispatch\n@singledispatch\ndef root(x): return 1\n"
        "@root.register\ndef _(x: int): return 2\nroot.more = 1",
        "from functools import singledispatch\n@singledispatch\ndef root(x): return 1\n"
        "@root.register\ndef _(x: str): return 2\nroot.more = 1",
    ),
    (
        "try:\n    from os import sep as a\nexcept ImportError:\n    a = 1\ndef root(): return a",
        "try:\n    from os import curdir as a\nexcept ImportError:\n    a = 1\ndef root(): return a",
    ),
    (
        "class Bad(Exception): pass\ndef root(): raise Bad(1, 'x')",
        "class Bad(Exception): pass\ndef root(): raise Bad(2, 'x')",
    ),
    ("class Row: pass\ndef root(): return Row('x')", "class Row: pass\ndef root(): return Row('y')"),
    (
        "def make(x): return ValueError(x)\ndef root(): raise make('x')",
        "def make(x): return KeyError(x)\ndef root(): raise make('x')",
    ),
    (
        "from atlas_core.registry import Registry\nR = Registry('kind', 'group')\ndef root(): return R.get('a')",
        "from atlas_core.registry import Registry\nR = Registry('kind', 'group')\ndef root(): return R.get('b')",
    ),
    (
        "class log:\n    info = print\ndef root(x): log.info(x)",
        "class log:\n    info = print\ndef root(x): pass",
    ),
    (
        "import logging\nlog = logging.getLogger()\ndef root(x): log.info(y := x)",
        "import logging\nlog = logging.getLogger()\ndef root(x): pass",
    ),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_code_that_does_something_else_has_another_digest(one: str, other: str, digest: Digest) -> None:
    assert digest(one) != digest(other)


def test_a_definition_may_move_to_another_module(digest: Digest) -> None:
    here = digest("class A: pass\ndef f(): return A\ndef root(): return f()")
    there = digest(
        "from ponds.water import f\ndef root(): return f()",
        water="from ponds.plants import A\ndef f(): return A",
        plants="class A: pass",
    )
    through_a_package = digest(
        "import ponds as p\ndef root(): return p.f()",
        __init__="from .water import f",
        water="class A: pass\ndef f(): return A",
    )
    whole_name = digest(
        "import ponds.water\ndef root(): return ponds.water.f()", water="class A: pass\ndef f(): return A"
    )
    assert here == there == through_a_package == whole_name


def test_the_root_may_move_as_well(digest: Digest) -> None:
    assert digest("def root(): return 1") == digest(
        "", water="def other(): return 1", root="ponds.water:other"
    )


def test_what_is_imported_is_followed(digest: Digest) -> None:
    fish = "from ponds import water\nfrom ponds.plants import reed\ndef root(): return water.DEPTH, reed"
    first = digest(fish, water="DEPTH = 1\n", plants="reed = 1\n")
    assert first != digest(fish, water="DEPTH = 2\n", plants="reed = 1\n")
    assert first != digest(fish, water="DEPTH = 1\n", plants="reed = 2\n")
    assert first == digest(fish, water="DEPTH = 1\nWIDTH = 3\n", plants="reed = 1\n")


def test_a_module_that_is_handed_on_counts_whole(digest: Digest) -> None:
    fish = "from ponds import water\ndef root(): return vars(water)"
    assert digest(fish, water="DEPTH = 1\n") != digest(fish, water="DEPTH = 1\nWIDTH = 3\n")


def test_a_name_from_a_star_is_followed(digest: Digest) -> None:
    fish = "from ponds.water import *\ndef root(): return DEPTH"
    assert digest(fish, water="DEPTH = 1\n") != digest(fish, water="DEPTH = 2\n")


@pytest.mark.parametrize(
    "fish",
    [
        "import ponds.water\n",
        "from ponds import water\n",
        "import ponds.water as w\n",
        "from ponds.water import *\n",
    ],
)
def test_a_module_imported_for_what_that_does_counts(fish: str, digest: Digest) -> None:
    code = fish + "def root(): return 1"
    assert digest(code, water="import os\nos.umask(7)\n") != digest(code, water="import os\nos.umask(0)\n")
    assert digest(code, water="DEPTH = 1\n") == digest(code, water="DEPTH = 2\n")


def test_what_importing_the_packages_around_a_module_does_counts(digest: Digest) -> None:
    code = "def root(): return 1"
    assert digest(code, __init__="import os\nos.umask(7)\n") != digest(
        code, __init__="import os\nos.umask(0)\n"
    )


def test_a_root_without_a_name_or_with_an_unknown_one_is_the_whole_module(digest: Digest) -> None:
    for root in ("ponds.fish", "ponds.fish:made_otherwise"):
        assert digest("A = 1\nB = 1\n", root=root) != digest("A = 1\nB = 2\n", root=root)


def test_a_root_without_source_is_an_error_that_names_it(digest: Digest) -> None:
    with pytest.raises(AtlasError, match=r"no Python source for module 'ponds.sharks'"):
        digest("", root="ponds.sharks:root")


def test_definitions_are_named_for_people(digest: Digest) -> None:
    digest("from ponds.water import DEPTH\ndef root(): return DEPTH\n", water="DEPTH = 1\n")
    before = Sources().definitions(["ponds.fish:root"])
    assert list(before) == ["ponds.fish:root", "ponds.water:DEPTH"]
    digest("from ponds.water import DEPTH\ndef root(): return DEPTH\n", water="DEPTH = 2\n")
    after = Sources().definitions(["ponds.fish:root"])
    assert [name for name in before if before[name] != after[name]] == ["ponds.water:DEPTH"]


def test_what_was_read_is_kept_between_processes_and_gives_the_same(
    digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digest("class A(ValueError):\n    x: int = 1\ndef root(): return A('')\n")
    forget()
    monkeypatch.setattr(modules.ast, "parse", lambda *_, **__: pytest.fail("parsed again"))
    assert Sources().digest(["ponds.fish:root"]) == first


def test_an_edit_counts_though_size_and_time_stay_as_they_were(digest: Digest, tmp_path: Path) -> None:
    first = digest("def root(): return 1\n")
    file = tmp_path / "ponds" / "fish.py"
    stat = file.stat()
    file.write_text("def root(): return 2\n")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Sources().digest(["ponds.fish:root"]) != first


def test_a_name_that_becomes_a_module_is_followed_though_its_importer_stays(
    digest: Digest, tmp_path: Path
) -> None:
    digest(
        "from ponds.plants import reed\ndef root(): return reed.HEIGHT\n",
        plants="class reed:\n    HEIGHT = 1\n",
    )
    (tmp_path / "ponds" / "plants.py").unlink()
    (tmp_path / "ponds" / "plants").mkdir()
    (tmp_path / "ponds" / "plants" / "__init__.py").write_text("")
    (tmp_path / "ponds" / "plants" / "reed.py").write_text("HEIGHT = 3\n")
    forget()
    assert "ponds.plants.reed:HEIGHT" in Sources().definitions(["ponds.fish:root"])


def test_a_kept_file_that_is_damaged_is_as_if_there_were_none(digest: Digest, tmp_path: Path) -> None:
    first = digest("def root(): return 1\n")
    (kept,) = (tmp_path / "home" / "kept").iterdir()
    for content in ("", "{}x", '{"a": 1}', '{"a": ["b"]}'):
        kept.write_text(content)
        forget()
        assert Sources().digest(["ponds.fish:root"]) == first
