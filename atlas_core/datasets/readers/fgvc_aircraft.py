"""FGVC-Aircraft's lists (protocol 2.1): variants.txt gives labels, images_variant_*.txt splits."""

from __future__ import annotations

from pathlib import Path

from atlas_core.datasets.advice import how_to_get
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import SPLITS, Item
from atlas_core.datasets.paths import check_relative, join
from atlas_core.datasets.readers.base import Listing
from atlas_core.errors import AtlasError


def read(spec: DatasetSpec, folder: Path) -> Listing:
    """Items in the lists' order: train, val, test."""
    names = tuple(_lines(spec, folder / "variants.txt"))
    label_of = {name: label for label, name in enumerate(names)}
    items = []
    for split in SPLITS:
        path = folder / f"images_variant_{split}.txt"
        for line in _lines(spec, path):
            image, _, name = line.partition(" ")
            if name not in label_of:
                raise AtlasError(
                    f"{path}: {line!r}", expected="an image number and a variant of variants.txt"
                )
            relative = check_relative(f"{image}.jpg", f"image in {path}")
            items.append(Item(join(spec.image_folder, relative), label_of[name], name, split))
    return Listing(tuple(items), names)


def _lines(spec: DatasetSpec, path: Path) -> list[str]:
    if not path.is_file():
        raise AtlasError(
            f"dataset {spec.name!r} has no {path.name}",
            expected=f"{path}, from the `data` folder of the published archive",
            fix=how_to_get(spec, path.parent),
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]
