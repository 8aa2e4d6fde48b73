"""`atlas datasets inspect`: what would be understood of a dataset, without a study."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.parquet_images import extract_images, is_taken_out
from atlas_core.datasets.progress import ProgressCallback
from atlas_core.datasets.readers.base import read_listing
from atlas_core.datasets.reading import two_readings
from atlas_core.errors import AtlasError
from atlas_core.understanding.dataset import DatasetUnderstanding, facts_of, understand_dataset
from atlas_core.understanding.images import odd_images
from atlas_core.understanding.study import Understanding

_TABLES = ("labels.csv", "labels.parquet")
_TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json")


def reference_of(path: str) -> str:
    """What a study would call the dataset at a path; other names stay as they are.

    Raises:
        AtlasError: A folder holds a table and folders, or Parquet files and images' folders.
    """
    place = Path(path).expanduser()
    if not place.exists() or place.suffix in (".yaml", ".yml"):
        return path
    if place.is_file():
        kind = "hf_parquet" if place.suffix == ".parquet" and _holds_images(place) else "table"
        if kind == "table" and place.suffix not in (*_TABLE_ENDINGS, ".parquet"):
            raise AtlasError(
                f"{place} is no dataset", expected="a folder, a table, a Parquet file or a description"
            )
        return f"{kind}:{path}"
    kinds = ["table"] if any((place / name).is_file() for name in _TABLES) else []
    if next(place.rglob("*.parquet"), None) is not None and not kinds:
        kinds.append("hf_parquet")
    if any(each.is_dir() and not each.name.startswith(".") for each in place.iterdir()) and kinds != [
        "hf_parquet"
    ]:
        kinds.append("image_folder")
    if len(kinds) > 1:
        readings = [(f"{kind}:{path}", f"a dataset in the layout {kind}") for kind in kinds]
        raise two_readings(
            f"{place}, a folder with folders and a table,", readings, "give the one that is meant"
        )
    return f"{kinds[0] if kinds else 'image_folder'}:{path}"


def inspect_dataset(
    spec: DatasetSpec, data_root: Path, *, decode: bool, progress: ProgressCallback | None = None
) -> Understanding:
    """What is understood of a dataset that is here.

    Args:
        decode: Whether to look at every image too.

    Raises:
        AtlasError: It is not here, cannot be read, or has two readings.
    """
    place = spec.path(data_root)
    here = place.is_dir() and is_taken_out(spec, place)
    if not here and spec.source is not None and spec.source.parquet is not None:
        source = Path(spec.source.parquet).expanduser()
        with TemporaryDirectory() as folder:
            extract_images(spec, source, Path(folder))
            return Understanding("", (_understood(spec, Path(folder), decode, progress, source),))
    if not here and spec.source is not None:
        raise AtlasError(
            f"dataset {spec.name!r} is not at {place}",
            expected="its images",
            fix=f"`atlas datasets fetch {spec.known_as}` brings them",
        )
    return Understanding("", (_understood(spec, place, decode, progress, place),))


def _understood(
    spec: DatasetSpec, place: Path, decode: bool, progress: ProgressCallback | None, shown: Path
) -> DatasetUnderstanding:
    """What is in `place`, said to be at `shown`."""
    listing = read_listing(spec, place)
    found = understand_dataset(spec, shown, facts_of(listing))
    if decode:
        found = found.with_oddities(odd_images(spec.name, place, listing.items, progress))
    return found


def _holds_images(file: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        kinds = pq.read_schema(file).types
    except (OSError, pa.ArrowException):
        return False
    return any(pa.types.is_binary(kind) or pa.types.is_struct(kind) for kind in kinds)
