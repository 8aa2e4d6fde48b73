"""The pixel cache: views by row and number, from memory-mapped files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from atlas_core.errors import AtlasError
from atlas_core.features.pixels import PixelTable, read_pixels, write_pixels

LABELS = [4, 4, 2, 2, 4, 4]


def pixels(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, 3, 5, 4), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three items (10, 20, 30) with the views 0 and 3, in two files of three rows."""
    items, views, values = np.repeat([10, 20, 30], 2), [0, 3] * 3, pixels(6)
    for start in (0, 3):
        rows = slice(start, start + 3)
        write_pixels(tmp_path / f"{start}.arrow", items[rows], views[rows], LABELS[rows], values[rows])
    return tmp_path


def test_rows_and_views_are_read_in_the_order_asked(folder: Path) -> None:
    table = read_pixels(folder)
    assert (len(table), table.grid()) == (6, (3, 2))
    assert table.item_numbers.tolist() == [10, 20, 30]
    assert table.item_labels.tolist() == [4, 2, 4]
    batch = table.batch([2, 0, 1, 1], [0, 3, 3, 0])
    assert torch.equal(batch, torch.from_numpy(pixels(6)[[4, 1, 3, 2]]))
    assert torch.equal(table.batch([2, 0], 3), torch.from_numpy(pixels(6)[[5, 1]]))
    assert table.batch([], []).shape == (0, 3, 5, 4)


def test_a_batch_is_the_callers_own(folder: Path) -> None:
    table = read_pixels(folder)
    table.batch([0], 0).zero_()
    assert torch.equal(table.batch([0], 0), torch.from_numpy(pixels(6)[:1]))


def test_files_are_mapped_and_not_read(folder: Path) -> None:
    table = read_pixels(folder)
    mapped = Path("/proc/self/maps").read_text()
    assert all(str(path) in mapped for path in folder.glob("*.arrow"))
    assert not any(piece.flags.owndata or piece.flags.writeable for piece in table.pieces)


@pytest.mark.parametrize(("row", "view"), [(3, 0), (-1, 0), (0, 1), (0, 4)])
def test_a_row_or_view_that_is_not_there_is_refused(folder: Path, row: int, view: int) -> None:
    with pytest.raises(AtlasError, match="of the pixel cache"):
        read_pixels(folder).batch([row], [view])


def test_rows_are_sorted_when_written(tmp_path: Path) -> None:
    order = [3, 0, 2, 1]
    write_pixels(tmp_path / "a.arrow", order, [0] * 4, order, pixels(4)[order])
    table = read_pixels(tmp_path / "a.arrow")
    assert table.labels.tolist() == [0, 1, 2, 3]
    assert torch.equal(table.batch(range(4), 0), torch.from_numpy(pixels(4)))


def test_wrong_shapes_and_types_are_refused(tmp_path: Path) -> None:
    for values in (pixels(2), pixels(1).astype(np.float32), pixels(1)[0]):
        with pytest.raises(AtlasError, match="pixels of shape"):
            write_pixels(tmp_path / "a.arrow", [0], [0], [0], values)
    with pytest.raises(AtlasError, match="twice"):
        write_pixels(tmp_path / "a.arrow", [0, 0], [0, 0], [0, 0], pixels(2))
    assert not list(tmp_path.iterdir())


def test_missing_damaged_overlapping_and_mixed_files_are_refused(folder: Path) -> None:
    with pytest.raises(AtlasError, match="no pixel cache"):
        read_pixels(folder / "gone")
    content = (folder / "3.arrow").read_bytes()
    for end in (0, 100, len(content) // 2):
        (folder / "3.arrow").write_bytes(content[:end])
        with pytest.raises(AtlasError, match="not a whole pixel file"):
            read_pixels(folder)
    (folder / "3.arrow").write_bytes((folder / "0.arrow").read_bytes())
    with pytest.raises(AtlasError, match="overlap"):
        read_pixels(folder)
    write_pixels(folder / "3.arrow", [40], [0], [0], pixels(1)[..., :3])
    with pytest.raises(AtlasError, match="different image sizes"):
        read_pixels(folder)


def test_items_with_different_views_are_refused(tmp_path: Path) -> None:
    write_pixels(tmp_path / "a.arrow", [0, 0, 1], [0, 1, 1], [0, 0, 0], pixels(3))
    table: PixelTable = read_pixels(tmp_path / "a.arrow")
    with pytest.raises(AtlasError, match="do not all have"):
        table.batch([0], 1)
