"""Keys, split files and manifests made by chance: the right answer, an AtlasError, or "not there"; never a crash."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import SPLITS
from atlas_core.datasets.paths import check_relative
from atlas_core.datasets.readers.base import read_dataset
from atlas_core.errors import AtlasError
from atlas_core.hashing import canonical_json, sha256_of
from atlas_core.manifest import read_manifest
from atlas_core.store import Store

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FLOATS | st.text(st.characters(codec="utf-8"))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def reversed_order(value: Any) -> Any:
    """The same value with every mapping written in the other order, and lists as tuples."""
    if isinstance(value, dict):
        return {key: reversed_order(value[key]) for key in reversed(value)}
    return tuple(map(reversed_order, value)) if isinstance(value, list) else value


@given(JSON)
def test_a_key_does_not_depend_on_order_and_survives_a_round_trip(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(reversed_order(value)) == text
    assert canonical_json(json.loads(text)) == text


def same(one: Any, other: Any) -> bool:
    """Equality that tells 1 from 1.0 and from True, and 0.0 from -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


@given(JSON, JSON)
def test_two_values_have_one_key_exactly_when_they_are_the_same(one: Any, other: Any) -> None:
    assert (sha256_of(one) == sha256_of(other)) == same(one, other)


@given(st.sampled_from([math.nan, math.inf, -math.inf]), TEXTS)
def test_what_equals_no_text_has_no_key(number: float, name: str) -> None:
    with pytest.raises(ValueError, match="canonical"):
        canonical_json({name: [number]})


@given(st.dictionaries(st.integers() | st.none() | st.booleans(), st.integers(), min_size=1))
def test_keys_that_json_would_turn_into_text_are_refused(value: dict[Any, int]) -> None:
    with pytest.raises(TypeError, match="strings"):
        canonical_json(value)


@given(st.text() | st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "\0", ""])).map("/".join))
def test_a_path_that_passes_stays_in_its_folder(path: str) -> None:
    try:
        check_relative(path, "path")
    except AtlasError:
        return
    folder = Path("/data/set")
    assert (folder / path).resolve().is_relative_to(folder)


def read_split(folder: Path, content: bytes) -> None:
    """Read a split file of any content; an index whose parts fit together, or an AtlasError."""
    (folder / "split.json").write_bytes(content)
    spec = DatasetSpec(name="fuzz", layout="coop_split", folder=str(folder), split_file="split.json")
    try:
        index = read_dataset(spec, folder)
    except AtlasError:
        return
    assert all(0 <= item.label < len(index.class_names) for item in index.items)
    assert all(index.path(item).is_file() for item in index.items)


ENTRIES = st.lists(
    st.tuples(st.sampled_from(["a.png", "b.png", "absent.png", "../a.png"]) | TEXTS, JSON, TEXTS | JSON)
    | st.tuples(st.sampled_from(["a.png", "b.png"]), st.integers(-1, 3), st.sampled_from(["cat", "dog"]))
    | JSON,
    max_size=4,
)


@SHARED_FOLDER
@given(st.binary(max_size=200))
def test_a_split_file_of_any_bytes_is_refused(tmp_path: Path, content: bytes) -> None:
    read_split(tmp_path, content)


@SHARED_FOLDER
@given(JSON | st.fixed_dictionaries(dict.fromkeys(SPLITS, ENTRIES)))
def test_a_split_file_of_any_json_is_read_or_refused(tmp_path: Path, content: Any) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    read_split(tmp_path, json.dumps(content).encode())


@SHARED_FOLDER
@given(st.binary(max_size=300), st.sampled_from(["labels.csv", "labels.parquet"]))
def test_a_table_of_any_bytes_is_read_or_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    spec = DatasetSpec(name="fuzz", layout="table", folder=str(tmp_path), options={"file": name})
    with pytest.raises(AtlasError):
        read_dataset(spec, tmp_path)


@SHARED_FOLDER
@given(st.text(st.sampled_from('path,class"split\n\r train test ab.png;\t\0'), max_size=120))
def test_a_table_of_any_text_is_read_or_refused(tmp_path: Path, rows: str) -> None:
    (tmp_path / "labels.csv").write_text("path,class,split\n" + rows, newline="")
    spec = DatasetSpec(name="fuzz", layout="table", folder=str(tmp_path))
    with pytest.raises(AtlasError):
        read_dataset(spec, tmp_path)


@SHARED_FOLDER
@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_manifest_of_any_content_is_absent(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path / "store")
    store.make()
    folder = store.path("tune", "0" * 64)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_bytes(content)
    assert read_manifest(folder) is None
    assert store.lookup("tune", "0" * 64) is None
    assert list(store.manifests()) == []


@SHARED_FOLDER
@given(st.data())
def test_a_manifest_with_any_field_replaced_is_absent_or_harmless(
    tmp_path: Path, data: st.DataObject
) -> None:
    store = Store(tmp_path / "store")
    made = store.publish("tune", "x", {"config": {}}, lambda folder: _write(folder / "a"))
    path = store.path("tune", made.key) / "manifest.json"
    raw = json.loads(path.read_text())
    target = data.draw(st.sampled_from([raw, raw["outputs"], raw["outputs"]["a"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(JSON)
    path.write_text(json.dumps(raw))
    found = store.lookup("tune", made.key)
    assert found is None or found.key == made.key
    for manifest in store.manifests():
        assert isinstance(store.verify(manifest), list)
    store.delete("tune", made.key)


def _write(path: Path) -> None:
    path.write_text("content")
