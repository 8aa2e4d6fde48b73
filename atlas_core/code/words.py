"""Which parts of errors and log statements are words alone."""

from __future__ import annotations

import ast


def arguments(node: ast.Call) -> list[ast.expr]:
    """All arguments of a call, named ones too."""
    return [*node.args, *(each.value for each in node.keywords)]


def is_text(node: ast.expr) -> bool:
    """Whether an expression is words: a string, a format string, or one made of these."""
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, (ast.Add, ast.Mod)) and (is_text(node.left) or is_text(node.right))
    if isinstance(node, ast.IfExp):
        return is_text(node.body) and is_text(node.orelse)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and is_text(node.func.value)
    return False


def does_something(node: ast.AST) -> bool:
    """Whether words that are dropped would have changed something on their way."""
    for each in ast.walk(node):
        if isinstance(each, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)):
            return True
        if isinstance(each, ast.Call):
            called = each.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in ("next", "pop", "popleft", "popitem", "read", "readline"):
                return True
    return False
