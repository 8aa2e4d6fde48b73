"""`atlas status` and `atlas why` say what is so, in one screen."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml

from atlas_core.commands.study import explanation_lines
from atlas_core.errors import AtlasError
from atlas_core.plan.build import build_graph
from atlas_core.plan.explain import explain, find_node
from atlas_core.plan.resolve import Resolver
from atlas_core.store import Store
from tests.plan.conftest import EditModule
from tests.tiny_study import TinyWorld


def why(world: TinyWorld, run: str, **overrides: object) -> list[str]:
    graph = build_graph(world.study(**overrides), world.placement)
    resolver = Resolver(graph, Store(world.placement.store_path))
    states = resolver.states()
    return explanation_lines(explain(resolver, states, find_node(graph, states, run)))


def test_why_names_the_field_that_differs_from_the_newest_sibling(world: TinyWorld) -> None:
    lines = why(world, "ponds /ls", supervisions=[{"name": "ls", "mix": 0.2}])
    assert any("config.supervision.mix: 0.1 → 0.2" in line for line in lines)
    assert len(lines) < 24


def test_why_names_the_definitions_that_changed(world: TinyWorld, edit_module: EditModule) -> None:
    edit_module("atlas_core.labels.ols", lambda text: text.replace("_counts > 0", "_counts > 1"))
    edit_module("atlas_core.labels.base", lambda text: text.replace(".mean()", ".sum()"))
    lines = [line.strip() for line in why(world, "ponds /ols") if "code of" in line]
    assert lines == [
        "code of atlas_core.labels.base:soft_cross_entropy changed",
        "code of atlas_core.labels.ols:OnlineSmoothing changed",
    ]


def test_why_says_where_it_cannot_tell_what_the_code_was(world: TinyWorld, edit_module: EditModule) -> None:
    shutil.rmtree(world.placement.store_path / ".code")
    edit_module("atlas_core.labels.ols", lambda text: text.replace("_counts > 0", "_counts > 1"))
    assert any("code changed (the store has no record" in line for line in why(world, "ponds /ols"))


def test_why_says_when_a_fresh_run_was_made_and_at_what_cost(world: TinyWorld) -> None:
    first = why(world, "ponds /ls")[0]
    assert first.startswith("made ")
    assert " s, key " in first


def test_why_follows_a_waiting_run_to_the_input_that_is_wrong(world: TinyWorld) -> None:
    lines = why(world, "ponds atlas_isl", supervisions=[{"name": "atlas_isl", "temperature": 3.0}])
    assert any(line.startswith("waits for isl/ponds") for line in lines)


def test_why_of_a_pending_run_names_the_artifact_that_it_may_be(world: TinyWorld) -> None:
    store = Store(world.placement.store_path)
    made = next(
        each for each in store.manifests("tune") if each.name.endswith("ponds/base/2-shot/coop/ls/seed1")
    )
    for each in list(store.manifests("image_features")):
        if "ponds/train" in each.name:
            store.delete("image_features", each.key)
    lines = why(world, "ponds /ls")
    assert any(line.startswith("waits for image_features/ponds/train") for line in lines)
    assert any(
        line.startswith(f"if that comes out as it was, it is {made.key[:16]}, made ") for line in lines
    )


def test_why_of_a_waiting_run_that_is_stale_names_what_differs(world: TinyWorld) -> None:
    store = Store(world.placement.store_path)
    for each in list(store.manifests("image_features")):
        store.delete("image_features", each.key)
    lines = why(world, "ponds /ls", supervisions=[{"name": "ls", "mix": 0.2}])
    assert any("config.supervision.mix: 0.1 → 0.2" in line for line in lines)
    assert not any("comes out as it was" in line for line in lines)


def test_why_says_that_a_damaged_artifact_is_damaged(world: TinyWorld) -> None:
    store = Store(world.placement.store_path)
    victim = next(each for each in store.manifests("tune") if "ponds" in each.name and "/ols/" in each.name)
    (store.path("tune", victim.key) / "curves.parquet").unlink()
    assert any("gone or damaged" in line for line in why(world, "ponds /ols"))


def test_an_ambiguous_or_unknown_run_is_refused_with_names(world: TinyWorld) -> None:
    with pytest.raises(AtlasError, match="runs answer to"):
        why(world, "ponds")
    with pytest.raises(AtlasError, match="unknown run"):
        why(world, "lakes")


def atlas(world: TinyWorld, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "ATLAS_HOME": str(world.home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "atlas_core.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_line_lists_status_before_anything_runs(world: TinyWorld) -> None:
    study = world.home / "changed.yaml"
    study.write_text(yaml.safe_dump(world.raw_study(supervisions=["one_hot", {"name": "ls", "mix": 0.2}])))
    answer = atlas(world, "status", str(study))
    assert answer.returncode == 0, answer.stderr
    assert "stale    ponds/base/2-shot/coop/ls(mix=0.2)/seed1" in answer.stdout
    assert "one_hot" not in answer.stdout.partition("stale    ")[2]


def test_an_error_is_one_message_and_status_1(world: TinyWorld) -> None:
    answer = atlas(world, "run", "base-to-knew")
    assert answer.returncode == 1
    assert answer.stderr.startswith("error unknown study")
    assert "Traceback" not in answer.stderr
