"""A dataset is known by its place and content; its name is its own among those that it stands beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas_core.config import StudyConfig
from atlas_core.datasets.catalogue import dataset_names, dataset_spec, published_spec
from atlas_core.datasets.identity import Identity, distinct_names, study_datasets
from atlas_core.errors import AtlasError
from atlas_core.presets import validate_study
from tests.tiny_study import write_yaml


def folder(path: Path) -> str:
    path.mkdir(parents=True)
    return f"image_folder:{path}"


def names(*entries: str) -> list[str]:
    return [spec.name for spec in study_datasets(entries).values()]


def study(datasets: list[str], **fields: object) -> StudyConfig:
    raw = {"name": "s", "protocol": "few_shot", "methods": ["zero_shot"], "supervisions": ["one_hot"]}
    return validate_study({**raw, "datasets": datasets, **fields}, "s")


def test_a_folder_alone_has_its_own_name(tmp_path: Path) -> None:
    assert names(folder(tmp_path / "a" / "birds")) == ["birds"]


def test_folders_of_one_name_get_as_much_of_their_paths_as_tells_them_apart(tmp_path: Path) -> None:
    places = ("a/x/birds", "b/x/birds", "c/y/birds", "moths")
    assert names(*(folder(tmp_path / each) for each in places)) == [
        "a-x-birds",
        "b-x-birds",
        "y-birds",
        "moths",
    ]


def test_tables_of_one_name_are_named_after_their_folders(tmp_path: Path) -> None:
    entries = []
    for each in ("moths", "birds"):
        (tmp_path / each).mkdir()
        (tmp_path / each / "labels.csv").write_text("path,class\n")
        entries.append(f"table:{tmp_path / each / 'labels.csv'}")
    assert names(*entries) == ["moths-labels", "birds-labels"]


def test_a_name_made_of_two_folders_is_not_that_of_a_third(tmp_path: Path) -> None:
    found = names(*(folder(tmp_path / each) for each in ("a/birds", "b/birds", "x/a-birds")))
    assert len(set(found)) == 3


def test_names_of_any_script_are_kept(tmp_path: Path) -> None:
    # The second is written with a combining accent, as some file systems do.
    places = ("鳥", "e\u0301te\u0301", "पक्षी", "птицы 2", "--", "…")
    found = names(*(folder(tmp_path / each) for each in places))
    assert found[:4] == ["鳥", "été", "पक्षी", "птицы_2"]
    assert len(set(found)) == len(places)


@pytest.mark.parametrize("name", ["eurosat", "imagenet", "demo_shapes", "average"])
def test_a_folder_of_ones_own_never_has_a_name_that_means_something_else(tmp_path: Path, name: str) -> None:
    own = folder(tmp_path / "field work" / name)
    assert names(own) == [f"field_work-{name}"]
    if name in dataset_names():
        assert names(name, own) == [name, f"field_work-{name}"]


def test_a_dataset_named_twice_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "birds"
    folder(place)
    (tmp_path / "link").symlink_to(place)
    for other in (f"{tmp_path}/./birds", f"{tmp_path}/x/../birds"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(AtlasError, match="are the same dataset"):
            study([f"image_folder:{place}", f"image_folder:{other}"])


def test_a_description_and_its_copy_of_other_content_are_refused_under_one_name(tmp_path: Path) -> None:
    folder(tmp_path / "birds")
    for number, seed in enumerate((1, 2)):
        content = {
            "name": "birds",
            "layout": "image_folder",
            "folder": str(tmp_path / "birds"),
            "options": {"seed": seed},
        }
        write_yaml(tmp_path / f"{number}.yaml", content)
    with pytest.raises(AtlasError, match=r"both named 'birds'.*0\.yaml and .*1\.yaml"):
        study([str(tmp_path / "0.yaml"), str(tmp_path / "1.yaml")])


def test_the_catalogues_descriptions_are_the_published_ones_wherever_they_are_fetched_from(
    tmp_path: Path,
) -> None:
    for name in dataset_names():
        assert published_spec(dataset_spec(name)) is not None
    plain = dataset_spec("eurosat")
    assert published_spec(plain.model_copy(update={"folder": "/elsewhere", "source": None})) is not None
    assert published_spec(plain.model_copy(update={"templates": {"coop": "a {}."}})) is None
    assert published_spec(dataset_spec(folder(tmp_path / "eurosat"))) is None


def test_of_one_place_at_two_times_the_first_keeps_the_name() -> None:
    now, before = (Identity("birds", "/data/birds", content) for content in ("new", "old"))
    found = distinct_names([now, before])
    assert found[0] == "birds"
    assert found[1].startswith("birds-")
