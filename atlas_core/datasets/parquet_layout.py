"""Which columns of Parquet files are image, label, class name and split, and which split a file is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import Split
from atlas_core.datasets.reading import two_readings
from atlas_core.datasets.split_words import split_in_file_name, split_word
from atlas_core.errors import AtlasError

_USUAL: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "img"),
    "label": ("label", "labels", "class"),
    "class_name": ("class_name",),
    "split": ("split",),
}
# The type that Hugging Face `datasets` declares for a column of each role.
_DECLARED_AS = {"image": "Image", "label": "ClassLabel"}


def chosen_columns(spec: DatasetSpec, file: Path) -> dict[str, str]:
    """Role → column of a file: as `options.columns` says, of a usual name, or the only one declared to be that.

    Raises:
        AtlasError: There is no column, or there are several, for the image or the label.
    """
    import pyarrow.parquet as pq

    names = pq.read_schema(file).names
    given: Any = spec.options.get("columns", {})
    if not isinstance(given, Mapping) or set(given) - set(_USUAL):
        raise AtlasError(
            f"options.columns = {given!r}", expected=f"a mapping of {', '.join(_USUAL)} to columns"
        )
    chosen = {}
    for role, usual in _USUAL.items():
        wanted = (str(given[role]),) if role in given else usual
        found = [name for name in wanted if name in names]
        if not found and role in _DECLARED_AS and role not in given:
            declared = [
                name for name, feature in _features(file).items() if _is_a(feature, _DECLARED_AS[role])
            ]
            found = [name for name in declared if name in names]
        if len(found) > 1:
            options = [(f"options.columns: {{{role}: {name}}}", f"the {role}s of {name!r}") for name in found]
            raise two_readings(
                f"{file}: which column is the {role}", options, "choose one in a description of the dataset"
            )
        if found:
            chosen[role] = found[0]
        elif role in given or role in _DECLARED_AS:
            raise AtlasError(
                f"{file} has no column for the {role}",
                expected=f"one of {', '.join(wanted)}; it has {', '.join(names)}",
                fix=f"name it in a description of the dataset: options.columns: {{{role}: COLUMN}}",
            )
    return chosen


def declared_names(file: Path, column: str) -> list[str]:
    """Class names that the file's metadata declares for that very column; empty where it declares none."""
    feature = _features(file).get(column, {})
    return [str(name) for name in feature.get("names", ())] if _is_a(feature, "ClassLabel") else []


def files_with_splits(
    spec: DatasetSpec, source: Path, files: Sequence[Path]
) -> list[tuple[Path, Split | None]]:
    """Each file and its split, of the one version of the dataset that is wanted.

    A split stands in the file's name (`train-00000-of-00001.parquet`), else it is the name of a folder inside the
    dataset (`train/0.parquet`). What is above the dataset's own folder says nothing.

    Raises:
        AtlasError: A file's name holds two splits, or several folders hold a version of the dataset each.
    """
    relative = [PurePosixPath(file.relative_to(source) if file != source else file.name) for file in files]
    splits = [_split_of(path) for path in relative]
    versions = ["/".join(part for part in path.parts[:-1] if split_word(part) is None) for path in relative]
    wanted = spec.options.get("configuration")
    if wanted == "all" or len(set(versions)) == 1:
        return list(zip(files, splits, strict=True))
    if wanted is not None:
        chosen = [k for k, version in enumerate(versions) if version == wanted]
        if not chosen:
            raise AtlasError(
                f"dataset {spec.name!r}: options.configuration = {wanted!r}",
                expected=f"all, or one of the folders {', '.join(sorted(set(versions)))}",
            )
        return [(files[k], splits[k]) for k in chosen]
    of_split = {
        split: {v for v, s in zip(versions, splits, strict=True) if s == split} for split in set(splits)
    }
    if any(len(found) > 1 for found in of_split.values()):
        readings = [
            (f"options.configuration: {version or '.'}", f"the files in {version or 'the folder itself'}")
            for version in sorted(set(versions))
            if version
        ]
        readings.append(("options.configuration: all", "all of them together"))
        fix = f"choose one in a description, or name its folder: hf_parquet:{source / max(versions)}"
        raise two_readings(f"dataset {spec.name!r}: what the folders in {source} mean", readings, fix)
    return list(zip(files, splits, strict=True))


def _split_of(path: PurePosixPath) -> Split | None:
    in_name = split_in_file_name(path.stem)
    if len(in_name) > 1:
        raise AtlasError(
            f"the name of {path} holds {len(in_name)} splits",
            expected=f"one of {', '.join(sorted(in_name))}",
            fix="rename the file, or give its rows a column `split`",
        )
    if in_name:
        return in_name.pop()
    return next((split for part in reversed(path.parts[:-1]) if (split := split_word(part))), None)


def _features(file: Path) -> Mapping[str, Any]:
    """What Hugging Face `datasets` writes into the metadata about each column."""
    import pyarrow.parquet as pq

    metadata = pq.read_schema(file).metadata or {}
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _is_a(feature: Any, kind: str) -> bool:
    return isinstance(feature, Mapping) and feature.get("_type") == kind
