"""The catalogue of the fifteen, and how somebody names data of their own."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from atlas_core.datasets.archive_content import check_content
from atlas_core.datasets.catalogue import Archive, dataset_names, dataset_spec
from atlas_core.datasets.fetch import ensure_fetched
from atlas_core.datasets.readers import READERS, read_dataset
from atlas_core.errors import AtlasError
from atlas_core.methods.traits.base import Classes
from atlas_core.methods.traits.tcp import TCPOptions, TCPTraits
from tests.datasets.miniatures import FIFTEEN, images

PLAIN = "a photo of a {}."

# Hand-crafted templates of the public implementations: CoOp's, and where KgCoOp, ProGrad and TCP differ.
TEMPLATES = {
    "oxford_pets": {
        "coop": "a photo of a {}, a type of pet.",
        "prograd": "a type of pet, a photo of a {}.",
        "tcp_prompt": "X X X X {}, a type of pet.",
    },
    "oxford_flowers": {
        "coop": "a photo of a {}, a type of flower.",
        "prograd": "a type of flower, a photo of a {}.",
        "tcp_prompt": "X X X X {}, a type of flower.",
    },
    "fgvc_aircraft": {
        "coop": "a photo of a {}, a type of aircraft.",
        "prograd": "a type of aircraft, a photo of a {}.",
        "tcp": "a photo of an aircraft {}.",
        "tcp_prompt": "X X X X {}, a type of aircraft.",
    },
    "dtd": {
        "coop": "{} texture.",
        "kgcoop": "a photo of a {}, a type of texture.",
        "prograd": "a texture of {}.",
        "tcp": "a photo of a {}, a type of texture.",
        "tcp_prompt": "X X X X {} texture.",
    },
    "eurosat": {"coop": "a centered satellite photo of {}.", "tcp_prompt": "X X X X {}."},
    "food101": {
        "coop": "a photo of {}, a type of food.",
        "prograd": "a type of food, a photo of {}.",
        "tcp": "a photo of a {}, a type of food.",
        "tcp_prompt": "X X X X {}, a type of food.",
    },
    "ucf101": {
        "coop": "a photo of a person doing {}.",
        "tcp_prompt": "a photo of a person doing {}.",
    },
    "stanford_cars": {"coop": PLAIN, "tcp_prompt": "X X X X {}, a type of car"},
    "sun397": {"coop": PLAIN, "tcp_prompt": "X X X X {}."},
    "caltech101": {"coop": PLAIN, "tcp_prompt": "X X X X {}."},
    **{
        name: {"coop": PLAIN, "tcp_prompt": PLAIN}
        for name in ("imagenet", "imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
    },
}
FOLDERS = {
    "imagenet": "imagenet/images",
    "caltech101": "caltech-101/101_ObjectCategories",
    "oxford_pets": "oxford_pets/images",
    "stanford_cars": "stanford_cars/.",
    "oxford_flowers": "oxford_flowers/jpg",
    "food101": "food-101/images",
    "fgvc_aircraft": "fgvc_aircraft/images",
    "sun397": "sun397/SUN397",
    "dtd": "dtd/images",
    "eurosat": "eurosat/2750",
    "ucf101": "ucf101/UCF-101-midframes",
    "imagenetv2": "imagenetv2/imagenetv2-matched-frequency-format-val",
    "imagenet_sketch": "imagenet-sketch/images",
    "imagenet_a": "imagenet-adversarial/imagenet-a",
    "imagenet_r": "imagenet-rendition/imagenet-r",
}


@pytest.mark.parametrize("name", FIFTEEN)
@pytest.mark.parametrize("family", ["coop", "kgcoop", "prograd", "tcp", "tcp_prompt"])
def test_each_method_family_has_its_published_template(name: str, family: str) -> None:
    expected = TEMPLATES[name].get(family, TEMPLATES[name]["coop"])
    spec = dataset_spec(name)
    assert spec.template(family) == expected
    if family == "tcp_prompt":
        classes = Classes((), spec.templates, trained=True)
        assert TCPTraits.prompt_template(TCPOptions(), classes) == expected, "the method must read the same"


@pytest.mark.parametrize("name", FIFTEEN)
def test_each_is_where_the_published_code_expects_it(name: str) -> None:
    spec = dataset_spec(name)
    assert f"{spec.folder}/{spec.image_folder}" == FOLDERS[name]
    assert spec.name == name
    READERS.check(spec.layout)


@pytest.mark.parametrize("name", FIFTEEN)
def test_each_says_where_it_comes_from_and_on_what_terms(name: str) -> None:
    spec = dataset_spec(name)
    assert spec.source is not None
    assert spec.title
    assert spec.class_name_source
    assert spec.paper
    assert spec.licence
    assert spec.homepage.startswith("http")
    assert spec.counts["classes"] > 1
    for archive in spec.source.archives:
        for candidate in archive.candidates():
            assert re.fullmatch(r"https?://\S+|gdrive:[\w-]{25,}", candidate.url)
            assert candidate.md5 is None or re.fullmatch("[0-9a-f]{32}", candidate.md5)
            assert candidate.sha256 is None or re.fullmatch("[0-9a-f]{64}", candidate.sha256)
    if spec.split_file:
        assert spec.split_file in [archive.name for archive in spec.source.archives]


def test_the_split_files_at_hand_are_those_of_the_catalogue(shared: Path) -> None:
    import hashlib

    checked = 0
    for name in FIFTEEN:
        spec = dataset_spec(name)
        for archive in spec.source.archives if spec.source else ():
            file = shared / "splits" / archive.name
            if file.is_file():
                content = file.read_bytes()
                assert (hashlib.sha256(content).hexdigest(), len(content)) == (archive.sha256, archive.size)
                checked += 1
    assert checked == 7


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(AtlasError, match="did you mean 'caltech101'"):
        dataset_spec("caltech-101")
    for wrong in ("", "no_such:/data"):
        with pytest.raises(AtlasError, match="unknown dataset"):
            dataset_spec(wrong)


# --- data of one's own ---------------------------------------------------------------------------------------


def write_birds(folder: Path) -> None:
    for path, content in images(f"{name}/{n}.jpg" for name in ("robin", "wren") for n in range(4)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("birds", "birds"),
        ("my birds' photos", "my_birds__photos"),
        ("птицы", "птицы"),
        ("…", "own_data"),
        (".hidden", "hidden"),
    ],
)
def test_a_folder_is_named_by_its_path(folder: str, name: str, tmp_path: Path) -> None:
    write_birds(tmp_path / folder)
    spec = dataset_spec(f"image_folder:{tmp_path / folder}")
    assert spec.name == name
    assert ensure_fetched(spec, tmp_path / "root") == tmp_path / folder
    assert read_dataset(spec, tmp_path / "root").class_names == ("robin", "wren")
    assert not (tmp_path / "root").exists()


def test_a_relative_path_counts_from_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_birds(tmp_path / "birds")
    monkeypatch.chdir(tmp_path)
    assert dataset_spec("image_folder:birds").folder == str(tmp_path / "birds")
    with pytest.raises(AtlasError, match="does not exist"):
        dataset_spec("image_folder:fish")


def test_a_description_is_named_by_its_path_and_finds_what_is_beside_it(tmp_path: Path) -> None:
    write_birds(tmp_path / "data" / "birds")
    (tmp_path / "data" / "mine.yaml").write_text(
        "name: my_birds\nlayout: image_folder\nfolder: ./birds\n"
        "templates: {coop: 'a photo of a {}, a type of bird.'}\n"
        "options: {class_names: {wren: winter wren}, fractions: {train: 0.5, test: 0.5}}\n"
    )
    spec = dataset_spec(str(tmp_path / "data" / "mine.yaml"))
    index = read_dataset(spec, tmp_path / "anywhere")
    assert index.class_names == ("robin", "winter wren")
    assert spec.template("kgcoop") == "a photo of a {}, a type of bird."
    assert (len(index.positions("train")), len(index.positions("test"))) == (4, 4)


def test_a_folder_of_descriptions_adds_names_and_its_own_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "birds.yaml").write_text("name: birds\nlayout: image_folder\nfolder: birds\n")
    (tmp_path / "dtd.yaml").write_text("name: dtd\nlayout: image_folder\nfolder: my-textures\n")
    (tmp_path / "other.yaml").write_text("name: another\nlayout: image_folder\nfolder: x\n")
    monkeypatch.setenv("ATLAS_CATALOGUE", f"{tmp_path / 'none'}:{tmp_path}")
    assert {"birds", "dtd", "caltech101"} <= set(dataset_names())
    assert dataset_spec("birds").folder == "birds"
    assert dataset_spec("dtd").folder == "my-textures"
    with pytest.raises(AtlasError, match="describes 'another'"):
        dataset_spec("other")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- a list", "not a dataset description"),
        ("name: [", "cannot be read as YAML"),
        ("name: x\nlayout: image_folder\n", "folder: Field required"),
        ("name: x\nlayout: image_folder\nfolder: x\nfolders: y\n", "folders: Extra inputs"),
        ("name: 'a b'\nlayout: image_folder\nfolder: x\n", "name: String should match"),
        ("name: x\nlayout: image_folder\nfolder: x\ntemplates: {coop: none}\n", "exactly one {}"),
        ("name: x\nlayout: image_folder\nfolder: x\ntemplates: {tcp: '{}'}\n", "the family 'coop'"),
        ("name: x\nlayout: image_folder\nfolder: x\nimage_folder: ../../etc\n", "leaves its folder"),
        ("name: x\nlayout: coop_split\nfolder: x\nsplit_file: /etc/passwd\n", "leaves its folder"),
    ],
)
def test_a_wrong_description_is_one_error_that_names_the_field(
    text: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(AtlasError, match=re.escape(complaint)):
        dataset_spec(str(tmp_path / "x.yaml"))


def test_a_description_that_is_not_there_or_not_text_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="does not exist"):
        dataset_spec(str(tmp_path / "none.yaml"))
    (tmp_path / "x.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(AtlasError, match="cannot be read"):
        dataset_spec(str(tmp_path / "x.yaml"))


@pytest.mark.parametrize("filename", ["../evil.zip", "a/b.zip", "..", "a\\b.zip"])
def test_an_archive_cannot_be_named_out_of_its_folder(filename: str) -> None:
    with pytest.raises(ValidationError, match="plain filename"):
        Archive(url="http://127.0.0.1/a.zip", filename=filename)


def test_an_unknown_layout_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "x.yaml").write_text("name: x\nlayout: folders\nfolder: ./data\n")
    with pytest.raises(AtlasError, match="unknown dataset layout 'folders'"):
        read_dataset(dataset_spec(str(tmp_path / "x.yaml")), tmp_path)


def test_a_description_survives_the_trip_through_plain_values() -> None:
    for name in dataset_names():
        spec = dataset_spec(name)
        plain = yaml.safe_load(yaml.safe_dump(spec.model_dump(mode="json")))
        assert type(spec)(**plain) == spec


@pytest.mark.parametrize("name", FIFTEEN)
def test_whatever_is_fetched_is_known_by_a_checksum_or_by_the_published_numbers(name: str) -> None:
    spec = dataset_spec(name)
    assert spec.source is not None
    for archive in spec.source.archives:
        by_checksum = all(each.md5 or each.sha256 for each in archive.candidates())
        own_checksum = archive.provides == () and (
            archive.md5 or archive.sha256
        )  # a list, checked when unpacked
        listed = {"test", "classes"} <= set(spec.counts)  # counted before a new dataset gets its name
        by_number = listed if archive.name != "classnames.txt" else archive.lines == 1000
        assert by_checksum or own_checksum or by_number, archive.name


def split_file(train: int) -> bytes:
    entries = {"train": [[f"{n}.jpg", 0, "a"] for n in range(train)], "val": [], "test": []}
    return json.dumps(entries).encode()


@pytest.mark.parametrize(
    ("archive", "name", "content", "says"),
    [
        ({}, "split.json", split_file(2), "split.json is another split: train: 2 here, 3 published"),
        ({}, "split.json", b"{", "split.json is damaged"),
        ({}, "split.json", b"[" * 5000, "split.json asks for too much"),
        ({"md5": "0" * 32}, "split.json", split_file(3), "split.json is another file: its md5 is"),
        ({"size": 5}, "split.json", split_file(3), "split.json is another file: it has"),
        ({"lines": 3}, "names.txt", b"a\nb\n\n", "names.txt has 2 lines instead of 3"),
        ({"lines": 3}, "names.txt", b"\xff", "names.txt is damaged"),
        ({}, "other.txt", b"", "does not hold names.txt"),
    ],
)
def test_a_list_from_a_mirror_is_checked_by_itself(
    archive: dict[str, object], name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    wanted = "names.txt" if name == "other.txt" else name
    (tmp_path / name).write_bytes(content)
    spec = dataset_spec("dtd").model_copy(update={"split_file": "split.json", "counts": {"train": 3}})
    with pytest.raises(AtlasError, match=says):
        check_content(spec, Archive.model_validate({"url": f"http://x/{wanted}", **archive}), tmp_path)


def test_the_right_lists_pass(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_bytes(split_file(3))
    (tmp_path / "names.txt").write_bytes(b"a\nb\nc\n")
    spec = dataset_spec("dtd").model_copy(update={"split_file": "split.json", "counts": {"train": 3}})
    md5 = hashlib.md5(split_file(3)).hexdigest()
    check_content(spec, Archive(url="http://x/split.json", md5=md5), tmp_path)
    check_content(spec, Archive(url="http://x/names.txt", lines=3), tmp_path)
