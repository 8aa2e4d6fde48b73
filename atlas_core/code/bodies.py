"""Expressions and statements as text: what they compute, without words, casts and log statements."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable

from atlas_core.code.naming import NameWriter, chain_of, imported_names
from atlas_core.code.scopes import Comprehension, comprehension_scope
from atlas_core.code.sources import in_project
from atlas_core.code.words import arguments, does_something, is_text

_EXCEPTIONS = frozenset(
    name
    for name, each in vars(builtins).items()
    if isinstance(each, type) and issubclass(each, BaseException)
)
_WORDS_OF_A_FIELD = frozenset({"description", "title", "examples", "deprecated"})
# All of their arguments are words.
_ERRORS = frozenset({"atlas_core.errors.AtlasError", "atlas_core.registry.unknown_name"})
_STAGE = "atlas_core.stages.stage.Stage"


class BodyWriter(NameWriter):
    """Writes what stands in a function."""

    # --- expressions ------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> str:
        return self.reference(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> str:
        chain = chain_of(node)
        if chain is not None:
            return self.reference(*chain)
        return f"{self.write(node.value)}.{node.attr}"

    def visit_Constant(self, node: ast.Constant) -> str:
        return ascii(node.value)  # `repr` prints what this Python's Unicode tables call printable

    def visit_JoinedStr(self, node: ast.JoinedStr) -> str:
        # 3.12.1 has empty pieces in format strings.
        pieces = [each for each in node.values if not (isinstance(each, ast.Constant) and each.value == "")]
        return f"JoinedStr({self.write(pieces)})"

    def _comprehension(self, node: Comprehension) -> str:
        first = self.write(node.generators[0].iter)  # evaluated outside
        self.scopes.append(comprehension_scope(node, len(self.scopes)))
        rest = [
            (
                self.write(each.target),
                "" if number == 0 else self.write(each.iter),
                self.write(each.ifs),
                each.is_async,
            )
            for number, each in enumerate(node.generators)
        ]
        elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        text = f"{type(node).__name__}({first},{rest},{self.write(elements)})"
        self.scopes.pop()
        return text

    def visit_ListComp(self, node: ast.ListComp) -> str:
        return self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> str:
        return self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> str:
        return self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> str:
        return self._comprehension(node)

    def visit_Call(self, node: ast.Call) -> str:
        name = self.outside(node.func)
        if name == "typing.cast" and len(node.args) == 2:
            return self.write(node.args[1])
        if name == "pydantic.Field":
            return self._called(node, without=lambda each: each.arg in _WORDS_OF_A_FIELD)
        if name == _STAGE:
            # Of a stage, what it runs: the rest decides when it is looked for and where it runs.
            runs = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "run")]
            return f"Stage({self.write(runs[0])})" if runs else "Stage()"
        if name in _ERRORS:
            return self._called(node, without_all=True)
        if self._is_builtin_exception(node.func):
            return self._called(node, without_text=True)
        about = "" if name and not in_project(name, self.names.module) else self.refers(node.func)
        if about and any(is_text(each) for each in arguments(node)):
            return self._choice(
                "exception",
                about,
                lambda each: each._called(node, without_text=True),
                lambda each: each._called(node),
            )
        return self._called(node)

    def _called(
        self,
        node: ast.Call,
        *,
        without: Callable[[ast.keyword], bool] = lambda _: False,
        without_text: bool = False,
        without_all: bool = False,
    ) -> str:
        def kept(value: ast.expr) -> bool:
            return does_something(value) or not (without_all or (without_text and is_text(value)))

        arguments = [self.write(each) for each in node.args if kept(each)]
        keywords = [
            f"{each.arg or '**'}={self.write(each.value)}"
            for each in node.keywords
            if kept(each.value) and not without(each)
        ]
        return f"{self.write(node.func)}({','.join([*arguments, *keywords])})"

    def _is_builtin_exception(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in _EXCEPTIONS and self.reference(node.id) == node.id

    # --- statements -------------------------------------------------------------------------------------

    def visit_Pass(self, node: ast.Pass) -> str:
        return ""

    def visit_Global(self, node: ast.Global) -> str:
        return ""

    def visit_Nonlocal(self, node: ast.Nonlocal) -> str:
        return ""

    def visit_Expr(self, node: ast.Expr) -> str:
        if isinstance(node.value, ast.Constant):
            return ""  # a docstring, or `...`
        if (
            isinstance(node.value, ast.Call)
            and self._only_logs(node.value)
            and not does_something(node.value)
        ):
            return ""
        return self.write(node.value)

    def _only_logs(self, node: ast.Call) -> bool:
        chain = chain_of(node.func)
        if chain is None:
            return False
        if chain[0] in self.names.loggers and chain[1] and self.refers(node.func):
            return True
        return self.outside(node.func).startswith(("logging.", "warnings.warn"))

    def visit_Assign(self, node: ast.Assign) -> str:
        return f"{self.write(node.targets)}={self.write(node.value)}"

    def visit_AnnAssign(self, node: ast.AnnAssign) -> str:
        return "" if node.value is None else f"{self.write([node.target])}={self.write(node.value)}"

    def visit_Assert(self, node: ast.Assert) -> str:
        return f"assert {self.write(node.test)}"

    def visit_Raise(self, node: ast.Raise) -> str:
        cause = f" from {self.write(node.cause)}" if node.cause else ""
        if not isinstance(node.exc, ast.Call):
            return f"raise {self.write(node.exc)}{cause}"
        # What makes the exception may be a function: it is given words as well.
        words_alone = self.outside(node.exc.func) in _ERRORS
        return f"raise {self._called(node.exc, without_text=True, without_all=words_alone)}{cause}"

    def visit_If(self, node: ast.If) -> str:
        if self.only_for_types(node.test):
            return ",".join(text for each in node.orelse if (text := self.write(each)))
        return self.generic_visit(node)

    def only_for_types(self, test: ast.expr) -> bool:
        """Whether it is `TYPE_CHECKING`, which is never true."""
        return self.outside(test) == "typing.TYPE_CHECKING"

    def visit_Import(self, node: ast.Import) -> str:
        return self._import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> str:
        return self._import(node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> str:
        """Nothing inside a function: what it names counts where it is used."""
        if not self.keep_imports:
            return ""
        found = imported_names(node, self.names.module)
        return f"import {','.join(self._ref(each) for each in found.values())}"

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> str:
        name = self.reference(node.name) if node.name else ""
        return f"except {self.write(node.type)} as {name}:{self.body(node.body)}"

    def visit_MatchAs(self, node: ast.MatchAs) -> str:
        return f"MatchAs({self.write(node.pattern)},{self.reference(node.name) if node.name else ''})"

    def visit_MatchStar(self, node: ast.MatchStar) -> str:
        return f"MatchStar({self.reference(node.name) if node.name else ''})"

    def visit_MatchMapping(self, node: ast.MatchMapping) -> str:
        rest = self.reference(node.rest) if node.rest else ""
        return f"MatchMapping({self.write(node.keys)},{self.write(node.patterns)},{rest})"
