"""Inputs of every format, drawn by chance: a result or an AtlasError, whatever was damaged.

Run longer with `HYPOTHESIS_PROFILE=torture`, or with new draws and a memory limit as `python -m tests.torture inputs`.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.errors import AtlasError
from tests.torture.format import put
from tests.torture.formats import NAMES, formats
from tests.torture.inputs import read_drawn, summary


def test_every_format_has_its_test() -> None:
    assert set(NAMES) == set(formats())


@pytest.mark.parametrize("name", NAMES)
def test_a_good_input_is_read(name: str, tmp_path: Path) -> None:
    put(formats()[name].whole, tmp_path)
    formats()[name].read(tmp_path)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_damaged_input_is_read_or_refused(name: str, data: st.DataObject) -> None:
    files = data.draw(formats()[name].damaged)
    with tempfile.TemporaryDirectory(prefix="atlas-torture-") as folder:
        put(files, Path(folder))
        with contextlib.suppress(AtlasError):
            formats()[name].read(Path(folder))


def test_the_same_seed_draws_the_same_inputs(tmp_path: Path) -> None:
    chosen = formats()["split JSON"]
    tallies = [read_drawn(chosen, 7, tmp_path / "scratch", tmp_path / "kept", examples=30) for _ in range(2)]
    assert tallies[0] == tallies[1]
    assert tallies[0].inputs == 30
    assert "together" in summary({"split JSON": tallies[0]})
