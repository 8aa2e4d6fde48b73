"""`atlas convergence | case-study`: studies of why soft labels help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from atlas_core.commands.options import DataOption, DeviceOption, HomeOption, StoreOption, placement_from
from atlas_core.datasets.catalogue import dataset_names, dataset_spec
from atlas_core.datasets.identity import study_datasets
from atlas_core.errors import AtlasError
from atlas_core.own_files import ANOTHER_OUTPUT, refuse_taken, written_to
from atlas_core.placement import Placement
from atlas_core.plan.records import recorded_studies
from atlas_core.store import Store
from atlas_core.use.commands import ModelOption, WeightsOption, open_with_backbone

err = Console(stderr=True, highlight=False)

_RUN_HELP = "A trained run of the store: its id, its name, or words that only its name has."
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=_RUN_HELP)]


def convergence(
    run: RunArgument,
    output: Annotated[Path, typer.Option("--output", help="Folder for rows and figure.")] = Path(
        "convergence"
    ),
    schedule: Annotated[
        list[str] | None, typer.Option("--schedule", help="A supervision to train with; may be repeated.")
    ] = None,
    every: Annotated[
        int, typer.Option("--every", min=1, help="Epochs from one measurement to the next.")
    ] = 5,
    model: ModelOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Repeat a CoOp run under several schedules and measure its gradients' variance, and κ, along the way."""
    # torch and matplotlib take seconds to import, which no other command should wait for.
    from atlas_core.analysis.convergence import ROW_FILES, SCHEDULES, measure_convergence, write_rows
    from atlas_core.analysis.convergence_figure import convergence_figure
    from atlas_core.results.figure_style import save_figure

    chosen, _, clip = open_with_backbone(run, model, weights, device, home, store)
    names = [*ROW_FILES, "convergence.svg", "convergence.png"]
    refuse_taken(output, names, fix=ANOTHER_OUTPUT)
    rows = measure_convergence(
        Store(placement_from(home, store, None).store_path),
        chosen,
        clip,
        schedules=tuple(schedule or SCHEDULES),
        every=every,
        on_schedule=lambda name: err.print(f"training with {name}"),
    )
    with written_to(output, fix=ANOTHER_OUTPUT) as folder:
        write_rows(rows, folder)
        save_figure(lambda: convergence_figure(rows.gradients), folder / "convergence")
    for name in names:
        typer.echo(output / name)


def case_study(
    run: RunArgument,
    image: Annotated[
        list[str] | None,
        typer.Option("--image", help="A training image's path in the dataset's folder; may be repeated."),
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="Images to choose where none is named.")] = 6,
    top: Annotated[int, typer.Option("--top", min=1, help="Bars for an image.")] = 5,
    output: Annotated[Path, typer.Option("--output", help="Folder for the figure.")] = Path("figures"),
    model: ModelOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
) -> None:
    """Draw training images of a run beside their class-wise and instance-wise soft labels."""
    import numpy as np

    from atlas_core.analysis.case_study import cases, choose_items
    from atlas_core.analysis.training_set import training_set
    from atlas_core.results.case_study import soft_label_figure
    from atlas_core.results.figure_style import save_figure

    chosen, _, clip = open_with_backbone(run, model, weights, device, home, store)
    if chosen.manifest is None:
        raise AtlasError(
            f"{run} is an exported folder", expected="a run of the store, with its training images"
        )
    placement = placement_from(home, store, data_root)
    artifacts = Store(placement.store_path)
    data = training_set(artifacts, chosen.manifest)
    folder = dataset_folder(artifacts, placement, str(chosen.config["dataset"]))
    shown = cases(data, clip, folder, image or choose_items(data, count))
    with written_to(output, fix=ANOTHER_OUTPUT) as passing:
        paths = save_figure(
            lambda: soft_label_figure(
                [each.picture for each in shown],
                [each.label for each in shown],
                data.names,
                np.stack([each.csl for each in shown]),
                np.stack([each.isl for each in shown]),
                top=top,
            ),
            passing / "case_study",
        )
    for path in paths:
        typer.echo(output / path.name)


def dataset_folder(store: Store, placement: Placement, name: str) -> Path:
    """Where a dataset's images are, from the studies that were run on the store, or the catalogue.

    Raises:
        AtlasError: Nothing there describes the dataset, or its folder is gone.
    """
    for study in recorded_studies(store):
        for spec in study_datasets(study.entries).values():
            if spec.name == name and spec.path(placement.data_path).is_dir():
                return spec.path(placement.data_path)
    if name in dataset_names() and (folder := dataset_spec(name).path(placement.data_path)).is_dir():
        return folder
    raise AtlasError(
        f"the images of dataset {name!r} were not found under {placement.data_path}",
        expected="the dataset's folder, which the run was trained from",
        fix="name its place with --data-root",
    )
