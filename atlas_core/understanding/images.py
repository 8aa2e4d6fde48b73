"""A look at every image of a dataset: which are damaged, and which have more than eight bits."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from atlas_core.datasets.items import Item
from atlas_core.datasets.progress import Progress, ProgressCallback, silent
from atlas_core.datasets.reading import Oddity, first_few
from atlas_core.errors import AtlasError
from atlas_core.features.grey_levels import grey_scale, is_deep
from atlas_core.features.images import decode_image


@dataclass(frozen=True)
class _Seen:
    damage: str = ""
    scale: str = ""


def odd_images(
    dataset: str, folder: Path, items: Sequence[Item], progress: ProgressCallback | None = None
) -> tuple[Oddity, ...]:
    """What is odd about a dataset's images; each is decoded as for the image tower."""
    report = progress or silent
    seen = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done, each in enumerate(pool.map(lambda item: _look(folder / item.path), items), start=1):
            seen.append(each)
            if done % 1000 == 0 or done == len(items):
                report(Progress(dataset, "looking at images", done, len(items)))
    found = []
    damaged = [(item, each.damage) for item, each in zip(items, seen, strict=True) if each.damage]
    if damaged:
        item, reason = damaged[0]
        text = f"{len(damaged)} of {len(items)} images cannot be decoded, such as {item.path}: {reason}"
        found.append(Oddity("damaged-images", text))
        asked, lost = Counter(item.class_name for item in items), Counter(i.class_name for i, _ in damaged)
        gone = [name for name, count in lost.items() if count == asked[name]]
        if gone:
            text = f"no image can be decoded of {len(gone)} classes: {first_few(map(repr, gone))}"
            found.append(Oddity("damaged-classes", text))
    scales = Counter(each.scale for each in seen if each.scale)
    if scales:
        text = ", ".join(f"{count} of {scale}" for scale, count in scales.most_common())
        found.append(Oddity("deep-images", f"grey levels that are scaled to 8 bits: {text}"))
    return tuple(found)


def _look(path: Path) -> _Seen:
    try:
        decode_image(path)
        with Image.open(path) as image:
            return _Seen(scale=grey_scale(np.asarray(image)) if is_deep(image) else "")
    except AtlasError as error:
        return _Seen(damage=error.what.removeprefix(f"image {path} "))
