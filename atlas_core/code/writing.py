"""Syntax trees as text that says what is computed and nothing else.

Left out: comments, layout, docstrings, annotations, the words of errors and log statements, the names of local
variables and of what a reference stands for. Kept, because somebody may ask for them: names of parameters, attributes
and classes.
The text of one tree is the same on every Python.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence

from atlas_core.code.bodies import BodyWriter
from atlas_core.code.scopes import class_scope, function_scope
from atlas_core.code.sources import in_project

# Decorators of these packages do not read annotations; another package's may.
_BLIND = sys.stdlib_module_names | {"torch", "numpy", "atlas_core"}


class Writer(BodyWriter):
    """Writes one definition or statement of a module."""

    def visit_Lambda(self, node: ast.Lambda) -> str:
        return f"Lambda({self._function(node, lambda: self.write(node.body))})"

    def visit_FunctionDef(self, node: ast.FunctionDef) -> str:
        return self.function(node, node.name)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> str:
        return self.function(node, node.name)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> str:
        """A function under a name; one at the top of a module has none, so that it may be renamed."""
        if any(self.outside(each) == "typing.overload" for each in node.decorator_list):
            return ""
        decorators = self._decorators(node.decorator_list)
        typed = any(self._reads_annotations(each) for each in node.decorator_list)
        returns = f"->{self.write(node.returns)}" if typed and node.returns else ""
        inner = self._function(node, lambda: self.body(node.body), typed=typed)
        return f"{decorators}{type(node).__name__} {name}({inner}){returns}"

    def _function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
        body: Callable[[], str],
        *,
        typed: bool = False,
    ) -> str:
        a = node.args

        def listed(arguments: Sequence[ast.arg | None]) -> str:
            return ",".join(
                ""
                if each is None
                else each.arg + (f":{self.write(each.annotation)}" if typed and each.annotation else "")
                for each in arguments
            )

        parameters = (
            f"{listed(a.posonlyargs)}/{listed(a.args)}*{listed([a.vararg])}/{listed(a.kwonlyargs)}"
            f"**{listed([a.kwarg])}|{self.write(a.defaults)}|{self.write(a.kw_defaults)}"
        )
        scope = function_scope(node, len(self.scopes))
        scope.imports = self.imports_in(node.body if isinstance(node.body, list) else [])
        for name in scope.imports:
            scope.names.pop(name, None)
        self.scopes.append(scope)
        text = body()
        self.scopes.pop()
        return f"{parameters}:{text}"

    def visit_ClassDef(self, node: ast.ClassDef) -> str:
        return self.class_(node, top="")

    def class_(self, node: ast.ClassDef, *, top: str) -> str:
        """A class with all that is in it; `top` is its name if it stands at the top of its module."""
        decorators = self._decorators(node.decorator_list)
        bases = f"{self.write(node.bases)}{self.write(node.keywords)}"
        self.scopes.append(class_scope(node))
        texts = []
        for each in node.body:
            if not isinstance(each, ast.AnnAssign):
                texts.append(self.write(each))
            elif top:
                texts.append(self._choice("fields", top, _field(each, typed=True), _field(each, typed=False)))
            else:
                texts.append(_field(each, typed=True)(self))
        self.scopes.pop()
        return f"{decorators}class {node.name}({bases}):[{','.join(text for text in texts if text)}]"

    def _decorators(self, decorators: Sequence[ast.expr]) -> str:
        return "".join(self._decorator(each) for each in decorators)

    def _decorator(self, node: ast.expr) -> str:
        def written(writer: Writer) -> str:
            return f"@{writer.write(node)} "

        called = node.func if isinstance(node, ast.Call) else node
        if (
            isinstance(called, ast.Attribute)
            and called.attr == "register"
            and (about := self.refers(called.value))
        ):
            return self._choice("registry", about, lambda _: "", written)
        return written(self)

    def _reads_annotations(self, decorator: ast.expr) -> bool:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and called.attr == "register":
            return True  # functools.singledispatch
        name = self.outside(called)
        return bool(name) and name.partition(".")[0] not in _BLIND and not in_project(name, self.names.module)

    def has_fields(self, node: ast.ClassDef) -> bool:
        """Whether annotations in a class's body count whatever its bases are."""
        marked = any(
            "__pydantic_config__" in ast.unparse(each)
            for each in node.body
            if isinstance(each, (ast.Assign, ast.AnnAssign))
        )
        return marked or any(self._reads_annotations(each) for each in node.decorator_list)


def _field(node: ast.AnnAssign, *, typed: bool) -> Callable[[Writer], str]:
    """An annotated name in a class's body: its type, or only whether a dataclass takes it for a field."""
    marker = ast.unparse(node.annotation)
    kind = next((each for each in ("ClassVar", "InitVar", "KW_ONLY") if each in marker), "field")

    def write(writer: Writer) -> str:
        annotation = writer.write(node.annotation) if typed else kind
        value = f"={writer.write(node.value)}" if node.value else ""
        return f"{writer.write(node.target)}:{annotation}{value}"

    return write
