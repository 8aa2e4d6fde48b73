"""The feature benchmark runs at a small size and says what it measured."""

from pathlib import Path

import pytest

from atlas_core.bench.features import extraction_rows, layout_rows, rows, soft_label_rows
from atlas_core.errors import AtlasError
from tests.features.pictures import encoded, noise


def test_every_layout_is_written_and_read() -> None:
    layouts = list(layout_rows(features=50, width=8, pixels=4, repeats=1))
    assert sum(bool(row["chosen"]) for row in layouts) == 3
    assert all(row["seconds"] > 0 and row["write_seconds"] > 0 and row["megabytes"] > 0 for row in layouts)  # type: ignore[operator]
    assert len({row["name"] for row in layouts}) == len(layouts) == 11


def test_soft_labels_are_timed_beside_the_reading_of_features() -> None:
    names = [str(row["name"]).split()[0] for row in soft_label_rows(classes=5, images=40, width=8, repeats=1)]
    assert names == ["read", "ISL", "CSL"]


@pytest.mark.slow
def test_a_quick_run_measures_everything() -> None:
    measured = rows(quick=True, repeats=1)
    assert len(measured) == 11 + 3 + 1
    assert measured[-1]["goal"] == pytest.approx(0.909, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("own_images", [False, True])
def test_decoding_and_encoding_are_timed_beside_the_bare_encoder(tmp_path: Path, own_images: bool) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(noise(300, 200), "JPEG"))
    folder = tmp_path if own_images else None
    (row,) = extraction_rows("ViT-B-32", folder, images=3, workers=0, repeats=1)
    assert str(row["name"]).startswith(f"decode and encode {1 if own_images else 3} images, ViT-B-32 on cpu")
    assert row["overhead"] == row["seconds"] / row["bare_seconds"] - 1  # type: ignore[operator]


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(AtlasError, match="open_clip model name"):
        list(extraction_rows("ViT-B-99"))
