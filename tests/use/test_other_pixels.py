"""A backbone that wants its images squashed gets them so everywhere: features, training, predictions, exports."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from atlas_core.features.cache import read_features
from atlas_core.features.pixels import read_pixels
from atlas_core.store import Store
from atlas_core.use.runs import evaluations_of, open_run
from tests.small_clip import small_config, small_open_clip
from tests.tiny_study import TinyWorld, make_world
from tests.use.test_export import assert_printed_as_predicted, readme_program
from tests.use.test_predict import atlas

PREPROCESS: dict[str, Any] = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


@pytest.fixture(scope="module")
def squashed(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("squashed"))
    for path in (world.home / "data").rglob("*.png"):
        Image.open(path).resize((61, 40)).save(path)
    content = {"model_cfg": small_config(), "preprocess_cfg": PREPROCESS}
    (world.home / "clip.json").write_text(json.dumps(content))
    world.run(
        datasets=[str(world.home / "ponds.yaml")],
        methods=[{"name": "coop", "options": {"n_ctx": 2, "ctx_init": ""}}, "maple"],
        supervisions=["one_hot"],
        training={"epochs": 1, "batch_size": 4},
        views={"per_image": 1, "dtype": "float32"},
    )
    return world


def open_clips_pixels(path: Path) -> torch.Tensor:
    transform = image_transform_v2(PreprocessCfg(size=32, **PREPROCESS), is_train=False)
    pixels: torch.Tensor = transform(Image.open(path))
    return pixels


def test_features_and_pixels_of_test_images_are_of_open_clips_pixels(squashed: TinyWorld) -> None:
    store, model = Store(squashed.placement.store_path), small_open_clip(0)
    checked = set()
    for stage in ("image_features", "pixels"):
        for manifest in store.manifests(stage):
            if manifest.key_parts["config"]["split"] != "test":
                continue
            folder = store.path(stage, manifest.key)
            items = pq.read_table(folder / "items.parquet").to_pylist()
            wanted = torch.stack(
                [open_clips_pixels(squashed.home / "data/ponds" / each["path"]) for each in items]
            )
            if stage == "image_features":
                found = torch.from_numpy(read_features(folder / "features.parquet").features_of(0))
                with torch.no_grad():
                    torch.testing.assert_close(found, model.encode_image(wanted), rtol=0, atol=1e-4)  # type: ignore[operator]
                assert "bilinear squash" in manifest.key_parts["config"]["backbone"]["pixels"]
            else:
                uint8 = read_pixels(folder / "pixels").batch(np.arange(len(items)), np.zeros(len(items), int))
                mean, std = (torch.tensor(PREPROCESS[name]).view(3, 1, 1) for name in ("mean", "std"))
                assert torch.equal(uint8 / 255, (wanted * std + mean).mul(255).round() / 255)
                assert manifest.key_parts["config"]["resizing"]["mode"] == "squash"
            checked.add(stage)
    assert checked == {"image_features", "pixels"}


@pytest.mark.parametrize("words", ["coop", "maple"])
def test_predictions_on_own_images_are_those_that_the_study_stored(squashed: TinyWorld, words: str) -> None:
    store = Store(squashed.placement.store_path)
    manifest = open_run(store, words).manifest
    assert manifest is not None
    (base,) = [
        each for each in evaluations_of(store, manifest) if each.key_parts["config"]["subset"] == "base"
    ]
    row = pq.read_table(store.path("evaluate", base.key) / "predictions.parquet").to_pylist()[0]
    image = squashed.home / "data/ponds" / row["item"]
    said = json.loads(atlas(squashed, "predict", image, "--run", words, "--format", "json"))
    assert said[0]["classes"][0]["probability"] == pytest.approx(row["probability"], abs=1e-4)


def test_the_exported_loader_sees_the_same_pixels(
    squashed: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((squashed.home / "data/ponds").rglob("*.png"))
    atlas(squashed, "export", "coop", tmp_path / "exported")
    monkeypatch.chdir(tmp_path / "exported")
    weights = str(squashed.home / "clip.safetensors")
    monkeypatch.setattr(sys, "argv", ["classify.py", str(image), weights])
    exec(compile(readme_program(tmp_path / "exported"), "classify.py", "exec"), {})
    assert_printed_as_predicted(squashed, image, "coop", capsys.readouterr().out)
