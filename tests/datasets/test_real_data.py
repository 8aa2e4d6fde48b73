"""Real images through the readers: Caltech101 as everybody has it, CIFAR-10, PACS, Tiny-ImageNet."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from atlas_core.config import StudyConfig
from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.datasets.fetch import ensure_fetched
from atlas_core.datasets.few_shot import few_shot_sample
from atlas_core.datasets.items import SPLITS, DatasetIndex, base_new_labels, select
from atlas_core.datasets.paths import listing_fingerprint
from atlas_core.datasets.readers import read_dataset
from atlas_core.datasets.verify import verify
from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.presets import validate_study

DOMAINS = ("photo", "art_painting", "cartoon", "sketch")


def unpacked(shared: Path, name: str, root: Path) -> Path:
    with tarfile.open(shared / f"{name}.tar") as archive:
        archive.extractall(root, filter="data")
    return root


@pytest.fixture(scope="module")
def caltech_root(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(shared, "caltech-101-subset", tmp_path_factory.mktemp("caltech"))


@pytest.fixture(scope="module")
def pacs(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(shared, "pacs-subset", tmp_path_factory.mktemp("pacs")) / "pacs"


def sizes(index: DatasetIndex) -> tuple[int, ...]:
    return tuple(len(index.positions(split)) for split in SPLITS)


def test_caltech101_is_adopted_where_it_lies_and_read_by_the_official_reader(caltech_root: Path) -> None:
    spec = dataset_spec("caltech101")
    before = listing_fingerprint(caltech_root)
    ensure_fetched(spec, caltech_root)
    index = read_dataset(spec, caltech_root)
    assert sizes(index) == (1600, 400, 800)
    assert len(index.class_names) == 100
    assert {"airplane", "face", "leopard", "motorbike"} <= set(index.class_names)
    report = verify(spec, caltech_root)
    assert report.ok
    assert "train: 1600 here, 4128 published" in report.notes, "a cut set is readable, and is told apart"
    assert listing_fingerprint(caltech_root) == before


def test_sixteen_shots_of_the_base_classes_are_part_of_those_of_all(caltech_root: Path) -> None:
    index = read_dataset(dataset_spec("caltech101"), caltech_root)
    sample = few_shot_sample(index, 16, 1)
    base, new = base_new_labels(len(index.class_names))
    items = select(index, sample.train, base)
    assert Counter(item.label for item in items) == dict.fromkeys(range(50), 16)
    assert {item.path for item in items} <= {index.items[position].path for position in sample.train}
    assert not {item.class_name for item in items} & {index.class_names[label] for label in new}


def test_cifar10_folders_keep_their_own_split(shared: Path, tmp_path: Path) -> None:
    unpacked(shared, "cifar10-subset", tmp_path)
    index = read_dataset(dataset_spec(f"image_folder:{tmp_path / 'cifar10'}"), tmp_path)
    assert sizes(index) == (600, 0, 400)
    assert index.class_names[:3] == ("airplane", "automobile", "bird")


def test_tiny_imagenet_is_taken_out_of_its_parquet_file(shared: Path, tmp_path: Path) -> None:
    spec = dataset_spec(f"hf_parquet:{shared / 'tiny_imagenet200_64px.parquet'}")
    ensure_fetched(spec, tmp_path)
    index = read_dataset(spec, tmp_path)
    assert sizes(index) == (4800, 800, 4800)
    assert len(index.class_names) == 200
    assert "goldfish" in index.class_names
    with Image.open(io.BytesIO(index.path(index.items[0]).read_bytes())) as image:
        assert image.size == (64, 64)


def test_each_pacs_domain_is_a_dataset_with_the_same_classes(pacs: Path) -> None:
    indices = [read_dataset(dataset_spec(f"image_folder:{pacs / domain}"), pacs) for domain in DOMAINS]
    assert {index.class_names for index in indices} == {
        ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
    }
    assert {sizes(index) for index in indices} == {(140, 56, 84)}
    assert verify(dataset_spec(f"image_folder:{pacs / 'sketch'}"), pacs).ok


def domain_study(source: str, targets: list[str]) -> StudyConfig:
    raw = {
        "name": "pacs",
        "protocol": "domain_generalization",
        "source": source,
        "targets": targets,
        "methods": ["coop"],
        "supervisions": ["one_hot", "atlas_isl"],
        "seeds": [1],
        "backbone": {"model": "demo"},
    }
    return validate_study(raw, "pacs")


def test_pacs_makes_a_domain_generalization_study_by_paths_or_by_names(
    pacs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"image_folder:{pacs / domain}" for domain in DOMAINS]
    for domain in DOMAINS:
        fractions = "{train: 0.7, test: 0.3}" if domain == "photo" else "{test: 1.0}"
        (tmp_path / f"pacs_{domain}.yaml").write_text(
            f"name: pacs_{domain}\nlayout: image_folder\nfolder: {pacs / domain}\n"
            f"options: {{fractions: {fractions}}}\n"
        )
    monkeypatch.setenv("ATLAS_CATALOGUE", str(tmp_path))
    names = [f"pacs_{domain}" for domain in DOMAINS]
    for source, *targets in (paths, names):
        graph = build_graph(domain_study(source, targets), Placement(home=tmp_path))
        tested = {str(node.config["target"]).removeprefix("pacs_") for node in graph.of_stage("evaluate")}
        assert tested == set(DOMAINS)
    assert sizes(read_dataset(dataset_spec("pacs_sketch"), tmp_path)) == (0, 0, 280)


def test_a_domain_that_does_not_exist_is_refused_before_anything_starts(pacs: Path) -> None:
    with pytest.raises(AtlasError, match="sketches does not exist"):
        domain_study(f"image_folder:{pacs / 'photo'}", [f"image_folder:{pacs / 'sketches'}"])
