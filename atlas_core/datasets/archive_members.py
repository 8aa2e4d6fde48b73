"""The members of a tar (any compression) or zip file, told one by one and never with more memory than bounded."""

from __future__ import annotations

import lzma
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from atlas_core.budgets import DIRECTORY_BYTES, HEADER_BYTES, PATH_BYTES, Account
from atlas_core.errors import AtlasError

_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
_CHUNK = 1 << 20
# A zip's last records: with a comment of 64 KiB, and those of ZIP64 before it.
_ZIP_TAIL = (1 << 16) + 200

# What reading a damaged or encrypted archive can raise.
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
    MemoryError,  # an xz header may ask for gigabytes of dictionary
)


@dataclass(frozen=True)
class Member:
    """A file or link in an archive.

    Args:
        name: As it stands there: not yet checked.
        link_to: What a link points to, relative to the archive; None for a file.
        size: Bytes that the archive declares for it.
        open: Its content.
    """

    name: str
    link_to: str | None
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(file: Path, name: str) -> bool:
    """Whether a file is to be unpacked, by the name it should have or else by its content."""
    return name.lower().endswith(_ENDINGS) or zipfile.is_zipfile(file) or _is_tar(file)


def _is_tar(file: Path) -> bool:
    try:
        with tarfile.open(file, mode="r:*", tarinfo=_StrictInfo):
            return True
    except AtlasError:
        return True  # a tar whose first header asks for too much, as unpacking it will say
    except DAMAGE:
        return False


def members_of(archive: Path, account: Account) -> Iterator[Member]:
    """The files and links of an archive, in its order; each member is counted, folders too.

    Raises:
        AtlasError: A device or pipe, or a bound passed.
        Exception: One of `DAMAGE`, where it is damaged or encrypted.
    """
    return _zip_members(archive, account) if zipfile.is_zipfile(archive) else _tar_members(archive, account)


class _StrictInfo(tarfile.TarInfo):
    """A header that does not pass for the end of the archive when it is damaged, nor asks for gigabytes of name."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise tarfile.ReadError(f"bad header: {error}") from error
            raise
        # tarfile reads these whole: long names, and records of names, times and sizes.
        if info.type not in _CONTENT_TYPES:
            HEADER_BYTES.check(info.size, f"a header of the archive ({info.name[:40]!r})")
        return info


_CONTENT_TYPES = (*tarfile.REGULAR_TYPES, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE)


def _tar_members(archive: Path, account: Account) -> Iterator[Member]:
    with tarfile.open(archive, mode="r:*", tarinfo=_StrictInfo) as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else it remembers all of them: gigabytes for millions
            account.member()
            if info.isdir():
                continue
            if not (info.isfile() or info.issym() or info.islnk()):
                raise AtlasError(
                    f"{archive.name}: {info.name!r} is neither a file nor a folder",
                    expected="no devices, pipes or sockets",
                )
            link = None
            if info.islnk():
                link = info.linkname
            elif info.issym():
                link = _resolve_link(info.name, info.linkname)
            yield Member(info.name, link, info.size, lambda info=info: _opened(tar.extractfile(info)))  # type: ignore[misc]
        # Compressed content is checked where it ends, which is after the last member.
        while tar.fileobj is not None and (rest := tar.fileobj.read(_CHUNK)):
            account.add(len(rest))


def _zip_members(archive: Path, account: Account) -> Iterator[Member]:
    with archive.open("rb") as stream:
        # ZipFile reads the list of members whole, before it tells of one.
        DIRECTORY_BYTES.check(_zip_directory_bytes(stream), archive.name)
        with zipfile.ZipFile(stream) as content:
            for info in content.infolist():
                account.member()
                if info.is_dir():
                    continue
                link = None
                if stat.S_ISLNK(info.external_attr >> 16):
                    link = _resolve_link(info.filename, _link_target(content, info))
                yield Member(info.filename, link, info.file_size, lambda info=info: content.open(info))  # type: ignore[misc]


def _link_target(content: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    with content.open(info) as source:
        target = source.read(PATH_BYTES.most + 1)
    PATH_BYTES.check(len(target), f"the link {info.filename[:40]!r}")
    return target.decode("utf-8", "replace")


def _zip_directory_bytes(stream: IO[bytes]) -> int:
    """The size of a zip's list of members, as its last record says (ZIP64's value stands in the file's tail too)."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - _ZIP_TAIL))
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    plain = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    at = tail.rfind(b"PK\x06\x06")
    wide = int.from_bytes(tail[at + 40 : at + 48], "little") if at >= 0 else 0
    return min(size, wide if plain == 0xFFFFFFFF else max(plain, wide))


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _resolve_link(name: str, target: str) -> str:
    if target.startswith("/"):
        return target
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
