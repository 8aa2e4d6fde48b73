"""Images that cannot be decoded, and odd ones that can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from atlas_core.features.images import decode_image
from tests.bad_input.table import Ground, accepted, refused, refused_each


def _first_image(folder: Path) -> Path:
    return sorted(folder.rglob("*.png"))[0]


def _damage_all(change: Callable[[Path], object]) -> Callable[[Ground], None]:
    """Change every image of one base class: some of them are trained or tested on whichever they are."""

    def act(ground: Ground) -> None:
        for path in sorted((ground.ponds / "blue jay").iterdir()):
            change(path)
        ground.study()

    return act


def _bomb(path: Path) -> None:
    """A PNG of a few kB that says that it has 196 million pixels."""
    Image.new("1", (14_000, 14_000)).save(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


refused_each(
    "image",
    {
        "empty": ("cannot be decoded", _damage_all(lambda path: path.write_bytes(b"") and None)),
        "truncated": (
            "cannot be decoded",
            _damage_all(lambda path: path.write_bytes(path.read_bytes()[:300]) and None),
        ),
        "a web page": (
            "cannot be decoded",
            _damage_all(lambda path: path.write_text("<html>404</html>") and None),
        ),
        "a folder": ("class folders without images", _damage_all(_folder)),
        "a broken link": ("blue jay", _damage_all(lambda path: (path.unlink(), path.symlink_to("gone"))[0])),
    },
    may_add=True,
)


@refused("cannot be decoded")
def an_image_of_196_million_pixels(ground: Ground) -> None:
    _bomb(ground.folder / "bomb.png")
    decode_image(ground.folder / "bomb.png")


@refused("missing")
def an_image_that_is_missing(ground: Ground) -> None:
    decode_image(ground.folder / "absent.png")


def _taken(name: str, write: Callable[[Path], object]) -> None:
    """An image that must be decoded, and with which a study runs to its end."""

    def act(ground: Ground) -> None:
        victim = _first_image(ground.ponds)
        path = victim.with_name(name)
        victim.unlink()
        write(path)
        assert decode_image(path).mode == "RGB"
        ground.study()

    act.__name__ = f"image {name}"
    accepted(act)


def _pixels(height: int = 40, width: int = 40, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def _rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(_pixels(30, 50)).save(path, exif=exif)


def _animated(path: Path) -> None:
    frames = [Image.fromarray(_pixels()).quantize(8) for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


_taken("cmyk.jpg", lambda path: Image.fromarray(_pixels(channels=4), "CMYK").save(path))
_taken("deep.png", lambda path: Image.fromarray(_pixels()[:, :, 0].astype(np.uint16) * 257).save(path))
_taken("animated.gif", _animated)
_taken("rotated.jpg", _rotated)
_taken("palette.png", lambda path: Image.fromarray(_pixels()).quantize(16).save(path, transparency=0))
_taken("alpha.png", lambda path: Image.fromarray(_pixels(channels=4), "RGBA").save(path))
_taken("grey.png", lambda path: Image.fromarray(_pixels()[:, :, 0]).save(path))
_taken("bits.png", lambda path: Image.fromarray(_pixels()[:, :, 0]).convert("1").save(path))
_taken("one pixel.png", lambda path: Image.fromarray(_pixels(1, 1)).save(path))
_taken("a strip.png", lambda path: Image.fromarray(_pixels(2, 3000)).save(path))
_taken("名前 'quoted\" [red].png", lambda path: Image.fromarray(_pixels()).save(path))


@accepted
def an_exif_orientation_is_left_alone_as_in_the_published_code(ground: Ground) -> None:
    _rotated(ground.folder / "rotated.jpg")
    assert decode_image(ground.folder / "rotated.jpg").size == (50, 30)


@accepted
def sixteen_bits_are_scaled_and_not_clipped(ground: Ground) -> None:
    path = ground.folder / "deep.png"
    Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16)).save(path)
    assert np.asarray(decode_image(path))[0, :, 0].tolist() == [0, 128, 255]
