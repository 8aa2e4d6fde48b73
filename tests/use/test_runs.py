"""Finding finished runs and their backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.identity import backbone_identity
from atlas_core.errors import AtlasError
from atlas_core.store import Store
from atlas_core.use.runs import FinishedRun, backbone_of, evaluations_of, find_run, open_run, run_name
from tests.tiny_study import TinyWorld

ONE_HOT = "ponds/base/2-shot/coop/one_hot/seed1"


def test_a_run_answers_to_its_name_its_id_and_words_of_its_name(store: Store) -> None:
    by_name = find_run(store, ONE_HOT)
    assert run_name(by_name) == ONE_HOT
    assert find_run(store, by_name.key[:16]) == by_name
    assert find_run(store, by_name.key[:6]) == by_name
    assert find_run(store, by_name.key) == by_name
    assert find_run(store, "one_hot coop") == by_name


def test_whole_words_come_before_parts_of_words(store: Store) -> None:
    assert "/coop/" in find_run(store, "coop one_hot").name
    assert "/kgcoop/" in find_run(store, "kgcoo one_hot").name


def test_words_of_several_runs_are_refused_with_their_names(store: Store) -> None:
    with pytest.raises(AtlasError, match=r"2 runs answer to 'coop'.*coop/(one_hot|atlas_csl)/seed1"):
        find_run(store, "coop")


def test_an_unknown_run_gets_a_suggestion_and_an_empty_store_says_so(store: Store, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="unknown run"):
        find_run(store, "ponds/base/2-shot/coop/one_hat/seed1")
    with pytest.raises(AtlasError, match="no run in the store"):
        find_run(Store(tmp_path), "coop")


def test_a_run_with_a_missing_file_is_refused(store: Store, tmp_path: Path) -> None:
    manifest = find_run(store, ONE_HOT)
    copy = Store(tmp_path)
    copy.publish("tune", manifest.name, manifest.key_parts, lambda out: (out / "prompts.safetensors").touch())
    (copy.path("tune", manifest.key) / "prompts.safetensors").unlink()
    with pytest.raises(AtlasError, match="gone or damaged"):
        open_run(copy, ONE_HOT)


def test_evaluations_are_those_of_the_run_on_each_target(store: Store) -> None:
    subsets = [each.key_parts["config"]["subset"] for each in evaluations_of(store, find_run(store, ONE_HOT))]
    assert subsets == ["base", "new"]


def test_a_backbone_of_files_is_found_by_its_hashes(store: Store, world: TinyWorld) -> None:
    run = open_run(store, ONE_HOT)
    weights = world.home / "clip.safetensors"
    assert backbone_of(run, store).weights == weights
    offered = backbone_of(run, Store(Path("nowhere")), model=str(world.home / "clip.json"), weights=weights)
    assert offered.weights == weights


def test_a_backbone_with_other_weights_is_refused(store: Store, tmp_path: Path) -> None:
    run = open_run(store, ONE_HOT)
    other = replace(run, config={**run.config, "backbone": {**run.identity, "weights_sha256": "0" * 64}})
    with pytest.raises(AtlasError, match="was not found"):
        backbone_of(other, store)


@pytest.mark.parametrize(
    "said",
    [
        {"model": "ViT-B-16-quickgelu", "activation": "gelu"},
        {"model": "ViT-B-16-quickgelu", "activation": "quick_gelu"},
        {"model": "ViT-L-14", "pretrained": "laion2b_s32b_b82k"},
        {"model": "ViT-L-14", "pretrained": "laion2b_s32b_b82k", "activation": "quick_gelu"},
        {"model": "ViT-g-14"},
    ],
    ids=str,
)
def test_a_weights_file_alone_is_the_backbone_whatever_was_said_of_it(
    said: dict[str, Any], tmp_path: Path
) -> None:
    weights = tmp_path / "w.safetensors"
    save_file({"positional_embedding": torch.zeros(1)}, weights)
    identity = backbone_identity(BackboneConfig.model_validate({**said, "weights": weights}))
    run = FinishedRun("coop", tmp_path, {"backbone": identity}, ("cat", "dog"), None)
    found = backbone_of(run, Store(tmp_path / "store"), weights=weights)
    assert backbone_identity(found) == identity
