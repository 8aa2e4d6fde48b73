"""Procedural textures: each is a field in about [0, 1] that mixes two colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas_core.datasets.demo.backgrounds import smooth_noise
from atlas_core.datasets.demo.canvas import SIZE, World, colour_away_from, finish_pixels, random_colour

Field = NDArray[np.float32]
Coordinates = tuple[Field, Field]
Maker = Callable[[np.random.Generator, Field, Field], Field]


def _coordinates(rng: np.random.Generator, world: World) -> Coordinates:
    """Pixel coordinates, rotated, scaled, shifted and warped; one unit is one period."""
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    angle = np.radians(rng.uniform(-world.rotation, world.rotation))
    periods = rng.uniform(1.6, 3.2) / rng.uniform(*world.scale) * 0.75
    cos, sin = np.float32(np.cos(angle) * periods), np.float32(np.sin(angle) * periods)
    u, v = cos * x - sin * y, sin * x + cos * y
    u = u + np.float32(2 * world.warp) * smooth_noise(rng, SIZE, 4)
    v = v + np.float32(2 * world.warp) * smooth_noise(rng, SIZE, 4)
    du, dv = rng.uniform(0, 1, size=2)
    return (u + du).astype(np.float32), (v + dv).astype(np.float32)


def _soft(field: Field, threshold: float, width: float = 0.08) -> Field:
    ramp: Field = np.clip((field - np.float32(threshold)) / np.float32(width) + np.float32(0.5), 0, 1)
    return ramp


def _wave(field: Field) -> Field:
    wave: Field = np.float32(0.5) + np.float32(0.5) * np.sin(np.float32(2 * np.pi) * field)
    return wave


def _edge(field: Field) -> Field:
    """Distance of each value to the nearest whole number, in [0, 0.5]."""
    fraction = np.mod(field, 1)
    distance: Field = np.minimum(fraction, 1 - fraction)
    return distance


def striped(rng: np.random.Generator, u: Field, v: Field) -> Field:
    return _soft(_wave(u if rng.random() < 0.5 else v), rng.uniform(0.3, 0.7), 0.3)


def checkered(rng: np.random.Generator, u: Field, v: Field) -> Field:
    product = np.sin(np.float32(np.pi) * u) * np.sin(np.float32(np.pi) * v)
    return _soft(product, 0.0, 0.2)


def dotted(rng: np.random.Generator, u: Field, v: Field) -> Field:
    shifted = u + np.float32(0.5) * np.mod(np.floor(v), 2) if rng.random() < 0.5 else u
    radius = np.hypot(np.mod(shifted, 1) - np.float32(0.5), np.mod(v, 1) - np.float32(0.5))
    return 1 - _soft(radius, rng.uniform(0.22, 0.38))


def wavy(rng: np.random.Generator, u: Field, v: Field) -> Field:
    bend = np.float32(rng.uniform(0.25, 0.4)) * np.sin(np.float32(2 * np.pi * rng.uniform(0.5, 0.8)) * u)
    return _soft(_wave(v + bend), rng.uniform(0.35, 0.65), 0.3)


def zigzagged(rng: np.random.Generator, u: Field, v: Field) -> Field:
    bend = np.float32(rng.uniform(1.2, 2.0)) * _edge(u * np.float32(rng.uniform(0.6, 0.9)))
    return _soft(_wave(v + bend), rng.uniform(0.35, 0.65), 0.3)


def brick(rng: np.random.Generator, u: Field, v: Field) -> Field:
    row = np.floor(v * np.float32(1.6))
    across = u * np.float32(0.8) + np.float32(0.5) * np.mod(row, 2)
    gap = rng.uniform(0.05, 0.1)
    return np.minimum(_soft(_edge(across), gap * 0.6, 0.06), _soft(_edge(v * np.float32(1.6)), gap))


def grid(rng: np.random.Generator, u: Field, v: Field) -> Field:
    gap = rng.uniform(0.07, 0.15)
    return np.minimum(_soft(_edge(u), gap), _soft(_edge(v), gap))


def woven(rng: np.random.Generator, u: Field, v: Field) -> Field:
    over = np.mod(np.floor(u) + np.floor(v), 2) < 0.5
    strands = np.where(over, _edge(u * 3), _edge(v * 3))
    return np.clip(strands * np.float32(2.2), 0, 1)


def scaly(rng: np.random.Generator, u: Field, v: Field) -> Field:
    row = np.floor(v * np.float32(1.5))
    x = np.mod(u + np.float32(0.5) * np.mod(row, 2), 1) - np.float32(0.5)
    y = np.mod(v * np.float32(1.5), 1)
    bulge: Field = np.clip(np.hypot(x * np.float32(1.5), y - np.float32(0.1)) * np.float32(1.1), 0, 1)
    return bulge * bulge


def marbled(rng: np.random.Generator, u: Field, v: Field) -> Field:
    swirl = smooth_noise(rng, SIZE, 5) + np.float32(0.5) * smooth_noise(rng, SIZE, 10)
    return np.abs(np.sin(np.float32(1.2) * u + np.float32(rng.uniform(2.5, 4)) * swirl)).astype(np.float32)


def honeycombed(rng: np.random.Generator, u: Field, v: Field) -> Field:
    def lattice(du: float) -> Field:
        x = np.mod(u + np.float32(du), 1) - np.float32(0.5)
        y = np.mod(v / np.float32(1.732) + np.float32(du), 1) - np.float32(0.5)
        radius: Field = np.hypot(x, y * np.float32(1.732))
        return radius

    first, second = lattice(0.0), lattice(0.5)
    return _soft(np.abs(first - second), rng.uniform(0.06, 0.14), 0.08)


def radial(rng: np.random.Generator, u: Field, v: Field) -> Field:
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    cx, cy = rng.uniform(-0.3, 0.3, size=2)
    turn = np.arctan2(y - np.float32(cy), x - np.float32(cx)) / np.float32(2 * np.pi)
    return _soft(_wave(turn * np.float32(rng.integers(6, 14)) + np.mod(u[0, 0], 1)), 0.5, 0.3)


TEXTURES: dict[str, Maker] = {
    "striped": striped,
    "checkered": checkered,
    "dotted": dotted,
    "wavy": wavy,
    "zigzagged": zigzagged,
    "brick": brick,
    "grid": grid,
    "woven": woven,
    "scaly": scaly,
    "marbled": marbled,
    "honeycombed": honeycombed,
    "radial": radial,
}


def render_texture(rng: np.random.Generator, world: World, name: str) -> Image.Image:
    """One image of a texture in two colours that a world's lighting falls on."""
    field = TEXTURES[name](rng, *_coordinates(rng, world))[..., None]
    first = random_colour(rng)
    second = colour_away_from(rng, [first], world.min_separation)
    low, high = np.asarray(first, dtype=np.float32), np.asarray(second, dtype=np.float32)
    if rng.random() < 0.5:
        low, high = high, low
    shading = 1 + np.float32(world.texture) * smooth_noise(rng, SIZE, 5)[..., None]
    return finish_pixels(rng, world, (low + (high - low) * field) * shading)
