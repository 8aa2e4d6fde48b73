"""A few drawn faults; `python -m tests.torture faults` goes on for as long as it is told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.torture.fault_tally import FaultTally, summary
from tests.torture.faults import PLACEMENTS, Disturbed, same


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    return Disturbed(tmp_path_factory.mktemp("disturbed"), tmp_path_factory.mktemp("kept"))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_disturbed_study_ends_in_the_tables_of_an_undisturbed_one(
    disturbed: Disturbed, placement: str
) -> None:
    disturbed.store(5, 0, [placement], times=2)
    assert not disturbed.tally.harmful, summary(disturbed.tally, [placement])


def test_faults_are_counted_by_kind_and_place() -> None:
    tally = FaultTally()
    for part in range(2):
        once = FaultTally(missed=1, longest_end=1.0 + part)
        once.tried["workers", "SIGINT to the group"] += 1
        once.harmful["workers, SIGINT to the group: hung"] += part
        tally.add(once)
    said = summary(tally, list(PLACEMENTS)).splitlines()
    assert said[1].split() == ["SIGINT", "to", "the", "group", "0", "2", "0", "0", "2"]
    assert said[2].split() == ["together", "0", "2", "0", "0", "2"]
    assert "2 commands had ended" in said[3]
    assert "within 2.0 s" in said[3]
    assert said[-1] == "1 did harm"


def test_tables_are_compared_to_the_bit_but_for_stacks() -> None:
    expected = {"metrics": [{"loss": 1.0, "run": "a"}]}
    assert same({"metrics": [{"loss": 1.0, "run": "a"}]}, expected, roughly=False)
    assert not same({"metrics": [{"loss": 1.0 + 1e-9, "run": "a"}]}, expected, roughly=False)
    assert same({"metrics": [{"loss": 1.0 + 1e-9, "run": "a"}]}, expected, roughly=True)
    assert not same({"metrics": [{"loss": 1.1, "run": "a"}]}, expected, roughly=True)
    assert not same({"metrics": []}, expected, roughly=True)


def test_the_same_seed_draws_the_same_damage(disturbed: Disturbed, tmp_path: Path) -> None:
    import shutil

    from atlas_core.store import Store
    from tests.torture.damages import damage_store
    from tests.torture.faults import finished

    states = []
    for copy in ("one", "two"):
        shutil.copytree(disturbed.scratch / "undisturbed-False", tmp_path / copy)
        store = Store(tmp_path / copy)
        before = finished(store)
        kind = damage_store(store, random.Random(3))
        states.append((kind, sorted(before.keys() - finished(store).keys())))
    assert states[0] == states[1]
    assert states[0][1]
