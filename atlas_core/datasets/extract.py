"""Unpacking archives that are not trusted: nothing leaves the destination, no links, bounded size and count."""

from __future__ import annotations

import lzma
import posixpath
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from atlas_core.datasets.paths import check_relative
from atlas_core.datasets.progress import Counter
from atlas_core.errors import AtlasError

_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
_CHUNK = 1 << 20
_REPORT_EVERY = 500


@dataclass(frozen=True)
class Limits:
    """Bounds of what an archive may unpack to.

    Args:
        files: Number of files.
        bytes: Bytes in all.
        ratio: Bytes for each byte of the archive, where that is more than `free_bytes`.
        free_bytes: What any archive may unpack to, however small it is.
    """

    files: int = 2_000_000
    bytes: int = 400 << 30
    ratio: int = 200
    free_bytes: int = 1 << 30


@dataclass(frozen=True)
class _Member:
    name: str
    link_to: str | None
    open: Callable[[], IO[bytes]]


# What reading a damaged or encrypted archive can raise.
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


def is_archive(file: Path, name: str) -> bool:
    """Whether a file is to be unpacked, by the name it should have or else by its content."""
    return name.lower().endswith(_ENDINGS) or zipfile.is_zipfile(file) or tarfile.is_tarfile(file)


def extract(
    archive: Path,
    destination: Path,
    *,
    take: str = "",
    inner: str | None = None,
    provides: Sequence[str] = (),
    limits: Limits = Limits(),
    count: Counter = lambda done, total: None,
) -> int:
    """Unpack a tar (any compression) or zip file.

    Args:
        archive: The file; what it is shows in its content, not its name.
        destination: Folder, made when absent.
        take: Only what is below this folder of the archive, without that prefix; `*` finds the folder that
            holds `provides[0]`.
        inner: An archive inside the archive, which is unpacked instead.
        limits: Bounds; passing one is an error.
        count: Told how many files are out.

    Returns:
        Number of files written.

    Raises:
        AtlasError: Damaged, a member that leaves the destination, a link out, a device, nothing to take,
            or a bound passed.
    """
    try:
        if inner is not None:
            return _extract_inner(archive, destination, inner, take, provides, limits, count)
        prefix = _locate(archive, provides) if take == "*" else take.strip("/")
        written = _write_members(archive, destination, prefix, limits, count)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise AtlasError(f"{archive.name} is damaged: {error}", fix="delete it and fetch it again") from error
    if not written:
        raise AtlasError(
            f"{archive.name} holds nothing below {prefix or 'its top'!r}", fix="check where it is from"
        )
    return written


def _write_members(archive: Path, destination: Path, prefix: str, limits: Limits, count: Counter) -> int:
    allowed = min(limits.bytes, max(limits.ratio * archive.stat().st_size, limits.free_bytes))
    files = size = 0
    for member in _members(archive):
        relative = _below(_safe_name(archive, member.name), prefix)
        if relative is None or _is_litter(relative):
            continue
        files += 1
        if files > limits.files:
            raise AtlasError(
                f"{archive.name} holds more than {limits.files} files", fix="check where it is from"
            )
        target = destination / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.link_to is None:
            size += _write(archive, member, target, allowed - size)
        else:
            _copy_linked(archive, member, destination, target, prefix)
        if files % _REPORT_EVERY == 0:
            count(files, None)
    count(files, files)
    return files


def _write(archive: Path, member: _Member, target: Path, allowed: int) -> int:
    written = 0
    with member.open() as source, target.open("wb") as stream:
        while piece := source.read(_CHUNK):
            written += len(piece)
            # Counted as it comes out: the sizes that an archive declares can lie.
            if written > allowed:
                raise AtlasError(f"{archive.name} unpacks to too much", fix="check where it is from")
            stream.write(piece)
    return written


def _copy_linked(archive: Path, member: _Member, destination: Path, target: Path, prefix: str) -> None:
    """Put a copy where a link inside the archive would be, so that no link is ever made."""
    assert member.link_to is not None
    inside = _below(_safe_name(archive, member.link_to), prefix)
    if inside is None or not (destination / inside).is_file():
        raise AtlasError(
            f"{archive.name}: {member.name!r} links to {member.link_to!r}, which is not in it",
            expected="links to files that come before them in the archive",
        )
    shutil.copyfile(destination / inside, target)


def _extract_inner(
    archive: Path,
    destination: Path,
    inner: str,
    take: str,
    provides: Sequence[str],
    limits: Limits,
    count: Counter,
) -> int:
    destination.mkdir(parents=True, exist_ok=True)
    for member in _members(archive):
        if _safe_name(archive, member.name) == inner and member.link_to is None:
            with tempfile.TemporaryDirectory(prefix=".inner-", dir=destination.parent) as folder:
                copy = Path(folder) / posixpath.basename(inner)
                _write(archive, member, copy, limits.bytes)
                return extract(copy, destination, take=take, provides=provides, limits=limits, count=count)
    raise AtlasError(f"{archive.name} does not hold {inner}")


def _locate(archive: Path, provides: Sequence[str]) -> str:
    """The shallowest folder of the archive that holds `provides[0]`."""
    wanted = provides[0]
    found = set()
    for member in _members(archive):
        name = _safe_name(archive, member.name)
        at = f"/{name}/".find(f"/{wanted}/")
        if at >= 0 and not _is_litter(name):
            found.add(name[:at].strip("/"))
    if not found:
        raise AtlasError(f"{archive.name} does not hold {wanted}")
    return min(found, key=lambda prefix: (prefix.count("/"), len(prefix), prefix))


def _members(archive: Path) -> Iterator[_Member]:
    return _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)


class _StrictInfo(tarfile.TarInfo):
    """A header that does not pass for the end of the archive when it is damaged."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise tarfile.ReadError(f"bad header: {error}") from error
            raise


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, mode="r:*", tarinfo=_StrictInfo) as tar:
        for info in tar:
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
            yield _Member(info.name, link, lambda info=info: _opened(tar.extractfile(info)))  # type: ignore[misc]
        # Compressed content is checked where it ends, which is after the last member.
        while tar.fileobj is not None and tar.fileobj.read(_CHUNK):
            pass


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            if info.is_dir():
                continue
            link = None
            if stat.S_ISLNK(info.external_attr >> 16):
                link = _resolve_link(info.filename, content.read(info).decode("utf-8", "replace"))
            yield _Member(info.filename, link, lambda info=info: content.open(info))  # type: ignore[misc]


def _opened(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _resolve_link(name: str, target: str) -> str:
    if target.startswith("/"):
        return target
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _safe_name(archive: Path, name: str) -> str:
    check_relative(name, f"member of {archive.name}")
    safe = posixpath.normpath(name)
    if safe == ".":
        raise AtlasError(f"member of {archive.name}: {name!r}", expected="a file's name, not a folder's")
    return safe


def _below(name: str, prefix: str) -> str | None:
    if not prefix:
        return name
    return name[len(prefix) + 1 :] if name.startswith(f"{prefix}/") else None


def _is_litter(name: str) -> bool:
    """Whether a file is what desktop systems add to archives, or another program's pickled few-shot samples."""
    parts = name.split("/")
    added = {"__MACOSX", "split_fewshot"}.intersection(parts)
    return bool(added) or parts[-1].startswith("._") or parts[-1] == ".DS_Store"
