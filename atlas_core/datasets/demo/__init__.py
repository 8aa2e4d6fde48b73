"""The embedded demo world: small seeded datasets that are drawn, not downloaded.

`demo_objects` is the source; four domain-shifted versions draw the same classes in another style; six targets
are of another nature. Only `demo_digits` holds real data (scikit-learn's scans of handwritten digits).
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from atlas_core.datasets.demo import scenes, worlds
from atlas_core.datasets.demo.canvas import SIZE
from atlas_core.datasets.demo.colours import COLOURS
from atlas_core.datasets.demo.glyphs import LETTERS
from atlas_core.datasets.demo.objects import OBJECTS
from atlas_core.datasets.demo.shapes import SHAPES
from atlas_core.datasets.demo.textures import TEXTURES, render_texture
from atlas_core.errors import AtlasError

__all__ = ["DEMO_DATASETS", "SIZE", "DemoDataset", "generate"]

SPLITS = ("train", "val", "test")
Renderer = Callable[[np.random.Generator, str], Image.Image]


@dataclass(frozen=True)
class DemoDataset:
    """One demo dataset. `sizes` is images a class in each split; `render` is None for scanned digits."""

    name: str
    title: str
    description: str
    class_names: tuple[str, ...]
    render: Renderer | None
    sizes: Mapping[str, int] = field(default_factory=lambda: {"train": 32, "val": 4, "test": 30})

    @property
    def n_images(self) -> int:
        """Images in all splits together."""
        return sum(self.sizes.values()) * len(self.class_names)


def _object(rng: np.random.Generator, name: str) -> Image.Image:
    return scenes.render_object(rng, worlds.OBJECT_WORLD, name)


def _sketch(rng: np.random.Generator, name: str) -> Image.Image:
    return scenes.render_object(rng, worlds.SKETCH_WORLD, name)


def _inverted(rng: np.random.Generator, name: str) -> Image.Image:
    return scenes.inverted(_object(rng, name))


def _blurred(rng: np.random.Generator, name: str) -> Image.Image:
    return scenes.blurred(_object(rng, name), float(rng.uniform(1.2, 2.2)))


def _pixelated(rng: np.random.Generator, name: str) -> Image.Image:
    return scenes.pixelated(_object(rng, name), int(rng.integers(14, 21)))


def _shape(rng: np.random.Generator, name: str) -> Image.Image:
    return scenes.render_shape(rng, worlds.SHAPE_WORLD, name)


def _texture(rng: np.random.Generator, name: str) -> Image.Image:
    return render_texture(rng, worlds.TEXTURE_WORLD, name)


def _glyph(rng: np.random.Generator, name: str) -> Image.Image:
    return scenes.render_letter(rng, worlds.GLYPH_WORLD, name.removeprefix("letter "))


def _count(rng: np.random.Generator, name: str) -> Image.Image:
    return scenes.render_count(rng, worlds.COUNT_WORLD, scenes.NUMBERS.index(name.split()[0]) + 1)


def _colour(rng: np.random.Generator, name: str) -> Image.Image:
    return scenes.render_colour(rng, worlds.COLOUR_WORLD, name, spread=34)


_OBJECT_NAMES = tuple(sorted(OBJECTS))
_DIGIT_NAMES = ("zero", *scenes.NUMBERS)
_SHIFTED = {"train": 4, "val": 1, "test": 25}


def _all_datasets() -> Iterator[DemoDataset]:
    yield DemoDataset("demo_objects", "DemoObjects", "Drawn everyday objects", _OBJECT_NAMES, _object)
    for style, render in (
        ("sketch", _sketch),
        ("inverted", _inverted),
        ("blurred", _blurred),
        ("pixelated", _pixelated),
    ):
        title, text = f"DemoObjects-{style.title()}", f"The classes of demo_objects, {style}"
        yield DemoDataset(f"demo_objects_{style}", title, text, _OBJECT_NAMES, render, _SHIFTED)
    yield DemoDataset("demo_shapes", "DemoShapes", "Geometric shapes", tuple(sorted(SHAPES)), _shape)
    yield DemoDataset(
        "demo_textures", "DemoTextures", "Procedural textures", tuple(sorted(TEXTURES)), _texture
    )
    letters = tuple(f"letter {name}" for name in sorted(LETTERS))
    yield DemoDataset("demo_glyphs", "DemoGlyphs", "Capital letters in pen strokes", letters, _glyph)
    counts = tuple("one thing" if n == "one" else f"{n} things" for n in scenes.NUMBERS[:8])
    yield DemoDataset("demo_counts", "DemoCounts", "One to eight things", counts, _count)
    yield DemoDataset("demo_colors", "DemoColors", "Things by colour", tuple(sorted(COLOURS)), _colour)
    digits = tuple(f"digit {name}" for name in _DIGIT_NAMES)
    yield DemoDataset(
        "demo_digits", "DemoDigits", "Real handwritten digits (UCI, from scikit-learn)", digits, None
    )


DEMO_DATASETS: dict[str, DemoDataset] = {dataset.name: dataset for dataset in _all_datasets()}


def _drawn(dataset: DemoDataset, render: Renderer, seed: int) -> Iterator[tuple[str, str, int, Image.Image]]:
    for split_number, split in enumerate(SPLITS):
        for name in dataset.class_names:
            for number in range(dataset.sizes[split]):
                # Every image has its own stream: changing a split's size changes no other image.
                keys = (seed, zlib.crc32(f"{dataset.name}/{name}".encode()), split_number, number)
                yield split, name, number, render(np.random.default_rng(keys), name)


def _scanned(dataset: DemoDataset, seed: int) -> Iterator[tuple[str, str, int, Image.Image]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng((seed, 8)).permutation(len(digits.target))
    for label, name in enumerate(dataset.class_names):
        rows = iter(order[digits.target[order] == label])
        for split in SPLITS:
            for number in range(dataset.sizes[split]):
                yield split, name, number, scenes.upscaled_digit(digits.images[next(rows)])


def generate(name: str, destination: Path, seed: int = 0) -> None:
    """Write a demo dataset as `destination/{train,val,test}/<class_name>/<number>.png`.

    The folder appears whole or not at all. Equal seeds give equal bytes (with equal versions of numpy and Pillow).

    Raises:
        AtlasError: The name is no demo dataset's, or the folder holds something.
    """
    if name not in DEMO_DATASETS:
        raise AtlasError(f"unknown demo dataset {name!r}", expected=", ".join(DEMO_DATASETS))
    if os.path.lexists(destination) and not (destination.is_dir() and not any(destination.iterdir())):
        raise AtlasError(
            f"{destination} is there and not empty", expected="a new folder", fix="choose another one"
        )
    dataset = DEMO_DATASETS[name]
    images = _scanned(dataset, seed) if dataset.render is None else _drawn(dataset, dataset.render, seed)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as scratch:
        fresh = Path(scratch) / "fresh"
        for split, class_name, number, image in images:
            folder = fresh / split / class_name.replace(" ", "_")
            if number == 0:
                folder.mkdir(parents=True)
            # Noise hardly compresses: the fastest level costs 2 % of the size and saves 8 % of the time.
            image.save(folder / f"{number:03d}.png", compress_level=1)
        os.replace(fresh, destination)
