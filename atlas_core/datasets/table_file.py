"""The columns of a table in a file: CSV with any usual separator, TSV, JSON lines or Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.class_names import is_number
from atlas_core.datasets.items import Split
from atlas_core.datasets.reading import two_readings
from atlas_core.datasets.split_words import SPLIT_WORDS, split_word
from atlas_core.errors import AtlasError

Columns = Mapping[str, list[Any]]

USUAL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": (
        "path",
        "image",
        "image_path",
        "img",
        "img_path",
        "image_name",
        "file",
        "file_path",
        "filepath",
        "filename",
        "file_name",
    ),
    "class": (
        "class",
        "class_name",
        "classname",
        "label",
        "labels",
        "label_name",
        "category",
        "category_name",
    ),
    "split": ("split",),
}
_SEPARATORS = (",", ";", "\t", "|")


def read_columns(spec: DatasetSpec, path: Path) -> Columns:
    """Column → its cells, in the order of the rows.

    Raises:
        AtlasError: The file cannot be read, has no header, or rows of different lengths.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return _parquet_columns(path)
        text = _text(path)
        if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
            return _json_columns(path, text)
        return _text_columns(spec, path, text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AtlasError(
            f"{path} cannot be read: {error}",
            expected="a table as UTF-8 text",
            fix="save it as CSV with UTF-8 (a spreadsheet's own format is no text)",
        ) from error


def choose_columns(spec: DatasetSpec, path: Path, columns: Columns) -> dict[str, str]:
    """Role (path, class, split) → column: as `options.columns` says, else the one of a usual name, in any case.

    Of several class columns that cut the images into the same classes (a number and a name, often), the one with
    names is taken.

    Raises:
        AtlasError: There is no column for the path or the class, or several that differ.
    """
    given = given_columns(spec)
    chosen = {}
    for role, found in _candidates(given, columns).items():
        if role == "class" and len(found) > 1:
            found = _same_classes(columns, found)
        if len(found) > 1 and all(columns[name] == columns[found[0]] for name in found):
            found = found[:1]
        if len(found) > 1:
            readings = [(f"options.columns: {{{role}: {name}}}", f"column {name!r}") for name in found]
            raise two_readings(f"{path}: the {role}", readings, "choose one in a description of the dataset")
        if found:
            chosen[role] = found[0]
        elif role in given or role != "split":
            wanted = [str(given[role])] if role in given else list(USUAL_COLUMNS[role])
            raise AtlasError(
                f"{path} has no column for the {role}",
                expected=f"one of {', '.join(wanted)}; it has {', '.join(columns)}",
                fix=_without_column(path, role, columns),
            )
    return chosen


def check_classes(path: Path, column: str, classes: list[Any]) -> None:
    """Refuse cells that name no class: empty ones, and lists or mappings."""
    if any(value is None or value != value or str(value).strip() == "" for value in classes):
        raise AtlasError(f"{path}: a row of column {column!r} is empty", expected="a class for each image")
    if any(isinstance(value, (list, dict)) for value in classes):
        raise AtlasError(
            f"{path}: column {column!r} holds lists or mappings",
            expected="one class for each image",
            fix="name another column in a description: options.columns: {class: COLUMN}",
        )


def split_named(value: Any, path: Path) -> Split:
    """The split that a cell means.

    Raises:
        AtlasError: It is none of the usual words.
    """
    split = split_word(str(value))
    if split is None:
        raise AtlasError(f"{path}: split {value!r}", expected=f"one of {', '.join(SPLIT_WORDS)}")
    return split


def has_roles(spec: DatasetSpec, columns: Columns, roles: Iterable[str]) -> bool:
    """Whether there are columns for these roles."""
    found = _candidates(given_columns(spec), columns)
    return all(found[role] for role in roles)


def given_columns(spec: DatasetSpec) -> Mapping[str, str]:
    """`options.columns`.

    Raises:
        AtlasError: It is no mapping of roles.
    """
    given: Any = spec.options.get("columns", {})
    if not isinstance(given, Mapping) or set(given) - set(USUAL_COLUMNS):
        raise AtlasError(
            f"options.columns = {given!r}", expected="a mapping of path, class, split to columns"
        )
    return given


def _candidates(given: Mapping[str, str], names: Iterable[str]) -> dict[str, list[str]]:
    """Role → the columns that may be it, those of the more usual names first."""
    listed = list(names)
    found = {}
    for role, usual in USUAL_COLUMNS.items():
        if role in given and str(given[role]) in listed:
            found[role] = [str(given[role])]
            continue
        wanted = (_plain(str(given[role])),) if role in given else usual
        found[role] = [name for each in wanted for name in listed if _plain(name) == each]
    return found


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _same_classes(columns: Columns, found: Sequence[str]) -> list[str]:
    """One column of several that cut the rows alike: the first with words; all of them where they differ."""
    first = columns[found[0]]
    for name in found[1:]:
        pairs = set(zip(map(str, first), map(str, columns[name]), strict=True))
        if not len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs}):
            return list(found)
    return [min(found, key=lambda name: all(is_number(str(value)) for value in columns[name]))]


def _without_column(path: Path, role: str, columns: Columns) -> str:
    cells = list(columns)
    parts = [part for cell in cells for part in cell.split()]
    if any("/" in part or Path(part).suffix for part in parts):
        return (
            f"{path.name} seems to begin with an image: give it a first line with names, such as path,class"
        )
    return f"name it in a description of the dataset: options.columns: {{{role}: COLUMN}}"


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def _parquet_columns(path: Path) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise AtlasError(f"{path} cannot be read: {error}", expected="a Parquet file") from error
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _json_columns(path: Path, text: str) -> Columns:
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise AtlasError(f"{path} cannot be read: {error}", expected="one JSON object a line") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise AtlasError(f"{path} holds no rows", expected='one JSON object a line: {"file_name": …}')
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _text_columns(spec: DatasetSpec, path: Path, text: str) -> Columns:
    lines = text.splitlines()
    if not lines:
        raise AtlasError(f"{path} is empty", expected="a header line and a line an image")
    separator = _separator(spec, path, lines[0])
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    header = [name.strip() for name in rows[0]]
    uneven = next((n for n, row in enumerate(rows, start=1) if row and len(row) != len(header)), None)
    if uneven:
        raise AtlasError(
            f"{path}, line {uneven} has another number of columns than the header",
            expected=f"{len(header)} columns, with quotes around values that hold a {separator!r}",
            fix="correct that line",
        )
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise AtlasError(
            f"{path} has two columns called {twice[0]!r}", expected="a name of its own for each column"
        )
    body = [row for row in rows[1:] if row]
    return {name: [row[i] for row in body] for i, name in enumerate(header)}


def _separator(spec: DatasetSpec, path: Path, header: str) -> str:
    """The separator with which the header has the columns that are needed, else that which gives most columns."""
    given = given_columns(spec)

    def fits(separator: str) -> tuple[int, int, bool]:
        names = next(csv.reader([header], delimiter=separator), [])
        found = _candidates(given, names)
        usual = "\t" if path.suffix.lower() == ".tsv" else ","
        return sum(bool(each) for each in found.values()), len(names), separator == usual

    return max(_SEPARATORS, key=fits)
