"""SQL that reaches out, tables and formats that are not, features and result files that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from atlas_core.features.cache import read_features, write_features
from atlas_core.methods.traits.base import Classes
from atlas_core.training.checkpoint import read_tensors
from tests.bad_input.table import Ended, Ground, accepted, refused_each


def _sql(statement: str) -> Callable[[Ground], Ended]:
    def act(ground: Ground) -> Ended:
        ended = ground.atlas("sql", statement.replace("OUT", str(ground.folder / "out")))
        assert not (ground.folder / "out").exists(), "SQL wrote a file"
        return ended

    return act


refused_each(
    "SQL",
    {
        "copy to a file": ("read", _sql("COPY (SELECT 1) TO 'OUT'")),
        "copy a table out": ("read", _sql("COPY metrics TO 'OUT'")),
        "explain analyze copy": ("sql", _sql("EXPLAIN ANALYZE COPY (SELECT 1) TO 'OUT'")),
        "export": ("read", _sql("EXPORT DATABASE 'OUT'")),
        "read a file by name": ("sql", _sql("FROM '/etc/passwd'")),
        "read_csv": ("files", _sql("SELECT * FROM read_csv('/etc/passwd')")),
        "read_text": ("files", _sql("SELECT * FROM read_text('/etc/passwd')")),
        "read_parquet of the network": ("sql", _sql("FROM read_parquet('http://127.0.0.1:9/x.parquet')")),
        "glob": ("files", _sql("SELECT * FROM glob('/etc/*')")),
        "attach": ("read-only", _sql("ATTACH 'OUT' AS db")),
        "install": ("read-only", _sql("INSTALL httpfs")),
        "load": ("read-only", _sql("LOAD httpfs")),
        "create": ("read-only", _sql("CREATE TABLE x AS SELECT 1")),
        "insert": ("read-only", _sql("INSERT INTO metrics SELECT * FROM metrics")),
        "delete": ("read-only", _sql("DELETE FROM metrics")),
        "drop": ("read-only", _sql("DROP VIEW metrics")),
        "setting": ("read-only", _sql("SET enable_external_access = true")),
        "pragma": ("read-only", _sql("PRAGMA enable_profiling")),
        "two statements": ("2 SQL statements", _sql("SELECT 1; SELECT 2")),
        "nothing": ("0 SQL statements", _sql(" ")),
        "misspelt": ("sql", _sql("SELEC 1")),
        "unknown view": ("sql", _sql("FROM base_to_old")),
        "a python variable": ("sql", _sql("FROM con")),
        "an environment variable": ("sql", _sql("SELECT getenv('HOME')")),
    },
)

refused_each(
    "results",
    {
        "unknown table": ("unknown table", lambda g: g.atlas("table", "base-to-old")),
        "unknown format": ("unknown format", lambda g: g.atlas("sql", "SELECT 1", "--format", "xml")),
        "unknown table format": ("format", lambda g: g.atlas("table", "base-to-new", "--format", "xml")),
        "unknown study": ("unknown study", lambda g: g.atlas("sql", "SELECT 1", "--study", "tinny")),
        "store without results": (
            "no results",
            lambda g: g.atlas("sql", "SELECT 1", "--store", str(g.folder / "none")),
        ),
        "status in an unknown format": (
            "format",
            lambda g: g.atlas("status", "base-to-new", "--format", "xml"),
        ),
    },
)


def _features(ground: Ground) -> Path:
    return ground.folder / "features.parquet"


def _write(
    features: np.ndarray, items: list[int] | None = None, dtype: str = "float32"
) -> Callable[[Ground], None]:
    def act(ground: Ground) -> None:
        try:
            numbers = items if items is not None else list(range(len(features)))
            write_features(
                _features(ground), numbers, [0] * len(numbers), [0] * len(numbers), features, dtype
            )
        finally:
            assert list(ground.folder.iterdir()) == [], "something was left behind"

    return act


def _read(spoil: Callable[[Path], object]) -> Callable[[Ground], None]:
    def act(ground: Ground) -> None:
        write_features(_features(ground), [0, 1], [0, 0], [0, 1], np.ones((2, 3), np.float32))
        spoil(_features(ground))
        read_features(_features(ground))

    return act


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.find(np.ones(3, np.float32).tobytes())
    content[place] ^= 0x40
    path.write_bytes(bytes(content))


_ONES = np.ones((2, 3), np.float32)

refused_each(
    "features",
    {
        "NaN": ("nan", _write(np.array([[1.0, np.nan]], np.float32))),
        "infinity": ("infinity", _write(np.array([[1.0, np.inf]], np.float32))),
        "too large for float16": ("infinity", _write(np.array([[1e6, 1.0]], np.float32), dtype="float16")),
        "one vector too few": ("shape", _write(_ONES, items=[0, 1, 2])),
        "no width": ("shape", _write(np.ones((2, 0), np.float32))),
        "item twice": ("twice", _write(_ONES, items=[0, 0])),
        "unknown type": ("dtype", _write(_ONES, dtype="float8")),
        "truncated": ("not a whole feature file", _read(lambda p: p.write_bytes(p.read_bytes()[:-20]))),
        "flipped byte": ("not a whole feature file", _read(_flip)),
        "empty file": ("not a whole feature file", _read(lambda p: p.write_bytes(b""))),
        "missing": ("missing", _read(lambda p: p.unlink())),
    },
)


def _tensors(content: bytes) -> Callable[[Ground], None]:
    def act(ground: Ground) -> None:
        path = ground.folder / "prompts.safetensors"
        path.write_bytes(content)
        read_tensors(path)

    return act


def _wrong_width(ground: Ground) -> None:
    """Features of another backbone's width offered to a method."""
    from atlas_core.methods.registry import METHODS
    from tests.small_clip import small_clip

    kind = METHODS.get("zero_shot")
    classes = Classes(("a", "b"), {"coop": "a photo of a {}."}, trained=True)
    clip = small_clip()
    reference = torch.ones(2, clip.embed_dim)
    method = kind(clip, classes, kind.Options(), generator=torch.Generator(), reference=reference)
    method.predictor()(torch.ones(4, clip.embed_dim + 1))


refused_each(
    "tensors",
    {
        "empty": ("safetensors", _tensors(b"")),
        "a header that lies": ("safetensors", _tensors((1 << 60).to_bytes(8, "little") + b"{}")),
        "a pickle": ("safetensors", _tensors(b"\x80\x04\x95" + b"x" * 40)),
        "features of another width": ("width", _wrong_width),
    },
)


@accepted
def sql_that_only_reads(ground: Ground) -> None:
    for statement in ("SHOW TABLES", "FROM base_to_new", "WITH a AS (FROM metrics) SELECT count(*) FROM a"):
        assert ground.atlas("sql", statement).status == 0
