"""Chunks of frozen image features from an image_features artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.features.cache import read_features
from atlas_core.stages.image_inputs import ImageInput

_CHUNK = 8192


def _test_chunks(inputs: Mapping[str, Path], clip: FrozenClip) -> Iterator[Tensor]:
    features = read_features(inputs["image_features"] / "features.parquet").bank()[:, 0]
    for start in range(0, len(features), _CHUNK):
        yield torch.from_numpy(features[start : start + _CHUNK]).to(clip.device)


def _no_pixels(inputs: Mapping[str, Path], clip: FrozenClip) -> None:
    """A training reads its features from the bank."""


FEATURES = ImageInput("image_features", _no_pixels, _test_chunks)
