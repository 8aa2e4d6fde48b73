"""What `atlas gc` says is what looking at every study whole would say, and what killed jobs leave is found."""

import fcntl
import os
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from atlas_core.config import StudyConfig
from atlas_core.hashing import artifact_key
from atlas_core.operations.garbage import Needed, Piece, garbage, needed_by, remove
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.resolve import Resolver
from atlas_core.plan.session import run_study
from atlas_core.presets import validate_study
from atlas_core.results.current import current_aggregates
from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world, write_yaml


def transfer(world: TinyWorld, *targets: str) -> StudyConfig:
    """A study trained on ponds and tested on the targets."""
    raw = world.raw_study(name="transfer", protocol="cross_dataset", supervisions=["one_hot", "atlas_isl"])
    del raw["datasets"]
    places = [str(world.home / f"{name}.yaml") for name in targets]
    return validate_study(raw | {"source": str(world.home / "ponds.yaml"), "targets": places}, "transfer")


def studies_of(world: TinyWorld) -> list[StudyConfig]:
    """Of what the store holds all, a part, something else, and nothing: seas are on no disk."""
    ponds, seas = str(world.home / "ponds.yaml"), str(world.home / "seas.yaml")
    return [
        world.study(),
        world.study(name="wider", seeds=[1, 2], datasets=[ponds, seas]),
        world.study(name="few", protocol="few_shot", supervisions=["one_hot"], shots=[1]),
        transfer(world, "woods", "seas"),
        world.study(name="elsewhere", datasets=[seas]),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("garbage"))
    write_yaml(world.home / "seas.yaml", {"name": "seas", "layout": "image_folder", "folder": "seas"})
    world.run()
    world.run(name="few", protocol="few_shot", supervisions=["one_hot"], shots=[1])
    run_study(transfer(world, "woods"), world.placement)
    return world


@pytest.fixture
def world(finished: TinyWorld, tmp_path: Path) -> TinyWorld:
    shutil.copytree(finished.home, tmp_path / "home")
    return TinyWorld(tmp_path / "home")


def store_of(world: TinyWorld) -> Store:
    return Store(world.placement.store_path)


def pieces_of(world: TinyWorld, studies: Iterable[StudyConfig]) -> list[Piece]:
    return list(garbage(store_of(world), needed_by(studies, world.placement)))


def pieces_by_definition(world: TinyWorld, studies: Iterable[StudyConfig]) -> list[Piece]:
    """Study by study, with nothing left out and nothing remembered."""
    return list(garbage(store_of(world), needed_by_whole_graphs(studies, world.placement)))


def needed_by_whole_graphs(studies: Iterable[StudyConfig], placement: Placement) -> Needed:
    store = Store(placement.store_path)
    artifacts = {(each.stage, each.key) for each in current_aggregates(store)}
    unfinished = set()
    for study in studies:
        resolver = Resolver(build_graph(study, placement), store)
        states = resolver.states()
        for node in resolver.graph.nodes:
            state = states[node.name]
            if state.key_parts is None:
                artifacts |= {(each.stage, each.key) for each in resolver.family(node)}
                continue
            artifacts.add((node.stage, artifact_key(state.key_parts)))
            if state.status != "fresh":
                unfinished.add((node.stage, artifact_key(state.key_parts)))
    return Needed(frozenset(artifacts), frozenset(unfinished))


@pytest.mark.parametrize("seed", range(12))
def test_leaving_out_what_the_store_does_not_hold_changes_no_answer(world: TinyWorld, seed: int) -> None:
    rng, store = random.Random(seed), store_of(world)
    manifests = sorted(store.manifests(), key=lambda each: each.key)
    lost = rng.choice((0.02, 0.2, 0.6))
    dataset = rng.choice(("ponds", "woods", "neither"))
    for each in manifests:
        if rng.random() < lost or (rng.random() < 0.8 and dataset in each.name):
            store.delete(each.stage, each.key)
            folder = store.root / ".work" / f"{each.stage}-{each.key}"
            folder.mkdir(parents=True)
            os.utime(folder, (0, 0))
    studies = rng.sample(studies_of(world), rng.randint(1, 5))
    assert pieces_of(world, studies) == pieces_by_definition(world, studies)


def test_a_whole_store_has_garbage_only_of_studies_that_were_not_asked(world: TinyWorld) -> None:
    assert pieces_of(world, studies_of(world)) == []
    names = {piece.name for piece in pieces_of(world, [transfer(world, "woods", "seas")])}
    assert names
    assert [name for name in names if "ponds" in name and "on woods" in name] == []


def test_a_study_of_datasets_that_the_store_does_not_know_is_not_looked_at(world: TinyWorld) -> None:
    elsewhere = studies_of(world)[-1]
    lost = elsewhere.model_copy(
        update={
            "backbone": elsewhere.backbone.model_copy(update={"weights": world.home / "gone.safetensors"})
        }
    )
    assert pieces_of(world, [*studies_of(world), lost]) == []


def test_work_on_a_dataset_that_was_never_fetched_is_kept(world: TinyWorld) -> None:
    elsewhere = studies_of(world)[-1]
    fetch = build_graph(elsewhere, world.placement).of_stage("fetch")[0]
    resolver = Resolver(build_graph(elsewhere, world.placement), store_of(world))
    parts = resolver.states()[fetch.name].key_parts
    assert parts is not None
    folder = store_of(world).root / ".work" / f"fetch-{artifact_key(parts)}"
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    assert pieces_of(world, studies_of(world)) == []


def test_what_is_made_while_the_studies_are_asked_is_kept(world: TinyWorld) -> None:
    needed = needed_by([world.study()], world.placement)
    world.run(seeds=[2])
    assert not any("seed2" in piece.name for piece in garbage(store_of(world), needed))


def test_the_results_that_a_study_went_back_to_are_kept_and_younger_ones_are_not(world: TinyWorld) -> None:
    (first,) = (each.key for each in store_of(world).manifests("aggregate") if each.name == "aggregate/tiny")
    world.run(seeds=[2])
    (second,) = (
        each.key
        for each in store_of(world).manifests("aggregate")
        if each.name == "aggregate/tiny" and each.key != first
    )
    for seeds, kept, lost in (([2], second, first), ([1], first, second)):
        world.run(seeds=seeds)
        folders = {piece.path.name for piece in garbage(store_of(world), needed_by([], world.placement))}
        assert lost in folders
        assert kept not in folders


@pytest.fixture
def lock(world: TinyWorld) -> Path:
    """What a killed job leaves: a lock file that has been there for long."""
    file = store_of(world).root / ".work" / f"tune-{'e' * 64}.lock"
    file.parent.mkdir(exist_ok=True)
    file.touch()
    os.utime(file, (0, 0))
    return file


def test_a_lock_file_that_a_killed_job_left_is_garbage(world: TinyWorld, lock: Path) -> None:
    pieces = pieces_of(world, studies_of(world))
    assert [piece.path for piece in pieces] == [lock]
    assert pieces_of(world, studies_of(world)) == pieces, "looking at a lock must not make it young"
    remove(store_of(world), pieces)
    assert not lock.exists()


def test_a_lock_that_somebody_holds_is_neither_garbage_nor_removed(world: TinyWorld, lock: Path) -> None:
    pieces = pieces_of(world, studies_of(world))
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert pieces_of(world, studies_of(world)) == []
        remove(store_of(world), pieces)
        assert lock.exists()


def test_a_young_lock_file_is_left_to_the_job_that_is_about_to_take_it(world: TinyWorld, lock: Path) -> None:
    os.utime(lock)
    assert pieces_of(world, studies_of(world)) == []
