"""Taking the images out of Parquet files, once, into an ordinary folder.

Understands Hugging Face `datasets` folders (an image column of {bytes, path}, class names in the schema's
metadata, the split in the file's or folder's name) and single files with a column of image bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atlas_core.budgets import ROWS, USUAL
from atlas_core.datasets.automatic_split import completed_split
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import Split
from atlas_core.datasets.paths import readable, walk
from atlas_core.datasets.readers.hf_parquet import INDEX_FILE
from atlas_core.datasets.readers.table import sorted_classes, split_named
from atlas_core.datasets.readers.table_file import check_cell, parquet_errors
from atlas_core.errors import AtlasError

_IMAGE, _LABEL, _NAME, _SPLIT = ("image", "img"), ("label", "labels", "class"), ("class_name",), ("split",)
_SPLIT_IN_NAME = re.compile(r"(?:^|[/_-])(train|training|val|valid|validation|test)(?:[/_.-]|$)")
_BATCH_ROWS = 16  # an image of run-length encoded bytes may be large in each of them
_MAGIC = {b"\xff\xd8": "jpg", b"\x89P": "png", b"GI": "gif", b"BM": "bmp", b"RI": "webp", b"II": "tif"}


def extraction_key(spec: DatasetSpec, source: Path) -> dict[str, Any]:
    """What an extraction depends on: each Parquet file's name, size and modification time, and the options."""
    files = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in parquet_files(source)]
    plain: dict[str, Any] = json.loads(json.dumps({"files": files, "options": spec.options}))
    return plain


def parquet_files(source: Path) -> list[Path]:
    """The file itself, or all Parquet files below a folder, sorted.

    Raises:
        AtlasError: There are none.
    """
    with readable(f"{source}"):
        files = [source] if source.is_file() else sorted(_parquet_below(source))
    if not files:
        raise AtlasError(f"{source} holds no Parquet files", expected="a .parquet file or a folder of them")
    return files


def _parquet_below(folder: Path) -> Iterator[Path]:
    return (folder / path for path, _ in walk(folder) if path.endswith(".parquet"))


def extract_images(spec: DatasetSpec, source: Path, folder: Path) -> None:
    """Write each row's image bytes, unchanged, below `folder`, and the index beside them.

    Args:
        spec: Options: `columns`, a mapping of image, label, class_name and split to column names; `seed`
            and `fractions` of the automatic split.
        source: Parquet file or folder.
        folder: New folder.

    Raises:
        AtlasError: A damaged file, no image or label column, a row without image bytes, labels that do not fit,
            or a bound passed: run-length encoding makes two billion rows of a few bytes.
    """
    paths: list[str] = []
    labels: list[Any] = []
    splits: list[Split | None] = []
    names: dict[Any, str] = {}
    files = parquet_files(source)
    account = USUAL.account(str(source), sum(file.stat().st_size for file in files))
    for file in files:
        declared = _declared_names(file)
        for value, name, split, data in _rows(spec, file, source):
            shown = name if name is not None else _declared_name(declared, value, file)
            if names.setdefault(value, shown) != shown:
                raise AtlasError(f"{file}: label {value!r} is both {names[value]!r} and {shown!r}")
            path = f"images/{split or 'all'}/{len(paths):08d}.{_ending(data, file)}"
            account.member()
            account.add(len(data))
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
            paths.append(path)
            labels.append(value)
            splits.append(split)
        if declared:
            names = {**dict(enumerate(declared)), **names}
    final = completed_split(splits, labels, spec.options)
    order = sorted_classes(names)
    label_of = {value: label for label, value in enumerate(order)}
    index = {
        "made_from": extraction_key(spec, source),
        "class_names": [names[value] for value in order],
        "items": [[p, label_of[v], s] for p, v, s in zip(paths, labels, final, strict=True)],
    }
    (folder / INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")


def _rows(
    spec: DatasetSpec, file: Path, source: Path
) -> Iterator[tuple[Any, str | None, Split | None, bytes]]:
    """(label, class name, split, image bytes) of each row."""
    import pyarrow.parquet as pq

    with parquet_errors(file), pq.ParquetFile(file) as parquet:
        ROWS.check(parquet.metadata.num_rows, str(file))
        columns = _columns(spec, file, parquet.schema_arrow.names)
        relative = file.name if source == file else file.relative_to(source).as_posix()
        in_name = None if "split" in columns else _SPLIT_IN_NAME.search(relative)
        row = 0
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns.values())):
            for values in batch.to_pylist():
                image = values[columns["image"]]
                data = image.get("bytes") if isinstance(image, Mapping) else image
                if not isinstance(data, bytes) or not data:
                    raise AtlasError(
                        f"{file}, row {row}: no image bytes",
                        expected="images stored in the Parquet file itself",
                    )
                value = check_cell(values[columns["label"]], f"{file}, row {row}")
                name = check_cell(values.get(columns.get("class_name", "")), f"{file}, row {row}")
                if value is None:
                    raise AtlasError(f"{file}, row {row}: no label")
                text = values[columns["split"]] if "split" in columns else in_name and in_name.group(1)
                yield (
                    value,
                    None if name is None else str(name),
                    split_named(text, file) if text else None,
                    data,
                )
                row += 1


def _columns(spec: DatasetSpec, file: Path, names: list[str]) -> dict[str, str]:
    given: Any = spec.options.get("columns", {})
    if not isinstance(given, Mapping):
        raise AtlasError(f"options.columns = {given!r}", expected="a mapping of image and label to columns")
    usual = {"image": _IMAGE, "label": _LABEL, "class_name": _NAME, "split": _SPLIT}
    chosen = {}
    for role, candidates in usual.items():
        wanted = (str(given[role]),) if role in given else candidates
        found = next((name for name in wanted if name in names), None)
        if found is not None:
            chosen[role] = found
        elif role in given or role in ("image", "label"):
            raise AtlasError(
                f"{file} has no column for the {role}",
                expected=f"one of {', '.join(wanted)}; it has {', '.join(names)}",
                fix="name it under options.columns",
            )
    return chosen


def _declared_names(file: Path) -> list[str]:
    """Class names of the first ClassLabel in the metadata that Hugging Face `datasets` writes."""
    import pyarrow.parquet as pq

    with parquet_errors(file):
        metadata = pq.read_schema(file).metadata or {}
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        for feature in features.values():
            if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel":
                return [str(name) for name in feature["names"]]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return []  # metadata of another form than `datasets` writes declares nothing
    return []


def _declared_name(declared: list[str], value: Any, file: Path) -> str:
    if not declared:
        return str(value)
    if not isinstance(value, int) or not 0 <= value < len(declared):
        raise AtlasError(f"{file}: label {value!r}", expected=f"0 to {len(declared) - 1}, as declared there")
    return declared[value]


def _ending(data: bytes, file: Path) -> str:
    if data[:2] not in _MAGIC:
        raise AtlasError(f"{file} holds bytes that are no image of a known format: {data[:8]!r}…")
    return _MAGIC[data[:2]]
