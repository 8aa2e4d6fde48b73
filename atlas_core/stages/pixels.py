"""pixels: decoded, resized images for methods that learn visual prompts."""

from __future__ import annotations

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.features.extract import extract_pixels
from atlas_core.features.resizing import Resizing
from atlas_core.stages.damaged import tell_damaged
from atlas_core.stages.decoding_log import DecodingLog
from atlas_core.stages.image_features import decoding_workers, view_arguments
from atlas_core.stages.index import read_index
from atlas_core.stages.items_table import write_items
from atlas_core.stages.pixel_reader import PIXELS_FOLDER
from atlas_core.stages.runtime import chosen_items, dataset_name, dataset_root
from atlas_core.stages.stage import Stage, StageContext


def _run(context: StageContext) -> None:
    root = dataset_root(context)
    index = read_index(context.inputs["index"], root, dataset_name(context))
    items = chosen_items(index, context.config)
    table = extract_pixels(
        root,
        [item.path for item in items],
        [item.label for item in items],
        image_size=context.config["image_size"],
        resizing=Resizing(**context.config.get("resizing", {})),
        out_dir=context.work,
        progress=DecodingLog(context.key),
        workers=decoding_workers(len(items), context.config, context.placement),
        **view_arguments(context.config),
    )
    tell_damaged(index, DatasetSpec(**context.runtime["spec"]), items, table.damaged, context.config)
    # Decoded where it outlives a crash; only the shards themselves belong to the artifact.
    (context.out / PIXELS_FOLDER).mkdir()
    for shard in sorted(context.work.glob("*.arrow")):
        shard.rename(context.out / PIXELS_FOLDER / shard.name)
    write_items(context.out, [items[number] for number in table.item_numbers])


PIXELS = Stage(_run)
