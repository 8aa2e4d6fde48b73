"""Extraction: the features of every view, in order, and after any interruption as if there had been none."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.features.batch_size import automatic_batch_size, fitting_batch_size, is_out_of_memory
from atlas_core.features.cache import FeatureTable, read_features, write_features
from atlas_core.features.extract import discard_shards, extract_features, extract_pixels
from atlas_core.features.images import decode_image
from atlas_core.features.pixels import PixelTable
from atlas_core.features.transforms import draw_view, normalise, test_transform
from tests.features.pictures import damaged_files, encoded, noise

Images = tuple[Path, list[str]]
SIZE = 16
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
PROJECTION = torch.randn(3 * SIZE * SIZE, 5, generator=torch.Generator().manual_seed(0))


def project(pixels: Tensor) -> Tensor:
    return pixels.flatten(1) @ PROJECTION


def mean_colour(pixels: Tensor) -> Tensor:
    """An encoder whose features are the same to the bit for every batch size."""
    return pixels.flatten(2).to(torch.float64).sum(2).float()


def extract(
    source: Images, out_dir: Path, encode: Callable[[Tensor], Tensor] = project, **more: Any
) -> FeatureTable:
    root, names = source
    options = {"n_views": 3, "seed": 1, "batch_size": 4, "workers": 0, **more}
    labels = [10 + index % 3 for index in range(len(names))]
    return extract_features(
        encode, root, names, labels, image_size=SIZE, mean=MEAN, std=STD, out_dir=out_dir, **options
    )


def equal(first: FeatureTable, second: FeatureTable) -> bool:
    names = ("items", "views", "labels", "features")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


class Counting:
    """Counts the images that an encoder sees, and fails when told to."""

    def __init__(self, fail_after: int | None = None, error: Exception | None = None) -> None:
        self.images, self.batches, self.fail_after = 0, [], fail_after
        self.error = error or RuntimeError("device lost")

    def __call__(self, pixels: Tensor) -> Tensor:
        if self.fail_after is not None and self.images >= self.fail_after:
            raise self.error
        self.images += len(pixels)
        self.batches.append(len(pixels))
        return project(pixels)


# -- what is computed ---------------------------------------------------------------------------------------


def test_the_test_transform_gives_one_view_an_image(noise_images: Images, tmp_path: Path) -> None:
    root, names = noise_images
    table = extract(noise_images, tmp_path, n_views="test")
    pixels = torch.stack([test_transform(decode_image(root / name), SIZE) for name in names])
    assert np.allclose(table.features, project(normalise(pixels, MEAN, STD)), rtol=1e-5, atol=1e-4)
    assert table.grid() == (20, 1)
    assert table.labels.tolist() == [10 + index % 3 for index in range(20)]


def test_augmented_views_are_those_that_path_view_and_seed_draw(noise_images: Images, tmp_path: Path) -> None:
    root, names = noise_images
    bank = extract(noise_images, tmp_path, mean_colour).bank()
    for item, view in ((0, 0), (7, 2), (19, 1)):
        drawn = draw_view(decode_image(root / names[item]), names[item], view, 1, SIZE)
        assert np.array_equal(bank[item, view], mean_colour(normalise(drawn[None], MEAN, STD))[0])


@pytest.mark.parametrize(
    "options", [{"batch_size": 1}, {"batch_size": 64}, {"batch_size": "auto"}, {"workers": 2}]
)
def test_batch_size_and_workers_do_not_change_the_views(
    noise_images: Images, tmp_path: Path, options: dict[str, Any]
) -> None:
    expected = extract(noise_images, tmp_path / "a", mean_colour)
    assert equal(expected, extract(noise_images, tmp_path / "b", mean_colour, **options))


def test_workers_do_not_change_a_bit_of_a_real_projection(noise_images: Images, tmp_path: Path) -> None:
    assert equal(extract(noise_images, tmp_path / "a"), extract(noise_images, tmp_path / "b", workers=1))


def test_rows_come_in_the_order_of_item_numbers(noise_images: Images, tmp_path: Path) -> None:
    root, names = noise_images
    numbers = np.random.default_rng(0).permutation(20) * 3
    table = extract(noise_images, tmp_path / "a", mean_colour, items=numbers, n_views=1)
    assert table.items.tolist() == sorted(numbers)
    plain = extract((root, names), tmp_path / "b", mean_colour, n_views=1)
    assert np.array_equal(table.features, plain.features[np.argsort(numbers)])
    assert np.array_equal(table.labels, plain.labels[np.argsort(numbers)])


def test_progress_counts_up_to_all_views(noise_images: Images, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    extract(noise_images, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 60)
    assert seen[-1] == (60, 60)
    assert seen == sorted(seen)


def test_half_precision_is_stored_as_asked(noise_images: Images, tmp_path: Path) -> None:
    table = extract(noise_images, tmp_path / "a", dtype="float16")
    whole = extract(noise_images, tmp_path / "b")
    assert np.array_equal(table.features, whole.features.astype(np.float16))


# -- interruptions ------------------------------------------------------------------------------------------


def test_an_error_loses_no_finished_batch(noise_images: Images, tmp_path: Path) -> None:
    expected = extract(noise_images, tmp_path / "whole")
    first = Counting(fail_after=24)
    with pytest.raises(RuntimeError, match="device lost"):
        extract(noise_images, tmp_path / "cut", first)
    second = Counting()
    assert equal(expected, extract(noise_images, tmp_path / "cut", second))
    assert (first.images, second.images) == (24, 36)
    third = Counting()
    assert equal(expected, extract(noise_images, tmp_path / "cut", third))
    assert third.images == 0


def slow_extraction(root: Path, names: list[str], out_dir: Path, workers: int) -> None:
    def slowly(pixels: Tensor) -> Tensor:
        time.sleep(0.2)  # so that there is something left to lose when the test looks
        return project(pixels)

    extract((root, names), out_dir, slowly, workers=workers, shard_seconds=0.0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_process_loses_one_shard(noise_images: Images, tmp_path: Path, workers: int) -> None:
    expected = extract(noise_images, tmp_path / "whole")
    victim = multiprocessing.get_context("forkserver").Process(
        target=slow_extraction, args=(*noise_images, tmp_path / "cut", workers)
    )
    victim.start()
    while len(list((tmp_path / "cut").glob("rows-*"))) < 4:
        assert victim.is_alive()
        time.sleep(0.01)
    assert victim.pid
    family = descendants(victim.pid)
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    finished = len(list((tmp_path / "cut").glob("rows-*.parquet")))
    rest = Counting()
    assert 4 <= finished < 15
    assert equal(expected, extract(noise_images, tmp_path / "cut", rest))
    assert rest.images == 60 - 4 * finished
    assert bool(family) == bool(workers)
    give_up = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in family):
        assert time.monotonic() < give_up, "decoding processes outlive the killed one"
        time.sleep(0.05)


def descendants(pid: int) -> list[int]:
    children = [
        int(child)
        for listing in Path(f"/proc/{pid}/task").glob("*/children")
        for child in listing.read_text().split()
    ]
    return children + [each for child in children for each in descendants(child)]


def test_a_pixel_cache_goes_on_where_it_was_cut(noise_images: Images, tmp_path: Path) -> None:
    def make(out_dir: Path, **more: Any) -> PixelTable:
        root, names = noise_images
        return extract_pixels(
            root, names, [0] * 20, n_views=30, seed=1, image_size=SIZE, out_dir=out_dir, workers=0, **more
        )

    whole = make(tmp_path / "whole")

    class CutError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 512:
            raise CutError

    with pytest.raises(CutError):
        make(tmp_path / "cut", progress=stop)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("*.arrow")}
    resumed = make(tmp_path / "cut")
    assert len(kept) == 2
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    rows, views = np.repeat(np.arange(20), 30), np.tile(np.arange(30), 20)
    assert torch.equal(resumed.batch(rows, views), whole.batch(rows, views))


def test_the_pixel_cache_holds_what_the_encoder_is_given(noise_images: Images, tmp_path: Path) -> None:
    root, names = noise_images
    table = extract_pixels(
        root,
        names,
        [0] * 20,
        n_views=3,
        seed=1,
        image_size=SIZE,
        out_dir=tmp_path / "p",
        recipe="randaugment",
    )
    features = extract(noise_images, tmp_path / "f", mean_colour, recipe="randaugment").bank()
    pixels = normalise(table.batch([4, 9], [2, 0]), MEAN, STD)
    assert np.array_equal(mean_colour(pixels), features[[4, 9], [2, 0]])


@pytest.mark.parametrize("damage", ["truncate", "empty", "remove"])
def test_a_damaged_shard_and_those_after_it_are_computed_again(
    noise_images: Images, tmp_path: Path, damage: str
) -> None:
    expected = extract(noise_images, tmp_path, shard_seconds=0.0)
    shard = sorted(tmp_path.glob("rows-*"))[5]
    if damage == "remove":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[: 100 if damage == "truncate" else 0])
    again = Counting()
    assert equal(expected, extract(noise_images, tmp_path, again))
    assert again.images == 40


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"identity": "other"}, {"recipe": "randaugment"}, {"n_views": 2}]
)
def test_shards_of_another_extraction_are_not_used(
    noise_images: Images, tmp_path: Path, change: dict[str, Any]
) -> None:
    extract(noise_images, tmp_path / "a")
    other = extract(noise_images, tmp_path / "a", **change)
    assert equal(other, extract(noise_images, tmp_path / "b", **change))


def test_discarding_removes_shards_and_nothing_else(noise_images: Images, tmp_path: Path) -> None:
    extract(noise_images, tmp_path / "a")
    extract(noise_images, tmp_path / "b")
    (tmp_path / "b" / "mine.txt").touch()
    for name in ("a", "b", "never made"):
        discard_shards(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["b", "mine.txt"]


def test_the_table_can_be_saved_beside_the_shards(noise_images: Images, tmp_path: Path) -> None:
    table = extract(noise_images, tmp_path)
    write_features(tmp_path / "features.parquet", table.items, table.views, table.labels, table.features)
    discard_shards(tmp_path)
    assert equal(table, read_features(tmp_path / "features.parquet"))


# -- memory -------------------------------------------------------------------------------------------------


class Narrow:
    """An encoder on a device with room for few images."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room, self.error, self.batches = room, error, []

    def __call__(self, pixels: Tensor) -> Tensor:
        if len(pixels) > self.room:
            raise self.error
        self.batches.append(len(pixels))
        return mean_colour(pixels)


@pytest.mark.parametrize(
    "error",
    [torch.cuda.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory")],
)
def test_automatic_batches_are_halved_until_they_fit(
    noise_images: Images, tmp_path: Path, error: Exception
) -> None:
    narrow = Narrow(8, error)
    table = extract(noise_images, tmp_path / "a", narrow, batch_size="auto")
    assert set(narrow.batches) == {8, 4}
    assert equal(table, extract(noise_images, tmp_path / "b", mean_colour))


def test_a_halved_extraction_goes_on_with_the_batches_it_had(noise_images: Images, tmp_path: Path) -> None:
    extract(noise_images, tmp_path, Narrow(8, MemoryError()), batch_size="auto", shard_seconds=0.0)
    for shard in sorted(tmp_path.glob("rows-*"))[4:]:
        shard.unlink()
    wide = Narrow(1000, MemoryError())
    extract(noise_images, tmp_path, wide, batch_size="auto")
    assert wide.batches == [8, 8, 8, 4]


def test_a_batch_size_that_was_asked_for_is_not_changed(noise_images: Images, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="batches of 16 images do not fit"):
        extract(noise_images, tmp_path, Narrow(8, MemoryError()), batch_size=16)
    with pytest.raises(AtlasError, match="batches of 1 images do not fit"):
        extract(noise_images, tmp_path, Narrow(0, MemoryError()), batch_size="auto")


def test_batches_take_half_of_the_memory_and_are_the_same_on_every_large_device() -> None:
    megabytes = 1 << 20
    for gigabytes in (8, 16, 24, 80):
        assert fitting_batch_size(10 * megabytes, gigabytes << 30) == 256
    assert fitting_batch_size(100 * megabytes, 8 << 30) == 32
    assert fitting_batch_size(8 << 30, 8 << 30) == 1
    assert automatic_batch_size(project, SIZE, torch.device("cpu")) == 32


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    assert not is_out_of_memory(ValueError("out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


# -- bad input ----------------------------------------------------------------------------------------------


def test_a_damaged_image_stops_the_extraction_and_names_its_path(
    noise_images: Images, tmp_path: Path
) -> None:
    damaged = damaged_files(tmp_path)
    (tmp_path / "whole.png").write_bytes(encoded(noise(), "PNG"))
    source = (tmp_path, ["whole.png", *damaged])
    with pytest.raises(AtlasError, match=damaged[0]):
        extract(source, tmp_path / "out")
    table = extract(source, tmp_path / "out", skip_damaged=True)
    assert table.grid() == (1, 3)
    assert set(table.damaged) == set(damaged)
    with pytest.raises(AtlasError, match="none of 9 images"):
        extract((tmp_path, damaged), tmp_path / "out", skip_damaged=True)


def test_features_that_are_not_finite_are_refused_with_the_item(noise_images: Images, tmp_path: Path) -> None:
    def broken(pixels: Tensor) -> Tensor:
        return project(pixels).index_fill(0, torch.tensor([1]), float("nan"))

    with pytest.raises(AtlasError, match="NaN or infinity, as item 0"):
        extract(noise_images, tmp_path, broken)
    assert not list(tmp_path.glob("rows-*"))


def test_an_encoder_of_the_wrong_shape_is_refused(noise_images: Images, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"encoder output of shape \(4,\)"):
        extract(noise_images, tmp_path, lambda pixels: pixels.flatten(1).sum(1))


def test_columns_that_do_not_fit_are_refused(noise_images: Images, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="0 images"):
        extract((tmp_path, []), tmp_path)
    with pytest.raises(AtlasError, match="19 item numbers"):
        extract(noise_images, tmp_path, items=[0, *range(19)])
