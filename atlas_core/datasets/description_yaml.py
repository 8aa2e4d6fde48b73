"""Reading a description's YAML with the names in it as they are written.

YAML 1.1 reads `no`, `yes`, `on` and `off` as truth values, 012 as ten, 1:30 as ninety and 2024-01-01 as a date. In a
description's `class_names`, `splits` and `columns` they are names of folders, classes and columns.
"""

from __future__ import annotations

from typing import Any

import yaml

_NAMES = frozenset({"class_names", "splits", "columns"})
_TEXT = "tag:yaml.org,2002:str"
_KEPT = frozenset({"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"})


def read_description(text: str) -> Any:
    """The content of a description.

    Raises:
        yaml.YAMLError: The text is no YAML.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        for name, value in _entries(_value(node, "options")):
            if name.value in _NAMES:
                _as_text(value)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _as_text(node: yaml.Node | None) -> None:
    for name, value in _entries(node):
        if name.tag not in _KEPT or name.value == "null":
            name.tag = _TEXT
        if isinstance(value, yaml.ScalarNode) and value.tag not in _KEPT:
            value.tag = _TEXT


def _value(node: yaml.Node, key: str) -> yaml.Node | None:
    return next((value for name, value in _entries(node) if name.value == key), None)


def _entries(node: yaml.Node | None) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return [(name, value) for name, value in pairs if isinstance(name, yaml.ScalarNode)]
