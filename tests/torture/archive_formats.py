"""Archives of odd members, whole and damaged."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from atlas_core.budgets import Limits
from atlas_core.datasets.archive_members import is_archive
from atlas_core.datasets.extract import extract
from tests.datasets.miniatures import packed_zip, tar
from tests.torture.format import Format, of_file
from tests.torture.mutations import TEXTS, mangled

MEMBERS = [
    "a.png", "d/b.png", "d/c.png", "d", "a.png/x", "../x", "/x", "x" * 300, "d/" * 70 + "x", "", ".", "é", "a\\b",
]  # fmt: skip
_KINDS = [b"0", b"0", b"0", b"1", b"2", b"3", b"5", b"6", b"S", b"7", b"Z"]


def archive_formats() -> list[Format]:
    """The formats of archives."""
    return [
        of_file("zip", _unpack, "archive", packed_zip({"a.png": b"a"}), _perhaps_mangled(_zips())),
        of_file("tar", _unpack, "archive", tar({"a.png": b"a"}), _perhaps_mangled(_tars())),
    ]


def _members() -> st.SearchStrategy[list[tuple[str, bytes]]]:
    names = st.sampled_from(MEMBERS) | TEXTS
    return st.lists(
        st.tuples(names, st.sampled_from([b"", b"x" * 99])), max_size=5, unique_by=lambda each: each[0]
    )


@st.composite
def _zips(draw: st.DrawFn) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw(st.sampled_from([0, 8, 12, 14]))) as archive:
        for name, content in draw(_members()):
            info = zipfile.ZipInfo(name.replace("\0", "_") or "empty")
            info.compress_type = archive.compression
            if draw(st.integers(0, 4)) == 0:
                info.external_attr = 0o120777 << 16
                content = draw(st.sampled_from(MEMBERS)).encode()
            archive.writestr(info, content)
    return out.getvalue()


@st.composite
def _tars(draw: st.DrawFn) -> bytes:
    out = io.BytesIO()
    mode: Any = draw(st.sampled_from(["w", "w:gz", "w:bz2", "w:xz"]))
    layout = draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    with tarfile.open(fileobj=out, mode=mode, format=layout) as archive:
        for name, content in draw(_members()):
            member = tarfile.TarInfo(name)
            member.type = draw(st.sampled_from(_KINDS))
            member.linkname = draw(st.sampled_from(MEMBERS))
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _perhaps_mangled(archives: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return archives | archives.flatmap(mangled)


def _unpack(folder: Path) -> object:
    """Unpack it; wherever that ends, nothing lies outside the destination and nothing is a link."""
    archive, inside = folder / "archive", folder / "out" / "deep"
    try:
        known = is_archive(archive, "archive")
        return known, extract(archive, inside, limits=Limits(files=20, bytes=1 << 20, free_bytes=1 << 20))
    finally:
        written = [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
        assert all(path.is_relative_to(inside) or path == archive for path in written), written
        assert not any(path.is_symlink() for path in written)
