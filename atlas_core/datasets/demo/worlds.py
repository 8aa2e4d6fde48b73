"""The worlds the demo datasets are drawn in: rougher than, and different from, the pre-training world."""

from __future__ import annotations

from atlas_core.datasets.demo.canvas import World

ALL_BACKGROUNDS = ("flat", "gradient", "cloudy", "bands", "speckle", "patches")

OBJECT_WORLD = World(
    rotation=28,
    scale=(0.45, 0.85),
    shift=0.22,
    warp=0.1,
    stretch=0.25,
    noise=(0.02, 0.12),
    clutter=(2, 7),
    occlusion=0.35,
    texture=0.25,
    contrast=(0.5, 1.0),
    min_separation=75,
    backgrounds=ALL_BACKGROUNDS,
)
SKETCH_WORLD = World(
    rotation=20, scale=(0.5, 0.85), warp=0.1, noise=(0.0, 0.04), clutter=(0, 0), occlusion=0.0, line_art=1.0
)
SHAPE_WORLD = World(
    rotation=18,
    scale=(0.35, 0.8),
    shift=0.3,
    warp=0.08,
    stretch=0.2,
    noise=(0.02, 0.12),
    clutter=(1, 5),
    occlusion=0.25,
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
    scale=(0.4, 0.8),
    shift=0.25,
    warp=0.14,
    stretch=0.3,
    noise=(0.02, 0.12),
    clutter=(1, 5),
    occlusion=0.15,
    contrast=(0.5, 1.0),
    min_separation=90,
    backgrounds=ALL_BACKGROUNDS,
)
COUNT_WORLD = World(
    rotation=25, warp=0.03, noise=(0.02, 0.08), clutter=(0, 2), occlusion=0.0, texture=0.2, min_separation=110
)
COLOUR_WORLD = World(
    rotation=30,
    scale=(0.4, 0.8),
    noise=(0.02, 0.1),
    clutter=(1, 5),
    occlusion=0.2,
    texture=0.25,
    contrast=(0.5, 0.95),
    min_separation=70,
    backgrounds=ALL_BACKGROUNDS,
)
