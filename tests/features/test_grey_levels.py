"""Grey levels of more than eight bits and fractions: scaled where the scale is plain, refused where it is not."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas_core.errors import AtlasError
from atlas_core.features.grey_levels import grey_scale
from atlas_core.features.images import decode_image

RAMP = np.linspace(0.0, 1.0, 256).reshape(16, 16)


def grey(path: Path) -> list[int]:
    decoded = np.asarray(decode_image(path))
    assert (decoded == decoded[:, :, :1]).all()
    return [int(each) for each in decoded[:, :, 0].ravel()]


@pytest.mark.parametrize("ending", ["png", "tif", "jp2"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_ramp_of_any_depth_is_the_ramp_of_eight_bits(bits: int, ending: str, tmp_path: Path) -> None:
    levels = np.round(RAMP * (2**bits - 1)).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / f"a.{ending}")
    assert np.abs(np.array(grey(tmp_path / f"a.{ending}")) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("largest", [1.0, 255.0, 4095.0, 65535.0])
def test_a_ramp_of_floats_is_the_ramp_of_eight_bits(largest: float, tmp_path: Path) -> None:
    levels = RAMP * largest if largest == 1.0 else np.round(RAMP * largest)
    Image.fromarray(levels.astype(np.float32)).save(tmp_path / "a.tif")
    assert np.abs(np.array(grey(tmp_path / "a.tif")) - np.arange(256)).max() <= 1


@pytest.mark.parametrize(
    "levels",
    [
        np.array([[-0.5, 0.5]], np.float32),
        np.array([[0.0, np.nan]], np.float32),
        np.array([[0.0, np.inf]], np.float32),
        np.array([[0.25, 1.5]], np.float32),
        np.array([[0.25, 254.5]], np.float32),
        np.array([[-1024, 3071]], np.int32),
        np.array([[0, 65536]], np.int32),
    ],
)
def test_levels_on_no_plain_scale_are_refused(levels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(levels).save(tmp_path / "a.tif")
    with pytest.raises(AtlasError, match=r"a\.tif has grey levels from .* save the image with 8 bits"):
        decode_image(tmp_path / "a.tif")


def test_the_advice_for_such_levels_works(tmp_path: Path) -> None:
    levels = np.array([[-1024, 3071]], np.int32)
    Image.fromarray(((levels + 1024) / 4095 * 255).astype(np.uint8)).save(tmp_path / "a.png")
    assert grey(tmp_path / "a.png") == [0, 255]


def test_a_black_image_is_black(tmp_path: Path) -> None:
    for kind in (np.uint16, np.int32, np.float32):
        Image.fromarray(np.zeros((2, 2), kind)).save(tmp_path / "a.tif")
        assert grey(tmp_path / "a.tif") == [0] * 4


def test_the_scale_is_the_smallest_that_holds_the_levels() -> None:
    for largest, scale in ((255, "8 bits"), (256, "12 bits"), (4095, "12 bits"), (4096, "16 bits")):
        assert grey_scale(np.array([0, largest])) == scale
    assert grey_scale(np.array([0.0, 0.4])) == "0 to 1"
    assert grey_scale(np.array([], np.uint16)) == "8 bits"


def sixteen_bit_png(path: Path, pixels: np.ndarray) -> None:
    """A colour PNG of 16 bits, which PIL cannot write (PNG specification, section 5)."""
    height, width, channels = pixels.shape
    kind = {2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_sixteen_bits_are_read_and_of_twelve_refused(channels: int, tmp_path: Path) -> None:
    sixteen_bit_png(tmp_path / "a.png", np.full((2, 2, channels), 65535, np.uint16))
    assert np.asarray(decode_image(tmp_path / "a.png")).min() == 255
    sixteen_bit_png(tmp_path / "b.png", np.full((2, 2, channels), 4095, np.uint16))
    with pytest.raises(AtlasError, match=r"b\.png has colours below 4096 of 65536"):
        decode_image(tmp_path / "b.png")
    sixteen_bit_png(tmp_path / "c.png", np.zeros((2, 2, channels), np.uint16))
    assert np.asarray(decode_image(tmp_path / "c.png")).max() == 0


def test_the_small_inputs_that_were_black(shared_inputs: Path) -> None:
    for name in ("float01.tif", "grey12.png"):
        levels = np.asarray(decode_image(shared_inputs / "float-and-12-bit-grey" / name))
        assert levels.min() == 0
        assert levels.max() == 255
