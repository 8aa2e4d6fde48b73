"""Archives that reach out of their folder, swell, or are damaged."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from atlas_core.budgets import Limits
from atlas_core.datasets.extract import extract
from tests.bad_input.table import Ground, refused_each


def _zip(members: dict[str, bytes]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return write


def _tar(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"x"
) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content))

    return write


def _zip_link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")


def _truncated(path: Path) -> None:
    _zip({"a.png": bytes(range(256)) * 400})(path)
    path.write_bytes(path.read_bytes()[:-60])


def _flipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"a" * 4000)
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(bytes(content))


_USUAL = Limits()


def _unpack(write: Callable[[Path], object], limits: Limits = _USUAL) -> Callable[[Ground], None]:
    def act(ground: Ground) -> None:
        archive = ground.folder / "archive"
        write(archive)
        outside = {path for path in ground.folder.parent.rglob("*") if path.is_file()}
        try:
            extract(archive, ground.folder / "out" / "here", limits=limits)
        finally:
            new = {
                path for path in ground.folder.parent.rglob("*") if path.is_file() or path.is_symlink()
            } - outside
            assert all(path.is_relative_to(ground.folder / "out" / "here") for path in new)
            assert not any(path.is_symlink() for path in new)

    return act


_SMALL = Limits(files=10, bytes=1 << 20, ratio=20, free_bytes=1 << 12)

refused_each(
    "archive",
    {
        "zip that climbs": ("leaves its folder", _unpack(_zip({"../../evil": b"x"}))),
        "zip with an absolute path": ("leaves its folder", _unpack(_zip({"/tmp/evil-atlas": b"x"}))),
        "zip with a windows path": ("leaves its folder", _unpack(_zip({"C:\\evil": b"x"}))),
        "tar that climbs": ("leaves its folder", _unpack(_tar("a/../../evil"))),
        "symbolic link out": ("leaves its folder", _unpack(_tar("link", tarfile.SYMTYPE, "../../secret"))),
        "symbolic link to the root": (
            "leaves its folder",
            _unpack(_tar("link", tarfile.SYMTYPE, "/etc/passwd")),
        ),
        "hard link out": ("leaves its folder", _unpack(_tar("link", tarfile.LNKTYPE, "../secret"))),
        "link to nothing": ("not in it", _unpack(_tar("link", tarfile.SYMTYPE, "absent"))),
        "zip link": ("leaves its folder", _unpack(_zip_link)),
        "device": ("neither", _unpack(_tar("null", tarfile.CHRTYPE))),
        "pipe": ("neither", _unpack(_tar("pipe", tarfile.FIFOTYPE))),
        "zip bomb": ("too much", _unpack(_zip({"a": b"\0" * (1 << 19)}), _SMALL)),
        "too many files": ("more than 10 files", _unpack(_zip({f"{n}": b"x" for n in range(30)}), _SMALL)),
        "truncated": ("damaged", _unpack(_truncated)),
        "flipped byte": ("damaged", _unpack(_flipped)),
        "no archive": ("damaged", _unpack(lambda path: path.write_bytes(b"hello" * 400) and None)),
        "empty file": ("damaged", _unpack(lambda path: path.write_bytes(b"") and None)),
        "empty zip": ("holds nothing", _unpack(_zip({}))),
    },
)
