"""Class probabilities of one's own images by a trained run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.errors import AtlasError
from atlas_core.features.images import decode_image
from atlas_core.features.resizing import STANDARD, Resizing
from atlas_core.features.transforms import normalise, test_transform
from atlas_core.methods.base import PromptMethod
from atlas_core.shown import csv_text, shown

PredictionFormat = Literal["table", "json", "csv"]
_BATCH = 32


@dataclass(frozen=True)
class RankedClass:
    """One class of one image, with its probability in 0 … 1."""

    name: str
    probability: float


@dataclass(frozen=True)
class ImagePrediction:
    """An image's most probable classes, best first."""

    image: str
    classes: tuple[RankedClass, ...]


def predict_images(
    method: PromptMethod, clip: FrozenClip, images: Sequence[Path], views: Sequence[Tensor], *, top: int = 5
) -> list[ImagePrediction]:
    """The `top` most probable classes of each image; equal ones in the order of the class names.

    Args:
        images: N paths, for naming.
        views: Their pixels, from `read_images`.
    """
    probabilities = class_probabilities(method, clip, views)
    names = method.classes.names
    predictions = []
    for path, row in zip(images, probabilities, strict=True):
        order = torch.sort(row, descending=True, stable=True).indices[:top].tolist()
        ranked = tuple(RankedClass(names[index], float(row[index])) for index in order)
        predictions.append(ImagePrediction(str(path), ranked))
    return predictions


def read_images(images: Sequence[Path], image_size: int, resizing: Resizing = STANDARD) -> list[Tensor]:
    """Each image as the test protocol sees it: uint8 [3, S, S], resized as the backbone wants it.

    Raises:
        AtlasError: Images are missing or damaged; one error names them all.
    """
    views, damaged = [], []
    for path in images:
        if not path.is_file():
            damaged.append(f"{path} is {'a folder' if path.is_dir() else 'missing'}")
            continue
        try:
            views.append(test_transform(decode_image(path), image_size, resizing))
        except AtlasError as error:
            damaged.append(error.what.removeprefix("image "))
    if damaged:
        raise AtlasError(
            f"{len(damaged)} of {len(images)} images cannot be used: {'; '.join(damaged)}",
            expected="whole image files that Pillow can read",
            fix="leave them out or replace them",
        )
    return views


@torch.no_grad()
def class_probabilities(method: PromptMethod, clip: FrozenClip, views: Sequence[Tensor]) -> Tensor:
    """Softmax over the method's classes, float64 [N, C] on the CPU, of uint8 views [3, S, S]."""
    predict = method.predictor()
    rows = [torch.empty(0, len(method.classes), dtype=torch.float64)]
    for start in range(0, len(views), _BATCH):
        pixels = normalise(
            torch.stack(list(views[start : start + _BATCH])).to(clip.device), clip.mean, clip.std
        )
        logits = predict(pixels if method.image_input == "pixels" else clip.encode_image(pixels))
        rows.append(torch.softmax(logits.double().cpu(), dim=1))
    return torch.cat(rows)


def render_predictions(
    predictions: Sequence[ImagePrediction], form: PredictionFormat, *, spreadsheet: bool = False
) -> str:
    """Predictions as text: a block an image, JSON, or CSV with one row an image and class.

    Args:
        spreadsheet: Write CSV so that no spreadsheet takes a name for a formula.
    """
    if form == "json":
        rows = [
            {
                "image": each.image,
                "classes": [{"name": c.name, "probability": c.probability} for c in each.classes],
            }
            for each in predictions
        ]
        return json.dumps(rows, indent=1, ensure_ascii=False)
    if form == "csv":
        head = ("image", "rank", "class", "probability")
        cells = [
            (each.image, rank, one.name, f"{one.probability:.6f}")
            for each in predictions
            for rank, one in enumerate(each.classes, 1)
        ]
        return csv_text([head, *cells], spreadsheet=spreadsheet)
    blocks = []
    for each in predictions:
        lines = [f"{one.probability:9.4f}  {shown(one.name)}" for one in each.classes]
        blocks.append("\n".join([shown(each.image), *lines]))
    return "\n\n".join(blocks)
