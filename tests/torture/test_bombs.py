"""No input is a bomb: each is refused with one message, in a child with little memory and time."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from atlas_core.errors import AtlasError
from tests.torture.bombs import BOMBS
from tests.torture.bounded import Tally, in_child


def exploded(act: object, tmp_path: Path) -> Tally:
    assert callable(act)
    return in_child(lambda reader: reader(lambda place: None), act, tmp_path / "scratch", tmp_path / "kept")


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name: str, tmp_path: Path) -> None:
    tally = exploded(BOMBS[name], tmp_path)
    assert (tally.refused, tally.faults) == (1, {})


def test_what_takes_too_much_memory_or_says_nothing_would_be_noticed(tmp_path: Path) -> None:
    def hoard(folder: Path) -> object:
        return [bytes(100_000_000) for _ in range(100)]

    def fall(folder: Path) -> object:
        return {}[folder]

    def mumble(folder: Path) -> object:
        raise AtlasError("")

    for act, what in ((hoard, "MemoryError"), (fall, "KeyError"), (mumble, "says nothing")):
        faults = exploded(act, tmp_path).faults
        assert [fault for fault in faults if what in fault], faults
    assert len(list((tmp_path / "kept").glob("*/fault.txt"))) == 3


def test_what_takes_too_long_or_kills_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.torture.bounded.SECONDS", 0.2)
    monkeypatch.setattr("tests.torture.bounded.HUNG_SECONDS", 2.0)

    def work(folder: Path) -> object:
        while True:
            pass

    def sleep(folder: Path) -> object:
        return time.sleep(600)

    def die(folder: Path) -> object:
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    assert "TooSlowError" in next(iter(exploded(work, tmp_path).faults))
    assert "hung" in exploded(sleep, tmp_path).faults
    assert "killed (exit -9)" in exploded(die, tmp_path).faults
