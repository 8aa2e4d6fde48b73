"""Names that a function binds, and how they are written: local variables by number, in order of their binding."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_OWN_SCOPE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# A function that asks for its variables by name keeps their names.
_ASK_FOR_NAMES = frozenset({"locals", "vars", "eval", "exec", "dir"})


@dataclass
class Scope:
    """One scope inside a definition.

    Attributes:
        names: Name bound here → how it is written.
        imports: Name imported here → what it stands for, "module|attribute".
        is_class: A class's names are seen in its own body and not in the functions there.
    """

    names: dict[str, str] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    is_class: bool = False


def function_scope(node: Function, depth: int) -> Scope:
    """A function's parameters under their names, which callers may use, and its local variables by number."""
    parameters = {each.arg: each.arg for each in parameters_of(node.args)}
    body = node.body if isinstance(node.body, list) else [node.body]
    bound = list(_bound(body))
    elsewhere = {
        name for each in _within(body) if isinstance(each, (ast.Global, ast.Nonlocal)) for name in each.names
    }
    keep_names = any(isinstance(each, ast.Name) and each.id in _ASK_FOR_NAMES for each in ast.walk(node))
    locals_ = [name for name, _ in bound if name not in parameters and name not in elsewhere]
    # A nested function or class keeps its name: it may be asked for it.
    fixed = {name for name, is_variable in bound if not is_variable}
    numbered = {
        name: name if keep_names or name in fixed else f"${depth}.{number}"
        for number, name in enumerate(dict.fromkeys(locals_))
    }
    return Scope(numbered | parameters)


def comprehension_scope(node: Comprehension, depth: int) -> Scope:
    """A comprehension's targets by number."""
    targets = (name for each in node.generators for name, _ in _bound([each.target]))
    return Scope({name: f"${depth}.{number}" for number, name in enumerate(dict.fromkeys(targets))})


def class_scope(node: ast.ClassDef) -> Scope:
    """What a class's body binds, by name: these are its attributes."""
    return Scope({name: name for name, _ in _bound(node.body)}, is_class=True)


def bound_names(statement: ast.stmt) -> list[str]:
    """Names that a statement at the top of a module binds, imports included."""
    names = [name for name, _ in _bound([statement])]
    for node in _within([statement]):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names += [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    return list(dict.fromkeys(names))


def parameters_of(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters, in order."""
    starred = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred]


def _bound(body: list[ast.stmt] | list[ast.expr]) -> Iterator[tuple[str, bool]]:
    """Names bound in a scope, in the order of the text, and whether each is a plain variable."""
    for node in _within(body):
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            yield node.id, True
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, False
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name, True
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest, True


def _within(body: list[ast.stmt] | list[ast.expr]) -> Iterator[ast.AST]:
    """Nodes of a scope in the order of the text; a nested scope's own are left out, but for `:=` in comprehensions."""
    for node in body:
        yield from _walk(node)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return  # says a type and binds nothing
    yield node
    if isinstance(node, _OWN_SCOPE):
        return
    if isinstance(node, _COMPREHENSIONS):
        yield from (each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)
