"""Soft labels that the frozen model's own similarities give: class-wise (CSL) and instance-wise (ISL).

Both are pure distributions; mixing them with the one-hot target is done where they are used. Definitions: the
design's table of supervisions, after ATLaS (arXiv 2508.17846).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atlas_core.errors import AtlasError

_CHUNK: Final = 2048

Features = Tensor | npt.NDArray[Any]


def class_soft_labels(text_features: Features, temperature: float) -> Tensor:
    """CSL: row y is softmax_c(s_t · cos(g_y, g_c)), float32 `[C, C]`; rows sum to 1.

    Args:
        text_features: Frozen text features g `[C, D]`, normalised here.
        temperature: The multiplier s_t (the model's own logit scale by default, which the caller gives).

    Raises:
        AtlasError: A feature is zero, NaN or infinite, or the temperature is not positive.
    """
    return _similarity_softmax(text_features, text_features, temperature, "text")


def instance_soft_labels(image_features: Features, text_features: Features, temperature: float) -> Tensor:
    """ISL: row i is softmax_c(s_t · cos(f_i, g_c)), float32 `[N, C]`; rows sum to 1.

    Args:
        image_features: Frozen image features f `[N, D]`, normalised here.
        text_features: Frozen text features g `[C, D]`, normalised here.
        temperature: The multiplier s_t (the model's own logit scale by default, which the caller gives).

    Raises:
        AtlasError: Widths differ, a feature is zero, NaN or infinite, or the temperature is not positive.
    """
    return _similarity_softmax(image_features, text_features, temperature, "image")


def _similarity_softmax(rows: Features, classes: Features, temperature: float, kind: str) -> Tensor:
    if not 0 < temperature < float("inf"):
        raise AtlasError(f"soft-label temperature {temperature}", expected="a positive, finite multiplier")
    with torch.no_grad():
        directions = _normalised(classes, "text").mul_(temperature)
        points = _normalised(rows, kind)
        if points.shape[1] != directions.shape[1]:
            raise AtlasError(
                f"{kind} features of width {points.shape[1]}, text features of width {directions.shape[1]}",
                expected="features of one model",
            )
        out = torch.empty(len(points), len(directions), device=points.device)
        # In pieces, so that logits are still in the processor's cache when their softmax is taken.
        for start in range(0, len(points), _CHUNK):
            part = out[start : start + _CHUNK]
            torch.mm(points[start : start + _CHUNK], directions.T, out=part)
            torch.softmax(part, dim=1, out=part)
    return out


def _normalised(features: Features, kind: str) -> Tensor:
    matrix = _matrix(features, kind)
    norms = torch.linalg.vector_norm(matrix, dim=1, keepdim=True)
    bad = ~(torch.isfinite(norms) & (norms > 0)).view(-1)
    if bad.any():
        first = int(bad.nonzero()[0])
        raise AtlasError(
            f"{int(bad.sum())} {kind} features are zero, NaN or infinite, the first at position {first}",
            expected="finite features with a direction",
            fix="compute the features again, and check the weights and the precision",
        )
    return matrix.div(norms)


def _matrix(features: Features, kind: str) -> Tensor:
    if isinstance(features, np.ndarray) and not features.flags.writeable:
        features = features.copy()  # torch has no read-only tensors
    matrix = torch.as_tensor(features).to(torch.float32)
    if matrix.ndim != 2:
        raise AtlasError(f"{kind} features of shape {tuple(matrix.shape)}", expected="[count, width]")
    return matrix
