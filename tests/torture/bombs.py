"""Small files that stand for very much: each must be refused with one message, in little time and memory."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from atlas_core.commands.options import overrides_from
from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.datasets.extract import extract
from atlas_core.datasets.parquet_images import extract_images
from atlas_core.datasets.readers import read_dataset
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.presets import load_study
from tests.small_clip import small_config

BOMBS: dict[str, Callable[[Path], object]] = {}
"""Name → what writes a bomb into an empty folder and reads it."""


def bomb(act: Callable[[Path], object]) -> Callable[[Path], object]:
    BOMBS[act.__name__.replace("_", " ")] = act
    return act


# --- archives -------------------------------------------------------------------------------------------------------


def _unpack(folder: Path) -> object:
    return extract(folder / "archive", folder / "out")


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


class _Zeros(io.RawIOBase):
    """As many zero bytes as are asked for."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def _linked(folder: Path, kind: bytes) -> object:
    with tarfile.open(folder / "archive", "w:gz", compresslevel=1) as archive:
        archive.addfile(_member("big", size=1 << 20), io.BytesIO(bytes(1 << 20)))
        for number in range(3000):
            archive.addfile(_member(f"{number}", kind, "big"))
    return _unpack(folder)


@bomb
def three_thousand_hard_links_to_one_file(folder: Path) -> object:
    return _linked(folder, tarfile.LNKTYPE)


@bomb
def three_thousand_symbolic_links_to_one_file(folder: Path) -> object:
    return _linked(folder, tarfile.SYMTYPE)


@bomb
def a_zip_link_whose_target_is_zeros(folder: Path) -> object:
    with zipfile.ZipFile(folder / "archive", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr, info.compress_type = 0o120777 << 16, zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=True) as stream:
            for _ in range(64):
                stream.write(bytes(1 << 20))
    return _unpack(folder)


@bomb
def a_name_of_three_gigabytes(folder: Path) -> object:
    header = _member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=3 << 30).tobuf(tarfile.GNU_FORMAT)
    with (folder / "archive").open("wb") as stream:
        stream.write(header)
        stream.truncate(3 << 30)
    return _unpack(folder)


@bomb
def five_thousand_long_names_for_one_file(folder: Path) -> object:
    name = _member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=2).tobuf(tarfile.GNU_FORMAT)
    (folder / "archive").write_bytes((name + b"a\0".ljust(512, b"\0")) * 5000)
    return _unpack(folder)


@bomb
def two_gigabytes_of_zeros_in_a_zip(folder: Path) -> object:
    with (
        zipfile.ZipFile(folder / "archive", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("big", "w", force_zip64=True) as stream,
    ):
        for _ in range(1100):
            stream.write(bytes(1 << 20))
    return _unpack(folder)


@bomb
def two_gigabytes_behind_the_end_of_a_tar(folder: Path) -> object:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        archive.addfile(_member("a", size=1), io.BytesIO(b"a"))
    with gzip.open(folder / "archive", "wb", compresslevel=1) as stream:
        stream.write(inner.getvalue())
        for _ in range(1300):
            stream.write(bytes(1 << 20))
    return _unpack(folder)


@bomb
def an_xz_file_that_asks_for_a_dictionary_of_1500_megabytes(folder: Path) -> object:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        archive.addfile(_member("a", size=1), io.BytesIO(b"a"))
    whole = bytearray(lzma.compress(inner.getvalue(), format=lzma.FORMAT_ALONE))
    whole[1:5] = (0xFFFFFFFF).to_bytes(4, "little")  # the dictionary's size in the header of an .lzma file
    (folder / "archive").write_bytes(bytes(whole))
    return _unpack(folder)


@bomb
def a_zip_that_overlaps_itself_a_thousand_times(folder: Path) -> object:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("00000", bytes(1 << 22))
    whole = out.getvalue()
    at = whole.index(b"PK\x01\x02")
    entry, end = whole[at : whole.index(b"PK\x05\x06")], bytearray(whole[whole.index(b"PK\x05\x06") :])
    entries = [entry.replace(b"00000", f"{number:05d}".encode()) for number in range(1000)]
    end[8:12] = (1000).to_bytes(2, "little") * 2
    end[12:16] = sum(map(len, entries)).to_bytes(4, "little")
    (folder / "archive").write_bytes(whole[:at] + b"".join(entries) + bytes(end))
    return _unpack(folder)


# --- tables ---------------------------------------------------------------------------------------------------------


def _run_length(path: Path, rows: int, columns: dict[str, pa.Scalar]) -> None:
    piece = 20_000_000
    schema = pa.schema([(name, pa.dictionary(pa.int8(), value.type)) for name, value in columns.items()])
    with pq.ParquetWriter(path, schema, write_statistics=False) as writer:
        for _ in range(rows // piece):
            codes = pa.repeat(pa.scalar(0, pa.int8()), piece)
            arrays = [pa.DictionaryArray.from_arrays(codes, pa.array([value])) for value in columns.values()]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=piece)


@bomb
def a_parquet_table_of_a_hundred_million_equal_rows(folder: Path) -> object:
    _run_length(folder / "labels.parquet", 100_000_000, {"path": pa.scalar("a.png"), "class": pa.scalar("a")})
    return read_dataset(DatasetSpec(name="birds", layout="table", folder=str(folder)), folder)


@bomb
def a_parquet_file_of_a_hundred_million_equal_images(folder: Path) -> object:
    _run_length(folder / "i.parquet", 100_000_000, {"image": pa.scalar(b"\x89PNG"), "label": pa.scalar("a")})
    (folder / "out").mkdir()
    spec = DatasetSpec(name="birds", layout="hf_parquet", folder=str(folder / "out"))
    return extract_images(spec, folder / "i.parquet", folder / "out")


@bomb
def a_csv_file_of_five_million_rows(folder: Path) -> object:
    (folder / "labels.csv").write_bytes(b"path,class\n" + b"a,b\n" * 5_000_000)
    return read_dataset(DatasetSpec(name="birds", layout="table", folder=str(folder)), folder)


@bomb
def a_csv_file_of_a_million_columns(folder: Path) -> object:
    (folder / "labels.csv").write_bytes(b"," * 1_000_000 + b"\n" + b"," * 1_000_000 + b"\n")
    return read_dataset(DatasetSpec(name="birds", layout="table", folder=str(folder)), folder)


# --- text -----------------------------------------------------------------------------------------------------------


def _doubling(levels: int) -> Iterator[str]:
    yield "l0: &l0 [x, x, x, x, x, x, x, x, x, x]"
    for level in range(1, levels):
        yield f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]"


@bomb
def aliases_in_the_options_of_a_dataset(folder: Path) -> object:
    options = "".join(f"  {line}\n" for line in _doubling(9))
    (folder / "birds.yaml").write_text(
        f"name: birds\nlayout: image_folder\nfolder: birds\noptions:\n{options}"
    )
    return dataset_spec(str(folder / "birds.yaml"))


@bomb
def yaml_nested_eight_hundred_deep(folder: Path) -> object:
    (folder / "study.yaml").write_text("name: " + "[" * 800 + "]" * 800)
    return load_study(folder / "study.yaml")


@bomb
def an_override_nested_eight_hundred_deep(folder: Path) -> object:
    return overrides_from(["training=" + "{a: " * 800])


@bomb
def a_study_of_a_megabyte_of_brackets(folder: Path) -> object:
    (folder / "study.yaml").write_text("name: [" + "[]," * 340_000)
    return load_study(folder / "study.yaml")


def _study(folder: Path, **fields: object) -> object:
    study = {
        "name": "tiny", "protocol": "base_to_new", "datasets": ["demo_shapes"], "methods": ["coop"],
        "supervisions": ["one_hot"], "backbone": {"model": "demo"}, **fields,
    }  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(study, default_flow_style=True))
    return build_graph(load_study(folder / "study.yaml"), Placement(home=folder / "home"))


@bomb
def a_study_of_a_hundred_thousand_seeds(folder: Path) -> object:
    return _study(folder, seeds=list(range(100_000)))


@bomb
def a_study_of_a_million_runs(folder: Path) -> object:
    return _study(folder, seeds=list(range(900)), shots=list(range(1, 900)))


@bomb
def a_split_file_of_sixty_megabytes_of_brackets(folder: Path) -> object:
    (folder / "split.json").write_text('{"train": [' + "[]," * 20_000_000 + '[]], "val": [], "test": []}')
    return read_dataset(
        DatasetSpec(name="birds", layout="coop_split", folder=str(folder), split_file="split.json"), folder
    )


@bomb
def a_split_file_with_a_label_of_a_billion(folder: Path) -> object:
    entries = {"train": [["a.png", 10**9, "a"]], "val": [], "test": [["b.png", 0, "b"]]}
    (folder / "split.json").write_text(json.dumps(entries))
    return read_dataset(
        DatasetSpec(name="birds", layout="coop_split", folder=str(folder), split_file="split.json"), folder
    )


# --- models ---------------------------------------------------------------------------------------------------------


def _model(folder: Path, **sizes: object) -> object:
    from atlas_core.backbone.config import BackboneConfig
    from atlas_core.backbone.load import load_backbone

    (folder / "clip.json").write_text(json.dumps(small_config(**sizes)))  # type: ignore[arg-type]
    (folder / "w.safetensors").write_bytes(bytes(4 << 20))
    return load_backbone(BackboneConfig(model=str(folder / "clip.json"), weights=folder / "w.safetensors"))


@bomb
def a_model_of_ten_million_layers(folder: Path) -> object:
    return _model(folder, vision_layers=10_000_000)


@bomb
def a_text_tower_of_three_thousand_layers(folder: Path) -> object:
    return _model(folder, text_layers=3000)


@bomb
def a_model_of_nine_billion_parameters(folder: Path) -> object:
    return _model(folder, text_width=2048, text_layers=90, vision_width=2048, vision_layers=90)


@bomb
def a_context_of_a_million_tokens(folder: Path) -> object:
    return _model(folder, text={"context_length": 1_000_000})


@bomb
def pickled_weights_that_unpack_to_a_gigabyte(folder: Path) -> object:
    from atlas_core.backbone.weights import read_state_dict

    with (
        zipfile.ZipFile(folder / "w.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("w/data.pkl", "w", force_zip64=True) as stream,
    ):
        for _ in range(1024):
            stream.write(bytes(1 << 20))
    return read_state_dict(folder / "w.pt")


@bomb
def a_safetensors_header_of_many_terabytes(folder: Path) -> object:
    from atlas_core.backbone.weights import read_state_dict

    (folder / "w.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + bytes(100))
    return read_state_dict(folder / "w.safetensors")
