"""A small supersampled painter: points in [-1, 1]² go in, a noisy 48-pixel RGB image comes out.

Everything random comes from one `numpy.random.Generator`, so an image is a function of its seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from atlas_core.datasets.demo.backgrounds import background, smooth_noise

SIZE = 48
OVERSAMPLE = 3
PLAIN_BACKGROUNDS = ("flat", "gradient", "cloudy", "bands")

Point = tuple[float, float]
Points = Sequence[Point]
Colour = tuple[int, int, int]
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """How images of one world vary. Angles are in degrees, lengths in units of half the image."""

    rotation: float = 15.0
    scale: tuple[float, float] = (0.6, 0.9)
    shift: float = 0.15
    warp: float = 0.05
    stretch: float = 0.15
    noise: tuple[float, float] = (0.0, 0.06)
    clutter: tuple[int, int] = (0, 3)
    occlusion: float = 0.1
    texture: float = 0.1
    outline: float = 0.4
    line_art: float = 0.0
    contrast: tuple[float, float] = (0.7, 1.0)
    min_separation: float = 90.0
    backgrounds: tuple[str, ...] = PLAIN_BACKGROUNDS


def random_colour(rng: np.random.Generator) -> Colour:
    """A colour drawn evenly from the RGB cube, kept off its far corners."""
    red, green, blue = rng.integers(15, 241, size=3)
    return int(red), int(green), int(blue)


def colour_distance(first: Colour, second: Colour) -> float:
    """Euclidean distance in RGB; 442 is black to white."""
    return math.dist(first, second)


def colour_away_from(rng: np.random.Generator, others: Sequence[Colour], distance: float) -> Colour:
    """A random colour at least `distance` from `others`, or the farthest of twelve tries."""
    best, best_distance = random_colour(rng), -1.0
    for _ in range(12):
        colour = random_colour(rng)
        nearest = min(colour_distance(colour, other) for other in others)
        if nearest >= distance:
            return colour
        if nearest > best_distance:
            best, best_distance = colour, nearest
    return best


def arc(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, stop: float = 360.0) -> list[Point]:
    """Points along an ellipse's arc, from `start` to `stop` degrees (clockwise on the screen)."""
    steps = max(4, round(abs(stop - start) / 15))
    angles = (math.radians(start + (stop - start) * i / steps) for i in range(steps + 1))
    return [(cx + rx * math.cos(angle), cy + ry * math.sin(angle)) for angle in angles]


def regular_polygon(corners: int, radius: float = 1.0, start: float = -90.0) -> list[Point]:
    """The corners of a regular polygon round the origin."""
    angles = (math.radians(start + 360 * i / corners) for i in range(corners))
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def star_points(corners: int, inner: float, start: float = -90.0) -> list[Point]:
    """A star with `corners` tips at radius 1 and its notches at radius `inner`."""
    angles = (math.radians(start + 180 * i / corners) for i in range(2 * corners))
    radii = (1.0 if i % 2 == 0 else inner for i in range(2 * corners))
    return [(r * math.cos(angle), r * math.sin(angle)) for r, angle in zip(radii, angles, strict=True)]


class Painter:
    """Draws one image: `place` a frame, draw into it, then `finish`."""

    def __init__(self, rng: np.random.Generator, world: World, main: Colour | None = None) -> None:
        self.rng = rng
        self.world = world
        self.side = SIZE * OVERSAMPLE
        self.line_art = rng.random() < world.line_art
        self.ground = random_colour(rng)
        if self.line_art:
            shade = int(rng.integers(225, 256))
            self.ground = (shade, shade, shade)
        if main is not None and not self.line_art:
            self.ground = colour_away_from(rng, [main], world.min_separation)
        self.recolour(main)
        dark = sum(self.ground) > 384
        ink = rng.integers(0, 60) if dark else rng.integers(195, 256)
        self.ink: Colour = (int(ink), int(ink), int(ink))
        self.outline = self.line_art or bool(rng.random() < world.outline)
        self.stroke = float(rng.uniform(0.05, 0.1))
        self._under, self._under_mask, self._under_pen, self._under_mask_pen = self._layer()
        self._over, self._over_mask, self._pen, self._mask_pen = self._layer()
        self._phase = rng.uniform(0, 2 * math.pi, size=2)
        self._pitch = rng.uniform(1.5, 3.0, size=2)
        self.place(0.0, 0.0, 1.0)

    def _layer(self) -> tuple[Image.Image, Image.Image, ImageDraw.ImageDraw, ImageDraw.ImageDraw]:
        pixels = Image.new("RGB", (self.side, self.side))
        mask = Image.new("L", (self.side, self.side))
        return pixels, mask, ImageDraw.Draw(pixels), ImageDraw.Draw(mask)

    def recolour(self, main: Colour | None = None) -> None:
        """Choose the main colour (or take it) and two that go with it."""
        separation = self.world.min_separation
        chosen = colour_away_from(self.rng, [self.ground], separation) if main is None else main
        second = colour_away_from(self.rng, [self.ground, chosen], separation)
        third = colour_away_from(self.rng, [chosen, second], separation * 0.7)
        self.tones: dict[str, Colour] = {"main": chosen, "second": second, "third": third}

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def vary(self, low: float, high: float) -> float:
        """A number drawn evenly between two."""
        return float(self.rng.uniform(low, high))

    def place(self, cx: float, cy: float, scale: float, angle: float = 0.0, mirror: bool = False) -> None:
        """Set the frame in which the next points are drawn."""
        stretch = self.world.stretch
        wide, tall = np.exp(self.rng.uniform(-stretch, stretch, size=2))
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        flip = -1.0 if mirror else 1.0
        self._frame = (
            (flip * cos * wide * scale, -sin * tall * scale, cx),
            (flip * sin * wide * scale, cos * tall * scale, cy),
        )
        self.unit = scale

    def place_at_random(self, mirror: bool = True) -> None:
        """A frame somewhere near the middle, as the world's knobs allow."""
        world = self.world
        dx, dy = self.rng.uniform(-world.shift, world.shift, size=2)
        angle = self.vary(-world.rotation, world.rotation)
        self.place(float(dx), float(dy), self.vary(*world.scale), angle, mirror and self.chance(0.5))

    def _project(self, points: Points) -> list[Point]:
        (a, b, c), (d, e, f) = self._frame
        warp, (p0, p1), (k0, k1) = self.world.warp * self.unit, self._phase, self._pitch
        projected: list[Point] = []
        for x, y in points:
            u, v = a * x + b * y + c, d * x + e * y + f
            u, v = u + warp * math.sin(k0 * v + p0), v + warp * math.sin(k1 * u + p1)
            projected.append(((u + 1) / 2 * self.side, (v + 1) / 2 * self.side))
        return projected

    def _stroke_pixels(self, width: float) -> int:
        return max(2, round(width * self.unit * self.side / 2))

    def poly(self, points: Points, tone: str | Colour = "main") -> None:
        """A filled polygon (its outline alone in line art)."""
        pixels = self._project(points)
        colour = self.tones[tone] if isinstance(tone, str) else tone
        if not self.line_art:
            self._pen.polygon(pixels, fill=colour)
            self._mask_pen.polygon(pixels, fill=255)
        if self.outline:
            self._draw_line([*pixels, pixels[0], pixels[1]], self._stroke_pixels(self.stroke), self.ink)

    def oval(
        self, cx: float, cy: float, rx: float, ry: float | None = None, tone: str | Colour = "main"
    ) -> None:
        """A filled ellipse."""
        self.poly(arc(cx, cy, rx, rx if ry is None else ry), tone)

    def rect(self, x0: float, y0: float, x1: float, y1: float, tone: str | Colour = "main") -> None:
        """A filled axis-parallel rectangle."""
        middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
        corners = [(x0, y0), (middle_x, y0), (x1, y0), (x1, middle_y)]
        self.poly([*corners, (x1, y1), (middle_x, y1), (x0, y1), (x0, middle_y)], tone)

    def line(self, points: Points, width: float = 0.15, tone: str | Colour = "main") -> None:
        """An open stroke; line art thins it."""
        colour = self.tones[tone] if isinstance(tone, str) else tone
        if self.line_art:
            width, colour = min(width, 1.6 * self.stroke), self.ink
        self._draw_line(self._project(points), self._stroke_pixels(width), colour)

    def _draw_line(self, pixels: Points, width: int, colour: Colour) -> None:
        flat = list(pixels)
        self._pen.line(flat, fill=colour, width=width, joint="curve")
        self._mask_pen.line(flat, fill=255, width=width, joint="curve")

    def clutter(self) -> None:
        """Stray marks behind the subject."""
        low, high = self.world.clutter
        for _ in range(int(self.rng.integers(low, high + 1))):
            tone = random_colour(self.rng)
            x, y = self.rng.uniform(0, self.side, size=2)
            if self.chance(0.5):
                u, v = self.rng.uniform(0, self.side, size=2)
                width = int(self.rng.integers(2, 7))
                self._under_pen.line([(x, y), (u, v)], fill=tone, width=width)
                self._under_mask_pen.line([(x, y), (u, v)], fill=255, width=width)
            else:
                rx, ry = self.rng.uniform(0.03, 0.14, size=2) * self.side
                box = (x - rx, y - ry, x + rx, y + ry)
                self._under_pen.ellipse(box, fill=tone)
                self._under_mask_pen.ellipse(box, fill=255)

    def _occlude(self) -> None:
        tone = random_colour(self.rng)
        x, y = self.rng.uniform(0.1, 0.9, size=2) * self.side
        angle, length = self.vary(0, math.pi), self.side
        dx, dy = length * math.cos(angle), length * math.sin(angle)
        self._draw_line([(x - dx, y - dy), (x + dx, y + dy)], int(self.rng.integers(8, 17)), tone)

    def finish(self) -> Image.Image:
        """Compose background, clutter and subject; add texture, contrast and noise."""
        rng, world = self.rng, self.world
        self.clutter()
        if self.chance(world.occlusion):
            self._occlude()
        kind = "flat" if self.line_art else str(rng.choice(world.backgrounds))
        pixels: Pixels = background(rng, kind, self.ground, SIZE)
        for layer, mask in ((self._under, self._under_mask), (self._over, self._over_mask)):
            colour = np.asarray(layer.reduce(OVERSAMPLE), dtype=np.float32)
            cover = np.asarray(mask.reduce(OVERSAMPLE), dtype=np.float32)[..., None] / np.float32(255)
            if world.texture > 0 and layer is self._over and not self.line_art:
                colour = colour * (1 + np.float32(world.texture) * smooth_noise(rng, SIZE, 12)[..., None])
            pixels = pixels * (1 - cover) + colour
        return finish_pixels(rng, world, pixels)


def finish_pixels(rng: np.random.Generator, world: World, pixels: Pixels) -> Image.Image:
    """Contrast, brightness and sensor noise, then 8 bits."""
    contrast, brightness = rng.uniform(*world.contrast), rng.uniform(-12, 12)
    lit = (pixels - 128) * np.float32(contrast) + np.float32(128 + brightness)
    amount = np.float32(255 * rng.uniform(*world.noise))
    noisy = lit + amount * rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), "RGB")
