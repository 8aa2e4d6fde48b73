"""The small inputs that were taken for something else without a word: each is read rightly, pointed out or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.errors import AtlasError
from atlas_core.understanding.dataset import DatasetUnderstanding
from atlas_core.understanding.inspect import inspect_dataset, reference_of


def inspected(path: Path, root: Path) -> DatasetUnderstanding:
    (only,) = inspect_dataset(dataset_spec(reference_of(str(path))), root, decode=True).datasets
    return only


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("domains-above-classes/pacs", r"two readings.*levels: \[class\].*levels: \[group, class\]"),
        ("split-folders-beside-another/data", r"two readings.*levels: \[split, class\].*levels: \[class\]"),
        ("wordnet-ids-as-names/data", "3 classes are WordNet ids and have no names"),
        ("yaml-no-yes-null/d.yaml", "no name.*put names in quotes"),
    ],
)
def test_what_cannot_be_meant_or_has_two_readings_is_refused(
    path: str, complaint: str, shared_inputs: Path, tmp_path: Path
) -> None:
    with pytest.raises(AtlasError, match=complaint):
        inspected(shared_inputs / path, tmp_path)


@pytest.mark.parametrize(
    ("path", "classes", "images"),
    [
        ("endings-left-out/data", ("green circle", "red circle"), 16),
        ("hf-names-of-another-column/two", ("red circle", "blue circle"), 24),
        ("yaml-no-yes-null/mri.yaml", ("healthy brain", "brain with a tumour"), 10),
        ("csv-paths/absolute.csv", ("robin", "wren"), 8),
        ("csv-paths/backslash.csv", ("robin", "wren"), 8),
        ("csv-paths/no-ending.csv", ("robin", "wren"), 8),
    ],
)
def test_what_has_one_meaning_is_read(
    path: str, classes: tuple[str, ...], images: int, shared_inputs: Path, tmp_path: Path
) -> None:
    found = inspected(shared_inputs / path, tmp_path)
    assert found.class_names == classes
    assert sum(found.images.values()) == images
    assert found.oddities == ()


def test_a_folders_name_around_the_dataset_makes_no_split(shared_inputs: Path, tmp_path: Path) -> None:
    for place in ("hf-split-from-a-folder-name", "hf-split-from-a-folder-name/test_project"):
        assert inspected(shared_inputs / place, tmp_path).images == {"train": 12, "val": 0, "test": 12}


def test_answers_as_folder_names_are_pointed_out(shared_inputs: Path, tmp_path: Path) -> None:
    (odd,) = inspected(shared_inputs / "yaml-no-yes-null" / "mri", tmp_path).oddities
    assert odd.text == "2 of 2 class names say nothing of what is in the picture: no, yes"


def test_dead_links_are_counted_and_those_of_a_class_are_refused(shared_inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_inputs / "dead-link-of-a-class" / "data", tmp_path / "data")
    (tmp_path / "data" / "red circle" / "dead.png").symlink_to("/nowhere/x.png")
    (odd,) = inspected(tmp_path / "data", tmp_path).oddities
    assert odd.text == "left out: dead links, 1"
    (tmp_path / "data" / "yellow circle").symlink_to("/nowhere/yellow")
    with pytest.raises(AtlasError, match="links to folders that are not there: yellow circle"):
        inspected(tmp_path / "data", tmp_path)
