"""Whole images: one subject, several things, one colour, one letter."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from atlas_core.datasets.demo.canvas import SIZE, Colour, Painter, World
from atlas_core.datasets.demo.colours import COLOURS, shade_of
from atlas_core.datasets.demo.glyphs import letter
from atlas_core.datasets.demo.objects import OBJECTS
from atlas_core.datasets.demo.shapes import SHAPES

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def render_object(
    rng: np.random.Generator, world: World, name: str, colour: Colour | None = None
) -> Image.Image:
    """One everyday object, its main part in `colour` if given."""
    painter = Painter(rng, world, colour)
    painter.place_at_random()
    OBJECTS[name](painter)
    return painter.finish()


def render_shape(
    rng: np.random.Generator, world: World, name: str, colour: Colour | None = None
) -> Image.Image:
    """One geometric shape."""
    painter = Painter(rng, world, colour)
    painter.place_at_random()
    SHAPES[name](painter, "main")
    return painter.finish()


def render_letter(
    rng: np.random.Generator, world: World, name: str, colour: Colour | None = None
) -> Image.Image:
    """One capital letter in pen strokes, never mirrored."""
    painter = Painter(rng, world, colour)
    painter.place_at_random(mirror=False)
    letter(painter, name)
    return painter.finish()


def render_count(
    rng: np.random.Generator,
    world: World,
    count: int,
    shape: str | None = None,
    mixed: float = 0.3,
    colour: Colour | None = None,
) -> Image.Image:
    """`count` things that do not touch, of one shape or (with probability `mixed`) of several."""
    painter = Painter(rng, world, colour)
    names = list(SHAPES)
    several = shape is None and painter.chance(mixed)
    chosen = shape or str(rng.choice(names))
    cells = rng.permutation(9)[:count]
    scale = painter.vary(0.16, 0.25)
    slack = 0.3 - scale
    for cell in cells:
        x, y = (int(cell) % 3 - 1) * 0.62, (int(cell) // 3 - 1) * 0.62
        dx, dy = rng.uniform(-slack, slack, size=2)
        painter.place(x + float(dx), y + float(dy), scale, painter.vary(-world.rotation, world.rotation))
        SHAPES[str(rng.choice(names)) if several else chosen](painter, "main")
    return painter.finish()


def render_colour(rng: np.random.Generator, world: World, name: str, spread: float = 16) -> Image.Image:
    """A large thing of one colour among small ones of others."""
    colour = shade_of(rng, name, spread)
    painter = Painter(rng, world, colour)
    other = [str(o) for o in rng.permutation([key for key in COLOURS if key != name])]
    for stray in other[: int(rng.integers(0, 3))]:
        painter.place(painter.vary(-0.9, 0.9), painter.vary(-0.9, 0.9), painter.vary(0.12, 0.25))
        SHAPES[str(rng.choice(list(SHAPES)))](painter, shade_of(rng, stray, spread))
    painter.place_at_random()
    kind = str(rng.choice(["circle", "square", "oval", "hexagon", "heart", "triangle", "star", "cross"]))
    SHAPES[kind](painter, "main")
    return painter.finish()


def inverted(image: Image.Image) -> Image.Image:
    """The photographic negative."""
    return ImageOps.invert(image)


def blurred(image: Image.Image, radius: float) -> Image.Image:
    """Out of focus by `radius` pixels."""
    return image.filter(ImageFilter.GaussianBlur(radius))


def pixelated(image: Image.Image, cells: int, bits: int = 2) -> Image.Image:
    """A mosaic of `cells` by `cells` squares in few colours."""
    mosaic = ImageOps.posterize(image.resize((cells, cells), Image.Resampling.BOX), bits)
    return mosaic.resize((SIZE, SIZE), Image.Resampling.NEAREST)


def upscaled_digit(pixels: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Image.Image:
    """An 8x8 scan in [0, 16] as a white-on-black RGB image."""
    grey = np.clip(np.rint(pixels * (255 / 16)), 0, 255).astype(np.uint8)
    big = Image.fromarray(grey, "L").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return big.convert("RGB")
