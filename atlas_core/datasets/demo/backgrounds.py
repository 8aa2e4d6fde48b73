"""What lies behind a drawn subject, as float32 pixels in [0, 255]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Pixels:
    """Value noise in about [-1, 1]: random cells, blown up smoothly."""
    coarse = rng.uniform(-1, 1, size=(cells, cells)).astype(np.float32)
    blown_up = Image.fromarray(coarse, "F").resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(blown_up, dtype=np.float32)


def background(rng: np.random.Generator, kind: str, colour: tuple[int, int, int], size: int) -> Pixels:
    """A background of one kind round a base colour."""
    base = np.broadcast_to(np.asarray(colour, dtype=np.float32), (size, size, 3))
    if kind == "flat":
        return base
    return base + _relief(rng, kind, size) * _tint(rng)


def _tint(rng: np.random.Generator) -> Pixels:
    tint = rng.uniform(-45, 45, size=3) + rng.choice([-25, 25])
    return np.asarray(tint, dtype=np.float32)


def _relief(rng: np.random.Generator, kind: str, size: int) -> Pixels:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = axis[None, :] * np.float32(np.cos(angle)) + axis[:, None] * np.float32(np.sin(angle))
    if kind == "gradient":
        field = ramp
    elif kind == "cloudy":
        field = smooth_noise(rng, size, int(rng.integers(3, 7)))
    elif kind == "bands":
        field = np.sign(np.sin(ramp * np.float32(rng.uniform(3, 9)))) * np.float32(0.5)
    elif kind == "speckle":
        field = (rng.random((size, size)) < 0.12).astype(np.float32) * np.float32(1.6)
    elif kind == "patches":
        cells = int(rng.integers(3, 7))
        coarse = rng.uniform(-1, 1, size=(cells, cells)).astype(np.float32)
        blown_up = Image.fromarray(coarse, "F").resize((size, size), Image.Resampling.NEAREST)
        field = np.asarray(blown_up, dtype=np.float32)
    else:
        raise ValueError(f"unknown background {kind!r}")
    return field[..., None].astype(np.float32)
