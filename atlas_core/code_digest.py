"""Digests of source code: what a stage runs, hashed without comments, docstrings or layout.

A stage names its root modules. The digest covers them and every project module that they import, read from the
source text, so nobody has to keep a list of dependencies by hand. Registries import their entries lazily, so a
method's file reaches only the runs that use this method.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from pydantic import TypeAdapter

from atlas_core.errors import AtlasError
from atlas_core.kept_answers import keep_answer, read_answer

# Modules that move values around but compute none: what they carry already stands in the key.
PLUMBING = frozenset(
    {
        "atlas_core.cli",
        "atlas_core.code_digest",
        "atlas_core.config",
        "atlas_core.errors",
        "atlas_core.hashing",
        "atlas_core.kept_answers",
        "atlas_core.manifest",
        "atlas_core.placement",
        "atlas_core.presets",
        "atlas_core.registry",
        "atlas_core.resources",
        "atlas_core.store",
        "atlas_core.stages.stage",
        "atlas_core.methods.registry",
        "atlas_core.datasets.catalogue",
        "atlas_core.datasets.commands",
        "atlas_core.datasets.paths",
        "atlas_core.backbone.config",
        "atlas_core.labels.config",
    }
)


def code_digests(roots: Iterable[str]) -> dict[str, str]:
    """Digest of every module in the import closure of `roots`.

    Args:
        roots: Dotted module names. Imports are followed inside this project and a root's own package.

    Returns:
        Module name → SHA-256 (16 hex digits) of its code.

    Raises:
        AtlasError: A root's source cannot be found.
    """
    digests: dict[str, str] = {}
    waiting = [root for root in roots if root not in PLUMBING]
    while waiting:
        module = waiting.pop()
        if module in digests:
            continue
        path = _source_path(module)
        if path is None:
            raise AtlasError(
                f"no Python source for module {module!r}", fix="install the package that defines it"
            )
        digests[module], imported = _read(module, path)
        waiting.extend(each for each in imported if each not in PLUMBING)
    _keep_parsed()
    return dict(sorted(digests.items()))


def _read(module: str, path: Path) -> tuple[str, list[str]]:
    """Digest and project imports of one file, parsed unless its bytes were parsed before."""
    source = path.read_bytes()
    place = hashlib.sha256(b"\0".join((module.encode(), path.name.encode(), source))).hexdigest()
    parsed = _parsed().get(place)
    if parsed is None:
        tree = ast.parse(source, filename=str(path))
        imports = set(_project_imports(tree, module, is_package=path.name == "__init__.py"))
        parsed = _parsed()[place] = (source_digest(tree), sorted(imports))
        _unkept.add(place)
    digest, imports_by_name = parsed
    # What a name is, a module or something inside one, is for the files that are there to say.
    return digest, [_submodule_or(base, name) if name else base for base, name in imports_by_name]


_MOST_KEPT = 4096  # parsed sources that are remembered between processes, the newest
_PARSED = TypeAdapter(dict[str, tuple[str, list[tuple[str, str]]]])
_unkept: set[str] = set()


@cache
def _parsed() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Digest and imports (module, name) of each source that was parsed, in this process or before."""
    return read_answer("code", _decides_parsed(), _PARSED) or {}


def _keep_parsed() -> None:
    if _unkept:
        keep_answer("code", _decides_parsed(), _PARSED, dict(list(_parsed().items())[-_MOST_KEPT:]))
        _unkept.clear()


@cache
def _decides_parsed() -> list[str]:
    """This module's own text, and the Python that parses."""
    return [Path(__file__).read_text(encoding="utf-8"), sys.version]


def source_digest(tree: ast.Module) -> str:
    """SHA-256 (16 hex digits) of a syntax tree without docstrings; comments and layout are not in the tree."""
    for node in ast.walk(tree):
        if isinstance(
            node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        ) and _has_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(_text(tree).encode()).hexdigest()[:16]


def _text(part: object) -> str:
    """A syntax tree as text, the same on every Python: unlike `ast.dump`, it leaves out what holds nothing.

    Versions of Python differ in the empty fields of a node, and 3.12.1 has empty pieces in format strings.
    """
    if isinstance(part, ast.JoinedStr):
        pieces = [each for each in part.values if not (isinstance(each, ast.Constant) and each.value == "")]
        return f"JoinedStr({_text(pieces)})"
    if isinstance(part, ast.AST):
        fields = ((name, getattr(part, name, None)) for name in part._fields)
        kept = ",".join(
            f"{name}={_text(value)}" for name, value in fields if value is not None and value != []
        )
        return f"{type(part).__name__}({kept})"
    if isinstance(part, list):
        return f"[{','.join(_text(each) for each in part)}]"
    return repr(part)


def _has_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def _project_imports(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[tuple[str, str]]:
    """Imports of the project and of the module's own package: ("a.b", "") or ("a.b", "name")."""
    own = (module.partition(".")[0], "atlas_core")
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package=is_package)
            found = [(base, alias.name) for alias in node.names]
        else:
            continue
        yield from (each for each in found if each[0].partition(".")[0] in own)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk the tree, leaving out `if TYPE_CHECKING:` bodies, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _executed(node)


def _absolute(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    parent = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*parent, *([node.module] if node.module else [])])


def _submodule_or(base: str, name: str) -> str:
    """`base.name` if that is a module, else `base` (the name is then something inside it)."""
    return f"{base}.{name}" if _source_path(f"{base}.{name}") else base


@lru_cache(maxsize=4096)
def _source_path(module: str) -> Path | None:
    """The file of a module, found without importing anything but the top-level package."""
    top, *below = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not below:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *below)
        for file in (place / "__init__.py", place.with_name(f"{below[-1]}.py")):
            if file.is_file():
                return file
    return None
