"""The feature file: what is written comes back, what is damaged is refused, SQL sees the vectors."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atlas_core.errors import AtlasError
from atlas_core.features.cache import FeatureTable, feature_relation, read_features, write_features

ITEMS, VIEWS, LABELS = [0, 0, 1, 1, 2, 2], [0, 1] * 3, [5, 5, 3, 3, 5, 5]


def features(rows: int = 6, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


def write(path: Path, values: np.ndarray | None = None, **more: Any) -> Path:
    write_features(path, ITEMS, VIEWS, LABELS, features() if values is None else values, **more)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@given(data=st.data())
@settings(max_examples=25)
def test_what_is_written_comes_back(tmp_path_factory: Any, dtype: str, data: st.DataObject) -> None:
    shape = (data.draw(st.integers(0, 9)), data.draw(st.integers(1, 5)))
    finite = {"allow_nan": False, "allow_infinity": False, "width": 16 if dtype == "float16" else 32}
    values = data.draw(hnp.arrays(dtype, shape, elements=st.floats(**finite)))
    items = data.draw(st.permutations(range(shape[0])))
    path = tmp_path_factory.mktemp("cache") / "features.parquet"
    write_features(path, items, np.zeros(shape[0], int), np.arange(shape[0]), values, dtype=dtype)
    table = read_features(path)
    assert table.features.dtype == dtype
    assert table.width == shape[1]
    assert table.items.tolist() == sorted(items)
    order = np.argsort(items)
    assert table.labels.tolist() == order.tolist()
    assert np.array_equal(table.features, values[order])


def test_equal_tables_make_equal_files_in_whatever_order_rows_come(tmp_path: Path) -> None:
    first = write(tmp_path / "a.parquet")
    order = [4, 1, 5, 0, 3, 2]
    columns = [np.array(column)[order] for column in (ITEMS, VIEWS, LABELS)]
    write_features(tmp_path / "b.parquet", *columns, features()[order])
    assert first.read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_bank_is_items_by_views_and_each_item_has_one_label(tmp_path: Path) -> None:
    table = read_features(write(tmp_path / "f.parquet"))
    assert table.grid() == (3, 2)
    assert np.array_equal(table.bank(), features().reshape(3, 2, 4))
    assert np.array_equal(table.features_of(1), features()[1::2])
    assert table.item_labels.tolist() == [5, 3, 5]
    assert table.item_numbers.tolist() == [0, 1, 2]
    assert table.view_numbers.tolist() == [0, 1]
    bank = table.bank()
    bank[:] = 0  # a copy: nothing changes in the table
    assert np.array_equal(table.features, features())


def test_items_with_different_views_form_no_bank() -> None:
    ragged = FeatureTable(
        np.array([0, 0, 1], np.int32), np.array([0, 1, 1], np.int16), np.zeros(3, np.int32), features(3)
    )
    with pytest.raises(AtlasError, match="do not all have"):
        ragged.bank()
    with pytest.raises(AtlasError, match="view 7"):
        ragged.features_of(7)


def test_skipped_images_are_remembered(tmp_path: Path) -> None:
    damaged = {"a 'quoted' ü.jpg": "half a file"}
    assert read_features(write(tmp_path / "f.parquet", damaged=damaged)).damaged == damaged


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_values_that_are_not_finite_are_refused_and_nothing_is_left(
    tmp_path: Path, bad: float, dtype: str
) -> None:
    values = features()
    values[3, 2] = bad
    with pytest.raises(AtlasError, match="item 1"):
        write(tmp_path / "f.parquet", values, dtype=dtype)
    assert not list(tmp_path.iterdir())


def test_values_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="NaN or infinity"):
        write(tmp_path / "f.parquet", features() + 70_000, dtype="float16")
    large = features() + np.float32(1e30)  # whose squares are infinite, and which is finite all the same
    assert np.array_equal(read_features(write(tmp_path / "f.parquet", large)).features, large)


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (([0, 0], [1, 1], [0, 0]), "item 0 has view 1 twice"),
        (([0, 1], [0], [0, 0]), "shapes"),
        (([0, 1, 2], [0, 0, 0], [0, 0, 0]), r"features of shape \(2, 4\)"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, columns: tuple[Any, ...], match: str) -> None:
    with pytest.raises(AtlasError, match=match):
        write_features(tmp_path / "f.parquet", *columns, features(2))
    assert not list(tmp_path.iterdir())


def test_an_unknown_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="bfloat16"):
        write(tmp_path / "f.parquet", dtype="bfloat16")


def test_a_failed_write_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet")
    with pytest.raises(AtlasError):
        write(path, np.full((6, 4), np.nan, np.float32))
    assert np.array_equal(read_features(path).features, features())
    assert [each.name for each in tmp_path.iterdir()] == ["f.parquet"]


def test_missing_truncated_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="missing"):
        read_features(tmp_path / "f.parquet")
    path = write(tmp_path / "f.parquet")
    content = path.read_bytes()
    for end in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(AtlasError, match="not a whole feature file"):
            read_features(path)
    pd.DataFrame({"item": [1]}).to_parquet(path)
    with pytest.raises(AtlasError, match="not a whole feature file"):
        read_features(path)


def test_a_flipped_bit_in_a_vector_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet", features(6, 512))
    content = bytearray(path.read_bytes())
    place = content.index(features(6, 512)[2].tobytes())
    content[place + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(AtlasError, match="not a whole feature file"):
        read_features(path)


# -- how others read it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_sql_sees_labels_and_vectors(tmp_path: Path, dtype: str) -> None:
    paths = [write(tmp_path / f"{name}.parquet", features(seed=name), dtype=dtype) for name in (0, 1)]
    connection = duckdb.connect()
    connection.register("features", feature_relation(paths))
    connection.execute("SET enable_external_access = false")
    found = connection.sql(
        """SELECT a.item, b.item, array_cosine_similarity(a.feature::FLOAT[4], b.feature::FLOAT[4])
           FROM features a JOIN features b USING (file)
           WHERE a.view = 0 AND b.view = 1 AND file LIKE '%1.parquet' ORDER BY ALL"""
    ).fetchall()
    vectors = features(seed=1).astype(dtype).astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = unit[0::2] @ unit[1::2].T
    assert np.allclose([row[2] for row in found], expected.reshape(-1), atol=1e-6)
    assert connection.sql("SELECT count(*), sum(label) FROM features").fetchall() == [(12, 52)]


def test_files_of_different_widths_are_no_relation(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{width}.parquet", features(6, width)) for width in (4, 5)]
    with pytest.raises(AtlasError, match="widths"):
        feature_relation(paths)
    with pytest.raises(AtlasError, match="widths"):
        feature_relation([])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_any_parquet_reader_reads_it_as_the_documentation_says(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "f.parquet", dtype=dtype)
    frame = pd.read_parquet(path)
    stacked = np.stack(
        [np.frombuffer(each, dtype=f"<f{np.dtype(dtype).itemsize}") for each in frame["feature"]]
    )
    assert np.array_equal(stacked, features().astype(dtype))
    assert (
        frame[["item", "view", "label"]].to_numpy().tolist()
        == np.stack([ITEMS, VIEWS, LABELS], axis=1).tolist()
    )
    assert str(pq.read_schema(path).field("feature").type).startswith("fixed_size_binary")
