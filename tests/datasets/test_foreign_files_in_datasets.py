"""What somebody puts into a dataset's folder stays there when the program writes the dataset again."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from atlas_core.datasets.archives import add_missing
from atlas_core.datasets.catalogue import DatasetSpec, Source
from atlas_core.datasets.fetch import WORK_FOLDER, ensure_fetched
from atlas_core.datasets.readers import read_dataset
from atlas_core.errors import AtlasError
from atlas_core.own_files import LIST, put, written
from tests.datasets.miniatures import images
from tests.datasets.test_own_data import hugging_face

DRAWN = DatasetSpec(name="drawn", layout="image_folder", folder="drawn", source=Source(generator="demo"))
CLASSES = ("robin", "wren", "owl")


def draw(monkeypatch: pytest.MonkeyPatch, *names: str) -> dict[str, bytes]:
    """Make the generator draw these files; their content."""
    files = images(names)

    def generate(name: str, folder: Path) -> None:
        write(folder, files)

    monkeypatch.setattr("atlas_core.datasets.demo.generate", generate)
    return files


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def content_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != LIST)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("seed", range(8))
def test_files_put_among_the_drawn_ones_are_there_after_every_redraw(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = random.Random(seed)
    theirs: dict[str, bytes] = {}
    folder = tmp_path / "drawn"
    for round in range(3):
        numbers = drawn.sample(range(12), 6)
        ours = draw(monkeypatch, *(f"{name}/{n}.png" for name in CLASSES for n in numbers))
        ensure_fetched(DRAWN, tmp_path, again=True)
        assert content_of(folder) == ours | theirs
        places = drawn.sample(["", "robin/", "wren/", "owl/", "robin/deep/er/", "other/"], 3)
        for place in places:
            ending = drawn.choice(("jpg", "txt"))
            theirs[f"{place}note-{round}.{ending}"] = f"somebody's {seed}/{round}/{place}".encode()
        write(folder, theirs)


def test_a_drawn_file_that_somebody_changed_is_kept_and_the_redraw_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(monkeypatch, "robin/0.png", "wren/0.png", "wren/1.png")
    ensure_fetched(DRAWN, tmp_path)
    (tmp_path / "drawn" / "wren" / "1.png").write_bytes(b"retouched")
    before = content_of(tmp_path / "drawn")
    draw(monkeypatch, "wren/1.png", "robin/1.png")
    with pytest.raises(
        AtlasError, match=r"wren/1.png is there, and is not what this program wrote"
    ) as caught:
        ensure_fetched(DRAWN, tmp_path, again=True)
    assert content_of(tmp_path / "drawn") == before
    assert caught.value.fix.startswith(f"move {tmp_path / 'drawn'} away, then `atlas datasets fetch drawn")
    (tmp_path / "drawn").rename(tmp_path / "mine")
    ensure_fetched(DRAWN, tmp_path)
    assert sorted(content_of(tmp_path / "drawn")) == ["robin/1.png", "wren/1.png"]
    assert content_of(tmp_path / "mine") == before


def test_a_changed_file_that_is_not_drawn_any_more_is_somebodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(monkeypatch, "robin/0.png", "wren/0.png", "wren/1.png")
    ensure_fetched(DRAWN, tmp_path)
    (tmp_path / "drawn" / "wren" / "1.png").write_bytes(b"retouched")
    ours = draw(monkeypatch, "robin/0.png", "wren/0.png")
    for _ in range(2):
        ensure_fetched(DRAWN, tmp_path, again=True)
        assert content_of(tmp_path / "drawn") == ours | {"wren/1.png": b"retouched"}


def test_somebodys_own_images_under_a_drawn_datasets_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = images(["cat/0.jpg", "dog/0.jpg"])
    write(tmp_path / "drawn", theirs)
    draw(monkeypatch, "robin/0.png", "wren/0.png")
    with pytest.raises(AtlasError, match="holds other files"):
        ensure_fetched(DRAWN, tmp_path, again=True)
    assert content_of(tmp_path / "drawn") == theirs


def test_a_folder_behind_a_link_stays_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    write(tmp_path / "disk", {"note.txt": b"somebody's"})
    (tmp_path / "drawn").symlink_to(tmp_path / "disk")
    for number in range(2):
        ours = draw(monkeypatch, f"robin/{number}.png", "wren/0.png")
        ensure_fetched(DRAWN, tmp_path, again=True)
        assert (tmp_path / "drawn").is_symlink()
        assert content_of(tmp_path / "disk") == ours | {"note.txt": b"somebody's"}


def test_a_class_that_somebody_replaced_by_a_link_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(monkeypatch, "robin/0.png", "wren/0.png")
    ensure_fetched(DRAWN, tmp_path)
    (tmp_path / "drawn" / "wren").rename(tmp_path / "elsewhere")
    (tmp_path / "drawn" / "wren").symlink_to(tmp_path / "elsewhere")
    before = content_of(tmp_path / "elsewhere")
    draw(monkeypatch, "robin/0.png", "wren/1.png")
    with pytest.raises(AtlasError, match="drawn/wren is there"):
        ensure_fetched(DRAWN, tmp_path, again=True)
    assert content_of(tmp_path / "elsewhere") == before


def test_files_in_the_folder_where_fetches_work_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / WORK_FOLDER / "drawn"
    write(work, {"note.txt": b"somebody's", "mine/deep.txt": b"too"})
    draw(monkeypatch, "robin/0.png", "wren/0.png")
    ensure_fetched(DRAWN, tmp_path)
    assert content_of(work) == {"note.txt": b"somebody's", "mine/deep.txt": b"too"}


@pytest.mark.parametrize("moves", range(5))
def test_a_redraw_that_was_broken_off_is_finished_by_the_next_fetch(
    moves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(monkeypatch, *(f"{name}/{n}.png" for name in CLASSES for n in range(2)))
    ensure_fetched(DRAWN, tmp_path)
    theirs = {"wren/note.txt": b"somebody's"}
    write(tmp_path / "drawn", theirs)
    ours = draw(monkeypatch, *(f"{name}/{n}.png" for name in CLASSES for n in (1, 0, 5)))
    from atlas_core import own_files

    done = []

    def stopping(source: Path, target: Path) -> None:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(target)
        source.replace(target)

    with monkeypatch.context() as broken:
        broken.setattr(own_files, "move", stopping)
        with pytest.raises(KeyboardInterrupt):
            ensure_fetched(DRAWN, tmp_path, again=True)
    ensure_fetched(DRAWN, tmp_path)  # not asked to draw again: what is left says that it has to
    assert content_of(tmp_path / "drawn") == ours | theirs
    assert set(written(tmp_path / "drawn")) == set(ours)
    assert len(read_dataset(DRAWN, tmp_path).items) == len(ours)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 9, "files": {}}', '{"files": {"../x": ["a"]}}', "\0"])
def test_a_list_that_is_not_ours_is_one_error_and_nothing_moves(text: str, tmp_path: Path) -> None:
    write(tmp_path / "new", {"a": b"new"})
    write(tmp_path / "folder", {"a": b"old", LIST: text.encode()})
    with pytest.raises(AtlasError, match=LIST.replace(".", r"\.")):
        put(tmp_path / "new", tmp_path / "folder", fix="move it")
    assert content_of(tmp_path / "folder") == {"a": b"old"}


def test_a_dataset_that_an_earlier_version_drew_alike_gets_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = draw(monkeypatch, "robin/0.png", "wren/0.png")
    write(tmp_path / "drawn", ours)
    ensure_fetched(DRAWN, tmp_path, again=True)
    assert set(written(tmp_path / "drawn")) == set(ours)
    more = draw(monkeypatch, "robin/0.png", "wren/5.png")
    ensure_fetched(DRAWN, tmp_path, again=True)
    assert content_of(tmp_path / "drawn") == more


def test_images_taken_out_again_leave_the_files_beside_them(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "pets", {"train": [0, 1, 0], "test": [0, 1]})
    spec = DatasetSpec(name="pets", layout="hf_parquet", folder="pets", source=Source(parquet=str(source)))
    folder = ensure_fetched(spec, tmp_path / "root")
    theirs = {"note.txt": b"somebody's", "images/train/note.txt": b"too", "images/old/deep.jpg": b"three"}
    write(folder, theirs)
    shutil.rmtree(source)
    hugging_face(tmp_path / "pets", {"train": [1, 0], "test": [1, 1]})
    ensure_fetched(spec, tmp_path / "root")
    assert len(read_dataset(spec, tmp_path / "root").items) == 4
    assert {path: content for path, content in content_of(folder).items() if path in theirs} == theirs
    assert len(content_of(folder)) == 4 + 1 + len(theirs)


def test_a_damaged_index_is_mended_as_the_error_says(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "pets", {"train": [0, 1, 0], "test": [0, 1]})
    spec = DatasetSpec(name="pets", layout="hf_parquet", folder="pets", source=Source(parquet=str(source)))
    folder = ensure_fetched(spec, tmp_path / "root")
    (folder / "index.json").write_text("{")
    with pytest.raises(AtlasError, match=r"delete it and fetch the dataset again"):
        read_dataset(spec, tmp_path / "root")
    (folder / "index.json").unlink()
    ensure_fetched(spec, tmp_path / "root")
    assert len(read_dataset(spec, tmp_path / "root").items) == 5


def test_a_link_to_a_disk_that_is_not_mounted_is_not_replaced_by_what_came(tmp_path: Path) -> None:
    write(tmp_path / "new", {"robin/0.jpg": b"new", "wren/0.jpg": b"new"})
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "robin").symlink_to(tmp_path / "unmounted")
    (tmp_path / "old" / "wren").mkdir()
    (tmp_path / "old" / "wren" / "0.jpg").symlink_to(tmp_path / "unmounted.jpg")
    add_missing(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "robin").readlink() == tmp_path / "unmounted"
    assert (tmp_path / "old" / "wren" / "0.jpg").readlink() == tmp_path / "unmounted.jpg"
