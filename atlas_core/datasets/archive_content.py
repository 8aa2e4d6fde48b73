"""Whether what came out of an archive is what the catalogue says, before it is put into the dataset's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atlas_core.budgets import LIST_BYTES
from atlas_core.datasets.catalogue import Archive, DatasetSpec
from atlas_core.datasets.download import mismatch
from atlas_core.datasets.paths import join
from atlas_core.documents import parse_json, read_text
from atlas_core.errors import AtlasError


def provided(archive: Archive) -> tuple[str, ...]:
    """Paths that tell whether an archive's content is there."""
    return archive.provides or (join(archive.extract_to, archive.name),)


def check_content(spec: DatasetSpec, archive: Archive, content: Path) -> None:
    """Check an archive's unpacked content; whole datasets are counted when they are read.

    A list (the split file, the class names) may come from inside a mirror's archive whose checksum is not known: the
    catalogue's checksum of the list itself decides then, or, where there is none, the published numbers.

    Args:
        content: Laid out as in the dataset's folder.

    Raises:
        AtlasError: Something that the archive provides is absent, a list is damaged or another one.
    """
    absent = [path for path in provided(archive) if not (content / path).exists()]
    if absent:
        raise AtlasError(f"{archive.name} does not hold {', '.join(absent)}")
    for path in provided(archive):
        if path == archive.name and (problem := mismatch(archive, content / path)):
            raise AtlasError(f"{path} is another file: {problem}")
        if path.endswith(".json"):
            _check_split(spec, path, _json(content / path))
    if archive.lines is not None:
        _check_lines(archive, content / archive.name)


def _json(path: Path) -> Any:
    try:
        return parse_json(read_text(path, LIST_BYTES), path.name)
    except ValueError as error:
        raise AtlasError(f"{path.name} is damaged: {error}") from error


def _check_split(spec: DatasetSpec, path: str, content: Any) -> None:
    if path != spec.split_file or not isinstance(content, dict):
        return
    differences = [
        f"{split}: {len(content[split])} here, {expected} published"
        for split, expected in spec.counts.items()
        if isinstance(content.get(split), list) and len(content[split]) != expected
    ]
    if differences:
        raise AtlasError(f"{path} is another split: {'; '.join(differences)}")


def _check_lines(archive: Archive, path: Path) -> None:
    try:
        found = sum(bool(line.strip()) for line in read_text(path, LIST_BYTES).splitlines())
    except UnicodeDecodeError as error:
        raise AtlasError(f"{archive.name} is damaged: {error}") from error
    if found != archive.lines:
        raise AtlasError(f"{archive.name} has {found} lines instead of {archive.lines}")
