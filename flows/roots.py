"""Which folders a deployment run may name: those that the operator of its worker allows.

Whoever reaches Prefect's API chooses the parameters of a run, and the worker opens what they name with its own rights.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from atlas_core.config import StudyConfig
from atlas_core.datasets.catalogue import dataset_path, dataset_spec
from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.resources import data_path, expanded

# Folders of the worker's environment, separated as in $PATH; without it every path is allowed.
ALLOWED_ROOTS = "ATLAS_ALLOWED_ROOTS"


def check_path(path: str | Path, what: str, more: Iterable[Path] = ()) -> None:
    """Refuse a path from a run's parameters that leads out of the allowed folders, through links or not.

    Args:
        what: Names the parameter in the error.
        more: Folders that are allowed as well, because the operator chose them.

    Raises:
        AtlasError: It leads elsewhere.
    """
    given = os.environ.get(ALLOWED_ROOTS)
    if given is None:
        return
    roots = [expanded(part) for part in given.split(os.pathsep) if part]
    # Resolved as the worker will open it, so a link or `..` hides nothing.
    place = _resolved(expanded(path))
    if not any(place.is_relative_to(_resolved(root)) for root in (*roots, *more)):
        raise AtlasError(
            f"{what} {str(path)!r} is not below a folder that this worker's operator allows",
            expected=f"a path below {', '.join(map(str, roots)) or 'none: no path may be given'}",
            fix=f"choose one there, or have the worker started with another {ALLOWED_ROOTS}",
        )


def check_dataset(name: str) -> None:
    """`check_path` of what a dataset's name says, before any file is opened for it."""
    if (path := dataset_path(name)) is not None:
        check_path(path, "dataset")


def check_placement(placement: Placement) -> None:
    """`check_path` of the folders that a placement gives; those left out are the operator's own."""
    for name in ("home", "store", "data_root"):
        if name in placement.model_fields_set and (path := getattr(placement, name)) is not None:
            check_path(path, f"placement.{name}")


def check_study(study: StudyConfig, placement: Placement) -> None:
    """`check_path` of every path of a study: datasets and what they are read from, backbone, sentences.

    Raises:
        AtlasError: One leads out of the allowed folders.
    """
    check_placement(placement)
    own = (placement.data_path, data_path())
    for what, path in _paths(study, placement):
        check_path(path, what, own)


def _paths(study: StudyConfig, placement: Placement) -> Iterator[tuple[str, Path]]:
    if study.backbone.weights is not None:
        yield "backbone.weights", study.backbone.weights
    if study.backbone.model.endswith(".json"):
        yield "backbone.model", Path(study.backbone.model)
    for method in study.methods:
        if file := method.options.get("sentences_file"):
            yield f"sentences_file of {method.name}", Path(str(file))
    for name in study.entries:
        if (described := dataset_path(name)) is None:
            continue  # the operator's catalogue
        yield "dataset", described
        spec = dataset_spec(name)
        yield f"folder of dataset {spec.name!r}:", spec.path(placement.data_path)
        if spec.source is not None and spec.source.parquet is not None:
            yield f"source.parquet of dataset {spec.name!r}:", expanded(spec.source.parquet)


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))
