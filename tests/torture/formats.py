"""Every format that comes from outside."""

from __future__ import annotations

from functools import cache

from tests.torture.archive_formats import archive_formats
from tests.torture.format import Format
from tests.torture.model_formats import model_formats
from tests.torture.table_formats import table_formats
from tests.torture.text_formats import text_formats


@cache
def formats() -> dict[str, Format]:
    """The formats by name."""
    return {
        each.name: each for each in (*text_formats(), *table_formats(), *model_formats(), *archive_formats())
    }


# For tests, which are named before anything can be made.
NAMES = (
    "study YAML", "override", "catalogue YAML", "split JSON", "class names", "sentences", "manifest", "CSV", "TSV",
    "Parquet", "packed images", "extracted index", "index: description", "index: items", "model config",
    "hub's model config", "safetensors", "pickled weights", "exported run", "zip", "tar",
)  # fmt: skip
