"""image_features: the frozen image tower on test images, or on augmented views of few-shot training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from atlas_core.backbone.load import load_backbone
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.features.cache import write_features
from atlas_core.features.extract import extract_features
from atlas_core.placement import Placement
from atlas_core.stages.damaged import tell_damaged
from atlas_core.stages.decoding_log import DecodingLog
from atlas_core.stages.index import read_index
from atlas_core.stages.items_table import write_items
from atlas_core.stages.runtime import backbone_config, chosen_items, dataset_name, dataset_root
from atlas_core.stages.stage import Stage, StageContext

# Few enough views that decoding in this process costs less than starting others.
_IN_PROCESS = 10_000
# Fixed, because features differ by rounding between batch sizes, and their digests decide what is stale.
_BATCH_SIZE = 64


def _run(context: StageContext) -> None:
    config = context.config
    root = dataset_root(context)
    index = read_index(context.inputs["index"], root, dataset_name(context))
    items = chosen_items(index, config)
    clip = load_backbone(backbone_config(context), context.placement.device)
    with torch.inference_mode():
        table = extract_features(
            clip.encode_image,
            root,
            [item.path for item in items],
            [item.label for item in items],
            image_size=clip.image_size,
            mean=clip.mean,
            std=clip.std,
            resizing=clip.resizing,
            out_dir=context.work,
            device=clip.device,
            batch_size=_BATCH_SIZE,
            workers=decoding_workers(len(items), config, context.placement),
            dtype=config["dtype"],
            identity=context.key,
            progress=DecodingLog(context.key),
            **view_arguments(config),
        )
    tell_damaged(index, DatasetSpec(**context.runtime["spec"]), items, table.damaged, config)
    write_features(
        context.out / "features.parquet",
        table.items,
        table.views,
        table.labels,
        table.features,
        dtype=config["dtype"],
        damaged=table.damaged,
    )
    write_items(context.out, [items[number] for number in table.item_numbers])


def decoding_workers(images: int, config: Mapping[str, Any], placement: Placement) -> int:
    """Processes that decode: none beside this one for a small set of views."""
    views = images if config["views"] == "test" else images * config["views"]
    return 0 if views < _IN_PROCESS else max(1, placement.workers)


def view_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """How the images' views are drawn, from a job's configuration; test images have one, without chance."""
    skip = {"skip_damaged": config.get("skip_damaged", False)}
    if config["views"] == "test":
        return {"n_views": "test", "seed": 0, **skip}
    return {"n_views": config["views"], "seed": config["seed"], "recipe": config["augmentation"], **skip}


IMAGE_FEATURES = Stage(_run)
