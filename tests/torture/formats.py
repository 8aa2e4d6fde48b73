"""Every format that comes from outside: whole examples, how they are damaged, and what reads them.

A reader answers with a result or raises an AtlasError; anything else is a fault.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from hypothesis import strategies as st

from atlas_core.budgets import Limits
from atlas_core.commands.options import overrides_from
from atlas_core.config import StudyConfig
from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.datasets.extract import extract
from atlas_core.datasets.fetch import is_complete
from atlas_core.datasets.items import DatasetIndex, Item
from atlas_core.datasets.parquet_images import extract_images
from atlas_core.datasets.paths import listing_fingerprint
from atlas_core.datasets.readers import read_dataset
from atlas_core.datasets.readers.hf_parquet import INDEX_FILE
from atlas_core.datasets.verify import verify
from atlas_core.errors import AtlasError
from atlas_core.methods.sentences import read_sentences
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.presets import load_studies
from atlas_core.stages.index import read_index, write_index
from atlas_core.store import Store
from tests.small_clip import small_config, small_open_clip
from tests.torture.mutations import TEXTS, VALUES, changed, mangled, tables

Files = dict[str, bytes]
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        files: Draws the files of an input, by their paths below a new folder.
        read: Reads what lies in that folder.
    """

    name: str
    files: st.SearchStrategy[Files]
    read: Callable[[Path], object]


# --- text -----------------------------------------------------------------------------------------------------------

# One thread: children are forked, and torch's threads do not survive that.
torch.set_num_threads(1)

IMAGES: Files = {f"birds/{name}/{n}.png": PNG for name in ("robin", "wren") for n in range(3)}
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
    "options": {"seed": 1, "fractions": {"train": 0.5, "val": 0.2, "test": 0.3}, "class_names": {"wren": "a wren"}},
    "source": {"archives": [{"url": "https://127.0.0.1:1/birds.zip", "md5": "0" * 32, "provides": ["robin"]}]},
    "counts": {"train": 4, "classes": 2},
}
SPLIT = {
    "train": [["robin/0.png", 0, "robin"], ["wren/0.png", 1, "wren"]],
    "val": [["robin/1.png", 0, "robin"]],
    "test": [["wren/1.png", 1, "wren"]],
}


def _yaml(document: Any) -> bytes:
    return yaml.safe_dump(document, allow_unicode=False).encode()


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _document(whole: Any, write: Callable[[Any], bytes], name: str, beside: Files) -> st.SearchStrategy[Files]:
    """A changed document, or one whose text was damaged."""
    contents = changed(whole).map(write) | mangled(write(whole)) | VALUES.map(write)
    return contents.map(lambda content: {**beside, name: content})


def _read_study(folder: Path) -> object:
    return [_planned(study, folder) for study in load_studies(folder / "study.yaml")]


def _planned(study: StudyConfig, folder: Path) -> object:
    return build_graph(study, Placement(home=folder / "home", workers=0))


def _read_override(folder: Path) -> object:
    overrides = overrides_from([(folder / "override").read_bytes().decode("utf-8", "replace")])
    return [_planned(study, folder) for study in load_studies("base-to-new-demo", overrides)]


def _read_described(folder: Path) -> object:
    spec = dataset_spec(str(folder / "birds.yaml"))
    whole = is_complete(spec, folder)
    report = verify(spec, folder, decode=False)
    index = read_dataset(spec, folder)
    assert whole or spec.source is not None
    return index, report, listing_fingerprint(index.root)


def _read_split(folder: Path) -> object:
    spec = DatasetSpec(name="birds", layout="coop_split", folder=str(folder / "birds"), split_file="split.json")
    verify(spec, folder, decode=False)
    index = read_dataset(spec, folder)
    assert all(0 <= item.label < len(index.class_names) for item in index.items)
    return index


def _read_names(folder: Path) -> object:
    spec = DatasetSpec(name="birds", layout="imagenet", folder=str(folder / "birds"))
    return read_dataset(spec, folder)


# --- tables ---------------------------------------------------------------------------------------------------------

CSV = b'path,class,split\nrobin/0.png,robin,train\nwren/0.png,"a wren",train\nrobin/1.png,robin,test\nwren/1.png,"a wren",test\n'


def _parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


LABELS = pa.table({"path": ["robin/0.png", "wren/0.png"], "class": ["robin", "wren"], "split": ["train", "test"]})
PACKED = pa.table({"image": [{"bytes": PNG, "path": None}] * 4, "label": [0, 1, 0, 1]}).replace_schema_metadata(
    {"huggingface": json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}})}
)


def _read_table(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        spec = DatasetSpec(name="birds", layout="table", folder=str(folder / "birds"), options={"file": name})
        return read_dataset(spec, folder)

    return read


def _read_packed(folder: Path) -> object:
    out = folder / "out"
    out.mkdir()
    spec = DatasetSpec(name="birds", layout="hf_parquet", folder=str(out))
    extract_images(spec, folder / "images.parquet", out)
    return read_dataset(spec, folder)


def _read_extracted(folder: Path) -> object:
    return read_dataset(DatasetSpec(name="birds", layout="hf_parquet", folder=str(folder / "birds")), folder)


EXTRACTED = {"made_from": {"files": [], "options": {}}, "class_names": ["robin", "wren"],
             "items": [["robin/0.png", 0, "train"], ["wren/0.png", 1, "test"]]}  # fmt: skip


@cache
def _index_files() -> Files:
    import tempfile

    items = (Item("robin/0.png", 0, "robin", "train"), Item("wren/0.png", 1, "wren", "test"))
    with tempfile.TemporaryDirectory() as folder:
        write_index(DatasetIndex("birds", Path(), items, ("robin", "wren")), ["0" * 64] * 2, Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _read_index(folder: Path) -> object:
    return read_index(folder, folder)


@cache
def _manifest() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        made = store.publish("tune", "x", {"config": {}}, lambda out: (out / "a").write_text("a") and None)
        return (store.path("tune", made.key) / "manifest.json").read_bytes()


def _read_manifest(folder: Path) -> object:
    store = Store(folder)
    for manifest in store.manifests():
        store.verify(manifest)
    return store.lookup("tune", json.loads(_manifest())["key"])


def _manifest_files() -> st.SearchStrategy[Files]:
    whole = json.loads(_manifest())
    beside = {f"tune/{whole['key']}/a": b"a"}
    return _document(whole, _json, f"tune/{whole['key']}/manifest.json", beside)


# --- models ---------------------------------------------------------------------------------------------------------

TINY: dict[str, Any] = {
    "text_width": 8, "text_layers": 1, "text_heads": 2, "vision_width": 8, "vision_layers": 1, "head_width": 4,
    "embed_dim": 4, "image_size": 8, "patch_size": 4, "text": {"vocab_size": 49408},
}  # fmt: skip


@cache
def _weights() -> bytes:
    from safetensors.torch import save

    return save({name: value.contiguous() for name, value in small_open_clip(0, **TINY).state_dict().items()})


@cache
def _pickled() -> bytes:
    out = io.BytesIO()
    torch.save({"a": torch.zeros(3), "state_dict": {"b": torch.ones(2)}}, out)
    return out.getvalue()


def _read_model(folder: Path) -> object:
    from atlas_core.backbone.config import BackboneConfig
    from atlas_core.backbone.load import load_backbone
    from atlas_core.backbone.source import backbone_identity, backbone_label, input_size

    cfg = BackboneConfig(model=str(folder / "clip.json"), weights=folder / "w.safetensors", device="cpu")
    answers = backbone_identity(cfg), backbone_label(cfg), input_size(cfg.model)
    clip = load_backbone(cfg)
    return answers, clip.encode_text(["a"])


def _read_weights(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        from atlas_core.backbone.weights import read_state_dict

        return read_state_dict(folder / name)

    return read


def _safetensors() -> st.SearchStrategy[bytes]:
    """A header that says something else of its tensors, or damaged bytes."""
    header = {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
              "b": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]}}  # fmt: skip

    def written(document: Any) -> bytes:
        text = _json(document)
        return len(text).to_bytes(8, "little") + text + bytes(24)

    dtypes = st.sampled_from(["F64", "F16", "I8", "U64", "BOOL", "F8_E4M3", "F8_E8M0", "F4", "C64", "I128", "f32"])
    other = dtypes.map(lambda kind: {"a": {"dtype": kind, "shape": [2], "data_offsets": [0, 24]}})
    return (changed(header) | other).map(written) | mangled(written(header))


# --- archives -------------------------------------------------------------------------------------------------------

MEMBERS = ["a.png", "d/b.png", "d/c.png", "d", "a.png/x", "../x", "/x", "x" * 300, "d/" * 70 + "x", "", ".", "é", "a\\b"]


@st.composite
def _archives(draw: st.DrawFn) -> bytes:
    """A zip or tar file of odd members, perhaps damaged."""
    members = draw(st.lists(st.tuples(st.sampled_from(MEMBERS) | TEXTS, st.sampled_from([b"", b"x" * 99])), max_size=5))
    out = io.BytesIO()
    if draw(st.booleans()):
        with zipfile.ZipFile(out, "w", draw(st.sampled_from([0, 8, 12, 14]))) as archive:
            for name, content in members:
                info = zipfile.ZipInfo(name.replace("\0", "_") or "empty")
                info.compress_type = archive.compression
                if draw(st.integers(0, 4)) == 0:
                    info.external_attr = 0o120777 << 16
                    content = draw(st.sampled_from(MEMBERS)).encode()
                archive.writestr(info, content)
    else:
        layout = draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
        mode: Any = draw(st.sampled_from(["w", "w:gz", "w:bz2", "w:xz"]))
        with tarfile.open(fileobj=out, mode=mode, format=layout) as tar:
            for name, content in members:
                member = tarfile.TarInfo(name)
                member.type = draw(st.sampled_from([b"0", b"0", b"0", b"1", b"2", b"3", b"5", b"6", b"S", b"7", b"Z"]))
                member.linkname = draw(st.sampled_from(MEMBERS))
                member.size = len(content) if member.isreg() else 0
                tar.addfile(member, io.BytesIO(content))
    whole = out.getvalue()
    return draw(mangled(whole)) if draw(st.booleans()) else whole


def _read_archive(folder: Path) -> object:
    small = Limits(files=20, bytes=1 << 20, free_bytes=1 << 20)
    try:
        return extract(folder / "archive", folder / "out" / "deep", limits=small)
    finally:
        written = [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
        inside = folder / "out" / "deep"
        assert all(path.is_relative_to(inside) or path == folder / "archive" for path in written), written
        assert not any(path.is_symlink() for path in written)


def _single(name: str, contents: st.SearchStrategy[bytes], beside: Files | None = None) -> st.SearchStrategy[Files]:
    return contents.map(lambda content: {**(beside or {}), name: content})


@cache
def formats() -> tuple[Format, ...]:
    """All of them."""
    overrides = st.tuples(st.sampled_from(["seeds", "training.epochs", "backbone", "views", "methods", "a.b", ""]), VALUES)
    labels = ["path", "class", "split", "label", "image", "class_name"]
    odd_tables = tables(labels).map(_parquet)
    models = changed(small_config(**TINY)) | changed({"model_cfg": small_config(**TINY), "preprocess_cfg": {"mean": 0.5}})
    sentences = {"robin": ["a robin", "a bird"], "red wren": ["a wren"]}
    names = b"n01440764 robin\nn01443537 wren\n"
    index = _index_files()
    return (
        Format("study YAML", _document(STUDY, _yaml, "study.yaml", IMAGES), _read_study),
        Format(
            "override",
            _single("override", overrides.map(lambda each: f"{each[0]}={each[1]!r}".encode("utf-8", "replace"))),
            _read_override,
        ),
        Format("catalogue YAML", _document(SPEC, _yaml, "birds.yaml", IMAGES), _read_described),
        Format("split JSON", _document(SPLIT, _json, "birds/split.json", IMAGES), _read_split),
        Format("class names", _single("birds/classnames.txt", mangled(names), {"birds/images/train/x/1.png": PNG}), _read_names),
        Format("CSV", _single("birds/labels.csv", mangled(CSV) | st.binary(max_size=200), IMAGES), _read_table("labels.csv")),
        Format("TSV", _single("birds/labels.tsv", mangled(CSV.replace(b",", b"\t")), IMAGES), _read_table("labels.tsv")),
        Format("Parquet", _single("birds/labels.parquet", mangled(_parquet(LABELS)) | odd_tables, IMAGES), _read_table("labels.parquet")),
        Format("packed images", _single("images.parquet", mangled(_parquet(PACKED)) | odd_tables), _read_packed),
        Format("extracted index", _document(EXTRACTED, _json, f"birds/{INDEX_FILE}", IMAGES), _read_extracted),
        Format("index: description", _document(json.loads(index["dataset.json"]), _json, "dataset.json", index), _read_index),
        Format("index: items", _single("items.parquet", mangled(index["items.parquet"]) | tables(["path", "label", "class_name", "split"]).map(_parquet), index), _read_index),
        Format("manifest", _manifest_files(), _read_manifest),
        Format("model config", _single("clip.json", models.map(_json), {"w.safetensors": _weights()}), _read_model),
        Format("safetensors", _single("w.safetensors", _safetensors()), _read_weights("w.safetensors")),
        Format("pickled weights", _single("w.pt", mangled(_pickled())), _read_weights("w.pt")),
        Format("sentences", _document(sentences, _json, "s.json", {}), lambda folder: read_sentences(folder / "s.json", ["robin", "red wren"])),
        Format("archive", _single("archive", _archives()), _read_archive),
    )  # fmt: skip


def put(files: Files, folder: Path) -> None:
    """Write an input's files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def outcome(chosen: Format, folder: Path) -> bool:
    """Read an input: True where it gave a result, False where it was refused with one message."""
    try:
        chosen.read(folder)
    except AtlasError as error:
        assert error.what.strip()
        assert str(error).isprintable() or str(error)
        return False
    return True
