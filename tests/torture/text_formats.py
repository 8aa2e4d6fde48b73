"""Studies, descriptions, splits, class names, sentences, manifests: text that a person or a program wrote."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from atlas_core.commands.options import overrides_from
from atlas_core.config import StudyConfig
from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.datasets.fetch import is_complete
from atlas_core.datasets.paths import listing_fingerprint
from atlas_core.datasets.readers import read_dataset
from atlas_core.datasets.verify import verify
from atlas_core.methods.sentences import read_sentences
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.presets import load_studies
from atlas_core.store import FORMAT, MARKER, Store
from tests.torture.format import IMAGES, PNG, Format, as_json, as_yaml, of_document, of_file
from tests.torture.mutations import VALUES

STUDY = {
    "name": "tiny",
    "protocol": "base_to_new",
    "datasets": ["demo_shapes", "image_folder:birds"],
    "methods": [
        {"name": "coop", "options": {"n_ctx": 2, "ctx_init": ""}, "training": {"epochs": 3}},
        {"name": "kgcoop", "options": {"weight": 8.0}, "seeds": [1]},
    ],
    "supervisions": ["one_hot", {"name": "atlas_csl", "period": 3}, "ols"],
    "shots": [2, 4],
    "seeds": [1, 2],
    "backbone": {"model": "demo", "precision": "fp32"},
    "views": {"per_image": 2, "dtype": "float32"},
    "training": {"epochs": 5, "batch_size": 4, "lr": 0.002},
    "description": "a study",
}
SPEC = {
    "name": "birds",
    "layout": "image_folder",
    "folder": "./birds",
    "templates": {"coop": "a photo of a {}.", "tcp_prompt": "X X X X {}."},
    "options": {
        "seed": 1,
        "fractions": {"train": 0.5, "val": 0.2, "test": 0.3},
        "class_names": {"wren": "a wren"},
    },
    "source": {
        "archives": [{"url": "https://127.0.0.1:1/birds.zip", "md5": "0" * 32, "provides": ["robin"]}]
    },
    "counts": {"train": 4, "classes": 2},
}
SPLIT = {
    "train": [["robin/0.png", 0, "robin"], ["wren/0.png", 1, "wren"]],
    "val": [["robin/1.png", 0, "robin"]],
    "test": [["wren/1.png", 1, "wren"]],
}
NAMES = b"n01440764 robin\nn01443537 wren\n"
SENTENCES = {"robin": ["a robin", "a bird"], "red wren": ["a wren"]}


def text_formats() -> list[Format]:
    """The formats of text."""
    wordnet = {f"birds/images/{split}/{wnid}/1.png": PNG for split in ("train", "val") for wnid in _WNIDS}
    return [
        of_document("study YAML", _read_study, "study.yaml", STUDY, as_yaml, IMAGES),
        of_file("override", _read_override, "override", b"seeds=[1, 2]", _overrides()),
        of_document("catalogue YAML", _read_described, "birds.yaml", SPEC, as_yaml, IMAGES),
        of_document("split JSON", _read_split, "birds/split.json", SPLIT, as_json, IMAGES),
        of_file("class names", _read_names, "birds/classnames.txt", NAMES, None, wordnet),
        of_document("sentences", _read_sentences, "s.json", SENTENCES, as_json),
        _manifests(),
    ]


_WNIDS = ("n01440764", "n01443537")


def _read_study(folder: Path) -> object:
    return [_planned(study, folder) for study in load_studies(folder / "study.yaml")]


def _planned(study: StudyConfig, folder: Path) -> object:
    return build_graph(study, Placement(home=folder / "home", workers=0))


def _overrides() -> st.SearchStrategy[bytes]:
    fields = st.sampled_from(["seeds", "training.epochs", "backbone", "views", "methods", "a.b", ""])
    return st.tuples(fields, VALUES).map(lambda each: f"{each[0]}={each[1]!r}".encode("utf-8", "replace"))


def _read_override(folder: Path) -> object:
    overrides = overrides_from([(folder / "override").read_bytes().decode("utf-8", "replace")])
    return [_planned(study, folder) for study in load_studies("base-to-new-demo", overrides)]


def _read_described(folder: Path) -> object:
    spec = dataset_spec(str(folder / "birds.yaml"))
    report = verify(spec, folder, decode=False)
    index = read_dataset(spec, folder)
    return is_complete(spec, folder), index, report, listing_fingerprint(index.root)


def _read_split(folder: Path) -> object:
    spec = DatasetSpec(
        name="birds", layout="coop_split", folder=str(folder / "birds"), split_file="split.json"
    )
    verify(spec, folder, decode=False)
    index = read_dataset(spec, folder)
    assert all(0 <= item.label < len(index.class_names) for item in index.items)
    return index


def _read_names(folder: Path) -> object:
    place = {"folder": str(folder / "birds"), "image_folder": "images"}
    return read_dataset(DatasetSpec(name="birds", layout="imagenet", **place), folder)


def _read_sentences(folder: Path) -> object:
    return read_sentences(folder / "s.json", ["robin", "red wren"])


def _manifests() -> Format:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        made = store.publish("tune", "x", {"config": {}}, lambda out: (out / "a").write_text("a") and None)
        whole = json.loads((store.path("tune", made.key) / "manifest.json").read_bytes())

    def read(folder: Path) -> object:
        store = Store(folder)
        verified = [store.verify(manifest) for manifest in store.manifests()]
        return verified, store.lookup("tune", made.key)

    beside = {f"tune/{made.key}/a": b"a", MARKER: json.dumps({"format": FORMAT}).encode()}
    return of_document("manifest", read, f"tune/{made.key}/manifest.json", whole, as_json, beside)
