"""Taking the images out of Parquet files, once, into an ordinary folder.

Understands Hugging Face `datasets` folders (an image column of {bytes, path}, class names in the schema's metadata)
and single files with a column of image bytes; which columns and files are which is in `parquet_layout`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atlas_core.datasets.automatic_split import completed_split, split_reason
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.class_names import sorted_classes
from atlas_core.datasets.items import Split
from atlas_core.datasets.parquet_layout import chosen_columns, declared_names, files_with_splits
from atlas_core.datasets.readers.base import check_options
from atlas_core.datasets.readers.hf_parquet import INDEX_FILE
from atlas_core.datasets.table_file import split_named
from atlas_core.errors import AtlasError

_OPTIONS = ("columns", "configuration", "class_names", "fractions", "seed")
_BATCH_ROWS = 256
_MAGIC = {
    b"\xff\xd8": "jpg",
    b"\x89PNG": "png",
    b"GIF": "gif",
    b"BM": "bmp",
    b"RIFF": "webp",
    b"II": "tif",
    b"MM": "tif",
    b"\xff\x4f\xff\x51": "j2k",
    b"P5": "pgm",
    b"P6": "ppm",
}
_BOXED = {b"ftypavif": "avif", b"ftypavis": "avif", b"jP  \r\n\x87\n": "jp2"}
# Raised where the same files are understood otherwise than before: what lies in the data root is then made anew.
_READING = 2


def extraction_key(spec: DatasetSpec, source: Path) -> dict[str, Any]:
    """What an extraction depends on: each Parquet file's name, size and modification time, and the options."""
    files = [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in parquet_files(source)]
    made_from = {"files": files, "options": spec.options, "reading": _READING}
    plain: dict[str, Any] = json.loads(json.dumps(made_from))
    return plain


def is_taken_out(spec: DatasetSpec, folder: Path) -> bool:
    """Whether `folder` has the images that the dataset's Parquet files hold now; yes for a dataset without such."""
    if spec.source is None or spec.source.parquet is None:
        return True
    try:
        made_from = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))["made_from"]
    except (OSError, ValueError, KeyError):
        return False
    source = Path(spec.source.parquet).expanduser()
    return not source.exists() or bool(made_from == extraction_key(spec, source))


def parquet_files(source: Path) -> list[Path]:
    """The file itself, or all Parquet files below a folder, sorted.

    Raises:
        AtlasError: There are none.
    """
    files = [source] if source.is_file() else sorted(source.rglob("*.parquet"))
    if not files:
        raise AtlasError(f"{source} holds no Parquet files", expected="a .parquet file or a folder of them")
    return files


def extract_images(spec: DatasetSpec, source: Path, folder: Path) -> None:
    """Write each row's image bytes, unchanged, below `folder`, and the index beside them.

    Args:
        spec: Options: `columns`, a mapping of image, label, class_name and split to column names; `configuration`,
            the folder of one of several versions; `class_names`; `seed` and `fractions` of the automatic split.
        source: Parquet file or folder.
        folder: New folder.

    Raises:
        AtlasError: No image or label column, a row without image bytes, or labels that do not fit.
    """
    import pyarrow as pa

    try:
        _extract_images(spec, source, folder)
    except pa.ArrowException as error:
        raise AtlasError(f"{source} cannot be read: {error}", expected="Parquet files") from error


def _extract_images(spec: DatasetSpec, source: Path, folder: Path) -> None:
    paths: list[str] = []
    labels: list[Any] = []
    splits: list[Split | None] = []
    names: dict[Any, str] = {}
    declared: list[str] = []
    check_options(spec, _OPTIONS)
    chosen: dict[str, str] = {}
    for file, in_name in files_with_splits(spec, source, parquet_files(source)):
        chosen = chosen_columns(spec, file)
        declared = declared_names(file, chosen["label"])
        for value, name, split, data in _rows(file, chosen, in_name):
            shown = name if name is not None else _declared_name(declared, value, file)
            if names.setdefault(value, shown) != shown:
                raise AtlasError(f"{file}: label {value!r} is both {names[value]!r} and {shown!r}")
            path = f"images/{split or 'all'}/{len(paths):08d}.{_ending(data, file)}"
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
        "why": _why(chosen, declared, splits, spec),
        "class_names": [names[value] for value in order],
        "items": [[p, label_of[v], s] for p, v, s in zip(paths, labels, final, strict=True)],
    }
    (folder / INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")


def _why(
    chosen: Mapping[str, str], declared: list[str], splits: list[Split | None], spec: DatasetSpec
) -> str:
    columns = ", ".join(f"{role} from column {name!r}" for role, name in chosen.items())
    if "class_name" in chosen:
        named = "names from their column"
    else:
        named = (
            f"names declared for column {chosen['label']!r}" if declared else "the labels are their own names"
        )
    return f"{columns}; {named}; {split_reason(set(splits), spec.options)}"


def _rows(
    file: Path, columns: Mapping[str, str], in_name: Split | None
) -> Iterator[tuple[Any, str | None, Split | None, bytes]]:
    """(label, class name, split, image bytes) of each row."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
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
                value = values[columns["label"]]
                name = values.get(columns.get("class_name", ""))
                if value is None:
                    raise AtlasError(f"{file}, row {row}: no label")
                if not isinstance(value, (str, int, float)):
                    raise AtlasError(
                        f"{file}, row {row}: label {value!r} is no class",
                        expected="one class an image",
                        fix="name another column: options.columns: {label: COLUMN}",
                    )
                split = split_named(values[columns["split"]], file) if "split" in columns else in_name
                yield value, name, split, data
                row += 1


def _declared_name(declared: list[str], value: Any, file: Path) -> str:
    if not declared:
        return str(value)
    if not isinstance(value, int) or not 0 <= value < len(declared):
        raise AtlasError(f"{file}: label {value!r}", expected=f"0 to {len(declared) - 1}, as declared there")
    return declared[value]


def _ending(data: bytes, file: Path) -> str:
    found = next((ending for mark, ending in _MAGIC.items() if data.startswith(mark)), _BOXED.get(data[4:12]))
    if found is None:
        raise AtlasError(f"{file} holds bytes that are no image of a known format: {data[:8]!r}…")
    return found
