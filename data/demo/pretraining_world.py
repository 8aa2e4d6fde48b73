"""The images and captions that the demo CLIP is pre-trained on.

The same drawing routines as the demo datasets in another distribution: calmer images and fewer backgrounds, but
named colours, some sketches and blur, font as well as stroke letters, and drawn digits (never the scanned ones).
Like web data it is uneven and not quite right: some concepts are rare, a few are missing, some captions are wrong.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from atlas_core.datasets.demo import scenes
from atlas_core.datasets.demo.canvas import SIZE, Colour, Painter, World
from atlas_core.datasets.demo.colours import COLOURS, shade_of
from atlas_core.datasets.demo.glyphs import DIGITS, LETTERS, digit
from atlas_core.datasets.demo.objects import OBJECTS
from atlas_core.datasets.demo.shapes import SHAPES
from atlas_core.datasets.demo.textures import TEXTURES, render_texture

WRONG_CAPTION = 0.06
ANY, UNKNOWN = -1, -2

KINDS = {
    "object": 0.44,
    "shape": 0.14,
    "texture": 0.1,
    "letter": 0.09,
    "digit": 0.09,
    "count": 0.09,
    "colour": 0.05,
}
RARE = {
    "cup": 0.25,
    "lamp": 0.2,
    "boat": 0.3,
    "woven": 0.25,
    "pentagon": 0.3,
    "letter r": 0.3,
    "letter z": 0.3,
}
MISSING = ("hammer", "scaly", "letter m")

WORLD = World(
    rotation=20,
    scale=(0.5, 0.95),
    shift=0.15,
    warp=0.05,
    noise=(0.0, 0.08),
    clutter=(0, 4),
    occlusion=0.15,
    texture=0.12,
    contrast=(0.55, 1.0),
)
SKETCH = dataclasses.replace(WORLD, line_art=1.0, clutter=(0, 1), occlusion=0.0)

OBJECT_TEMPLATES = (
    "a photo of a {}.", "a photo of a {}.", "a picture of a {}.", "an image of a {}.", "a drawing of a {}.",
    "a {}", "{}", "this is a {}.", "there is a {} in this picture.", "a photo of one {}.",
    "a {} on a plain background",
    "this is a rather noisy picture in which somebody has drawn a {}, as well as they could.",
)  # fmt: skip
TEXTURE_TEMPLATES = (
    "{} texture.", "a photo of a {} texture.", "a {} pattern", "a {} surface", "a photo of a {} pattern.",
    "{}",
    "a close-up photo of a {} thing.", "a photo of a {}.",
)  # fmt: skip
LETTER_TEMPLATES = (
    "a photo of the {}.",
    "the {}",
    "{}",
    "a photo of a {}.",
    "the {} written with a pen",
    "a drawing of the {}.",
)
COUNT_TEMPLATES = (
    "a photo of {}.",
    "{}",
    "there are {} in this picture.",
    "a drawing of {}.",
    "a photo of a {}.",
    "{} on a plain background",
)
COLOUR_TEMPLATES = (
    "a photo of a {} thing.",
    "something {}",
    "a photo of a {}.",
    "{}",
    "a {} thing",
    "the colour {}",
    "a drawing in {}",
)


@dataclass(frozen=True)
class Facts:
    """What a caption could say of an image: numbers in `VOCABULARY`, UNKNOWN where nothing is known."""

    concept: int = UNKNOWN
    colour: int = UNKNOWN
    count: int = UNKNOWN
    style: int = UNKNOWN

    def row(self) -> tuple[int, int, int, int]:
        """As a table row."""
        return self.concept, self.colour, self.count, self.style


CONCEPTS = [
    *OBJECTS, *SHAPES, *TEXTURES, *(f"letter {n}" for n in LETTERS), *(f"digit {n}" for n in DIGITS),
]  # fmt: skip
COLOUR_NAMES = list(COLOURS)
_FAMILY = {
    "object": list(OBJECTS),
    "shape": list(SHAPES),
    "texture": list(TEXTURES),
    "letter": [f"letter {n}" for n in LETTERS],
    "digit": [f"digit {n}" for n in DIGITS],
}


@dataclass(frozen=True)
class Pair:
    """An image, what is believed of it, which captions suit it, and whether it may be mirrored."""

    image: NDArray[np.uint8]
    kind: str
    facts: Facts
    flips: bool


def _pick_concept(rng: np.random.Generator, kind: str) -> str:
    names = [name for name in _FAMILY[kind] if name not in MISSING]
    weights = np.asarray([RARE.get(name, 1.0) for name in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def _font_image(rng: np.random.Generator, text: str, colour: Colour, ground: Colour) -> Image.Image:
    big = Image.new("RGB", (96, 96), ground)
    font = ImageFont.load_default(size=int(rng.integers(50, 92)))
    x, y = (48 + int(d) for d in rng.integers(-8, 9, size=2))
    pen, stroke = ImageDraw.Draw(big), int(rng.integers(0, 4))
    pen.text((x, y), text, fill=colour, font=font, anchor="mm", stroke_width=stroke, stroke_fill=colour)
    return big.rotate(float(rng.uniform(-12, 12)), Image.Resampling.BILINEAR, fillcolor=ground).reduce(2)


def _digit_image(rng: np.random.Generator, name: str, colour: Colour | None) -> Image.Image:
    """A digit: in colours, or coarse and white on black like a scan; from a font one time in four."""
    coarse = rng.random() < 0.5
    ink: Colour = (255, 255, 255) if coarse else colour or (230, 230, 230)
    if rng.random() < 0.25:
        ground = (0, 0, 0) if coarse else (30, 30, 40)
        image = _font_image(rng, str(list(DIGITS).index(name)), ink, ground)
    else:
        world = dataclasses.replace(WORLD, warp=0.1, scale=(0.7, 0.95), stretch=0.25, outline=0.0)
        if coarse:
            world = dataclasses.replace(world, noise=(0, 0.02), clutter=(0, 0), occlusion=0.0)
            world = dataclasses.replace(world, texture=0.0, contrast=(1, 1))
        painter = Painter(rng, world, ink)
        if coarse:
            painter.ground, painter.world = (0, 0, 0), dataclasses.replace(world, backgrounds=("flat",))
        painter.place_at_random(mirror=False)
        digit(painter, name, jitter=0.12)
        image = painter.finish()
    if coarse:
        cells = int(rng.integers(8, 13))
        coarse_image = image.resize((cells, cells), Image.Resampling.BOX)
        image = coarse_image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return image


def draw_pair(seed: int, number: int) -> Pair:
    """Image `number` of the pool, a function of the seed."""
    rng = np.random.default_rng((seed, 48, number))
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    colour = int(rng.integers(len(COLOUR_NAMES))) if rng.random() < 0.5 else UNKNOWN
    shade = shade_of(rng, COLOUR_NAMES[colour], 14) if colour >= 0 else None
    style, count, concept = UNKNOWN, UNKNOWN, UNKNOWN
    world = WORLD
    if kind in _FAMILY:
        name = _pick_concept(rng, kind)
        concept = CONCEPTS.index(name)
    if kind in ("object", "shape") and rng.random() < 0.06:
        world, style, colour = SKETCH, 0, UNKNOWN
    if kind == "object":
        image = scenes.render_object(rng, world, name, shade)
    elif kind == "shape":
        image = scenes.render_shape(rng, world, name, shade)
    elif kind == "texture":
        noisy = dataclasses.replace(WORLD, rotation=40, texture=0.25, scale=(0.5, 1.2))
        image, colour = render_texture(rng, noisy, name), UNKNOWN
    elif kind == "letter":
        letter = name.removeprefix("letter ")
        if rng.random() < 0.4:
            image = _font_image(rng, letter.upper(), shade or (240, 240, 240), (40, 45, 50))
        else:
            bent = dataclasses.replace(WORLD, warp=0.1, stretch=0.25)
            image = scenes.render_letter(rng, bent, letter, shade)
    elif kind == "digit":
        image, colour = _digit_image(rng, name.removeprefix("digit "), shade), UNKNOWN
    elif kind == "count":
        count = int(rng.integers(1, 10))
        mixed = rng.random() < 0.3
        shape = None if mixed else str(rng.choice(list(SHAPES)))
        concept = UNKNOWN if shape is None else CONCEPTS.index(shape)
        calm = dataclasses.replace(WORLD, clutter=(0, 1), occlusion=0.0)
        image = scenes.render_count(rng, calm, count, shape, mixed=float(mixed), colour=shade)
    else:
        colour = int(rng.integers(len(COLOUR_NAMES)))
        image = scenes.render_colour(rng, WORLD, COLOUR_NAMES[colour], spread=14)
    if style == UNKNOWN and rng.random() < 0.06:
        image, style = scenes.blurred(image, float(rng.uniform(0.5, 1.3))), 1
    if kind in _FAMILY and rng.random() < WRONG_CAPTION:
        concept = CONCEPTS.index(_pick_concept(rng, kind))
    pixels = np.asarray(image, dtype=np.uint8)
    return Pair(pixels, kind, Facts(concept, colour, count, style), kind not in ("letter", "digit"))


def write_caption(rng: np.random.Generator, kind: str, facts: Facts) -> tuple[str, Facts]:
    """A caption for an image, and the facts that it mentions (ANY where it is silent)."""
    colour = COLOUR_NAMES[facts.colour] if facts.colour >= 0 and rng.random() < 0.4 else ""
    said_colour = facts.colour if colour else ANY
    if kind == "colour" or (kind in ("object", "shape") and facts.colour >= 0 and rng.random() < 0.08):
        template = COLOUR_TEMPLATES[int(rng.integers(len(COLOUR_TEMPLATES)))]
        return template.format(COLOUR_NAMES[facts.colour]), Facts(ANY, facts.colour, ANY, ANY)
    if kind == "count":
        number = scenes.NUMBERS[facts.count - 1]
        named = facts.concept >= 0 and rng.random() < 0.35
        noun = CONCEPTS[facts.concept] if named else ("thing", "thing", "object", "dot")[int(rng.integers(4))]
        noun += "" if facts.count == 1 else "es" if noun in ("cross",) else "s"
        words = " ".join(filter(None, (number, colour, noun)))
        template = COUNT_TEMPLATES[int(rng.integers(len(COUNT_TEMPLATES)))]
        return template.format(words), Facts(facts.concept if named else ANY, said_colour, facts.count, ANY)
    concept = CONCEPTS[facts.concept]
    templates = {"texture": TEXTURE_TEMPLATES, "letter": LETTER_TEMPLATES, "digit": LETTER_TEMPLATES}.get(
        kind, OBJECT_TEMPLATES
    )
    template = templates[int(rng.integers(len(templates)))]
    said_style = ANY
    if facts.style >= 0 and rng.random() < 0.5:
        template = ("a sketch of a {}.", "a blurry photo of a {}.")[facts.style]
        said_style = facts.style
    words = f"{colour} {concept}" if colour else concept
    return template.format(words), Facts(facts.concept, said_colour, ANY, said_style)
