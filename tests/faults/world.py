"""A small study, the ways to break it, and what must hold afterwards."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from atlas_core.store import Store
from tests.tiny_study import TinyWorld

TRIED: Counter[str] = Counter()
TABLES = ("metrics", "predictions", "curves", "classes")


class Killed(BaseException):
    """Stands for SIGKILL: no code of the program catches it, and nothing is tidied up behind it."""


def small(world: TinyWorld) -> dict[str, Any]:
    """Overrides of a study with every stage but pixels: fifteen artifacts in a third of a second."""
    return {
        "datasets": [str(world.home / "ponds.yaml")],
        "supervisions": ["one_hot", {"name": "atlas_csl", "period": 2}, {"name": "atlas_isl", "period": 2}],
        "training": {"epochs": 3, "batch_size": 4},
    }


def run(world: TinyWorld) -> list[str]:
    """Run the small study; the names of what was made."""
    return world.run(**small(world)).made


def tables(world: TinyWorld) -> dict[str, Any]:
    """The current result tables, without what differs between two executions."""
    return tables_of(Store(world.placement.store_path))


def tables_of(store: Store) -> dict[str, Any]:
    """The same of any store."""
    newest = max(store.manifests("aggregate"), key=lambda manifest: manifest.created)
    folder = store.path("aggregate", newest.key)
    return {name: pq.read_table(folder / f"{name}.parquet").to_pylist() for name in TABLES}


def kept(world: TinyWorld) -> set[str]:
    """Names of the whole artifacts in the store."""
    store = Store(world.placement.store_path)
    return {each.name for each in store.manifests() if store.lookup(each.stage, each.key) is not None}


@dataclass
class Break:
    """Calls of `os.<name>` within the store, counted; the `at`-th does something else."""

    name: str
    at: int
    after: bool
    error: Callable[[], BaseException]
    calls: int = 0

    def __call__(self, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        due = self.calls == self.at
        if due and not self.after:
            raise self.error()
        answer = real(*arguments, **options)
        if due:
            raise self.error()
        return answer


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def broken(
    name: str, at: int, *, after: bool = False, error: Callable[[], BaseException] = Killed
) -> Iterator[Break]:
    """Let the `at`-th call of an operating-system function end in an error; a killed process tidies nothing."""
    point = Break(name, at, after, error)
    real = getattr(os, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, lambda *arguments, **options: point(real, *arguments, **options))
        if error is Killed:
            patch.setattr(shutil, "rmtree", lambda *arguments, **options: None)
            patch.setattr(Path, "unlink", lambda *arguments, **options: None)
        yield point
