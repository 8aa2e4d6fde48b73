"""Files that appear whole or not at all."""

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling to write; synced, it takes `path`'s name if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def share_like_folder(folder: Path) -> None:
    """Let whoever may read and write a folder do so with the files in it, which some libraries make their owner's."""
    allowed = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_file() and not path.is_symlink() and mode & 0o666 != allowed:
            with suppress(OSError):  # a file system without permissions
                path.chmod(allowed | mode & 0o111)
