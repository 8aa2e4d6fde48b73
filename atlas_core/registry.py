"""The one registry mechanism: names to objects, imported on first use, open to other packages."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from atlas_core.errors import AtlasError

T = TypeVar("T")


@dataclass(frozen=True)
class _Entry(Generic[T]):
    load: Callable[[], T]
    summary: str
    target: str


class Registry(Generic[T]):
    """Objects of one kind by name.

    An entry comes from `register`, from `add_lazy` (imported when first asked for, so that listing names
    imports nothing heavy), or from another installed package through the entry-point group: an entry
    point `name = "package.module:object"` adds `name`. Its summary is the object's first docstring line.

    Args:
        kind: What the objects are, for messages ("method").
        entry_point_group: Group searched in installed packages ("atlas.methods").
    """

    def __init__(self, kind: str, entry_point_group: str) -> None:
        self.kind = kind
        self.entry_point_group = entry_point_group
        self._entries: dict[str, _Entry[T]] = {}
        self._discovered = False

    def register(self, name: str, *, summary: str = "") -> Callable[[T], T]:
        """Return a decorator that adds an object under `name` (replacing an earlier one of that name)."""

        frame = inspect.currentframe()
        if frame is not None and frame.f_back is not None:
            _registering[frame.f_back.f_globals["__name__"]] = None

        def add(obj: T) -> T:
            self._entries[name] = _Entry(lambda: obj, summary or _first_line(obj), _target_of(obj))
            return obj

        return add

    def add_lazy(self, name: str, target: str, summary: str) -> None:
        """Add `target` ("package.module:attribute") under `name` without importing it."""
        self._entries[name] = _Entry(cache(lambda: _load(target)), summary, target)

    def names(self) -> list[str]:
        """All names, in order of registration."""
        self._discover()
        return list(self._entries)

    def summary(self, name: str) -> str:
        """One line on what `name` is."""
        entry = self._entry(name)
        return entry.summary or _first_line(entry.load())

    def get(self, name: str) -> T:
        """The object of that name.

        Raises:
            AtlasError: No such name; the message suggests the nearest ones.
        """
        return self._entry(name).load()

    def target(self, name: str) -> str:
        """Where `name` is defined, "package.module:attribute"; its code is part of the keys of what uses it."""
        return self._entry(name).target

    def check(self, name: str) -> str:
        """Return `name` if it is known, else raise the error that `get` would raise."""
        self._entry(name)
        return name

    def _entry(self, name: str) -> _Entry[T]:
        self._discover()
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        for point in entry_points(group=self.entry_point_group):
            self._entries.setdefault(point.name, _Entry(point.load, "", f"{point.module}:{point.attr}"))


# Modules whose import registers something, in order; a set that keeps it.
_registering: dict[str, None] = {}


def registering_modules() -> tuple[str, ...]:
    """Modules that registered something in this process: another process has to import them to know the same names.

    What lies in a script itself ("__main__") is not among them: Python runs the script again in a spawned process.
    """
    return tuple(module for module in _registering if module != "__main__")


def unknown_name(kind: str, name: str, known: object) -> AtlasError:
    """The error for a name that is not among `known` (an iterable of names), with suggestions."""
    names = [str(each) for each in known]  # type: ignore[attr-defined]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(each) for each in near)}?" if near else "choose one of these"
    return AtlasError(f"unknown {kind} {name!r}", expected=f"one of {', '.join(sorted(names))}", fix=hint)


def _load(target: str) -> T:  # type: ignore[type-var]
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]


def _target_of(obj: object) -> str:
    return f"{obj.__module__}:{getattr(obj, '__qualname__', '')}"


def _first_line(obj: object) -> str:
    return (getattr(obj, "__doc__", None) or "").strip().partition("\n")[0]
