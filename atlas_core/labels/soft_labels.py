"""Soft labels that the frozen model's own similarities give: class-wise (CSL) and instance-wise (ISL).

Both are pure distributions; mixing them with the one-hot target is done where they are used. Definitions: the
design's table of supervisions, after ATLaS (arXiv 2508.17846).
"""

import math
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from atlas_core.errors import AtlasError

_CHUNK: Final = 2048
# Mean mass of a class-wise soft label on its own class, 1 − ε with ε = 0.1 as in label smoothing.
CLASS_MASS: Final = 0.9
# The exponents of 2 between which the temperature that gives it is looked for, and the steps to 1e-9 of it.
_EXPONENTS: Final = (-10.0, 30.0)
_STEPS: Final = 40

Features = Tensor | npt.NDArray[Any]


# s_t as configured: a number, the model's own logit scale, or None for the source's own rule.
Temperature = float | Literal["model"] | None


def class_temperature(text_features: Features, wanted: Temperature, logit_scale: float) -> float:
    """CSL's s_t: as wanted, or by the rule that the mean diagonal of `class_soft_labels` is 0.9.

    CLIP's logit scale is made for cosines of images with texts. Texts are far more alike than that (cosines of 0.6 to
    0.95), and at a scale of 100 their soft-max is all but one-hot.

    Raises:
        AtlasError: No temperature gives that, because classes have equal features.
    """
    if wanted == "model":
        return logit_scale
    if wanted is not None:
        return wanted
    unit = _normalised(text_features, "text").double()
    cosines = unit / torch.linalg.vector_norm(unit, dim=1, keepdim=True)
    cosines = cosines @ cosines.T
    if len(cosines) == 1:
        return logit_scale  # the one class has all of the mass at every temperature
    low, high = _EXPONENTS
    if _mean_diagonal(cosines, 2.0**high) < CLASS_MASS:
        raise AtlasError(
            f"class-wise soft labels of {len(cosines)} classes, of which several have the same text features",
            expected=f"a temperature at which a class has {CLASS_MASS:g} of its soft label's mass on average",
            fix="give classes names of their own, or set the supervision's `temperature`",
        )
    for _ in range(_STEPS):  # the diagonal grows with the temperature, since no cosine is above a class's own
        middle = (low + high) / 2
        low, high = (low, middle) if _mean_diagonal(cosines, 2.0**middle) >= CLASS_MASS else (middle, high)
    # Not the last bits, which another processor may find otherwise.
    return float(f"{2.0**high:.6g}")


def instance_temperature(wanted: Temperature, logit_scale: float) -> float:
    """ISL's s_t: the number wanted, else the model's logit scale: it is the zero-shot prediction."""
    return logit_scale if wanted is None or wanted == "model" else wanted


def _mean_diagonal(cosines: Tensor, temperature: float) -> float:
    return math.fsum((temperature * cosines).softmax(dim=1).diagonal().tolist()) / len(cosines)


def class_soft_labels(text_features: Features, temperature: float) -> Tensor:
    """CSL: row y is softmax_c(s_t · cos(g_y, g_c)), float32 `[C, C]`; rows sum to 1.

    Args:
        text_features: Frozen text features g `[C, D]`, normalised here.
        temperature: The multiplier s_t (see `class_temperature`).

    Raises:
        AtlasError: A feature is zero, NaN or infinite, or the temperature is not positive.
    """
    return _similarity_softmax(text_features, text_features, temperature, "text")


def instance_soft_labels(image_features: Features, text_features: Features, temperature: float) -> Tensor:
    """ISL: row i is softmax_c(s_t · cos(f_i, g_c)), float32 `[N, C]`; rows sum to 1.

    Args:
        image_features: Frozen image features f `[N, D]`, normalised here.
        text_features: Frozen text features g `[C, D]`, normalised here.
        temperature: The multiplier s_t (see `instance_temperature`).

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
