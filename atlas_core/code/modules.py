"""Reading a source file: its imports, its definitions and what it does when it is imported; kept between processes."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from pydantic import TypeAdapter

from atlas_core.code.naming import Names, imported_names
from atlas_core.code.scopes import Scope, bound_names
from atlas_core.code.sources import imported_from, in_project
from atlas_core.code.templates import Definition, Effect, Module
from atlas_core.code.writing import Writer
from atlas_core.kept_answers import keep_answer, read_answer

_MOST_KEPT = 1024  # sources that are remembered between processes, the newest
_KEPT = TypeAdapter(dict[str, Module])
_FILLS = ("add_lazy", "register")
_unkept: set[str] = set()


def read_module(name: str, path: Path) -> Module:
    """A module as its file is now, parsed unless these bytes were parsed before."""
    source = path.read_bytes()
    place = hashlib.sha256(b"\0".join((name.encode(), path.name.encode(), source))).hexdigest()
    module = _kept().get(place)
    if module is None:
        tree = ast.parse(source, filename=str(path))
        module = _kept()[place] = parse_module(tree, name, is_package=path.name == "__init__.py")
        _unkept.add(place)
    return module


def keep_modules() -> None:
    """Keep what was parsed for other processes."""
    if _unkept:
        keep_answer("code", _decides(), _KEPT, dict(list(_kept().items())[-_MOST_KEPT:]))
        _unkept.clear()


@cache
def _kept() -> dict[str, Module]:
    return read_answer("code", _decides(), _KEPT) or {}


@cache
def _decides() -> list[str]:
    """What reads a source, and the Python that parses it."""
    here = sorted(Path(__file__).parent.glob("*.py"))
    return [*(each.read_text(encoding="utf-8") for each in here), sys.version]


def parse_module(tree: ast.Module, name: str, *, is_package: bool = False) -> Module:
    """Read a module's syntax tree."""
    return _Reader(name, is_package).read(tree)


class _Reader:
    def __init__(self, module: str, is_package: bool) -> None:
        self.module = module
        self.is_package = is_package

    def read(self, tree: ast.Module) -> Module:
        statements = list(self._executed(tree.body))
        imports: dict[str, str] = {}
        for each in statements:
            if isinstance(each, (ast.Import, ast.ImportFrom)):
                imports |= imported_names(each, self.module, is_package=self.is_package)
        stars = [
            imported_from(each, self.module, is_package=self.is_package)
            for each in statements
            if isinstance(each, ast.ImportFrom) and each.names[0].name == "*"
        ]
        binding = {id(each): self._binds(each) for each in statements}
        self.names = Names(
            self.module,
            imports,
            frozenset(name for names in binding.values() for name in names),
            open=bool(stars),
        )
        self.names.loggers = frozenset(self._loggers(statements))
        definitions, effects = self._definitions(statements, binding), self._effects(statements)
        loads = dict.fromkeys([*stars, *self._loads(tree, imports)])
        own = tuple(each for each in loads if in_project(each, self.module))
        return Module(imports, definitions, tuple(effects), own, tuple(stars))

    def _executed(self, body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
        """Top-level statements, without bodies of `if TYPE_CHECKING:` and without what says nothing."""
        for each in body:
            if isinstance(each, ast.If) and "TYPE_CHECKING" in ast.unparse(each.test):
                yield from self._executed(each.orelse)
            elif not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)):
                yield each

    def _binds(self, statement: ast.stmt) -> list[str]:
        """Names whose definition the statement is, or a part of."""
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            return []
        if isinstance(statement, ast.AnnAssign) and statement.value is None:
            return []
        return [name for name in bound_names(statement) if name != "__all__"]

    def _loggers(self, statements: Sequence[ast.stmt]) -> Iterator[str]:
        for each in statements:
            made_by = (
                each.value.func if isinstance(each, ast.Assign) and isinstance(each.value, ast.Call) else None
            )
            if made_by is not None and Writer(self.names).outside(made_by) == "logging.getLogger":
                yield from bound_names(each)

    def _loads(self, tree: ast.Module, imports: dict[str, str]) -> Iterator[str]:
        """Modules imported under a name that nothing in the file uses; a package's own `__init__` offers its names."""
        used = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (each.name for each in node.names if each.asname is None)
        if not self.is_package:
            for name, what in imports.items():
                if name not in used:
                    module, _, attribute = what.partition("|")
                    yield module
                    yield f"{module}.{attribute}" if attribute else module

    # --- definitions ------------------------------------------------------------------------------------

    def _definitions(
        self, statements: Sequence[ast.stmt], binding: dict[int, list[str]]
    ) -> dict[str, Definition]:
        of: dict[str, list[ast.stmt]] = {}
        for each in statements:
            for name in binding[id(each)]:
                of.setdefault(name, []).append(each)
        return {name: self._definition(name, made_of) for name, made_of in of.items()}

    def _definition(self, name: str, statements: list[ast.stmt]) -> Definition:
        writer = Writer(self.names)
        template = writer.template(lambda each: ";".join(self._part(each, name, part) for part in statements))
        last = statements[-1]
        if isinstance(last, ast.ClassDef):
            bases = tuple(
                ref or writer.outside(_unsubscripted(each)) or ast.unparse(_unsubscripted(each))
                for each in last.bases
                for ref in [writer.refers(_unsubscripted(each))]
            )
            return Definition(template, True, bases, writer.has_fields(last))
        value = last.value if isinstance(last, (ast.Assign, ast.AnnAssign)) else None
        if isinstance(value, ast.Call):
            return Definition(template, made_by=writer.refers(_unsubscripted(value.func)))
        return Definition(template)

    def _part(self, writer: Writer, name: str, statement: ast.stmt) -> str:
        """What a statement says of a name, without the name itself, so that it may be another."""
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return writer.function(statement, "")
        if isinstance(statement, ast.ClassDef):
            return writer.class_(statement, top=name)
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            return ";".join(self._assigned(writer, name, each, statement.value) for each in targets)
        if isinstance(statement, ast.AugAssign):
            return f"{type(statement.op).__name__}={writer.write(statement.value)}"
        return self._compound(writer, statement)

    def _assigned(self, writer: Writer, name: str, target: ast.expr, value: ast.expr | None) -> str:
        if isinstance(target, ast.Name):
            return writer.write(value) if target.id == name else ""
        if isinstance(target, ast.Tuple) and name in {
            each.id for each in target.elts if isinstance(each, ast.Name)
        }:
            if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
                pairs = zip(target.elts, value.elts, strict=True)
                if not any(isinstance(each, ast.Starred) for each in [*target.elts, *value.elts]):
                    return ";".join(self._assigned(writer, name, one, other) for one, other in pairs)
            place = [isinstance(each, ast.Name) and each.id == name for each in target.elts].index(True)
            return f"{place} of {len(target.elts)} {writer.write(value)}"
        return f"{writer.write(target)}={writer.write(value)}"

    def _compound(self, writer: Writer, statement: ast.stmt) -> str:
        """A statement that may choose among imports: `try: import a` … `except ImportError: import b as a`."""
        inner = Scope(imports=writer.imports_in([statement]))
        writer.scopes.append(inner)
        writer.keep_imports = True
        text = writer.write(statement)
        writer.keep_imports = False
        writer.scopes.pop()
        return text

    def _effects(self, statements: Sequence[ast.stmt]) -> Iterator[Effect]:
        for each in statements:
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from self._decorated(each)
            elif isinstance(each, (ast.Import, ast.ImportFrom, ast.Pass)) or _only_binds(each):
                continue
            else:
                template = Writer(self.names).template(partial(self._compound, statement=each))
                yield Effect(template, tuple(self._fills([each]) or ()))

    def _decorated(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[Effect]:
        """A definition that one of this project's decorators is told of: it may keep it somewhere."""
        writer = Writer(self.names)
        for each in node.decorator_list:
            called = each.func if isinstance(each, ast.Call) else each
            ref, outside = writer.refers(called), writer.outside(called)
            if not ref or (outside and not in_project(outside, self.module)):
                continue
            registers = isinstance(called, ast.Attribute) and called.attr in _FILLS
            filled = writer.refers(called.value) if registers and isinstance(called, ast.Attribute) else ""
            yield Effect(writer.template(lambda inner: inner.write(node)), (filled,) if filled else ())

    def _fills(self, statements: Sequence[ast.stmt]) -> list[str] | None:
        """Names of the registries that statements add to; None where they do anything else."""
        found: list[str] = []
        for each in statements:
            if isinstance(each, ast.For) and not each.orelse:
                inner = self._fills(each.body)
            elif isinstance(each, ast.Expr) and isinstance(each.value, ast.Call):
                called = each.value.func
                fills = isinstance(called, ast.Attribute) and called.attr in _FILLS
                ref = Writer(self.names).refers(called.value) if isinstance(called, ast.Attribute) else ""
                inner = [ref] if fills and ref else None
            else:
                inner = None
            if inner is None:
                return None
            found += inner
        return found


def _only_binds(statement: ast.stmt) -> bool:
    """Whether it is an assignment that binds names and changes no object."""
    if not isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    parts = [part for each in targets for part in ast.walk(each)]
    return not any(isinstance(each, (ast.Attribute, ast.Subscript)) for each in parts)


def _unsubscripted(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Subscript) else node
