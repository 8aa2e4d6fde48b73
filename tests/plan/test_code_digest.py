"""The digest of code: what changes it, what does not, and that it is the same on every Python."""

import ast

import pytest

from atlas_core.code_digest import source_digest

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
