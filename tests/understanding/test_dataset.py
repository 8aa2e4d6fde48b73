"""What is understood of a dataset: counts, names, prompts, what was left out, and what is odd."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from atlas_core.cli import main
from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.errors import AtlasError
from atlas_core.understanding.dataset import DatasetUnderstanding
from atlas_core.understanding.inspect import inspect_dataset, reference_of
from atlas_core.understanding.study import Understanding
from atlas_core.understanding.text import understanding_lines
from tests.datasets.miniatures import jpeg


def touch(folder: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / name / f"{number}.jpg").write_bytes(jpeg())
    return folder


def inspected(folder: Path, *, decode: bool = False, **description: Any) -> DatasetUnderstanding:
    given = {"name": "own", "layout": "image_folder", "folder": str(folder), **description}
    (only,) = inspect_dataset(DatasetSpec(**given), folder, decode=decode).datasets
    return only


def kinds(dataset: DatasetUnderstanding) -> list[str]:
    return [each.kind for each in dataset.oddities]


def test_a_plain_dataset_is_described_and_nothing_is_odd(tmp_path: Path) -> None:
    touch(
        tmp_path,
        {f"train/{name}": n for name, n in (("red_fox", 4), ("blue jay", 3), ("owl", 5), ("elk", 6))},
    )
    touch(tmp_path, {f"test/{name}": 2 for name in ("red_fox", "blue jay", "owl", "elk")})
    found = inspected(tmp_path, templates={"coop": "a drawing of a {}."})
    assert found.class_names == ("blue jay", "elk", "owl", "red_fox")
    assert found.images == {"train": 18, "val": 0, "test": 8}
    assert found.smallest is not None
    assert (found.smallest.name, found.smallest.images, found.smallest.split) == ("blue jay", 3, "train")
    assert found.prompts == ("a drawing of a blue jay.", "a drawing of a elk.", "a drawing of a owl.")
    assert "splits (test, train) > classes (the only reading of the folders)" in found.why
    assert found.oddities == ()


def test_prompts_are_those_that_the_text_tower_is_given(tmp_path: Path) -> None:
    touch(tmp_path, {"red_fox": 2, "Blue Jay": 2})
    assert inspected(tmp_path).prompts == ("a photo of a Blue Jay.", "a photo of a red fox.")


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "names-are-numbers": (lambda folder: touch(folder, {"1": 4, "2": 4}), "2 of 2 class names are bare numbers: 1, 2"),
    "names-are-answers": (lambda folder: touch(folder, {"no": 4, "yes": 4}), "say nothing of what is in the picture"),
    "left-out": (
        lambda folder: (touch(folder, {"cat": 4, "dog": 4}) / "cat" / "a.heic").write_bytes(b"x"),
        "left out: files whose endings are no image's (1 .heic), 1",
    ),
    "classes-without-test": (
        lambda folder: touch(folder, {"train/cat": 2, "train/dog": 2, "test/dog": 2}),
        "1 classes have no test images: cat",
    ),
    "classes-without-train": (
        lambda folder: touch(folder, {"train/cat": 2, "test/cat": 2, "test/dog": 2}),
        "1 classes have no train images: dog",
    ),
    "folders-in-classes": (
        lambda folder: touch(folder, {"cat": 2, "dog": 2, "dog/poodle": 2}),
        "1 class folders hold images and folders of images",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_each_oddity_is_found_and_strict_makes_it_an_error(kind: str, tmp_path: Path) -> None:
    make, text = ODD[kind]
    make(tmp_path)
    found = inspected(tmp_path)
    assert kind in kinds(found)
    assert any(text in each.text for each in found.oddities)
    with pytest.raises(AtlasError, match="--strict") as refused:
        Understanding("", (found,)).check_strict()
    assert text in refused.value.what


def test_other_numbers_than_the_published_ones_are_odd(tmp_path: Path) -> None:
    touch(tmp_path, {"train/cat": 2, "train/dog": 2, "test/dog": 2, "test/cat": 2})
    found = inspected(tmp_path, counts={"classes": 3, "train": 4, "test": 9})
    assert found.differences == ("classes: 2 here, 3 published", "test: 4 here, 9 published")
    assert kinds(found) == ["published-numbers", "published-numbers"]


def test_damaged_images_and_classes_of_nothing_else_are_odd(tmp_path: Path) -> None:
    touch(tmp_path, {"cat": 3, "dog": 3})
    for number in range(3):
        (tmp_path / "dog" / f"{number}.jpg").write_bytes(b"no image")
    found = inspected(tmp_path, decode=True)
    assert kinds(found) == ["damaged-images", "damaged-classes"]
    assert "3 of 6 images cannot be decoded, such as dog/0.jpg" in found.oddities[0].text
    assert found.oddities[1].text == "no image can be decoded of 1 classes: 'dog'"
    assert kinds(inspected(tmp_path)) == []


def test_images_of_more_than_eight_bits_are_pointed_out(tmp_path: Path) -> None:
    touch(tmp_path, {"cat": 2, "dog": 2})
    Image.fromarray(np.array([[0, 4095]], np.uint16)).save(tmp_path / "cat" / "deep.png")
    Image.fromarray(np.array([[0.0, 1.0]], np.float32)).save(tmp_path / "cat" / "float.tif")
    (odd,) = inspected(tmp_path, decode=True).oddities
    assert odd.text == "grey levels that are scaled to 8 bits: 1 of 12 bits, 1 of 0 to 1"


# --- the block and the command ---------------------------------------------------------------------------------


def test_the_block_has_a_line_for_each_fact(tmp_path: Path) -> None:
    touch(tmp_path, {"train/1": 2, "train/2": 3, "test/1": 1, "test/2": 1})
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "train" / "1" / "gone.jpg").symlink_to("nowhere")
    lines = understanding_lines(Understanding("", (inspected(tmp_path, counts={"test": 4}),)))
    assert lines == [
        "what I understood",
        "  dataset own",
        f"    where      {tmp_path}",
        "    layout     image_folder: folders are splits (test, train) > classes (the only reading of the folders); "
        "the splits are those given",
        "    classes    2: '1', '2'",
        "    images     5 train, 0 val, 2 test; smallest class: '1' with 2 train",
        "    prompts    'a photo of a {}.' gives 'a photo of a 1.', 'a photo of a 2.'",
        "    ignored    files beside the images (1 .txt): 1 (notes.txt)",
        "    ignored    dead links: 1 (train/1/gone.jpg)",
        "    published  test: 2 here, 4 published",
        "    odd        2 of 2 class names are bare numbers: 1, 2",
    ]


def atlas(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["atlas", *arguments])
    try:
        main()
    except SystemExit as ended:
        said = capsys.readouterr()
        return int(ended.code or 0), said.out + said.err
    said = capsys.readouterr()
    return 0, said.out + said.err


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path / "home"))
    return lambda *arguments: atlas(monkeypatch, capsys, "datasets", "inspect", *map(str, arguments))


def test_the_command_takes_a_folder_a_table_parquet_and_a_description(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    touch(tmp_path / "birds", {"robin": 4, "wren": 4})
    rows = [f"birds/robin/{n}.jpg,{('owl', 'jay')[n % 2]}" for n in range(4)]
    (tmp_path / "birds.csv").write_text("\n".join(["path,class", *rows]))
    (tmp_path / "own.yaml").write_text("{name: own, layout: image_folder, folder: ./birds}")
    images = {"image": [jpeg(n) for n in range(4)], "label": ["robin", "wren"] * 2}
    (tmp_path / "parquet").mkdir()
    pq.write_table(pa.table(images), tmp_path / "parquet" / "train.parquet")
    for name in ("birds", "birds.csv", "own.yaml", "parquet", "parquet/train.parquet"):
        status, said = command(tmp_path / name)
        assert status == 0, said
        assert "what I understood" in said
        assert "classes    2" in said
    assert not (tmp_path / "home" / "data").exists(), "nothing is changed"


def test_the_command_refuses_what_is_odd_only_if_asked(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    touch(tmp_path / "birds", {"1": 4, "2": 4})
    status, said = command(tmp_path / "birds")
    assert (status, "odd        2 of 2 class names are bare numbers" in said) == (0, True)
    status, said = command(tmp_path / "birds", "--strict")
    assert (status, "1 oddities: birds: 2 of 2 class names are bare numbers: 1, 2" in said) == (1, True)


def test_the_command_refuses_two_readings_always(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    touch(tmp_path / "pacs", {f"{d}/{c}": 2 for d in ("photo", "sketch") for c in ("dog", "guitar")})
    status, said = command(tmp_path / "pacs")
    assert status == 1
    assert "has two readings" in said


def test_a_folder_with_a_table_and_folders_has_two_readings(tmp_path: Path) -> None:
    touch(tmp_path, {"robin": 2, "wren": 2})
    (tmp_path / "labels.csv").write_text("path,class\nrobin/0.jpg,a\nwren/0.jpg,b\n")
    with pytest.raises(AtlasError, match="two readings") as refused:
        reference_of(str(tmp_path))
    for kind in ("table", "image_folder"):
        assert f"`{kind}:{tmp_path}`" in refused.value.expected
        assert len(inspect_dataset(dataset_spec(f"{kind}:{tmp_path}"), tmp_path, decode=False).datasets) == 1


def test_a_dataset_that_is_not_here_can_be_fetched(command: Callable[..., tuple[int, str]]) -> None:
    status, said = command("demo_counts")
    assert status == 1
    assert "`atlas datasets fetch demo_counts` brings them" in said
