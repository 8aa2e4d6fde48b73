"""Class names that are one to the tokenizer are refused, with the names; those that are not, are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import SimpleTokenizer

from atlas_core.backbone.load import load_backbone
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.readers import read_dataset
from atlas_core.errors import AtlasError
from atlas_core.methods.class_names import alike, alike_to_clip, check_distinct
from atlas_core.methods.sentences import read_sentences
from atlas_core.store import Store
from atlas_core.use.runs import backbone_of, open_run
from atlas_core.use.trained import load_trained
from tests.tiny_study import TinyWorld, make_world

ONE_TO_CLIP = [
    ("Cat", "cat"),
    ("red  fox", "red fox"),
    ("red\u00a0fox", "red fox"),
    ("R&amp;D", "R&D"),
    ("R&amp;amp;D", "R&D"),
    ("caf\u00c3\u00a9", "caf\u00e9"),  # ftfy mends an encoding that was taken for another one
    ("\u201cking\u201d", '"king"'),
    ("A10", "a 10"),
    ("a1 0", "A10"),
    ("t-shirt", "T - shirt"),
]
TOKENIZER = SimpleTokenizer()


@pytest.mark.parametrize(("one", "other"), ONE_TO_CLIP)
def test_names_that_clip_reads_alike_are_found(one: str, other: str) -> None:
    assert TOKENIZER.encode(one) == TOKENIZER.encode(other)
    assert alike_to_clip(["a dog", one, "a cow", other]) == [(one, other)]


@pytest.mark.parametrize("names", [("redfox", "red fox"), ("cat", "cats"), ("cafe", "caf\u00e9"), ("", "x")])
def test_names_that_clip_reads_apart_are_not(names: tuple[str, str]) -> None:
    assert alike_to_clip(names) == []


@given(st.lists(st.text("aB1 &;\u00a0\u200b-_.'\x1c\u0301mp", max_size=6), max_size=8))
@settings(max_examples=300)
def test_no_name_is_overlooked(names: list[str]) -> None:
    """The quick look for suspects against tokenising every name."""
    assert alike_to_clip(names) == alike(names, [tuple(TOKENIZER.encode(name)) for name in names])


def test_equal_texts_pass_as_imagenets_do() -> None:
    check_distinct(["maillot", "crane", "crane"], [[1, 2], [1, 3], [1, 3]], "here", "")
    with pytest.raises(AtlasError, match=r"here: .*'Crane' and 'crane'"):
        check_distinct(["maillot", "Crane", "crane"], [[1, 2], [1, 3], [1, 3]], "here", "")


def test_reading_own_data_does_not_wait_for_torch() -> None:
    program = (
        "import sys; from atlas_core.methods.class_names import alike_to_clip\n"
        "assert alike_to_clip(['a', 'b']) == [] and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def with_classes(folder: Path, source: Path, names: list[str]) -> Path:
    for name in names:
        shutil.copytree(source, folder / name)
    return folder


def test_a_study_on_folders_that_are_one_is_refused(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    source = world.home / "data" / "ponds" / "red fox"
    with_classes(world.home / "data" / "own", source, ["Cat", "cat", "R&D", "R&amp;D", "dog", "a1", "a 1"])
    spec = DatasetSpec(name="own", layout="image_folder", folder="own")
    with pytest.raises(AtlasError) as caught:
        read_dataset(spec, world.home / "data")
    for shown in ("'Cat' and 'cat'", "'R&D' and 'R&amp;D'", "'a 1' and 'a1'"):
        assert shown in caught.value.what
    assert "'dog'" not in caught.value.what
    with pytest.raises(AtlasError, match="'Cat' and 'cat'"):
        world.run(datasets=[f"image_folder:{world.home / 'data' / 'own'}"], supervisions=["one_hot"])
    assert list(Store(world.placement.store_path).manifests()) == []


def test_the_advice_to_name_the_classes_works(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    with_classes(world.home / "data" / "own", world.home / "data/ponds/red fox", ["Cat", "cat"])
    options = {"class_names": {"Cat": "big cat"}}
    spec = DatasetSpec(name="own", layout="image_folder", folder="own", options=options)
    assert set(read_dataset(spec, world.home / "data").class_names) == {"big cat", "cat"}


def test_a_table_with_names_that_are_one_is_refused(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    (folder := tmp_path / "data" / "own").mkdir()
    shutil.copy(tmp_path / "data/ponds/red fox/00.png", folder / "0.png")
    shutil.copy(tmp_path / "data/ponds/red fox/01.png", folder / "1.png")
    (folder / "labels.csv").write_text("path,label\n0.png,Cat\n1.png,cat\n")
    spec = DatasetSpec(name="own", layout="table", folder="own", options={"file": "labels.csv"})
    with pytest.raises(AtlasError, match="'Cat' and 'cat'"):
        read_dataset(spec, world.home / "data")


def test_a_tokenizer_that_is_not_clips_is_asked_when_prompts_are_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To this one "green frog" is "blue jay"; the reader, which asks CLIP's, cannot know."""
    world = make_world(tmp_path)
    call = SimpleTokenizer.__call__
    monkeypatch.setattr(
        SimpleTokenizer,
        "__call__",
        lambda self, texts, *rest, **more: call(
            self, [each.replace("green frog", "blue jay") for each in texts], *rest, **more
        ),
    )
    with pytest.raises(AtlasError, match=r"'ponds'.*'blue jay' and 'green frog'"):
        world.run(datasets=[str(world.home / "ponds.yaml")], supervisions=["one_hot"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    world = make_world(tmp_path_factory.mktemp("finished"))
    methods = [{"name": "coop", "options": {"n_ctx": 2, "ctx_init": ""}}, "zero_shot"]
    world.run(
        datasets=[str(world.home / "ponds.yaml")],
        methods=methods,
        supervisions=["one_hot"],
        training={"epochs": 1, "batch_size": 4},
    )
    return world


@pytest.mark.parametrize("words", ["coop", "zero_shot"])
def test_a_trained_run_over_other_names_that_are_one_is_refused(finished: TinyWorld, words: str) -> None:
    store = Store(finished.placement.store_path)
    run = open_run(store, words)
    clip = load_backbone(backbone_of(run, store))
    with pytest.raises(AtlasError, match="'Cat' and 'cat'"):
        load_trained(run, clip, ["dog", "Cat", "cat"])
    with pytest.raises(AtlasError, match="more tokens than the text tower's context"):
        load_trained(run, clip, ["dog", "very " * 80 + "long"])
    assert load_trained(run, clip, ["dog", "cat"]).classes.names == ("dog", "cat")


def test_parquet_files_with_names_that_are_one_are_refused(tmp_path: Path) -> None:
    from atlas_core.datasets.readers.hf_parquet import INDEX_FILE

    (folder := tmp_path / "own").mkdir()
    (folder / INDEX_FILE).write_text(
        '{"made_from": {}, "class_names": ["Cat", "cat"],'
        ' "items": [["0.png", 0, "train"], ["1.png", 1, "test"]]}'
    )
    spec = DatasetSpec(name="own", layout="hf_parquet", folder="own")
    with pytest.raises(AtlasError, match="'Cat' and 'cat'"):
        read_dataset(spec, tmp_path)


def test_sentences_of_a_class_that_stands_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sentences.json"
    path.write_text('{"red_fox": ["one"], "red fox": ["two"]}')
    with pytest.raises(AtlasError, match="twice"):
        read_sentences(path, ["red fox"])
