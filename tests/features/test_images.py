"""Decoding: many formats in, RGB out, in the same order and with the same draws however it is done."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atlas_core.errors import AtlasError
from atlas_core.features import images
from atlas_core.features.images import decode_image, iter_views, worker_count
from tests.features.pictures import animation, damaged_files, deep_colour_png, encoded, noise, png

Images = tuple[Path, list[str]]
Collected = tuple[torch.Tensor, np.ndarray, np.ndarray]


def collect(source: Images, **options: object) -> Collected:
    arguments = {"seed": 1, "image_size": 24, "batch_size": 7, "workers": 0, **options}
    batches = list(iter_views(*source, arguments.pop("views", 3), **arguments))  # type: ignore[call-overload]
    return (
        torch.cat([batch.pixels for batch in batches]),
        np.concatenate([batch.positions for batch in batches]),
        np.concatenate([batch.views for batch in batches]),
    )


def same(first: Collected, second: Collected) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


# -- what a file becomes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(Image.new("CMYK", (8, 6), (0, 255, 255, 0)), "JPEG", quality=100), (255, 0, 0)),
        (encoded(Image.new("L", (8, 6), 77), "PNG"), (77, 77, 77)),
        (encoded(Image.new("1", (8, 6), 1), "PNG"), (255, 255, 255)),
        (encoded(Image.new("RGB", (8, 6), "red").quantize(4), "PNG"), (255, 0, 0)),
        (encoded(Image.new("RGBA", (8, 6), (10, 20, 30, 0)), "PNG"), (10, 20, 30)),
        (encoded(Image.new("LA", (8, 6), (40, 0)), "PNG"), (40, 40, 40)),
        (encoded(Image.new("RGB", (8, 6), (1, 2, 3)), "BMP"), (1, 2, 3)),
        (encoded(Image.new("RGB", (8, 6), (1, 2, 3)), "TIFF"), (1, 2, 3)),
        (encoded(Image.new("RGB", (8, 6), (1, 2, 3)), "WEBP", lossless=True), (1, 2, 3)),
        (encoded(Image.new("I;16", (8, 6), 0x8040), "PNG"), (0x80, 0x80, 0x80)),
        (encoded(Image.new("I;16", (8, 6), 0x8040), "TIFF"), (0x80, 0x80, 0x80)),
        (encoded(Image.new("I;16", (8, 6), 200), "PNG"), (200, 200, 200)),
        (deep_colour_png(np.full((6, 8, 3), [0x1234, 0x5678, 0x9ABC])), (0x12, 0x56, 0x9A)),
        (png(8, 6, 4, 0, b"\x77" * 4 * 6), (0x77, 0x77, 0x77)),
        (animation("GIF"), (255, 0, 0)),
        (animation("PNG"), (255, 0, 0)),
    ],
    ids=[
        "cmyk",
        "grey",
        "one-bit",
        "palette",
        "transparent",
        "grey-alpha",
        "bmp",
        "tiff",
        "webp",
        "grey16-png",
        "grey16-tiff",
        "grey16-with-8-bits",
        "rgb16",
        "grey4",
        "animated-gif",
        "animated-png",
    ],
)
def test_every_format_gives_its_colours_in_rgb(
    tmp_path: Path, content: bytes, expected: tuple[int, ...]
) -> None:
    (tmp_path / "image").write_bytes(content)
    image = decode_image(tmp_path / "image")
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image).astype(int) - expected).max() <= 1


def test_the_published_code_does_not_turn_images_by_their_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "turned.jpg").write_bytes(encoded(noise(40, 30), "JPEG", exif=exif))
    with Image.open(tmp_path / "turned.jpg") as published:
        expected = published.convert("RGB")
    decoded = decode_image(tmp_path / "turned.jpg")
    assert decoded.size == (40, 30)
    assert np.array_equal(decoded, expected)


def test_photographs_decode_as_pillow_decodes_them(caltech: Images) -> None:
    root, names = caltech
    for name in names:
        with Image.open(root / name) as published:
            assert np.array_equal(decode_image(root / name), published.convert("RGB"))


# -- damage -------------------------------------------------------------------------------------------------


def test_each_kind_of_damage_is_reported_with_the_path(tmp_path: Path) -> None:
    names = damaged_files(tmp_path)
    assert len(names) == 9
    for name in names:
        with pytest.raises(AtlasError, match="cannot be decoded") as error:
            decode_image(tmp_path / name)
        assert str(tmp_path / name) in error.value.what


def test_a_missing_image_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"gone\.jpg is missing"):
        decode_image(tmp_path / "gone.jpg")


@pytest.mark.parametrize("workers", [0, 1])
def test_damage_stops_the_extraction_unless_it_may_be_skipped(tmp_path: Path, workers: int) -> None:
    damaged = damaged_files(tmp_path)
    (tmp_path / "whole.png").write_bytes(encoded(noise(), "PNG"))
    names = [*damaged[:3], "whole.png", *damaged[3:]]
    options = {"seed": 0, "image_size": 16, "batch_size": 4, "workers": workers}
    with pytest.raises(AtlasError, match=damaged[0]):
        list(iter_views(tmp_path, names, 2, **options))  # type: ignore[call-overload]
    batches = list(iter_views(tmp_path, names, 2, skip_damaged=True, **options))  # type: ignore[call-overload]
    assert {name for batch in batches for name, _ in batch.damaged} == set(damaged)
    assert [
        (int(p), int(v)) for batch in batches for p, v in zip(batch.positions, batch.views, strict=True)
    ] == [
        (3, 0),
        (3, 1),
    ]
    assert [batch.first_row for batch in batches] == list(range(0, 20, 4))
    assert sum(len(batch.pixels) for batch in batches) == 2


# -- order and draws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["random_resized_crop", "randaugment", "test"])
def test_views_do_not_depend_on_the_batch_size(noise_images: Images, recipe: str) -> None:
    expected = collect(noise_images, batch_size=1, recipe=recipe)
    for batch_size in (2, 7, 60, 1000):
        assert same(expected, collect(noise_images, batch_size=batch_size, recipe=recipe))


@pytest.mark.parametrize("workers", [1, 2])
def test_views_do_not_depend_on_the_number_of_workers(noise_images: Images, workers: int) -> None:
    assert same(collect(noise_images), collect(noise_images, workers=workers))


def test_a_view_of_an_image_does_not_depend_on_what_else_is_drawn(noise_images: Images) -> None:
    root, names = noise_images
    all_views, positions, views = collect(noise_images, views=5)
    alone, _, _ = collect((root, [names[11]]), views=(3,))
    assert torch.equal(alone[0], all_views[(positions == 11) & (views == 3)][0])


def test_a_start_in_the_middle_gives_the_rest(noise_images: Images) -> None:
    pixels, positions, views = collect(noise_images)
    assert same((pixels[25:], positions[25:], views[25:]), collect(noise_images, first_row=25))


# -- worker processes ---------------------------------------------------------------------------------------


def test_small_sets_are_decoded_in_this_process_and_large_ones_on_every_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(images, "available_cores", lambda: 3)
    assert worker_count("auto", images.SMALL_SET - 1, 8, 32) == 0
    assert worker_count("auto", images.SMALL_SET, 8, 32) == 3
    assert worker_count(2, 1, 8, 32) == 2


def test_workers_are_no_more_than_shared_memory_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("usage", (), {"free": 64 << 20})
    monkeypatch.setattr(images, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(images.shutil, "disk_usage", lambda path: usage)
    assert worker_count(16, 10_000, 64, 224) == 1
    assert worker_count(16, 10_000, 256, 224) == 0


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(AtlasError, match="-1 workers"):
        worker_count(-1, 10, 8, 32)


def test_a_killed_worker_is_an_error_with_advice(noise_images: Images) -> None:
    root, names = noise_images
    batches = iter_views(root, names, 40, seed=0, image_size=96, batch_size=4, workers=1)
    next(batches)
    children = [int(pid) for pid in _children_of_forkserver()]
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(AtlasError, match="was killed"):
        list(batches)


def _children_of_forkserver() -> list[str]:
    """The decoding processes: children of this process's fork server."""
    from multiprocessing import forkserver

    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return Path(f"/proc/{server}/task/{server}/children").read_text().split()
