"""The demo world is deterministic, varied, laid out as image folders, and neither too easy nor hopeless."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import open_clip
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.load import load_backbone
from atlas_core.datasets.demo import DEMO_DATASETS, SIZE, SPLITS, generate
from atlas_core.errors import AtlasError
from atlas_core.resources import data_path

DRAWN = [name for name, dataset in DEMO_DATASETS.items() if dataset.render is not None]
SHIFTED = [name for name in DEMO_DATASETS if name.startswith("demo_objects_")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every demo dataset."""
    root = tmp_path_factory.mktemp("demo")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        list(executor.map(generate, DEMO_DATASETS, [root / name for name in DEMO_DATASETS]))
    return root


@pytest.fixture(scope="module")
def measuring() -> ModuleType:
    """The script that the demo README's table comes from."""
    path = data_path("demo", "measure_demo_clip.py")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def skills(world: Path, measuring: ModuleType) -> dict[str, Any]:
    """What the shipped model can do on each dataset, loaded and measured as any other backbone."""
    clip = load_backbone(BackboneConfig(model="demo", pretrained=None), "cpu")
    return {name: measuring.measure(clip, name, world) for name in DEMO_DATASETS}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def _pixels(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())])


def _catalogue(name: str) -> dict[str, object]:
    entry: dict[str, object] = yaml.safe_load(data_path("catalogue", f"{name}.yaml").read_text())
    return entry


@pytest.mark.parametrize("name", DRAWN)
def test_an_image_is_a_function_of_its_stream(name: str) -> None:
    dataset = DEMO_DATASETS[name]
    assert dataset.render is not None
    for class_name in dataset.class_names:
        first, again, other = (
            dataset.render(np.random.default_rng(seed), class_name).tobytes() for seed in (5, 5, 6)
        )
        assert first == again
        assert first != other


@pytest.mark.parametrize("name", ["demo_counts", "demo_digits"])
def test_equal_seeds_give_equal_files(world: Path, tmp_path: Path, name: str) -> None:
    generate(name, tmp_path / "again")
    assert _bytes(tmp_path / "again") == _bytes(world / name)


def test_another_seed_gives_other_files(world: Path, tmp_path: Path) -> None:
    generate("demo_digits", tmp_path / "other", seed=1)
    assert _bytes(tmp_path / "other") != _bytes(world / "demo_digits")


@pytest.mark.parametrize("name", DEMO_DATASETS)
def test_layout_is_an_image_folder_per_split(world: Path, name: str) -> None:
    dataset = DEMO_DATASETS[name]
    assert sorted(folder.name for folder in (world / name).iterdir()) == sorted(SPLITS)
    for split in SPLITS:
        classes = {folder.name: folder for folder in (world / name / split).iterdir()}
        assert set(classes) == {class_name.replace(" ", "_") for class_name in dataset.class_names}
        assert all(len(list(folder.iterdir())) == dataset.sizes[split] for folder in classes.values())
    with Image.open(next((world / name / "test").rglob("*.png"))) as image:
        assert (image.size, image.mode) == ((SIZE, SIZE), "RGB")


@pytest.mark.parametrize("name", DEMO_DATASETS)
def test_no_image_occurs_twice(world: Path, name: str) -> None:
    images = _bytes(world / name)
    assert len(set(images.values())) == len(images)


@pytest.mark.parametrize("name", DRAWN)
def test_images_of_a_class_differ_visibly(world: Path, name: str) -> None:
    for folder in (world / name / "test").iterdir():
        spread = _pixels(folder).astype(np.float32).std(axis=0).mean()
        assert spread > 8, f"{folder.name}: {spread:.1f} grey levels"


def test_the_world_is_small_and_has_a_source_targets_and_shifts() -> None:
    assert sum(dataset.n_images for dataset in DEMO_DATASETS.values()) <= 10_000
    source = DEMO_DATASETS["demo_objects"]
    assert len(source.class_names) >= 20
    assert len(SHIFTED) >= 3
    assert all(DEMO_DATASETS[name].class_names == source.class_names for name in SHIFTED)
    assert len(DEMO_DATASETS) - len(SHIFTED) - 1 >= 4


def test_generating_fills_an_empty_folder_only_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    generate("demo_digits", tmp_path / "digits")
    before = _bytes(tmp_path / "digits")
    with pytest.raises(AtlasError, match="is there and not empty"):
        generate("demo_digits", tmp_path / "digits", seed=1)
    assert _bytes(tmp_path / "digits") == before
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="demo_cars"):
        generate("demo_cars", tmp_path / "cars")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", DEMO_DATASETS)
def test_every_dataset_is_in_the_catalogue(name: str) -> None:
    entry = _catalogue(name)
    assert entry["name"] == entry["folder"] == name
    assert entry["source"] == {"generator": "demo"}


@pytest.mark.parametrize("name", DEMO_DATASETS)
def test_zero_shot_skill_leaves_something_to_gain_and_to_lose(skills: dict[str, Any], name: str) -> None:
    skill = skills[name]
    assert 1.5 * skill.chance <= skill.zero_shot <= 90


def test_every_shift_makes_the_source_harder(skills: dict[str, Any]) -> None:
    assert all(skills[name].zero_shot < skills["demo_objects"].zero_shot for name in SHIFTED)


def test_the_shipped_model_is_a_small_open_clip_model() -> None:
    assert data_path("demo", "demo_clip.safetensors").stat().st_size <= 10_000_000
    model = open_clip.CLIP(**json.loads(data_path("demo", "demo_clip.json").read_text()))
    assert 2_000_000 <= sum(p.numel() for p in model.parameters()) <= 6_000_000
    weights = load_file(data_path("demo", "demo_clip.safetensors"))
    assert not model.load_state_dict(weights, strict=False).unexpected_keys
    assert {key for key, _ in model.named_parameters()} == set(weights)
