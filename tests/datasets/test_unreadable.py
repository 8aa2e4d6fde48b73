"""Folders, files and names that the disk or the encoding refuses: one error that names them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from atlas_core.budgets import PATH_DEPTH
from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.datasets.fetch import ensure_fetched, is_complete
from atlas_core.datasets.paths import listing_fingerprint
from atlas_core.datasets.readers import read_dataset
from atlas_core.datasets.readers.hf_parquet import INDEX_FILE
from atlas_core.errors import AtlasError
from atlas_core.placement import Placement


def folders(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "1.png").touch()


def spec(folder: Path, layout: str = "image_folder", **more: object) -> DatasetSpec:
    return DatasetSpec.model_validate({"name": "birds", "layout": layout, "folder": str(folder), **more})


def refuse_to_list(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make a folder unreadable (the rights on it would not keep out the tests of an administrator)."""
    real = os.scandir

    def scandir(path: str | Path = ".") -> object:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(tmp_path, "a", "b")
    refuse_to_list(monkeypatch, "b")
    with pytest.raises(AtlasError, match=r"dataset 'birds' cannot be read at '.*/b': Permission denied"):
        read_dataset(spec(tmp_path), tmp_path)
    with pytest.raises(AtlasError, match=r"folder .* cannot be read at '.*/b': Permission denied"):
        listing_fingerprint(tmp_path)


def test_images_behind_such_a_folder_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(tmp_path, "a", "b")
    entries = {"train": [["a/1.png", 0, "a"]], "val": [], "test": [["b/1.png", 1, "b"]]}
    (tmp_path / "split.json").write_text(json.dumps(entries))
    refuse_to_list(monkeypatch, "b")
    with pytest.raises(AtlasError, match=r"1 of 2 images are missing .* b/1.png"):
        read_dataset(spec(tmp_path, "coop_split", split_file="split.json"), tmp_path)


def test_folders_nested_beyond_use_are_refused(tmp_path: Path) -> None:
    folders(tmp_path, "a", "/".join(["b"] * (PATH_DEPTH.most + 2)))
    for read in (lambda: read_dataset(spec(tmp_path), tmp_path), lambda: listing_fingerprint(tmp_path)):
        with pytest.raises(AtlasError, match="asks for too much: more than 64 folders in a path"):
            read()


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a\0b"])
@pytest.mark.parametrize("form", ["{}", "{}.yaml", "image_folder:{}", "table:{}", "hf_parquet:/tmp/{}"])
def test_a_dataset_name_that_no_disk_takes_is_unknown(form: str, name: str) -> None:
    with pytest.raises(AtlasError, match=r"unknown dataset|does not exist"):
        dataset_spec(form.format(name))


@pytest.mark.parametrize("folder", ["x" * 300, "a\0b"])
def test_a_dataset_folder_that_no_disk_takes_is_not_there(folder: str, tmp_path: Path) -> None:
    assert not is_complete(spec(tmp_path / folder), tmp_path)
    with pytest.raises(AtlasError, match="dataset 'birds' is not at"):
        read_dataset(spec(tmp_path / folder), tmp_path)


def test_a_home_folder_of_nobody_is_said(tmp_path: Path) -> None:
    for ask in (
        lambda: spec(Path("~no-such-user/birds")).path(tmp_path),
        lambda: dataset_spec("image_folder:~no-such-user/birds"),
        lambda: Placement(store=Path("~no-such-user/store")).store_path,
    ):
        with pytest.raises(AtlasError, match=r"~no-such-user/.* begins with a user's home folder"):
            ask()


def test_a_file_name_in_another_encoding_is_named(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    os.rename(os.fsencode(tmp_path / "b" / "1.png"), os.fsencode(tmp_path / "b") + b"/\xff.png")
    with pytest.raises(AtlasError, match=r"'b/\\udcff.png' cannot be written as UTF-8"):
        read_dataset(spec(tmp_path), tmp_path)


def test_half_a_character_in_a_class_name_is_refused(tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    with pytest.raises(AtlasError, match=r"'\\ud800' cannot be written as UTF-8"):
        read_dataset(spec(tmp_path, options={"class_names": {"a": "\ud800"}}), tmp_path)


@pytest.mark.parametrize("generator", ["nothing", "..os", "paths", ""])
def test_a_generator_that_is_not_there_is_said(generator: str, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="there is no generator"):
        ensure_fetched(spec(tmp_path / "birds", source={"generator": generator}), tmp_path)


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b'{"made_from": {}, "class_names": ["a", "b"], "items": [["a/1.png", 5, "train"]]}',
        b'{"made_from": {}, "class_names": ["a", "b"], "items": [["a/1.png", {}, "train"]]}',
        b'{"made_from": {}, "class_names": ["a", "b"], "items": [["a/1.png", 0, "other"]]}',
        b'{"made_from": {}, "class_names": ["a", "b"], "items": [["a/1.png", 0]]}',
        b'{"made_from": {}, "class_names": 3, "items": []}',
    ],
)
def test_a_damaged_index_of_extracted_images_says_so(index: bytes, tmp_path: Path) -> None:
    folders(tmp_path, "a", "b")
    (tmp_path / INDEX_FILE).write_bytes(index)
    made = spec(tmp_path, "hf_parquet", source={"parquet": str(tmp_path)})
    assert not is_complete(made, tmp_path)
    with pytest.raises(AtlasError, match=r"the index .*index.json is damaged"):
        read_dataset(made, tmp_path)
