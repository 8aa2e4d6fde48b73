"""Named colours, each a cloud of RGB values rather than a point."""

from __future__ import annotations

import numpy as np

from atlas_core.datasets.demo.canvas import Colour

COLOURS: dict[str, Colour] = {
    "red": (200, 35, 35),
    "orange": (238, 135, 30),
    "yellow": (238, 218, 45),
    "green": (45, 150, 60),
    "turquoise": (50, 200, 190),
    "blue": (40, 75, 200),
    "purple": (125, 45, 160),
    "pink": (242, 140, 190),
    "brown": (115, 70, 35),
    "black": (18, 18, 18),
    "white": (243, 243, 243),
    "gray": (128, 128, 128),
}


def shade_of(rng: np.random.Generator, name: str, spread: float) -> Colour:
    """A shade of a named colour: a common change of brightness and a smaller one of each channel."""
    change = rng.normal(0, spread) + rng.normal(0, spread * 0.6, size=3)
    red, green, blue = np.clip(np.asarray(COLOURS[name]) + change, 0, 255)
    return int(red), int(green), int(blue)
