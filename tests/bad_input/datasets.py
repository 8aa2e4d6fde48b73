"""Datasets that cannot be read, and odd ones that can."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_input.table import Ended, Ground, accepted, refused, refused_each
from tests.tiny_study import draw_image_folder, write_yaml

Entries = dict[str, list[Any]]


def _image_names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def _described(ground: Ground, **fields: Any) -> None:
    """Run the study on a description of the drawn images."""
    description = {"name": "ponds", "layout": "image_folder", "folder": str(ground.ponds), **fields}
    write_yaml(ground.folder / "ponds.yaml", description)
    ground.study(datasets=[str(ground.folder / "ponds.yaml")])


def _description(**fields: Any) -> Callable[[Ground], None]:
    return lambda ground: _described(ground, **fields)


def _description_text(text: str) -> Callable[[Ground], Ended]:
    def act(ground: Ground) -> Ended:
        (ground.folder / "mine.yaml").write_text(text)
        return ground.run_with(datasets=[str(ground.folder / "mine.yaml")])

    return act


def _entries(ground: Ground) -> Entries:
    entries: Entries = {"train": [], "val": [], "test": []}
    classes = sorted(path.name for path in ground.ponds.iterdir())
    for number, path in enumerate(_image_names(ground.ponds)):
        name = path.split("/")[0]
        entries["train" if number % 2 else "test"].append([path, classes.index(name), name])
    return entries


def _split_file(change: Callable[[Entries], object]) -> Callable[[Ground], None]:
    """Run on a published-form split file after `change` has spoilt its content."""

    def act(ground: Ground) -> None:
        entries = _entries(ground)
        changed = change(entries)
        content = changed if isinstance(changed, (str, list)) else entries
        text = content if isinstance(content, str) else json.dumps(content)
        (ground.ponds / "split.json").write_text(text)
        _described(ground, layout="coop_split", split_file="split.json")

    return act


def _table(rows: list[str], header: str = "path,class,split", **options: Any) -> Callable[[Ground], None]:
    def act(ground: Ground) -> None:
        names = _image_names(ground.ponds)
        lines = [row.format(*names) for row in rows]
        (ground.ponds / "labels.csv").write_text("\n".join([header, *lines]) + "\n")
        _described(ground, layout="table", options=options)

    return act


def _put(index: int, value: Any) -> Callable[[Entries], object]:
    return lambda entries: entries["train"][0].__setitem__(index, value)


refused_each(
    "split file",
    {
        "path that climbs": ("leaves its folder", _split_file(_put(0, "../../secret.png"))),
        "absolute path": ("leaves its folder", _split_file(_put(0, "/etc/passwd"))),
        "windows path": ("leaves its folder", _split_file(_put(0, "C:\\images\\1.png"))),
        "path with a zero byte": ("leaves its folder", _split_file(_put(0, "a\0.png"))),
        "label that is a word": ("entry", _split_file(_put(1, "zero"))),
        "label that is true": ("entry", _split_file(_put(1, True))),
        "negative label": (
            "numbering",
            _split_file(lambda e: [x.__setitem__(1, x[1] - 1) for x in e["train"] + e["test"]] and None),
        ),
        "gap between labels": (
            "numbering",
            _split_file(lambda e: [x.__setitem__(1, x[1] * 2) for x in e["train"] + e["test"]] and None),
        ),
        "huge label": (
            "numbering",
            _split_file(
                lambda e: [x.__setitem__(1, 10**9) for x in e["train"] + e["test"] if x[1] == 3] and None
            ),
        ),
        "two names for a label": ("both", _split_file(_put(2, "otter"))),
        "image in two splits": ("twice", _split_file(lambda e: e["test"].append(list(e["train"][0])))),
        "missing images": ("missing", _split_file(_put(0, "absent.png"))),
        "no test list": ("test", _split_file(lambda e: e.pop("test") and None)),
        "a list": ("form", _split_file(lambda e: [1, 2])),
        "no JSON": ("damaged", _split_file(lambda e: '{"train": [')),
        "too deep": ("damaged", _split_file(lambda e: "[" * 100_000)),
        "no entries": ("no images", _split_file(lambda e: [each.clear() for each in e.values()] and None)),
        "no training images": (
            "training",
            _split_file(lambda e: (e["test"].extend(e["train"]), e["train"].clear())[1]),
        ),
        "no test images": ("test", _split_file(lambda e: e["test"].clear())),
    },
    may_add=True,
)

_TWO = ["{0},a,train", "{6},b,train", "{1},a,test", "{7},b,test"]

refused_each(
    "table",
    {
        "no class column": ("class", _table(["{0},train"], "path,split")),
        "row too short": ("columns", _table([*_TWO, "{2}"])),
        "class left out": ("empty", _table([*_TWO, "{2},,train"])),
        "unknown split": ("split", _table([*_TWO, "{2},a,sometimes"])),
        "image twice": ("twice", _table([*_TWO, "{0},b,test"])),
        "path that climbs": ("leaves its folder", _table([*_TWO, "../{2},a,train"])),
        "no rows": ("no images", _table([])),
        "column named that is not": ("column", _table(_TWO, columns={"class": "species"})),
    },
    may_add=True,
)

refused_each(
    "description",
    {
        "unknown key": ("colour", _description_text("name: a\nlayout: table\nfolder: a\ncolour: blue\n")),
        "without a folder": ("folder", _description_text("name: a\nlayout: table\n")),
        "template without a place": (
            "template",
            _description_text("name: a\nlayout: table\nfolder: a\ntemplates: {coop: a photo}\n"),
        ),
        "template with a format spec": (
            "template",
            _description_text("name: a\nlayout: table\nfolder: a\ntemplates: {coop: 'a {0.__class__} {}'}\n"),
        ),
        "name that climbs": ("name", _description_text("name: ../a\nlayout: table\nfolder: a\n")),
        "split file that climbs": (
            "leaves",
            _description_text("name: a\nlayout: coop_split\nfolder: a\nsplit_file: ../x.json\n"),
        ),
        "no YAML": ("yaml", _description_text("name: [a")),
        "text": ("mapping", _description_text("hello")),
        "two classes of one name": (
            "name",
            _description(options={"class_names": {"blue jay": "bird", "red fox": "bird"}}),
        ),
        "empty class name": ("name", _description(options={"class_names": {"blue jay": ""}})),
        "class name of 200 words": (
            "tokens",
            _description(options={"class_names": {"blue jay": "jay " * 200}}),
        ),
        "fractions that do not sum": (
            "fractions",
            _description(options={"fractions": {"train": 0.9, "test": 0.9}}),
        ),
        "fractions of words": ("fractions", _description(options={"fractions": {"train": "half"}})),
        "seed of a word": ("seed", _description(options={"seed": "one"})),
        "unknown layout": ("layout", _description(layout="zip_of_images")),
    },
    may_add=True,
)


@refused("class", may_add=True)
def a_dataset_of_one_class(ground: Ground) -> None:
    for folder in sorted(ground.ponds.iterdir())[1:]:
        shutil.rmtree(folder)
    ground.study()


@refused("without images", may_add=True)
def a_class_folder_without_images(ground: Ground) -> None:
    (ground.ponds / "otter").mkdir()
    (ground.ponds / "notes.txt").write_text("the otters are still to come")
    ground.study()


@refused("holds no folders", may_add=True)
def a_dataset_folder_that_is_empty(ground: Ground) -> None:
    shutil.rmtree(ground.ponds)
    ground.ponds.mkdir()
    ground.study()


@refused("is not at")
def a_dataset_folder_that_is_not_there(ground: Ground) -> None:
    shutil.rmtree(ground.ponds)
    ground.study()


@refused("otter", may_add=True)
def a_class_that_occurs_in_test_alone(ground: Ground) -> None:
    def change(entries: Entries) -> None:
        label = entries["train"][0][1]
        entries["test"] += [each for each in entries["train"] if each[1] == label]
        entries["train"] = [each for each in entries["train"] if each[1] != label]
        for each in entries["test"]:
            if each[1] == label:
                each[2] = "otter"

    _split_file(change)(ground)


@refused("does not exist")
def own_images_that_are_not_there(ground: Ground) -> Ended:
    return ground.run_with(datasets=[f"image_folder:{ground.folder / 'absent'}"])


@refused("parquet", may_add=True)
def a_parquet_file_that_is_none(ground: Ground) -> None:
    (ground.folder / "rows.parquet").write_bytes(b"PAR1 not really PAR1")
    ground.study(datasets=[f"hf_parquet:{ground.folder / 'rows.parquet'}"])


@refused("column", may_add=True)
def a_parquet_file_without_images(ground: Ground) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), ground.folder / "rows.parquet")
    ground.study(datasets=[f"hf_parquet:{ground.folder / 'rows.parquet'}"])


@accepted
def fewer_images_than_shots_takes_all_there_are(ground: Ground) -> None:
    ground.study(shots=[16])


@accepted
def hostile_class_names_are_only_names(ground: Ground) -> None:
    folder = ground.folder / "my birds & <b>'quotes\"</b>"
    draw_image_folder(folder, images=6, side=40, seed=3)
    (folder / "red fox").rename(folder / "{0} {} %s <script>")
    (folder / "blue jay").rename(folder / "O'Brien's \"jay\"; DROP TABLE runs")
    (folder / "green frog").rename(folder / "カエル 🐸")
    ground.study(datasets=[f"image_folder:{folder}"])


@accepted
def a_home_with_spaces_and_unicode(ground: Ground) -> None:
    target = ground.folder / "ein Ordner mit 'ü'"
    shutil.copytree(ground.world.home, target)
    placement = ground.world.placement.model_copy(update={"home": target})
    from atlas_core.plan.session import run_study

    run_study(ground.world.study(supervisions=["one_hot"]), placement)
