"""Small changes of the code that a stage runs, and what the stage makes with them.

Run as a script it is a process of its own, because it imports the package anew for every change; it answers questions,
a line of JSON each.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.abc
import importlib.util
import json
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS = 30  # a change may make a loop endless
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """One changed constant, operator or comparison of a file.

    Attributes:
        number: Which of the file's places, in the order of `_places`.
    """

    file: str
    number: int
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.what}"

    def source(self) -> str:
        """The whole file with the change."""
        tree = ast.parse(Path(self.file).read_text())
        _places(tree)[self.number].change()
        return ast.unparse(ast.fix_missing_locations(tree))


@dataclass(frozen=True)
class _Place:
    line: int
    what: str
    change: Callable[[], None]


def draw(lines: dict[str, Sequence[int]], count: int, seed: int) -> list[Mutant]:
    """Mutants of the lines, by file, that were executed."""
    found = [
        Mutant(file, number, place.line, place.what)
        for file, executed in sorted(lines.items())
        for number, place in enumerate(_places(ast.parse(Path(file).read_text())))
        if place.line in set(executed)
    ]
    return random.Random(seed).sample(found, min(count, len(found)))


def _places(tree: ast.Module) -> list[_Place]:
    found: list[_Place] = []
    for node in _code(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
            value = node.value
            new: Any = (
                not value if isinstance(value, bool) else value + "~" if isinstance(value, str) else value + 1
            )
            found.append(
                _Place(node.lineno, f"{value!r} → {new!r}", lambda n=node, v=new: setattr(n, "value", v))
            )
        elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in _SWAPS:
            new = _SWAPS[type(node.op)]
            what = f"{type(node.op).__name__} → {new.__name__}"
            found.append(_Place(node.lineno, what, lambda n=node, v=new: setattr(n, "op", v())))
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
            new = _SWAPS[type(node.ops[0])]
            what = f"{type(node.ops[0]).__name__} → {new.__name__}"
            found.append(_Place(node.lineno, what, lambda n=node, v=new: n.ops.__setitem__(0, v())))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
            found.append(
                _Place(
                    node.lineno,
                    f"without {type(node.op).__name__}",
                    lambda n=node: setattr(n, "op", ast.UAdd() if isinstance(n.op, ast.USub) else ast.Not()),
                )
            )
        elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
            found.append(
                _Place(
                    node.lineno,
                    f"{type(node).__name__} the other way",
                    lambda n=node: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test)),
                )
            )
    return found


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes in the order of the text, without annotations and docstrings."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
                continue
            if isinstance(each, ast.AST):
                yield from _code(each)


# --- in the process of its own --------------------------------------------------------------------------------------


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from a changed source."""

    def __init__(self, module: str, file: str, source: str) -> None:
        self.module, self.file, self.source = module, file, source

    def find_spec(self, fullname: str, path: object, target: object = None) -> Any:
        if fullname != self.module:
            return None
        package = self.file.endswith("__init__.py")
        locations = [str(Path(self.file).parent)] if package else None
        return importlib.util.spec_from_file_location(
            fullname, self.file, loader=self, submodule_search_locations=locations
        )

    def get_filename(self, fullname: str) -> str:
        return self.file

    def get_data(self, path: str) -> bytes:
        if path.endswith(".pyc"):
            raise OSError
        return self.source.encode()


def _make(stage: dict[str, Any], changed: _Changed | None = None) -> str:
    """Digest of what a stage makes, with the package imported anew."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "atlas_core"]:
        del sys.modules[name]
    if changed is not None:
        sys.meta_path.insert(0, changed)
    try:
        with tempfile.TemporaryDirectory() as folder:
            _run(stage, Path(folder))
            return _digest(Path(folder) / "out")
    finally:
        if changed is not None:
            sys.meta_path.remove(changed)


def _run(stage: dict[str, Any], folder: Path) -> None:
    from atlas_core.placement import Placement
    from atlas_core.stages.stage import STAGES, StageContext

    for name in ("out", "work"):
        (folder / name).mkdir()
    context = StageContext(
        config=stage["config"],
        inputs={role: Path(place) for role, place in stage["inputs"].items()},
        out=folder / "out",
        work=folder / "work",
        key=stage["key"],
        runtime=stage["runtime"],
        placement=Placement(home=Path(stage["home"]), workers=0),
    )
    STAGES.get(stage["stage"]).run(context)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        digest.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _trace(stage: dict[str, Any], package: str) -> dict[str, list[int]]:
    """Lines of the package that are executed on the way, by file, those of imports included."""
    lines: dict[str, set[int]] = {}

    def follow(frame: FrameType, event: str, argument: object) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(package):
            return None
        lines.setdefault(file, set()).add(frame.f_lineno)
        return follow

    _make(stage)  # whatever is imported besides
    threading.settrace(follow)
    sys.settrace(follow)
    try:
        _make(stage)
    finally:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
    return {file: sorted(found) for file, found in lines.items()}


def _give_up(*_: object) -> None:
    raise TimeoutError


def _outcome(stage: dict[str, Any], changed: _Changed) -> str:
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(SECONDS)
    try:
        return _make(stage, changed)
    except BaseException as error:  # a change may break anything
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        question = json.loads(line)
        if "package" in question:
            answer: Any = _trace(question["stage"], question["package"])
        else:
            answer = {
                "unchanged": _make(question["stage"]),
                "changed": [_outcome(question["stage"], _Changed(*each)) for each in question["changes"]],
            }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
