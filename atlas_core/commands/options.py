"""Options that several commands share, and how they become a study and a placement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from atlas_core.config import StudyConfig
from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.presets import load_studies, study_title

StudyArgument = Annotated[
    str,
    typer.Argument(
        help="A preset (base-to-new-demo), a protocol (base-to-new, with --preset), or a YAML file."
    ),
]
PresetOption = Annotated[str, typer.Option("--preset", help="demo, quick or paper; with a protocol's name.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override a field of the study, as YAML: --set seeds=[1,2] --set training.epochs=20"
    ),
]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="Folder of artifacts (default: HOME/store).")
]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder for the store and fetched data (default: $ATLAS_HOME or the cache)."),
]
DataOption = Annotated[
    Path | None, typer.Option("--data-root", help="Folder of datasets (default: HOME/data).")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Processes that train at once; 0: this one. Default: every core."),
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask",
        help="Train on a Dask cluster: its scheduler's address, or 'local' for --workers processes here.",
    ),
]
StackOption = Annotated[
    str | None,
    typer.Option(
        "--stack",
        help="Runs that differ in seed or supervision alone and train in one batch: 'auto', or at most so many "
        "(1: each alone).",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, …")]
StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="Make everything that is odd about the data an error."),
]
LogFileOption = Annotated[
    Path | None,
    typer.Option(
        "--log-file", envvar="ATLAS_LOG_FILE", help="Append what happens to this file, as JSON lines."
    ),
]


def placement_from(
    home: Path | None,
    store: Path | None,
    data_root: Path | None,
    workers: int | None = None,
    device: str = "auto",
    dask: str | None = None,
    stack: str | None = None,
    strict: bool = False,
) -> Placement:
    """A placement from command-line options; absent ones keep their defaults.

    Raises:
        AtlasError: `stack` is neither "auto" nor a number from 1 on.
    """
    if stack is not None and stack != "auto" and not (stack.isdecimal() and int(stack) > 0):
        raise AtlasError(f"--stack {stack!r}", expected="'auto', or a number of runs from 1 on")
    given: dict[str, Any] = {
        "home": home,
        "store": store,
        "data_root": data_root,
        "workers": workers,
        "device": device,
        "dask": dask,
        "strict": strict,
        "stack": int(stack) if stack is not None and stack != "auto" else stack,
    }
    return Placement(**{name: value for name, value in given.items() if value is not None})


def studies_from(study: str, preset: str, assignments: list[str] | None) -> list[StudyConfig]:
    """The studies that a command was asked for (several for a benchmark).

    Raises:
        AtlasError: No such study, or an override that does not fit.
    """
    return load_studies(study_title(study, preset), overrides_from(assignments or []))


def overrides_from(assignments: list[str]) -> dict[str, Any]:
    """`["seeds=[1,2]", "training.epochs=20"]` as nested overrides; values are YAML.

    Raises:
        AtlasError: An assignment without "=" or with a value that is no YAML.
    """
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        if not equals or not field:
            raise AtlasError(
                f"--set {assignment!r}", expected="FIELD=VALUE with a YAML value, such as seeds=[1,2]"
            )
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise AtlasError(
                f"--set {assignment!r} has a value that is no YAML: {error}",
                expected="a YAML value, such as seeds=[1,2]",
            ) from error
        target = overrides
        *parents, last = field.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise AtlasError(
                    f"--set {assignment!r}: {parent} was set to {target!r}", expected="a mapping"
                )
        target[last] = value
    return overrides
