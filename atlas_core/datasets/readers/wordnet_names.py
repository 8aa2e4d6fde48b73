"""`classnames.txt`: ImageNet's class names by WordNet id (protocol 2.3)."""

from __future__ import annotations

from pathlib import Path

from atlas_core.datasets.advice import how_to_get
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.errors import AtlasError

_FILE = "classnames.txt"


def class_names_file(folder: Path) -> Path | None:
    """The `classnames.txt` of a dataset's folder, or of ImageNet's beside it; None where there is none."""
    return next((place for place in _places(folder) if place.is_file()), None)


def _places(folder: Path) -> list[Path]:
    return [folder / _FILE, folder.parent / "imagenet" / _FILE]


def read_wordnet_names(spec: DatasetSpec, folder: Path) -> dict[str, str]:
    """WNID → class name, in the file's order, which must be the sorted one.

    A variant's folder needs no copy of its own when ImageNet's folder lies beside it.

    Raises:
        AtlasError: The file is missing or not a list of `WNID name` lines in sorted order.
    """
    places = _places(folder)
    path = class_names_file(folder)
    if path is None:
        raise AtlasError(
            f"dataset {spec.name!r} has no {_FILE}",
            expected=" or ".join(map(str, places)),
            fix=how_to_get(spec, folder),
        )
    names: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        wnid, _, name = line.strip().partition(" ")
        if not name or wnid in names:
            raise AtlasError(
                f"{path}, line {number}: {line!r}", expected="one `WNID class name` a line, once"
            )
        names[wnid] = name.strip()
    # ImageNetV2's folder numbers are line numbers, so another order would silently mix up the classes.
    if list(names) != sorted(names):
        raise AtlasError(f"{path} is not sorted", expected="lines in the order of their WNID")
    return names
