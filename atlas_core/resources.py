"""Where the files are: the project's own (beside the package in a checkout, inside it in a wheel) and the user's."""

from pathlib import Path

from atlas_core.errors import AtlasError

_PACKAGE = Path(__file__).resolve().parent


def data_path(*parts: str) -> Path:
    """Path of a file or folder under the project's `data/` (catalogue, presets, published, demo)."""
    inside_wheel = _PACKAGE / "_data"
    base = inside_wheel if inside_wheel.is_dir() else _PACKAGE.parent / "data"
    return base.joinpath(*parts)


def expanded(path: str | Path) -> Path:
    """A user's path with `~` and `~name` replaced by the home folder.

    Raises:
        AtlasError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise AtlasError(
            f"the path {str(path)!r} begins with a user's home folder that is not known",
            expected="~/… or ~name/… of a user of this machine",
            fix="write the whole path",
        ) from error
