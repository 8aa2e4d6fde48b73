"""Reading YAML and JSON that a person or another program wrote, within the bounds of `budgets.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from atlas_core.budgets import DESCRIPTION_BYTES, LIST_VALUES, NESTING, VALUES, Budget
from atlas_core.errors import AtlasError


def read_text(path: Path, most: Budget = DESCRIPTION_BYTES) -> str:
    """A file of UTF-8 text; no more than the bound is ever read.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is not UTF-8.
        AtlasError: It is larger than the bound.
    """
    with path.open("rb") as stream:
        content = stream.read(most.most + 1)
    most.check(len(content), str(path))
    return content.decode("utf-8")


def parse_yaml(text: str, what: str) -> Any:
    """The one value of a YAML text.

    Args:
        what: Names the text in errors.

    Raises:
        yaml.YAMLError: It is no YAML, or holds a value that YAML's types have no form for (a 13th month).
        AtlasError: It is nested too deeply, or its aliases stand for too many values.
    """
    loader = _BoundedLoader(text)
    loader.what = what
    try:
        return loader.get_single_data()
    except (yaml.YAMLError, AtlasError):
        raise
    except Exception as error:  # the constructors let through whatever int(), date() and the like raise
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error
    finally:
        loader.dispose()


def parse_json(text: str, what: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is no JSON.
        AtlasError: It is nested too deeply, or holds too many values for its size in memory.
    """
    LIST_VALUES.check(sum(map(text.count, ",[{")), what)
    try:
        value = json.loads(text)
    except RecursionError:
        raise NESTING.passed(what) from None
    _check_nesting(value, what)
    return value


class _BoundedLoader(yaml.SafeLoader):
    """Counts while it composes: what nests too deeply, or grows through aliases, is never constructed."""

    what = "the YAML text"
    _depth = 0
    _written = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        NESTING.check(self._depth, self.what)
        self._written += 1
        VALUES.check(self._written, self.what)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            self._values(node, {})
        return node

    def _values(self, node: yaml.Node, known: dict[int, int | None]) -> int:
        """How many values a node stands for, those behind aliases counted each time."""
        if id(node) in known:
            counted = known[id(node)]
            if counted is None:
                raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a value that holds itself")
            return counted
        known[id(node)] = None
        total = 1
        if isinstance(node, yaml.SequenceNode):
            total += sum(self._values(each, known) for each in node.value)
        elif isinstance(node, yaml.MappingNode):
            total += sum(self._values(each, known) for pair in node.value for each in pair)
        VALUES.check(total, self.what)
        known[id(node)] = total
        return total


def _check_nesting(value: Any, what: str) -> None:
    level = [value] if isinstance(value, (dict, list)) else []
    depth = 0
    while level:
        depth += 1
        NESTING.check(depth, what)
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, (dict, list))
        ]
