"""Where the project's own data files are: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_path(*parts: str) -> Path:
    """Path of a file or folder under the project's `data/` (catalogue, presets, published, demo)."""
    inside_wheel = _PACKAGE / "_data"
    base = inside_wheel if inside_wheel.is_dir() else _PACKAGE.parent / "data"
    return base.joinpath(*parts)
