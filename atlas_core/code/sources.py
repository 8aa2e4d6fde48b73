"""Where a module's source is, without importing it."""

from __future__ import annotations

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

OWN_PACKAGE = "atlas_core"


@lru_cache(maxsize=4096)
def source_path(module: str) -> Path | None:
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


def in_project(name: str, module: str) -> bool:
    """Whether a dotted name, as `module` imports it, is this project's code or that of the module's own package."""
    return name.partition(".")[0] in (OWN_PACKAGE, module.partition(".")[0])


def imported_from(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    """The absolute name of the module that a `from … import` names."""
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    parent = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*parent, *([node.module] if node.module else [])])
