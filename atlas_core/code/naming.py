"""How a definition's text refers to names: local ones by number, global ones as references that `closure` follows."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from atlas_core.code.scopes import Scope
from atlas_core.code.sources import imported_from
from atlas_core.code.templates import Choice, Question, Template, text_digest

# Fields of a node that say nothing: how a name is used follows from its place.
_SILENT = frozenset({"ctx", "type_comment", "type_params", "kind"})


@dataclass
class Names:
    """The names that a module binds at its top.

    Attributes:
        imports: Name → "module|attribute".
        defined: Names of definitions.
        loggers: Names bound to a logger.
        open: Whether a `from … import *` may bind any other.
    """

    module: str
    imports: dict[str, str]
    defined: frozenset[str]
    loggers: frozenset[str] = frozenset()
    open: bool = False


@dataclass
class NameWriter(ast.NodeVisitor):
    """Writes names, and anything that needs no care of its own.

    Attributes:
        keep_imports: Whether import statements are written: those of a statement that chooses among them.
    """

    names: Names
    scopes: list[Scope] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    keep_imports: bool = False

    def template(self, write: Callable[[Self], str]) -> Template:
        """The template of what `write` writes, inside the present scopes."""
        inner = type(self)(self.names, self.scopes, keep_imports=self.keep_imports)
        text = write(inner)
        return Template(text_digest(text), tuple(inner.refs), tuple(inner.choices))

    # --- names ------------------------------------------------------------------------------------------

    def reference(self, name: str, attributes: Sequence[str] = ()) -> str:
        """How a name and the attributes after it are written."""
        rest = "".join(f".{each}" for each in attributes)
        for level, scope in enumerate(reversed(self.scopes)):
            if scope.is_class and (level > 0 or name in self.names.defined | self.names.imports.keys()):
                continue
            if name in scope.imports:
                return self._ref(_joined(scope.imports[name], rest))
            if name in scope.names:
                return scope.names[name] + rest
        if name in self.names.defined or name in self.names.imports:
            return self._ref(name + rest)
        if self.names.open and not hasattr(builtins, name):
            return self._ref(name + rest)
        return name + rest

    def _ref(self, ref: str) -> str:
        if ref not in self.refs:
            self.refs.append(ref)
        return f"@{self.refs.index(ref)}"

    def outside(self, node: ast.expr) -> str:
        """The full name of what an expression refers to, as far as this file's imports tell; "" for anything else."""
        chain = chain_of(node)
        if chain is None:
            return ""
        name, attributes = chain
        found = next((each.imports[name] for each in reversed(self.scopes) if name in each.imports), "")
        if not found:
            if any(name in scope.names for scope in self.scopes if not scope.is_class):
                return ""
            found = self.names.imports.get(name, "") if name not in self.names.defined else ""
        if not found:
            return ""
        module, _, attribute = found.partition("|")
        return ".".join([module, *([attribute] if attribute else []), *attributes])

    def refers(self, node: ast.expr) -> str:
        """The reference of an expression that is a global name (with attributes); "" for anything else."""
        inner = type(self)(self.names, self.scopes)
        if chain_of(node) is None:
            return ""
        inner.write(node)
        return inner.refs[0] if inner.refs else ""

    # --- anything ---------------------------------------------------------------------------------------

    def write(self, part: object) -> str:
        """A node, a list of them or a plain value as text."""
        if isinstance(part, ast.AST):
            return str(self.visit(part))
        if isinstance(part, list):
            return f"[{','.join(self.write(each) for each in part)}]"
        return ascii(part)

    def generic_visit(self, node: ast.AST) -> str:
        """All fields that hold something: versions of Python differ in the empty ones."""
        kept = []
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in _SILENT:
                continue
            statements = isinstance(value, list) and isinstance(value[0], ast.stmt)
            kept.append(f"{name}={self.body(value) if statements else self.write(value)}")
        return f"{type(node).__name__}({','.join(kept)})"

    def body(self, statements: Sequence[ast.stmt]) -> str:
        """Statements, without those that do nothing."""
        return f"[{','.join(text for each in statements if (text := self.write(each)))}]"

    def _choice(
        self, question: Question, about: str, yes: Callable[[Self], str], no: Callable[[Self], str]
    ) -> str:
        one, other = self.template(yes), self.template(no)
        if one == other:
            return no(self)
        self.choices.append(Choice(question, about, one, other))
        return f"?{len(self.choices) - 1}"

    def imports_in(self, body: Sequence[ast.stmt]) -> dict[str, str]:
        """Name → what it stands for, of the imports of a function (not of those inside it)."""
        found: dict[str, str] = {}
        for node in _statements(body):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found |= imported_names(node, self.names.module)
        return found


def imported_names(
    node: ast.Import | ast.ImportFrom, module: str, *, is_package: bool = False
) -> dict[str, str]:
    """Name → "module|attribute" of an import."""
    if isinstance(node, ast.ImportFrom):
        base = imported_from(node, module, is_package=is_package)
        return {each.asname or each.name: f"{base}|{each.name}" for each in node.names if each.name != "*"}
    return {
        each.asname
        or each.name.partition(".")[0]: f"{each.name if each.asname else each.name.partition('.')[0]}|"
        for each in node.names
    }


def _joined(imported: str, rest: str) -> str:
    return imported + (rest if not imported.endswith("|") else rest[1:])


def chain_of(node: ast.expr) -> tuple[str, list[str]] | None:
    """(name, attributes) of `name.a.b`."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, attributes[::-1]) if isinstance(node, ast.Name) else None


def _statements(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """All statements of a function, not those of functions and classes inside it."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.stmt):
                found += _statements([part])
            elif isinstance(part, (ast.ExceptHandler, ast.match_case)):
                found += _statements(part.body)
    return found
