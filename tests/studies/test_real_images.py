"""The whole flow on real images with the demo backbone: Caltech101 and CIFAR-10 base to new, PACS across domains."""

import shutil
import tarfile
from pathlib import Path

import pytest
import yaml

from atlas_core.config import StudyConfig
from atlas_core.placement import Placement
from atlas_core.plan.session import run_study
from atlas_core.presets import validate_study
from atlas_core.results.current import open_results
from atlas_core.results.database import query
from atlas_core.store import Store
from tests.tiny_study import RecordingObserver

TRAINING = {"epochs": 10}


@pytest.fixture(scope="module")
def home(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the real images in the layouts that everyone has on disk."""
    home = tmp_path_factory.mktemp("real")
    for name in ("caltech-101", "cifar10", "pacs"):
        with tarfile.open(shared / f"{name}-subset.tar") as archive:
            archive.extractall(home / "data", filter="data")
    describe(home / "cifar10.yaml", name="cifar10", layout="image_folder", folder="cifar10")
    for domain in ("photo", "art_painting", "cartoon", "sketch"):
        describe(
            home / f"pacs_{domain}.yaml",
            name=f"pacs_{domain}",
            layout="image_folder",
            folder=f"pacs/{domain}",
        )
    return home


def describe(path: Path, **content: str) -> None:
    path.write_text(yaml.safe_dump(content))


def run(home: Path, **raw: object) -> RecordingObserver:
    observer = RecordingObserver()
    study: StudyConfig = validate_study(
        {"backbone": {"model": "demo"}, "training": TRAINING, **raw}, "real images"
    )
    run_study(study, Placement(home=home, workers=0), observer=observer)
    return observer


def test_caltech101_and_cifar10_run_base_to_new(home: Path) -> None:
    study = {
        "name": "real-base-to-new",
        "protocol": "base_to_new",
        "datasets": ["caltech101", str(home / "cifar10.yaml")],
        "methods": ["zero_shot", {"name": "coop", "training": {"epochs": 10}}],
        "supervisions": ["one_hot", "atlas_ls", "atlas_csl", "atlas_isl"],
        "seeds": [1],
        "views": {"per_image": 2},
    }
    assert run(home, **study).failed == {}
    connection = open_results(Store(home / "store"), ["real-base-to-new"])
    rows = query(connection, "SELECT * FROM evaluations WHERE study = 'real-base-to-new'").to_pylist()
    assert len(rows) == 2 * 2 * 5
    counts = {(row["target"], row["subset"]): (row["n_classes"], row["n_samples"]) for row in rows}
    assert counts["caltech101", "base"][0] == counts["caltech101", "new"][0] == 50
    assert counts["cifar10", "base"] == (5, 200)
    curves = query(connection, "SELECT run_id, count(*) AS epochs FROM curves GROUP BY run_id").to_pylist()
    assert {row["epochs"] for row in curves} == {10}
    assert run(home, **study).made == []


def test_pacs_runs_domain_generalization_from_photos(home: Path) -> None:
    domains = [str(home / f"pacs_{domain}.yaml") for domain in ("photo", "art_painting", "cartoon", "sketch")]
    study = {
        "name": "pacs",
        "protocol": "domain_generalization",
        "source": domains[0],
        "targets": domains[1:],
        "methods": ["zero_shot", {"name": "coop", "training": {"epochs": 10}}],
        "supervisions": ["one_hot", "atlas_isl"],
        "seeds": [1, 2],
    }
    assert run(home, **study).failed == {}
    connection = open_results(Store(home / "store"), ["pacs"])
    rows = query(connection, "SELECT DISTINCT target FROM evaluations WHERE study = 'pacs'").to_pylist()
    assert {row["target"] for row in rows} == {
        f"pacs_{name}" for name in ("photo", "art_painting", "cartoon", "sketch")
    }


def test_a_folder_named_in_place_is_a_dataset(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "data" / "pacs" / "photo", tmp_path / "my photos")
    study = {
        "name": "own-folder",
        "protocol": "few_shot",
        "datasets": [f"image_folder:{tmp_path / 'my photos'}"],
        "methods": [{"name": "coop", "training": {"epochs": 4}}],
        "supervisions": ["one_hot"],
        "shots": [4],
        "seeds": [1],
    }
    assert run(home, **study).failed == {}
