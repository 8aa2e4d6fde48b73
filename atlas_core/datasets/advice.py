"""Commands that an error tells its reader to run, so that they work as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.placement import Placement


def datasets_command(verb: Literal["fetch", "verify"], spec: DatasetSpec, folder: Path) -> str:
    """`atlas datasets fetch dtd --root /data/coop`, in backticks.

    Args:
        folder: Where the dataset is (or should be); a data root other than the default is named.
    """
    return f"`atlas datasets {verb} {spec.known_as}{_root(spec, folder)}`"


def how_to_get(spec: DatasetSpec, folder: Path) -> str:
    """What brings a dataset's files: a command where the description says where they are from."""
    if spec.source is not None:
        return datasets_command("fetch", spec, folder)
    if spec.layout == "hf_parquet":
        return (
            "add `source: {parquet: PATH}` to its description, with the Parquet file or folder that its images are in, "
            "or name it in the study as hf_parquet:PATH"
        )
    return f"put its files into {folder}, or correct `folder` in its description"


def where_to_extract(spec: DatasetSpec, folder: Path) -> str:
    """What to do where images should be taken out of Parquet files into a folder that holds something else."""
    parquet = spec.source.parquet if spec.source else None
    if parquet is not None and _holds(folder, Path(parquet).expanduser()):
        return "give the description another `folder` for the images: this one holds the Parquet files"
    return f"move {folder} away, then {datasets_command('fetch', spec, folder)}"


def _holds(folder: Path, file: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(file.resolve())


def _root(spec: DatasetSpec, folder: Path) -> str:
    relative = Path(spec.folder).expanduser()
    if relative.is_absolute():
        return ""
    root = folder.absolute().parents[len(relative.parts) - 1]
    return "" if root == Placement().data_path else f" --root {shlex.quote(str(root))}"
