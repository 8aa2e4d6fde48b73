"""Unpacking archives that are not trusted: nothing leaves the destination, no links, bounded size and count."""

from __future__ import annotations

import errno
import posixpath
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from atlas_core.budgets import USUAL, Account, Limits, check_path
from atlas_core.datasets.archive_members import DAMAGE, Member, members_of
from atlas_core.datasets.paths import check_relative
from atlas_core.datasets.progress import Counter
from atlas_core.errors import AtlasError

_CHUNK = 1 << 20
_REPORT_EVERY = 500


def extract(
    archive: Path,
    destination: Path,
    *,
    take: str = "",
    inner: str | None = None,
    provides: Sequence[str] = (),
    limits: Limits = USUAL,
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
        AtlasError: Damaged, a member that leaves the destination, a link out, a device, a file where another
            member needs a folder, nothing to take, or a bound passed.
    """
    try:
        if inner is not None:
            return _extract_inner(archive, destination, inner, take, provides, limits, count)
        prefix = _locate(archive, provides, limits) if take == "*" else take.strip("/")
        written = _write_members(archive, destination, prefix, limits, count)
    except DAMAGE as error:
        # The disk's own errors are not the archive's; EINVAL is a damaged size that leads before the file's start.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = str(error) or type(error).__name__
        raise AtlasError(
            f"{archive.name} is damaged: {reason}", fix="delete it and fetch it again"
        ) from error
    if not written:
        raise AtlasError(
            f"{archive.name} holds nothing below {prefix or 'its top'!r}", fix="check where it is from"
        )
    return written


def _write_members(archive: Path, destination: Path, prefix: str, limits: Limits, count: Counter) -> int:
    account = limits.account(archive.name, archive.stat().st_size)
    files = 0
    for member in members_of(archive, account):
        relative = _below(_safe_name(archive, member.name), prefix)
        if relative is None or _is_litter(relative):
            account.add(member.size)  # in a compressed tar it is unpacked all the same, to get past it
            continue
        files += 1
        target = destination / relative
        _make_room(archive, member, target)
        if member.link_to is None:
            _write(member, target, account)
        else:
            _copy_linked(archive, member, destination, target, prefix, account)
        if files % _REPORT_EVERY == 0:
            count(files, None)
    count(files, files)
    return files


def _make_room(archive: Path, member: Member, target: Path) -> None:
    """Make the folder of a member; an archive may hold a file and a folder of one name."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        clash = True
    else:
        clash = target.is_dir()
    if clash:
        raise AtlasError(
            f"{archive.name}: {member.name!r} needs the name of another member, one a file and one a folder",
            expected="a name of its own for each file and folder",
            fix="delete it and fetch it again",
        )


def _write(member: Member, target: Path, account: Account) -> None:
    account.expect(member.size)
    with member.open() as source, target.open("wb") as stream:
        while piece := source.read(_CHUNK):
            # Counted as it comes out: the sizes that an archive declares can lie.
            account.add(len(piece))
            stream.write(piece)


def _copy_linked(
    archive: Path, member: Member, destination: Path, target: Path, prefix: str, account: Account
) -> None:
    """Put a copy where a link inside the archive would be, so that no link is ever made; it counts as written."""
    assert member.link_to is not None
    inside = _below(_safe_name(archive, member.link_to), prefix)
    if inside is None or not (destination / inside).is_file():
        raise AtlasError(
            f"{archive.name}: {member.name!r} links to {member.link_to!r}, which is not in it",
            expected="links to files that come before them in the archive",
        )
    account.add((destination / inside).stat().st_size)
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
    account = limits.account(archive.name, archive.stat().st_size)
    for member in members_of(archive, account):
        if _safe_name(archive, member.name) == inner and member.link_to is None:
            with tempfile.TemporaryDirectory(prefix=".inner-", dir=destination.parent) as folder:
                copy = Path(folder) / posixpath.basename(inner)
                _write(member, copy, account)
                return extract(copy, destination, take=take, provides=provides, limits=limits, count=count)
    raise AtlasError(f"{archive.name} does not hold {inner}")


def _locate(archive: Path, provides: Sequence[str], limits: Limits) -> str:
    """The shallowest folder of the archive that holds `provides[0]`."""
    wanted = provides[0]
    found = set()
    account = limits.account(archive.name, archive.stat().st_size)
    for member in members_of(archive, account):
        account.add(member.size)
        name = _safe_name(archive, member.name)
        at = f"/{name}/".find(f"/{wanted}/")
        if at >= 0 and not _is_litter(name):
            found.add(name[:at].strip("/"))
    if not found:
        raise AtlasError(f"{archive.name} does not hold {wanted}")
    return min(found, key=lambda prefix: (prefix.count("/"), len(prefix), prefix))


def _safe_name(archive: Path, name: str) -> str:
    check_path(name, f"member of {archive.name}")
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
