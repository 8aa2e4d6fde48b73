"""What waits for an input is pending as long as the store may have it, and no longer."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas_core import code_digest
from atlas_core.plan.build import build_graph
from atlas_core.plan.resolve import NodeState, Resolver, ToMake
from atlas_core.results.report.study import write_study_report
from atlas_core.store import Store
from tests.tiny_study import TinyWorld, draw_image_folder, make_world


def states_of(world: TinyWorld, **overrides: object) -> dict[str, NodeState]:
    graph = build_graph(world.study(**overrides), world.placement)
    return Resolver(graph, Store(world.placement.store_path)).states()


def to_make(world: TinyWorld, **overrides: object) -> ToMake:
    return ToMake.of(state.status for state in states_of(world, **overrides).values())


def statuses(states: dict[str, NodeState], stage: str) -> Counter[str]:
    return Counter(state.status for name, state in states.items() if name.startswith(f"{stage}/"))


@pytest.fixture
def copied(finished: TinyWorld, tmp_path: Path) -> TinyWorld:
    """The finished store beside datasets that were brought anew: equal images, files of another time."""
    world = make_world(tmp_path / "elsewhere")
    shutil.copytree(finished.placement.store_path, world.placement.store_path, copy_function=shutil.copyfile)
    return world


def test_in_a_copied_store_all_that_hangs_on_the_images_is_pending_and_then_cached(copied: TinyWorld) -> None:
    states = states_of(copied)
    assert statuses(states, "fetch") == {"fresh": 2}
    assert statuses(states, "index") == {"stale": 2}
    assert {state.status for name, state in states.items() if not name.startswith(("fetch/", "index/"))} == {
        "pending"
    }
    assert str(to_make(copied)) == f"between 2 and {len(states) - 2}"
    assert sorted(copied.run().made) == ["index/ponds", "index/woods"]
    assert to_make(copied) == ToMake(0, 0)


def test_other_images_make_all_that_was_pending(copied: TinyWorld) -> None:
    draw_image_folder(copied.home / "data" / "woods", images=6, side=40, seed=5)
    before = to_make(copied)
    made = copied.run().made
    assert before.surely < len(made) < before.surely + before.perhaps


def test_what_waits_and_differs_in_its_own_configuration_is_stale(copied: TinyWorld) -> None:
    states = states_of(copied, supervisions=["one_hot", {"name": "ls", "mix": 0.2}])
    assert states["tune/ponds/base/2-shot/coop/one_hot/seed1"].status == "pending"
    assert states["tune/ponds/base/2-shot/coop/ls(mix=0.2)/seed1"].status == "stale"


def test_what_waits_and_has_no_version_is_missing(copied: TinyWorld) -> None:
    states = states_of(copied, seeds=[1, 3])
    assert states["tune/ponds/base/2-shot/coop/ls/seed3"].status == "missing"
    assert states["evaluate/ponds/base/2-shot/coop/ls/seed3 on ponds/new"].status == "missing"
    assert states["tune/ponds/base/2-shot/coop/ls/seed1"].status == "pending"


def test_what_waits_and_differs_in_its_code_is_stale(
    copied: TinyWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = code_digest._source_path
    edited = tmp_path / "ols.py"
    source = original("atlas_core.labels.ols")
    assert source is not None
    edited.write_text(source.read_text() + "\nEXTRA = 1\n")
    monkeypatch.setattr(
        code_digest,
        "_source_path",
        lambda module: edited if module == "atlas_core.labels.ols" else original(module),
    )
    states = states_of(copied)
    assert states["tune/ponds/base/2-shot/coop/ols/seed1"].status == "stale"
    assert states["tune/ponds/base/2-shot/coop/ls/seed1"].status == "pending"


def test_what_waits_and_differs_in_an_input_that_is_known_is_stale(world: TinyWorld) -> None:
    """A trained run is gone, and the features that it is tested on are not those of the older evaluation."""
    store, name = Store(world.placement.store_path), "ponds/base/2-shot/coop/ls/seed1"
    older = {each.key for each in store.manifests("evaluate")}
    for path in (world.home / "data" / "ponds" / "blue jay").iterdir():
        Image.fromarray(np.full((40, 40, 3), 7, dtype=np.uint8)).save(path)
    world.run()
    for each in list(store.manifests("tune")):
        if each.name == f"tune/{name}":
            store.delete("tune", each.key)
    evaluation = f"evaluate/{name} on ponds/base"
    assert states_of(world)[evaluation].status == "pending"
    for each in list(store.manifests("evaluate")):
        if each.name == evaluation and each.key not in older:
            store.delete("evaluate", each.key)
    assert states_of(world)[evaluation].status == "stale"


def test_nothing_is_pending_in_an_empty_store(tmp_path: Path) -> None:
    world = make_world(tmp_path / "new")
    assert {state.status for state in states_of(world).values()} == {"missing"}
    assert str(to_make(world)) == str(len(states_of(world)))


def test_a_report_of_results_that_may_be_current_says_that_it_cannot_tell(copied: TinyWorld) -> None:
    page = write_study_report(
        [copied.study()], copied.placement, copied.home / "report.html", title="tiny"
    ).read_text()
    assert "Run again to see whether they are current, an input has to be made first: tiny." in page
    assert "Older than its configuration" not in page
    copied.run()
    page = write_study_report(
        [copied.study()], copied.placement, copied.home / "report.html", title="tiny"
    ).read_text()
    assert "Run again" not in page
