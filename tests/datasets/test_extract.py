"""Unpacking archives that nobody vouches for."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.budgets import Limits
from atlas_core.datasets.extract import extract
from atlas_core.errors import AtlasError
from tests.datasets.miniatures import packed_zip, tar

FILES = {"top/a/1.jpg": b"one", "top/b/2.jpg": b"two", "other/c.txt": b"three"}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def written(tmp_path: Path, archive: bytes, name: str = "archive") -> Path:
    (tmp_path / name).write_bytes(archive)
    return tmp_path / name


def special(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_any_tar_is_unpacked(mode: str, tmp_path: Path) -> None:
    assert extract(written(tmp_path, tar(FILES, mode)), tmp_path / "out") == 3
    assert contents(tmp_path / "out") == FILES


def test_what_an_archive_is_shows_in_its_content(tmp_path: Path) -> None:
    extract(written(tmp_path, packed_zip(FILES), "wrong.tar.gz"), tmp_path / "out")
    assert contents(tmp_path / "out") == FILES


def test_one_folder_can_be_taken(tmp_path: Path) -> None:
    assert extract(written(tmp_path, tar(FILES)), tmp_path / "out", take="top") == 2
    assert contents(tmp_path / "out") == {"a/1.jpg": b"one", "b/2.jpg": b"two"}
    with pytest.raises(AtlasError, match="holds nothing below 'nowhere'"):
        extract(written(tmp_path, tar(FILES)), tmp_path / "none", take="nowhere")


def test_the_folder_that_holds_something_is_found_and_the_shallowest_wins(tmp_path: Path) -> None:
    deep = {"x/y/images/1.jpg": b"1", "x/y/z/images/2.jpg": b"2", "x/readme": b"r"}
    extract(written(tmp_path, packed_zip(deep)), tmp_path / "out", take="*", provides=["images"])
    assert contents(tmp_path / "out") == {"images/1.jpg": b"1", "z/images/2.jpg": b"2"}
    with pytest.raises(AtlasError, match="does not hold photos"):
        extract(written(tmp_path, packed_zip(deep)), tmp_path / "none", take="*", provides=["photos"])


def test_an_archive_inside_an_archive_is_unpacked(tmp_path: Path) -> None:
    outer = packed_zip({"set/inner.tar.gz": tar(FILES), "set/readme": b""})
    extract(written(tmp_path, outer), tmp_path / "out", inner="set/inner.tar.gz")
    assert contents(tmp_path / "out") == FILES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["archive", "out"]


def test_litter_and_pickles_of_other_programs_are_left_out(tmp_path: Path) -> None:
    litter = {
        "__MACOSX/a": b"",
        "d/._1.jpg": b"",
        "d/.DS_Store": b"",
        "d/split_fewshot/1.pkl": b"",
        "d/1": b"1",
    }
    extract(written(tmp_path, packed_zip(litter)), tmp_path / "out")
    assert contents(tmp_path / "out") == {"d/1": b"1"}


@pytest.mark.parametrize("pack", [packed_zip, tar])
@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:/evil"])
def test_no_member_leaves_the_destination(pack: object, name: str, tmp_path: Path) -> None:
    archive = written(tmp_path, pack({"good": b"", name: b"evil"}))  # type: ignore[operator]
    with pytest.raises(AtlasError, match="leaves its folder"):
        extract(archive, tmp_path / "out" / "deep")
    assert not list(tmp_path.rglob("*evil*"))


@given(st.text(st.sampled_from("ab./\\:~ \u00e9"), min_size=1, max_size=12))
def test_whatever_the_name_nothing_is_written_elsewhere(name: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        archive = written(Path(folder), tar({name: b"content"}))
        with contextlib.suppress(AtlasError, OSError):
            extract(archive, Path(folder, "out"))
        outside = [p for p in Path(folder).rglob("*") if p.is_file() and Path(folder, "out") not in p.parents]
        assert outside == [archive]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "missing.jpg"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_that_leads_out_or_nowhere_is_refused(kind: bytes, target: str, tmp_path: Path) -> None:
    archive = written(tmp_path, special((member("a/link", kind, target), b"")))
    with pytest.raises(AtlasError):
        extract(archive, tmp_path / "out")
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))


def test_a_link_inside_becomes_a_copy(tmp_path: Path) -> None:
    archive = special(
        (member("a/1.jpg"), b"one"),
        (member("a/same.jpg", tarfile.SYMTYPE, "1.jpg"), b""),
        (member("b/hard.jpg", tarfile.LNKTYPE, "a/1.jpg"), b""),
    )
    extract(written(tmp_path, archive), tmp_path / "out")
    assert contents(tmp_path / "out") == {"a/1.jpg": b"one", "a/same.jpg": b"one", "b/hard.jpg": b"one"}
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))


def test_a_link_in_a_zip_is_a_link_too(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(AtlasError, match="leaves its folder"):
        extract(written(tmp_path, stream.getvalue()), tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(kind: bytes, tmp_path: Path) -> None:
    archive = written(tmp_path, special((member("a/device", kind), b"")))
    with pytest.raises(AtlasError, match="neither a file nor a folder"):
        extract(archive, tmp_path / "out")


def test_an_archive_that_unpacks_to_too_much_is_stopped(tmp_path: Path) -> None:
    bomb = written(tmp_path, packed_zip({f"{n}": bytes(1 << 20) for n in range(8)}))
    with pytest.raises(AtlasError, match=r"too much: more than .* bytes when unpacked"):
        extract(bomb, tmp_path / "out", limits=Limits(bytes=3 << 20))
    assert sum(p.stat().st_size for p in (tmp_path / "out").iterdir()) <= 3 << 20


def test_a_small_file_cannot_unpack_to_gigabytes(tmp_path: Path) -> None:
    # Beyond a free gigabyte, the bound is a multiple of the archive's own size.
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(2):
            with archive.open(str(number), "w") as stream:
                for _ in range(24):
                    stream.write(bytes(1 << 20))
    with pytest.raises(AtlasError, match=r"too much: more than .* bytes when unpacked"):
        extract(path, tmp_path / "out", limits=Limits(ratio=10, free_bytes=1 << 20))


def test_an_archive_of_too_many_files_is_stopped(tmp_path: Path) -> None:
    many = written(tmp_path, tar({f"{n}": b"" for n in range(20)}))
    with pytest.raises(AtlasError, match="more than 10 files"):
        extract(many, tmp_path / "out", limits=Limits(files=10))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_copy_in_place_of_a_link_counts_as_unpacked(kind: bytes, tmp_path: Path) -> None:
    links = [(member(f"{n}", kind, "big"), b"") for n in range(30)]
    bomb = written(tmp_path, special((member("big"), bytes(1 << 20)), *links))
    with pytest.raises(AtlasError, match="too much: more than 3,145,728 bytes when unpacked"):
        extract(bomb, tmp_path / "out", limits=Limits(bytes=3 << 20))
    assert sum(p.stat().st_size for p in (tmp_path / "out").iterdir()) <= 3 << 20


def test_folders_and_links_count_as_members(tmp_path: Path) -> None:
    folders = special(*[(member(f"{n}", tarfile.DIRTYPE), b"") for n in range(20)])
    with pytest.raises(AtlasError, match="more than 10 files"):
        extract(written(tmp_path, folders), tmp_path / "out", limits=Limits(files=10))


def test_a_link_in_a_zip_with_a_huge_target_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, b"a" * (8 << 20))
    with pytest.raises(AtlasError, match="'link' asks for too much: more than 4,096 bytes in a path"):
        extract(tmp_path / "archive", tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE])
def test_a_header_of_gigabytes_is_refused_unread(kind: bytes, tmp_path: Path) -> None:
    info = member("././@LongLink", kind)
    info.size = 3 << 30
    with (tmp_path / "archive").open("wb") as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.truncate(3 << 30)  # a hole: it takes no room on the disk
    with pytest.raises(AtlasError, match="too much: more than 65,536 bytes in a tar header"):
        extract(tmp_path / "archive", tmp_path / "out")


def sparse_header(real_size: int) -> bytes:
    """A GNU sparse member that is one hole."""
    header = bytearray(member("hole", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\0" * 2
    header[483:495] = tarfile.itn(real_size, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def test_a_sparse_file_is_refused_before_its_holes_are_written(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="bytes when unpacked"):
        extract(written(tmp_path, sparse_header(8 << 40)), tmp_path / "out")
    assert contents(tmp_path / "out") == {}
    assert extract(written(tmp_path, sparse_header(5000)), tmp_path / "out") == 1
    assert contents(tmp_path / "out") == {"hole": bytes(5000)}


def test_what_is_passed_over_counts_too(tmp_path: Path) -> None:
    # A compressed tar is unpacked to get past a member, and to its end to see that it is whole.
    for number, content in enumerate(
        [tar({"._litter": bytes(1 << 20)}, "w"), tar({"a": b""}, "w") + bytes(1 << 20)]
    ):
        bomb = written(tmp_path, gzip.compress(content), f"archive{number}")
        with pytest.raises(AtlasError, match="bytes when unpacked"):
            extract(bomb, tmp_path / "out", limits=Limits(bytes=1 << 19))


@pytest.mark.parametrize("pack", [packed_zip, tar])
@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a", "a/b"], "'a/b' needs the name of another member"),
        (["a/b", "a"], "'a' needs the name of another member"),
        (["é" * 128], "255 bytes in a file's name"),
        (["a/" * 64 + "a"], "64 folders in a path"),
        ([("a" * 200 + "/") * 30 + "a"], "4,096 bytes in a path"),
    ],
)
def test_names_that_no_disk_takes_are_refused_by_name(
    pack: Callable[[dict[str, bytes]], bytes], names: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(AtlasError, match=says):
        extract(written(tmp_path, pack(dict.fromkeys(names, b"x"))), tmp_path / "out")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_damaged_tar_is_called_damaged(mode: str, how: str, tmp_path: Path) -> None:
    good = tar({f"{n}.jpg": os.urandom(5000) for n in range(5)}, mode)
    middle = len(good) // 2
    bad = good[:middle] if how == "cut" else good[:middle] + b"\0" * 200 + good[middle + 200 :]
    with pytest.raises(AtlasError, match="is damaged"):
        extract(written(tmp_path, bad), tmp_path / "out")


def test_a_bad_header_in_a_plain_tar_does_not_pass_for_its_end(tmp_path: Path) -> None:
    good = bytearray(tar({f"{n}.jpg": b"x" * 512 for n in range(5)}, "w"))
    good[2048:2058] = b"\xff" * 10
    with pytest.raises(AtlasError, match="is damaged"):
        extract(written(tmp_path, bytes(good)), tmp_path / "out")


def test_a_damaged_or_locked_zip_is_called_damaged(tmp_path: Path) -> None:
    good = bytearray(packed_zip({"1.jpg": os.urandom(5000)}))
    good[1000:1010] = bytes(10)
    with pytest.raises(AtlasError, match="is damaged"):
        extract(written(tmp_path, bytes(good)), tmp_path / "out")
    locked = bytearray(packed_zip({"1.jpg": b"content"}))
    # Bit 0 of the flags, in the local header and in the directory: the file is encrypted.
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(AtlasError, match="is damaged"):
        extract(written(tmp_path, bytes(locked)), tmp_path / "out")


def test_what_is_no_archive_is_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="is damaged"):
        extract(written(tmp_path, b"<html>no archive</html>"), tmp_path / "out")
