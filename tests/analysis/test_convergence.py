"""`atlas convergence` on a tiny study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from atlas_core.analysis.convergence import initial_coop, measure_convergence, sample_targets
from atlas_core.analysis.training_set import training_set
from atlas_core.backbone.load import load_backbone
from atlas_core.errors import AtlasError
from atlas_core.own_files import LIST
from atlas_core.store import Store
from atlas_core.training.checkpoint import read_tensors
from atlas_core.use.runs import backbone_of, input_folder, open_run
from tests.tiny_study import TinyWorld
from tests.use.test_predict import atlas

RUN = "coop one_hot"


@pytest.fixture(scope="module")
def folder(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("convergence")
    options = [part for name in ("one_hot", "isl", "atlas_csl") for part in ("--schedule", name)]
    atlas(world, "convergence", RUN, "--output", out, "--every", 2, *options)
    return out


def test_every_schedule_epoch_and_target_has_a_row(folder: Path) -> None:
    rows = pd.read_parquet(folder / "gradients.parquet")
    assert set(rows["epoch"]) == {0, 2, 3}
    assert len(rows) == 3 * 3 * 4
    assert rows.notna().all(axis=None)
    assert (rows["variance"] >= 0).all()
    assert (rows[rows["target"] == "one_hot"]["kappa"] == 1).all()
    assert {path.name for path in folder.iterdir() if path.name != LIST} == {
        "gradients.parquet", "curves.parquet", "convergence.svg", "convergence.png",
    }  # fmt: skip


def test_all_schedules_start_from_one_context(folder: Path) -> None:
    rows = pd.read_parquet(folder / "gradients.parquet").query("epoch == 0")
    assert (rows.groupby("target")["variance"].nunique() == 1).all()


def test_the_runs_own_schedule_is_trained_as_the_run_was(folder: Path, store: Store) -> None:
    run = open_run(store, RUN)
    stored = pq.read_table(run.folder / "curves.parquet").to_pandas()
    curves = pd.read_parquet(folder / "curves.parquet").query("schedule == 'one_hot'")
    assert curves["loss"].tolist() == pytest.approx(stored["loss"].tolist(), rel=1e-6)


def test_soft_labels_are_those_that_the_study_trained_with(store: Store) -> None:
    run = open_run(store, "coop atlas_isl")
    assert run.manifest is not None
    data = training_set(store, run.manifest)
    tables, _ = read_tensors(input_folder(store, run.manifest, "isl", "isl") / "soft_labels.safetensors")
    assert data.targets.isl is not None
    torch.testing.assert_close(data.targets.isl, tables["isl"])
    torch.testing.assert_close(sample_targets(data)["isl"], tables["isl"][:, 0])


def test_isl_has_no_gradient_where_training_starts_from_the_frozen_prompt(folder: Path) -> None:
    """The context starts as the words that the soft labels were made with, so ISL is the model's own prediction."""
    rows = pd.read_parquet(folder / "gradients.parquet").query("epoch == 0").set_index("target")
    assert rows["kappa"]["isl"].max() < 1e-6


def test_runs_that_cannot_be_repeated_are_refused(store: Store) -> None:
    run = open_run(store, "zero_shot")
    clip = load_backbone(backbone_of(run, store))
    with pytest.raises(AtlasError, match="is not CoOp"):
        measure_convergence(store, run, clip)


def test_the_initial_context_is_the_words(store: Store) -> None:
    run = open_run(store, RUN)
    clip = load_backbone(backbone_of(run, store))
    method = initial_coop(run, clip)
    plain = clip.encode_text([f"a photo of a {name}." for name in run.classes])
    torch.testing.assert_close(method.text_features().detach(), plain, rtol=1e-3, atol=1e-4)
