"""The table of bad inputs: each entry does one thing that a user should not have done."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from atlas_core.cli import main
from atlas_core.errors import AtlasError
from atlas_core.plan.observers import SilentObserver
from atlas_core.plan.session import run_study
from atlas_core.plan.workers import JobFailure, Outcome
from atlas_core.store import Store
from tests.tiny_study import TinyWorld


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    message: str


@dataclass
class _Failures(SilentObserver):
    found: list[JobFailure] = field(default_factory=list)

    def done(self, outcome: Outcome) -> None:
        if isinstance(outcome, JobFailure):
            self.found.append(outcome)


@dataclass(frozen=True)
class Ground:
    """A finished study of its own for each case, and ways to ask for things."""

    world: TinyWorld
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    @property
    def store(self) -> Store:
        return Store(self.world.placement.store_path)

    @property
    def ponds(self) -> Path:
        return self.world.home / "data" / "ponds"

    def atlas(self, *arguments: str) -> Ended:
        """Run the command line in this process."""
        self.monkeypatch.setenv("ATLAS_HOME", str(self.world.home))
        self.monkeypatch.setattr(sys, "argv", ["atlas", *arguments])
        self.capsys.readouterr()
        try:
            main()
        except SystemExit as ended:
            return Ended(int(ended.code or 0), self.capsys.readouterr().err)
        return Ended(0, self.capsys.readouterr().out)

    def run_file(self, content: str | bytes) -> Ended:
        """`atlas run` a YAML file of this content."""
        path = self.folder / "study.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.atlas("run", str(path), "--quiet", "--workers", "0")

    def run_with(self, **overrides: Any) -> Ended:
        """`atlas run` the tiny study with some fields replaced."""
        return self.run_file(yaml.safe_dump(self.world.raw_study(**overrides)))

    def study(self, **overrides: Any) -> None:
        """Run a short form of the study on one dataset; every job that fails must do so with an AtlasError."""
        small: dict[str, Any] = {
            "datasets": [str(self.world.home / "ponds.yaml")],
            "supervisions": ["one_hot"],
            "training": {"epochs": 1, "batch_size": 4},
        }
        watcher = _Failures()
        try:
            run_study(self.world.study(**(small | overrides)), self.world.placement, observer=watcher)
        finally:
            for failure in watcher.found:
                last = [line for line in failure.trace.splitlines() if line and not line.startswith(" ")][-1]
                assert last.startswith("atlas_core.errors.AtlasError"), failure.trace


Act = Callable[[Ground], Ended | None]


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        says: A word that the message must hold.
        may_add: Whether other, whole artifacts may be made before the input is met.
    """

    name: str
    act: Act
    says: str
    may_add: bool = False


REFUSED: list[Case] = []
ACCEPTED: list[Case] = []


def refused(says: str, *, may_add: bool = False) -> Callable[[Act], Act]:
    """Add a case that must be refused with a message that holds `says`."""

    def add(act: Act) -> Act:
        REFUSED.append(Case(_name(act), act, says, may_add))
        return act

    return add


def accepted(act: Act) -> Act:
    """Add an input that looks bad and must do what its function asserts."""
    ACCEPTED.append(Case(_name(act), act, ""))
    return act


def refused_each(prefix: str, table: dict[str, tuple[str, Act]], *, may_add: bool = False) -> None:
    """Add a row a name: (a word of the message, what to do)."""
    for name, (says, act) in table.items():
        REFUSED.append(Case(f"{prefix}: {name}", act, says, may_add))


def _name(act: Act) -> str:
    return getattr(act, "__name__", "case").replace("_", " ")


def contents(store: Store) -> dict[str, str]:
    """Path → hash of every file of every artifact (not of the store's own records)."""
    if not store.root.is_dir():
        return {}
    return {
        path.relative_to(store.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for stage in store.root.iterdir()
        if stage.is_dir() and not stage.name.startswith(".")
        for path in stage.rglob("*")
        if path.is_file()
    }


def check_store(store: Store, before: dict[str, str], *, may_add: bool) -> None:
    """What was in the store is as it was; what came is whole; nothing lies about."""
    after = contents(store)
    assert {path: after.get(path) for path in before} == before, "an artifact was changed or removed"
    if not may_add:
        assert after == before, f"added {sorted(set(after) - set(before))}"
    for manifest in store.manifests():
        assert store.verify(manifest) == []
    folders = {path.split("/")[1] for path in after}
    assert folders == {manifest.key for manifest in store.manifests()}, "a folder without a manifest"
    leftovers = store.root / ".tmp"
    assert not leftovers.is_dir() or list(leftovers.iterdir()) == []


def check_error(error: AtlasError, says: str) -> None:
    """One message with what is wrong, and what was expected or what to do."""
    assert error.what.strip()
    assert error.expected or error.fix, f"neither `expected` nor `fix`: {error}"
    assert says.lower() in str(error).lower(), str(error)


def check_ending(ended: Ended | None, says: str) -> None:
    """A command that failed with status 1 (or 2 for misspelt options) and one message."""
    assert ended is not None, "nothing was refused"
    assert ended.status in (1, 2), f"status {ended.status}: {ended.message}"
    assert "Traceback" not in ended.message
    assert says.lower() in ended.message.lower(), ended.message
    if ended.status == 1:
        assert ended.message.count("error ") >= 1
        assert "Expected:" in ended.message or "To fix:" in ended.message, ended.message
