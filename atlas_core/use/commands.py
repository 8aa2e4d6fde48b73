"""`atlas predict | export | compare`: what was learned, put to use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from atlas_core.commands.options import DeviceOption, HomeOption, StoreOption, placement_from
from atlas_core.errors import AtlasError
from atlas_core.registry import unknown_name
from atlas_core.store import Store

if TYPE_CHECKING:
    from atlas_core.backbone.clip import FrozenClip
    from atlas_core.backbone.config import BackboneConfig
    from atlas_core.use.runs import FinishedRun

_RUN_HELP = "A run's id, its name, words that only its name has, or an exported folder."
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=_RUN_HELP)]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="The backbone's name or model-config JSON, where it is not found."),
]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", help="The backbone's weights file, where it is not found.")
]


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    run: Annotated[str, typer.Option("--run", help=_RUN_HELP)],
    classes: Annotated[
        Path | None, typer.Option("--classes", help="Other class names than the run's: a file, one a line.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Classes an image.")] = 5,
    format: Annotated[str, typer.Option("--format", help="table, json or csv")] = "table",
    model: ModelOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Classify images with a trained run: the most probable classes and their probabilities."""
    # torch takes seconds to import, which no other command should wait for.
    from atlas_core.use.predict import PredictionFormat, predict_images, read_images, render_predictions
    from atlas_core.use.trained import load_trained, read_class_names

    if format not in get_args(PredictionFormat):
        raise unknown_name("format", format, get_args(PredictionFormat))
    names = read_class_names(classes) if classes is not None else None
    chosen, _, clip = open_with_backbone(run, model, weights, device, home, store)
    # Damaged images are found before the method is built, which takes longer.
    views = read_images(images, clip.image_size)
    predictions = predict_images(load_trained(chosen, clip, names), clip, images, views, top=top)
    text = render_predictions(predictions, cast(PredictionFormat, format))
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def export(
    run: RunArgument,
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    model: ModelOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Write a run as a small folder: prompts, class features, configuration, model card, open_clip loader."""
    from atlas_core.use.export import export_run
    from atlas_core.use.runs import evaluation_metrics
    from atlas_core.use.trained import load_trained

    chosen, backbone, clip = open_with_backbone(run, model, weights, device, home, store)
    artifacts = Store(placement_from(home, store, None).store_path)
    metrics: list[dict[str, Any]] = []
    if chosen.manifest is not None:
        metrics = evaluation_metrics(artifacts, chosen.manifest)
    for name in export_run(chosen, load_trained(chosen, clip), clip, backbone, folder, metrics):
        typer.echo(folder / name)


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A run, or a study that was run.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another run or study.")],
    most: Annotated[int, typer.Option("--most", min=1, help="Classes and images to list.")] = 10,
    format: Annotated[str, typer.Option("--format", help="table or json")] = "table",
    home: HomeOption = None,
    store: StoreOption = None,
) -> None:
    """Compare two runs or two studies: settings, metrics, classes, and the images they disagree on."""
    from atlas_core.use.compare import compare_names
    from atlas_core.use.comparison_text import comparison_json, comparison_text

    if format not in ("table", "json"):
        raise unknown_name("format", format, ("table", "json"))
    found = compare_names(Store(placement_from(home, store, None).store_path), first, second)
    typer.echo(comparison_json(found) if format == "json" else comparison_text(found, most))


def open_with_backbone(
    run: str, model: str | None, weights: Path | None, device: str, home: Path | None, store: Path | None
) -> tuple[FinishedRun, BackboneConfig, FrozenClip]:
    """A run that a command names, the backbone that it was trained on, and that model loaded."""
    from atlas_core.backbone.load import load_backbone
    from atlas_core.use.runs import backbone_of, open_run

    if weights is not None and not weights.is_file():
        raise AtlasError(f"the weights file {weights} is missing", expected="a file", fix="correct --weights")
    artifacts = Store(placement_from(home, store, None).store_path)
    chosen = open_run(artifacts, run)
    backbone = backbone_of(chosen, artifacts, model=model, weights=weights)
    return chosen, backbone, load_backbone(backbone, device)
