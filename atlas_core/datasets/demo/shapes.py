"""Geometric shapes, drawn in the unit frame of a `Painter`."""

from __future__ import annotations

from collections.abc import Callable

from atlas_core.datasets.demo.canvas import Colour, Painter, Point, arc, regular_polygon, star_points

Tone = str | Colour


def heart_points() -> list[Point]:
    """The outline of a heart that fills the unit frame."""
    left = [*arc(-0.47, -0.38, 0.47, 0.5, 160, 360)]
    right = [*arc(0.47, -0.38, 0.47, 0.5, 180, 380)]
    return [*left, *right, (0.55, 0.35), (0.0, 0.95), (-0.55, 0.35)]


def crescent_points(fullness: float) -> list[Point]:
    """A moon's outline: an outer arc out and a flatter inner one back."""
    outer = arc(0.25, 0, 1.0, 1.0, 90, 270)
    inner = arc(0.25, 0, fullness, 1.0, 270, 90)
    return [*outer, *inner]


def circle(p: Painter, tone: Tone = "main") -> None:
    p.oval(0, 0, 0.9, tone=tone)


def oval(p: Painter, tone: Tone = "main") -> None:
    p.oval(0, 0, 0.95, p.vary(0.4, 0.58), tone)


def triangle(p: Painter, tone: Tone = "main") -> None:
    p.poly([(p.vary(-0.3, 0.3), -0.9), (0.9, 0.75), (-0.9, 0.75)], tone)


def square(p: Painter, tone: Tone = "main") -> None:
    p.rect(-0.78, -0.78, 0.78, 0.78, tone)


def rectangle(p: Painter, tone: Tone = "main") -> None:
    height = p.vary(0.35, 0.5)
    p.rect(-0.95, -height, 0.95, height, tone)


def pentagon(p: Painter, tone: Tone = "main") -> None:
    p.poly(regular_polygon(5, 0.95), tone)


def hexagon(p: Painter, tone: Tone = "main") -> None:
    p.poly(regular_polygon(6, 0.95, p.vary(-100, -80)), tone)


def star(p: Painter, tone: Tone = "main") -> None:
    p.poly(star_points(5, p.vary(0.35, 0.5)), tone)


def heart(p: Painter, tone: Tone = "main") -> None:
    p.poly(heart_points(), tone)


def crescent(p: Painter, tone: Tone = "main") -> None:
    p.poly(crescent_points(p.vary(0.2, 0.55)), tone)


def cross(p: Painter, tone: Tone = "main") -> None:
    w = p.vary(0.2, 0.35)
    quarter = [(-w, -0.9), (w, -0.9), (w, -w), (0.9, -w), (0.9, w), (w, w)]
    p.poly([*quarter, (w, 0.9), (-w, 0.9), (-w, w), (-0.9, w), (-0.9, -w), (-w, -w)], tone)


def arrow(p: Painter, tone: Tone = "main") -> None:
    w, neck = p.vary(0.14, 0.26), p.vary(-0.1, 0.3)
    head = [(neck, -0.65), (0.95, 0.0), (neck, 0.65), (neck, w)]
    p.poly([(-0.95, -w), (neck, -w), *head, (-0.95, w)], tone)


def ring(p: Painter, tone: Tone = "main") -> None:
    p.line(arc(0, 0, 0.75, 0.75, 0, 375), p.vary(0.2, 0.36), tone)


SHAPES: dict[str, Callable[[Painter, Tone], None]] = {
    "circle": circle,
    "oval": oval,
    "triangle": triangle,
    "square": square,
    "rectangle": rectangle,
    "pentagon": pentagon,
    "hexagon": hexagon,
    "star": star,
    "heart": heart,
    "crescent": crescent,
    "cross": cross,
    "arrow": arrow,
    "ring": ring,
}
