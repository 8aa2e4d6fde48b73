"""Image files in many formats, sound and damaged, made byte by byte where Pillow does not write them."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def noise(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int, bit_depth: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG file from its raw samples, `height` rows of big-endian values."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    stride = len(rows) // height
    scanlines = b"".join(b"\0" + rows[start : start + stride] for start in range(0, len(rows), stride))
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep_colour_png(levels: np.ndarray) -> bytes:
    """16 bits a channel, RGB, from `[H, W, 3]`."""
    return png(levels.shape[1], levels.shape[0], 16, 2, levels.astype(">u2").tobytes())


def png_of_claimed_size(width: int, height: int) -> bytes:
    """A PNG that says it is huge and holds one row."""
    return png(width, height, 8, 0, b"\0" * height)


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (12, 9), colour) for colour in ("red", "green", "blue")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def damaged_files(folder: Path) -> list[str]:
    """Write one file for each kind of damage into `folder`; their names."""
    whole_jpeg, whole_png = encoded(noise(200, 200), "JPEG"), encoded(noise(60, 60), "PNG")
    contents = {
        "empty.jpg": b"",
        "text.jpg": b"<html>404 Not Found</html>",
        "header only.jpg": whole_jpeg[:3],
        "half.jpg": whole_jpeg[: len(whole_jpeg) // 2],
        "half.png": whole_png[: len(whole_png) // 2],
        "flipped.png": whole_png[:60] + bytes([whole_png[60] ^ 255]) + whole_png[61:],
        "huge.png": png_of_claimed_size(60_000, 60_000)[:2000],
        "quote ' and ü.gif": b"GIF89a\x01",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    return [*contents, "folder.jpg"]
