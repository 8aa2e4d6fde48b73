"""Everyday objects, drawn in the unit frame of a `Painter`; no two drawings are equal."""

from __future__ import annotations

from collections.abc import Callable

from atlas_core.datasets.demo.canvas import Painter, arc

DARK = (40, 40, 45)
LIGHT = (240, 240, 235)


def house(p: Painter) -> None:
    top = p.vary(-0.3, 0.0)
    p.rect(-0.65, top, 0.65, 0.85)
    p.poly([(-0.9, top), (p.vary(-0.2, 0.2), -0.95), (0.9, top)], "second")
    door = p.vary(-0.4, 0.2)
    p.rect(door, 0.3, door + 0.3, 0.85, "third")
    if p.chance(0.6):
        side = -0.45 if door > -0.1 else 0.2
        p.rect(side, 0.15, side + 0.28, 0.4, LIGHT)
    if p.chance(0.5):
        p.rect(0.4, -0.8, 0.58, -0.4, "third")


def tree(p: Painter) -> None:
    p.rect(-0.12, 0.3, 0.12, 0.95, "second")
    if p.chance(0.5):
        for y, w in ((-0.4, 0.45), (0.05, 0.62), (0.5, 0.8)):
            p.poly([(0, y - 0.55), (w, y), (-w, y)])
    else:
        p.oval(0, -0.25, p.vary(0.5, 0.75), 0.65)
        if p.chance(0.5):
            p.oval(-0.4, 0.05, 0.35)
            p.oval(0.4, 0.05, 0.35)


def fish(p: Painter) -> None:
    height = p.vary(0.3, 0.55)
    p.poly([(0.35, 0), (0.95, -p.vary(0.35, 0.55)), (0.8, 0), (0.95, p.vary(0.35, 0.55))], "second")
    p.oval(-0.2, 0, 0.72, height)
    if p.chance(0.6):
        p.poly([(-0.3, -height), (0.15, -height - 0.25), (0.2, -height + 0.1)], "second")
    p.oval(-0.6, -0.1, 0.09, tone=DARK)


def car(p: Painter) -> None:
    roof = p.vary(0.3, 0.55)
    p.poly([(-roof - 0.15, -0.1), (-roof, -0.55), (roof - 0.1, -0.55), (roof + 0.25, -0.1)], "second")
    p.rect(-0.95, -0.1, 0.95, 0.4)
    for x in (-0.52, 0.52):
        p.oval(x, 0.42, 0.24, tone=DARK)
        p.oval(x, 0.42, 0.1, tone=LIGHT)


def boat(p: Painter) -> None:
    p.poly([(-0.95, 0.35), (0.95, 0.35), (0.6, 0.85), (-0.6, 0.85)])
    p.line([(0, 0.35), (0, -0.95)], 0.1, "third")
    p.poly([(0.08, -0.9), (p.vary(0.6, 0.85), 0.2), (0.08, 0.2)], "second")
    if p.chance(0.6):
        p.poly([(-0.08, -0.7), (-0.55, 0.2), (-0.08, 0.2)], "second")


def cup(p: Painter) -> None:
    low = p.vary(0.4, 0.6)
    p.line(arc(0.6, 0.05, 0.33, 0.38, -95, 95), 0.15)
    p.poly([(-0.65, -0.6), (0.65, -0.6), (low, 0.75), (-low, 0.75)])
    p.oval(0, -0.6, 0.65, p.vary(0.12, 0.22), "second")


def key(p: Painter) -> None:
    p.line(arc(-0.6, 0, 0.3, 0.3, 0, 375), p.vary(0.15, 0.22))
    p.line([(-0.3, 0), (0.95, 0)], 0.16)
    for x in (0.55, 0.85) if p.chance(0.6) else (0.4, 0.62, 0.85):
        p.line([(x, 0), (x, p.vary(0.25, 0.4))], 0.13)


def flower(p: Painter) -> None:
    p.line([(0, -0.2), (p.vary(-0.2, 0.2), 0.95)], 0.12, "third")
    petals = int(p.rng.integers(5, 8))
    for angle in range(petals):
        (x, y), *_ = arc(0, -0.3, 0.4, 0.4, 360 * angle / petals, 360 * angle / petals + 1)
        p.oval(x, y, 0.26)
    p.oval(0, -0.3, 0.22, tone="second")
    if p.chance(0.5):
        p.oval(0.28, 0.5, 0.26, 0.12, "third")


def sun(p: Painter) -> None:
    rays, radius = int(p.rng.integers(8, 13)), p.vary(0.4, 0.55)
    for ray in range(rays):
        angle = 360 * ray / rays
        inner = arc(0, 0, radius + 0.1, radius + 0.1, angle, angle + 1)[0]
        p.line([inner, arc(0, 0, 0.95, 0.95, angle, angle + 1)[0]], 0.13)
    p.oval(0, 0, radius)


def cloud(p: Painter) -> None:
    p.oval(-0.5, 0.15, 0.42, 0.36)
    p.oval(0.5, 0.15, 0.42, p.vary(0.3, 0.38))
    p.oval(p.vary(-0.15, 0.15), -0.15, 0.5, 0.48)
    p.oval(0, 0.25, 0.6, 0.28)


def butterfly(p: Painter) -> None:
    for side in (-1, 1):
        p.poly(arc(side * 0.5, -0.4, 0.45, p.vary(0.4, 0.5)))
        p.poly(arc(side * 0.42, 0.42, 0.36, 0.38), "second")
        p.line([(0, -0.5), (side * 0.25, -0.95)], 0.07, DARK)
    p.oval(0, 0.05, 0.11, 0.65, DARK)


def umbrella(p: Painter) -> None:
    p.line([(0, -0.2), (0, 0.7), (0.08, 0.88), (0.25, 0.85), (0.3, 0.65)], 0.11, "third")
    p.poly(arc(0, 0, 0.95, p.vary(0.75, 0.95), 180, 360))
    if p.chance(0.5):
        p.poly(arc(0, 0, 0.38, 0.85, 180, 360), "second")


def ladder(p: Painter) -> None:
    rungs, narrow = int(p.rng.integers(4, 7)), p.vary(0.25, 0.45)
    for side in (-1, 1):
        p.line([(side * 0.48, 0.95), (side * narrow, -0.95)], 0.14)
    for rung in range(rungs):
        y = 0.75 - 1.5 * rung / (rungs - 1)
        p.line([(-0.42, y), (0.42, y)], 0.12)


def mushroom(p: Painter) -> None:
    p.poly([(-0.2, -0.1), (0.2, -0.1), (0.32, 0.9), (-0.32, 0.9)], LIGHT if p.chance(0.5) else "third")
    p.poly(arc(0, 0.05, 0.9, p.vary(0.7, 0.95), 180, 360))
    if p.chance(0.7):
        for x, y in ((-0.45, -0.25), (0.05, -0.5), (0.45, -0.22)):
            p.oval(x, y, 0.14, tone="second")


def clock(p: Painter) -> None:
    p.oval(0, 0, 0.9)
    p.oval(0, 0, 0.7, tone=LIGHT)
    long, short = p.vary(0, 360), p.vary(0, 360)
    p.line([(0, 0), arc(0, 0, 0.55, 0.55, long, long + 1)[0]], 0.1, DARK)
    p.line([(0, 0), arc(0, 0, 0.35, 0.35, short, short + 1)[0]], 0.12, DARK)
    for hour in range(0, 360, 90):
        p.oval(*arc(0, 0, 0.6, 0.6, hour, hour + 1)[0], 0.06, tone=DARK)


def bottle(p: Painter) -> None:
    shoulder = p.vary(-0.35, -0.1)
    left = [(-0.14, -0.9), (-0.14, -0.5), (-0.38, shoulder), (-0.38, 0.92)]
    p.poly([*left, *[(-x, y) for x, y in reversed(left)]])
    p.rect(-0.17, -0.97, 0.17, -0.8, "second")
    if p.chance(0.7):
        p.rect(-0.38, 0.2, 0.38, 0.6, "third")


def chair(p: Painter) -> None:
    p.line([(-0.5, -0.95), (-0.5, 0.95)], 0.17)
    p.line([(0.5, 0.15), (0.5, 0.95)], 0.17)
    p.rect(-0.58, 0.05, 0.6, 0.25, "second")
    if p.chance(0.6):
        p.line([(-0.5, -0.85), (-0.35, 0.1)], 0.15, "second")


def balloon(p: Painter) -> None:
    p.line([(0, 0.3), (p.vary(-0.2, 0.2), 0.6), (p.vary(-0.15, 0.15), 0.97)], 0.07, "third")
    p.oval(0, -0.3, p.vary(0.48, 0.62), 0.65)
    p.poly([(0, 0.28), (0.14, 0.46), (-0.14, 0.46)])
    if p.chance(0.5):
        p.oval(-0.2, -0.5, 0.1, 0.16, LIGHT)


def envelope(p: Painter) -> None:
    height = p.vary(0.5, 0.65)
    p.rect(-0.92, -height, 0.92, height)
    p.line([(-0.92, -height), (0, 0.15), (0.92, -height)], 0.1, "second")
    if p.chance(0.5):
        p.line([(-0.92, height), (-0.25, -0.02)], 0.07, "second")
        p.line([(0.92, height), (0.25, -0.02)], 0.07, "second")


def lamp(p: Painter) -> None:
    top = p.vary(0.25, 0.45)
    p.line([(0, -0.1), (0, 0.85)], 0.13, "second")
    p.poly([(-top, -0.9), (top, -0.9), (0.75, 0.0), (-0.75, 0.0)])
    p.oval(0, 0.85, 0.42, 0.12, "second")


def hammer(p: Painter) -> None:
    p.rect(-0.1, -0.5, 0.1, 0.95, "second")
    p.rect(-0.45, -0.85, p.vary(0.3, 0.5), -0.4)
    if p.chance(0.7):
        p.poly([(-0.45, -0.85), (-0.85, -0.6), (-0.45, -0.45)])


def cat(p: Painter) -> None:
    for side in (-1, 1):
        p.poly([(side * 0.7, -0.3), (side * p.vary(0.6, 0.75), -0.95), (side * 0.15, -0.5)])
    p.oval(0, 0.1, 0.75, p.vary(0.62, 0.72))
    for side in (-1, 1):
        p.oval(side * 0.3, -0.05, 0.12, tone=LIGHT)
        p.oval(side * 0.3, -0.05, 0.06, tone=DARK)
        p.line([(side * 0.2, 0.3), (side * 0.85, 0.22)], 0.05, DARK)
    p.poly([(-0.1, 0.2), (0.1, 0.2), (0, 0.33)], "second")


def snowman(p: Painter) -> None:
    p.oval(0, 0.5, 0.48)
    p.oval(0, -0.15, 0.35)
    p.oval(0, -0.6, 0.26)
    if p.chance(0.7):
        p.rect(-0.22, -0.98, 0.22, -0.78, DARK)
    p.poly([(0, -0.62), (0.3, -0.55), (0, -0.52)], "second")
    for y in (-0.2, 0.0, 0.4):
        p.oval(0, y, 0.06, tone=DARK)


def flag(p: Painter) -> None:
    low = p.vary(0.1, 0.35)
    p.line([(-0.6, -0.95), (-0.6, 0.95)], 0.13, "third")
    if p.chance(0.3):
        p.poly([(-0.55, -0.9), (0.9, -0.35), (-0.55, low)])
        return
    p.rect(-0.55, -0.9, 0.9, low)
    if p.chance(0.6):
        p.rect(-0.55, -0.6, 0.9, -0.25, "second")


OBJECTS: dict[str, Callable[[Painter], None]] = {
    draw.__name__: draw
    for draw in (
        *(house, tree, fish, car, boat, cup, key, flower, sun, cloud, butterfly, umbrella),
        *(ladder, mushroom, clock, bottle, chair, balloon, envelope, lamp, hammer, cat, snowman, flag),
    )
}
