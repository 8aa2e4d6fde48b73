"""Each of the fifteen datasets in miniature: served, fetched, broken off, resumed, corrupted, verified, read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atlas_core.datasets import download
from atlas_core.datasets.catalogue import DatasetSpec, dataset_names, dataset_spec
from atlas_core.datasets.fetch import ensure_fetched
from atlas_core.datasets.items import SPLITS, DatasetIndex
from atlas_core.datasets.paths import join, listing_fingerprint
from atlas_core.datasets.readers import READERS, read_dataset
from atlas_core.datasets.verify import verify
from atlas_core.errors import AtlasError
from tests.datasets.miniatures import (
    FIFTEEN,
    PACKERS,
    Miniature,
    below,
    cut_split,
    miniature,
    mirrored,
    of_split,
    packed_zip,
)
from tests.datasets.server import FileServer


def place_by_hand(small: Miniature, spec: DatasetSpec, root: Path) -> None:
    for path, content in small.by_hand.items():
        target = spec.path(root) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def fetched(small: Miniature, server: FileServer, root: Path) -> tuple[DatasetSpec, DatasetIndex]:
    spec = small.spec(server)
    place_by_hand(small, spec, root)
    ensure_fetched(spec, root)
    return spec, read_dataset(spec, root)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_there_are_fifteen() -> None:
    assert len(FIFTEEN) == 15
    assert set(FIFTEEN) <= set(dataset_names())


@pytest.mark.parametrize("name", FIFTEEN)
def test_it_is_fetched_read_and_found_whole(name: str, server: FileServer, tmp_path: Path) -> None:
    small = miniature(name)
    spec, index = fetched(small, server, tmp_path)
    assert index.class_names == small.class_names
    assert {s: len(index.positions(s)) for s in SPLITS if index.positions(s)} == dict(small.counts)
    assert all(index.path(item).is_file() for item in index.items)
    report = verify(spec, tmp_path)
    assert report.ok
    assert not report.notes
    assert visible(tmp_path) == [spec.folder]
    # Once complete, it is used as it is.
    before, asked = listing_fingerprint(spec.path(tmp_path)), len(server.requests)
    ensure_fetched(spec, tmp_path)
    assert listing_fingerprint(spec.path(tmp_path)) == before
    assert len(server.requests) == asked


@pytest.mark.parametrize("name", FIFTEEN)
def test_a_broken_off_fetch_goes_on_where_it_stopped(
    name: str, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    small = miniature(name)
    spec = small.spec(server)
    place_by_hand(small, spec, tmp_path)
    by_hand = visible(tmp_path)
    first = f"{name}/{next(iter(small.served))}"
    half = len(server.files[first]) // 2
    server.cut_after[first] = [half]
    with pytest.raises(AtlasError, match=r"the connection ended|peer closed"):
        ensure_fetched(spec, tmp_path)
    assert visible(tmp_path) == by_hand, "nothing may appear before it is whole"
    ensure_fetched(spec, tmp_path)
    assert server.asked(first) == ["", f"bytes={half}-"]
    assert verify(spec, tmp_path).ok


@pytest.mark.parametrize("name", [n for n in FIFTEEN if n != "imagenet"])
def test_corrupt_bytes_never_become_a_dataset(name: str, server: FileServer, tmp_path: Path) -> None:
    small = miniature(name)
    spec = small.spec(server)
    first = f"{name}/{next(iter(small.served))}"
    good = server.files[first]
    server.files[first] = good[: len(good) // 8] + b"\xff" * (len(good) - len(good) // 8)
    with pytest.raises(AtlasError, match=r"its md5 is|is damaged|does not hold"):
        ensure_fetched(spec, tmp_path)
    assert visible(tmp_path) == []
    server.files[first] = good
    ensure_fetched(spec, tmp_path)
    assert verify(spec, tmp_path).ok


@pytest.mark.parametrize("name", FIFTEEN)
def test_verify_names_what_is_missing_and_what_is_damaged(
    name: str, server: FileServer, tmp_path: Path
) -> None:
    spec, index = fetched(miniature(name), server, tmp_path)
    gone, broken, empty = (item.path for item in index.items[1:4])
    (spec.path(tmp_path) / gone).unlink()
    whole = (spec.path(tmp_path) / broken).read_bytes()
    (spec.path(tmp_path) / broken).write_bytes(whole[: len(whole) // 2])
    (spec.path(tmp_path) / empty).write_bytes(b"")
    report = verify(spec, tmp_path)
    assert not report.ok
    assert {path for path, _ in report.damaged} == {broken, empty}
    if READERS.get(spec.layout)(spec, spec.path(tmp_path)).from_disk:
        # Class folders cannot say which image is gone, only that there are too few.
        assert any("published" in problem for problem in report.problems)
    else:
        assert report.missing == (gone,)


@pytest.mark.parametrize("name", [n for n in FIFTEEN if n != "imagenet"])
def test_missing_images_come_back_and_no_other_file_changes(
    name: str, server: FileServer, tmp_path: Path
) -> None:
    spec, index = fetched(miniature(name), server, tmp_path)
    folder = spec.path(tmp_path)
    (folder / index.items[0].path).unlink()
    (folder / index.items[1].path).write_bytes(b"mine")
    ensure_fetched(spec, tmp_path, again=True)
    assert (folder / index.items[0].path).is_file()
    assert (folder / index.items[1].path).read_bytes() == b"mine"


def test_imagenet_is_explained_in_one_message_before_anything_is_asked_for(
    server: FileServer, tmp_path: Path
) -> None:
    spec = miniature("imagenet").spec(server)
    with pytest.raises(AtlasError) as caught:
        ensure_fetched(spec, tmp_path)
    message = str(caught.value)
    for part in (
        "licence",
        "https://image-net.org/download.php",
        "images/train",
        "images/val",
        "1d675b47d978",
    ):
        assert part in message
    assert server.requests == []
    assert visible(tmp_path) == []


def test_a_variant_takes_the_class_names_of_imagenet_beside_it(server: FileServer, tmp_path: Path) -> None:
    fetched(miniature("imagenet"), server, tmp_path)
    spec = miniature("imagenet_a").spec(server)
    del server.files["imagenet_a/classnames.txt"]
    ensure_fetched(spec, tmp_path)
    assert verify(spec, tmp_path).ok


@pytest.mark.parametrize("name", ["caltech101", "stanford_cars", "fgvc_aircraft", "eurosat", "imagenet_a"])
def test_one_zip_of_the_whole_folder_replaces_every_dead_address(
    name: str, server: FileServer, tmp_path: Path
) -> None:
    small = miniature(name)
    spec, _ = fetched(small, server, tmp_path / "first")
    folder = spec.path(tmp_path / "first")
    content = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    pickled = {"split_fewshot/shot_1-seed_1.pkl": b"never wanted"}
    whole = packed_zip(below(spec.folder, {**content, **pickled}))
    spec = mirrored(spec, server, "mirror/whole.zip", whole)
    for path in [path for path in server.files if not path.startswith("mirror/")]:
        del server.files[path]
    server.requests.clear()
    ensure_fetched(spec, tmp_path / "second")
    assert verify(spec, tmp_path / "second").ok
    assert len(server.asked("mirror/whole.zip")) == 1, "what has come with one archive is not fetched again"
    assert not list(tmp_path.glob("second/**/*.pkl"))


@pytest.mark.parametrize("name", sorted(set(PACKERS) - {"food101", "sun397"}))
def test_the_published_split_file_is_followed_to_the_letter(
    name: str, server: FileServer, tmp_path: Path, shared: Path
) -> None:
    split_file, pack = PACKERS[name]
    published = json.loads((shared / "splits" / split_file).read_text())
    split = cut_split(published)
    _, index = fetched(of_split(name, split_file, split, pack), server, tmp_path)
    prefix = dataset_spec(name).image_folder
    expected = [(join(prefix, path), label, title) for part in SPLITS for path, label, title in split[part]]
    assert [(item.path, item.label, item.class_name) for item in index.items] == expected
    assert len(index.class_names) == dataset_spec(name).counts["classes"]
    counts = {part: len(entries) for part, entries in published.items()}
    assert counts == {part: dataset_spec(name).counts[part] for part in SPLITS}


def test_a_whole_published_dataset_is_fetched(server: FileServer, tmp_path: Path, shared: Path) -> None:
    split_file, pack = PACKERS["dtd"]
    split = json.loads((shared / "splits" / split_file).read_text())
    spec, index = fetched(of_split("dtd", split_file, split, pack), server, tmp_path)
    assert len(index.items) == 5640
    assert len(index.class_names) == 47
    assert verify(spec, tmp_path, decode=False).ok
