"""image_features: the frozen image tower on test images, or on augmented views of few-shot training images."""

from __future__ import annotations

import torch

from atlas_core.backbone.load import load_backbone
from atlas_core.features.cache import write_features
from atlas_core.features.extract import extract_features
from atlas_core.stages.index import read_index
from atlas_core.stages.items_table import write_items
from atlas_core.stages.runtime import backbone_config, chosen_items, dataset_root
from atlas_core.stages.stage import Stage, StageContext

# Few enough images that decoding in this process costs less than starting others.
_IN_PROCESS = 2_000


def _run(context: StageContext) -> None:
    config = context.config
    root = dataset_root(context)
    items = chosen_items(read_index(context.inputs["index"], root), config)
    clip = load_backbone(backbone_config(context))
    with torch.inference_mode():
        table = extract_features(
            clip.encode_image,
            root,
            [item.path for item in items],
            [item.label for item in items],
            views=config["views"],
            recipe=config["augmentation"],
            seed=config["seed"],
            image_size=clip.image_size,
            mean=clip.mean,
            std=clip.std,
            device=clip.device,
            workers=0 if len(items) < _IN_PROCESS else context.placement.threads,
            out_dir=context.work,
        )
    write_features(
        context.out / "features.parquet",
        table.items,
        table.views,
        table.labels,
        table.features,
        dtype=config["dtype"],
    )
    write_items(context.out, items)


IMAGE_FEATURES = Stage(_run)
