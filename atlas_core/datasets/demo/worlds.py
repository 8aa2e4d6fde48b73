"""The worlds the demo datasets are drawn in: rougher than, and different from, the pre-training world."""

from __future__ import annotations

from atlas_core.datasets.demo.canvas import World

ALL_BACKGROUNDS = ("flat", "gradient", "cloudy", "bands", "speckle", "patches")

OBJECT_WORLD = World(
    rotation=22,
    scale=(0.5, 0.9),
    shift=0.16,
    warp=0.07,
    stretch=0.18,
    noise=(0.0, 0.09),
    clutter=(0, 4),
    occlusion=0.2,
    texture=0.25,
    contrast=(0.5, 1.0),
    backgrounds=ALL_BACKGROUNDS,
)
SKETCH_WORLD = World(
    rotation=20, scale=(0.5, 0.85), warp=0.1, noise=(0.0, 0.04), clutter=(0, 0), occlusion=0.0, line_art=1.0
)
SHAPE_WORLD = World(
    rotation=18,
    scale=(0.45, 0.85),
    shift=0.2,
    warp=0.08,
    stretch=0.2,
    noise=(0.0, 0.08),
    clutter=(0, 3),
    occlusion=0.12,
    texture=0.25,
    contrast=(0.5, 1.0),
    min_separation=80,
    backgrounds=ALL_BACKGROUNDS,
)
TEXTURE_WORLD = World(
    rotation=35, scale=(0.45, 1.2), warp=0.1, noise=(0.03, 0.16), texture=0.45, contrast=(0.35, 0.9)
)
GLYPH_WORLD = World(
    rotation=18,
    scale=(0.5, 0.85),
    shift=0.18,
    warp=0.1,
    stretch=0.25,
    noise=(0.0, 0.08),
    clutter=(0, 3),
    occlusion=0.1,
    contrast=(0.5, 1.0),
    backgrounds=ALL_BACKGROUNDS,
)
COUNT_WORLD = World(
    rotation=25, warp=0.03, noise=(0.02, 0.08), clutter=(0, 2), occlusion=0.0, texture=0.2, min_separation=110
)
COLOUR_WORLD = World(
    rotation=30,
    scale=(0.3, 0.7),
    noise=(0.03, 0.14),
    clutter=(2, 7),
    occlusion=0.2,
    texture=0.25,
    contrast=(0.35, 0.9),
    min_separation=70,
    backgrounds=ALL_BACKGROUNDS,
)
