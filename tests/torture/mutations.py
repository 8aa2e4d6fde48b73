"""Strategies that damage something whole: a document here and there, a file's bytes, a table's columns."""

from __future__ import annotations

import datetime
import decimal
from copy import deepcopy
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
# What programs trip over: other types, edges of numbers, names that no disk takes, text that acts.
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 1.5, 2**31, 2**63, 10**25, 10**400, 1e308, float("nan"), float("inf"), "", " ", "0",
    "a", "\0", "..", "../x", "/", "/proc", "/proc/self/mem", "/dev/zero", "~", "~nobody-there", "a" * 300, "a/" * 200,
    "=x", "\x1b[31m", "\u202e", "\ud800", "{}", "{0}", "%s", "[bold]", "[/x]", [], {}, [[]], [None], {"": None},
    {"a": {"b": {}}}, [1, 2, 3], list(range(2000)), "demo", ".json", ".yaml", "image_folder:", "table:/etc/passwd",
]  # fmt: skip
DEEP: Any = []
for _ in range(90):
    DEEP = [DEEP]
ODD += [DEEP, {"a": DEEP}]
VALUES = st.sampled_from(ODD).map(deepcopy) | JSON


@st.composite
def changed(draw: st.DrawFn, document: Any, most: int = 2) -> Any:
    """The document with some of its values replaced, removed, repeated or moved."""
    root = {"": deepcopy(document)}
    for _ in range(draw(st.integers(1, most))):
        holder: Any = root
        place: Any = ""
        while isinstance(holder[place], (dict, list)) and holder[place] and draw(st.integers(0, 9)) < 9:
            holder = holder[place]
            place = draw(
                st.sampled_from(sorted(holder, key=str) if isinstance(holder, dict) else range(len(holder)))
            )
        _change(draw, holder, place)
        if "" not in root:
            root[""] = None
    return root[""]


def _change(draw: st.DrawFn, holder: Any, place: Any) -> None:
    match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "repeat", "number"])):
        case "remove":
            del holder[place]
        case "add" if isinstance(holder, dict):
            holder[draw(TEXTS)] = draw(VALUES)
        case "add":
            holder.insert(place, draw(VALUES))
        case "repeat" if isinstance(holder, list):
            holder.extend([deepcopy(holder[place])] * draw(st.sampled_from([1, 100])))
        case "number" if isinstance(holder[place], int):
            holder[place] = holder[place] * draw(st.sampled_from([-1, 2, 3, 1000, 10**7])) + draw(
                st.integers(-1, 1)
            )
        case _:
            holder[place] = draw(VALUES)


@st.composite
def mangled(draw: st.DrawFn, content: bytes, most: int = 3) -> bytes:
    """The bytes with some of them cut off, overwritten, inserted or repeated."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "flip", "ones", "zeros", "insert", "repeat", "swap"])):
            case "cut":
                del data[at:]
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "ones":
                data[at : at + 4] = b"\xff" * draw(st.sampled_from([1, 2, 4]))
            case "zeros":
                data[at : at + 8] = bytes(draw(st.integers(1, 8)))
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "repeat":
                data[at:at] = data[at : at + 64] * draw(st.sampled_from([1, 50]))
            case _:
                other = draw(st.integers(0, len(data)))
                data[at : at + 16], data[other : other + 16] = data[other : other + 16], data[at : at + 16]
    return bytes(data)


COLUMN_TYPES = [
    pa.string(), pa.large_string(), pa.binary(), pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(),
    pa.bool_(), pa.date32(), pa.timestamp("us"), pa.decimal128(10, 2), pa.list_(pa.string()), pa.null(),
    pa.dictionary(pa.int32(), pa.string()), pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
]  # fmt: skip


@st.composite
def tables(draw: st.DrawFn, names: list[str]) -> pa.Table:
    """A table of some of these columns, each of some type, with values that the type has."""
    rows = draw(st.integers(0, 6))
    columns = {}
    for name in draw(st.lists(st.sampled_from(names) | TEXTS, min_size=1, max_size=5, unique=True)):
        kind = draw(st.sampled_from(COLUMN_TYPES))
        columns[name] = pa.array([draw(_cells(kind)) for _ in range(rows)], kind)
    return pa.table(columns)


def _cells(kind: pa.DataType) -> st.SearchStrategy[Any]:
    words = (
        st.sampled_from(["a.png", "b.png", "train", "val", "test", "cat", "dog", "", "../x", "\x1b[1m"])
        | TEXTS
    )
    images = st.sampled_from([b"\x89PNG", b"\xff\xd8\xff", b"", b"none"])
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        cells: st.SearchStrategy[Any] = words
    elif pa.types.is_binary(kind):
        cells = images
    elif pa.types.is_struct(kind):
        cells = st.fixed_dictionaries({"bytes": st.none() | images, "path": st.none() | words})
    elif pa.types.is_list(kind):
        cells = st.lists(words, max_size=2)
    elif pa.types.is_boolean(kind):
        cells = st.booleans()
    elif pa.types.is_floating(kind):
        cells = st.floats(width=32)
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        cells = st.just(
            datetime.date(2020, 1, 1) if pa.types.is_date(kind) else datetime.datetime(2020, 1, 1)
        )
    elif pa.types.is_decimal(kind):
        cells = st.just(decimal.Decimal("1.50"))
    elif pa.types.is_null(kind):
        cells = st.none()
    else:
        cells = st.integers(0, 3)
    return cells | st.none()
