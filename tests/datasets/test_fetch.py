"""Bringing datasets onto the disk: mirrors, copies at hand, several at a time, folders that are there already."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atlas_core.datasets.archives import add_missing
from atlas_core.datasets.catalogue import Archive, DatasetSpec, Mirror, Source
from atlas_core.datasets.fetch import WORK_FOLDER, ensure_fetched, fetch_all
from atlas_core.datasets.paths import listing_fingerprint
from atlas_core.datasets.progress import Progress
from atlas_core.datasets.readers import read_dataset
from atlas_core.errors import AtlasError
from tests.datasets.miniatures import images, jpeg, miniature, packed_zip, tar
from tests.datasets.server import FileServer

BIRDS = images(f"{name}/{n}.jpg" for name in ("robin", "wren") for n in range(4))


def birds(*addresses: str | Mirror, name: str = "birds", **first: object) -> DatasetSpec:
    """A dataset of class folders in one archive, from the first address or its mirrors."""
    archive = Archive(
        url=str(addresses[0]),
        mirrors=tuple(addresses[1:]),
        filename="birds.zip",
        provides=("robin", "wren"),
        **first,  # type: ignore[arg-type]
    )
    source = Source(archives=(archive,))
    return DatasetSpec(name=name, layout="image_folder", folder=name, source=source)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def test_mirrors_are_tried_in_order_until_one_gives_the_file(server: FileServer, tmp_path: Path) -> None:
    good = server.put("good.zip", packed_zip(BIRDS))
    spec = birds(server.url("gone.zip"), server.put("bad.zip", b"no archive"), good, server.url("last.zip"))
    ensure_fetched(spec, tmp_path)
    assert [path for path, _ in server.requests] == ["gone.zip", "bad.zip", "good.zip"]
    assert len(read_dataset(spec, tmp_path).items) == 8


def test_a_mirror_may_pack_the_content_in_another_way(server: FileServer, tmp_path: Path) -> None:
    files = {f"data-v2/pictures/{path}": content for path, content in BIRDS.items()}
    mirror = Mirror(url=server.put("other.tar.gz", tar(files)), take="data-v2/pictures")
    ensure_fetched(birds(server.url("gone.zip"), mirror), tmp_path)
    assert visible(tmp_path / "birds") == ["robin", "wren"]


def test_when_no_address_works_the_error_names_each_with_its_reason(
    server: FileServer, tmp_path: Path
) -> None:
    spec = birds(server.url("gone.zip"), server.put("bad.zip", b"no archive"))
    with pytest.raises(AtlasError) as caught:
        ensure_fetched(spec, tmp_path)
    message = str(caught.value)
    assert "gone.zip: HTTP 404" in message
    assert "bad.zip: birds.zip is damaged" in message
    assert f"put birds.zip into {tmp_path}" in message
    assert visible(tmp_path) == []


@pytest.mark.parametrize("place", [".", "birds"])
def test_an_archive_that_somebody_put_there_is_used_and_kept(
    place: str, server: FileServer, tmp_path: Path
) -> None:
    write(tmp_path / place, {"birds.zip": packed_zip(BIRDS)})
    spec = birds(server.url("gone.zip"))
    ensure_fetched(spec, tmp_path)
    assert server.requests == []
    assert (tmp_path / place / "birds.zip").is_file()
    assert len(read_dataset(spec, tmp_path).items) == 8


def test_a_copy_at_hand_that_is_damaged_is_passed_over(server: FileServer, tmp_path: Path) -> None:
    write(tmp_path, {"birds.zip": b"no archive"})
    ensure_fetched(birds(server.put("good.zip", packed_zip(BIRDS))), tmp_path)
    assert (tmp_path / "birds.zip").read_bytes() == b"no archive"
    assert visible(tmp_path) == ["birds", "birds.zip"]


def test_what_came_must_be_what_was_published(server: FileServer, tmp_path: Path) -> None:
    spec = birds(server.put("good.zip", packed_zip(BIRDS))).model_copy(update={"counts": {"classes": 3}})
    with pytest.raises(AtlasError, match="classes: 2 here, 3 published"):
        ensure_fetched(spec, tmp_path)
    assert visible(tmp_path) == []


def test_a_folder_elsewhere_is_adopted_through_a_link_and_stays_untouched(
    server: FileServer, tmp_path: Path
) -> None:
    write(tmp_path / "elsewhere" / "mine", BIRDS)
    before = listing_fingerprint(tmp_path / "elsewhere")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "birds").symlink_to(tmp_path / "elsewhere" / "mine")
    ensure_fetched(birds(server.url("gone.zip")), tmp_path / "root")
    assert listing_fingerprint(tmp_path / "elsewhere") == before
    assert list((tmp_path / "root").iterdir()) == [tmp_path / "root" / "birds"]


def test_a_read_only_root_with_complete_data_is_enough(tmp_path: Path, server: FileServer) -> None:
    small = miniature("eurosat")
    spec = small.spec(server)
    ensure_fetched(spec, tmp_path)
    for folder in (tmp_path, spec.path(tmp_path)):
        folder.chmod(0o555)
    try:
        ensure_fetched(spec, tmp_path)
    finally:
        for folder in (tmp_path, spec.path(tmp_path)):
            folder.chmod(0o755)


def test_only_the_split_file_is_fetched_where_the_images_are_there(
    server: FileServer, tmp_path: Path
) -> None:
    spec = miniature("dtd").spec(server)
    ensure_fetched(spec, tmp_path)
    assert spec.split_file is not None
    (spec.path(tmp_path) / spec.split_file).unlink()
    server.requests.clear()
    ensure_fetched(spec, tmp_path)
    assert [path for path, _ in server.requests] == [f"dtd/{spec.split_file}"]


def test_a_new_split_file_tells_which_images_are_still_to_be_had(server: FileServer, tmp_path: Path) -> None:
    spec = miniature("dtd").spec(server)
    ensure_fetched(spec, tmp_path)
    index = read_dataset(spec, tmp_path)
    assert spec.split_file is not None
    (spec.path(tmp_path) / spec.split_file).unlink()
    (spec.path(tmp_path) / index.items[3].path).unlink()
    ensure_fetched(spec, tmp_path)
    assert read_dataset(spec, tmp_path) == index


def test_a_damaged_split_file_on_its_way_does_not_reach_the_folder(
    server: FileServer, tmp_path: Path
) -> None:
    spec = miniature("food101").spec(server)
    server.files[f"food101/{spec.split_file}"] = b'{"train": [["a/1.jpg", 0'
    with pytest.raises(AtlasError, match=r"split_zhou_Food101\.json is damaged"):
        ensure_fetched(spec, tmp_path)
    assert visible(tmp_path) == []


def test_several_are_fetched_at_a_time_and_one_failure_stops_no_other(
    server: FileServer, tmp_path: Path
) -> None:
    specs = [miniature(name).spec(server) for name in ("dtd", "eurosat", "imagenet", "imagenet_a", "sun397")]
    told: list[Progress] = []
    outcomes = fetch_all(specs, tmp_path, told.append, jobs=3)
    assert [outcome.spec.name for outcome in outcomes] == [spec.name for spec in specs]
    assert [outcome.spec.name for outcome in outcomes if outcome.error] == ["imagenet"]
    assert visible(tmp_path) == ["dtd", "eurosat", "imagenet-adversarial", "sun397"]
    assert {each.dataset for each in told} == {"dtd", "eurosat", "imagenet_a", "sun397"}
    assert any(each.step.startswith("downloading") and each.done == each.total for each in told)
    assert any(each.step.startswith("unpacking") for each in told)


def test_of_several_that_fetch_the_same_one_does_the_work(server: FileServer, tmp_path: Path) -> None:
    spec = miniature("dtd").spec(server)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: ensure_fetched(spec, tmp_path), range(6)))
    assert len(server.requests) == 2
    assert len(read_dataset(spec, tmp_path).items) == 18


KILLED = """
import sys
from pathlib import Path
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.fetch import ensure_fetched

def tell(progress):
    print(progress.step, progress.done, flush=True)

ensure_fetched(DatasetSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2]), tell)
"""


def test_a_killed_fetch_leaves_no_half_dataset_and_is_continued(server: FileServer, tmp_path: Path) -> None:
    noise = {f"{name}/{n}.jpg": jpeg() + os.urandom(40_000) for name in ("robin", "wren") for n in range(50)}
    spec = birds(server.put("big.tar", tar(noise, "w")))
    # The body stops half-way without closing, so the child is certainly killed within its download.
    held = len(server.files["big.tar"]) // 2
    server.stall_after["big.tar"] = [held]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, spec.model_dump_json(), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line.split()[-1]) >= held:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert visible(tmp_path) == []
    ensure_fetched(spec, tmp_path)
    first, second = server.asked("big.tar")
    assert first == ""
    # What the child had told of is on the disk; what it read after that may be, or may have died with it.
    assert re.fullmatch(r"bytes=[1-9]\d*-", second)
    assert int(second[6:-1]) <= held
    assert len(read_dataset(spec, tmp_path).items) == 100


def test_content_left_by_a_death_while_adding_files_is_added_first(
    server: FileServer, tmp_path: Path
) -> None:
    spec = birds(server.put("good.zip", packed_zip(BIRDS)))
    assert spec.source is not None
    from atlas_core.datasets.archives import _content

    left = _content(spec.source.archives[0], tmp_path / WORK_FOLDER / "birds")
    write(left, {path: content for path, content in BIRDS.items() if "wren" in path})
    write(tmp_path / "birds", {path: content for path, content in BIRDS.items() if path <= "wren/1.jpg"})
    ensure_fetched(spec, tmp_path)
    assert len(read_dataset(spec, tmp_path).items) == 8
    assert server.requests == []


def test_adding_what_is_missing_replaces_nothing(tmp_path: Path) -> None:
    write(tmp_path / "new", {"a/1": b"new", "a/2": b"new", "b": b"new", "c/d": b"new"})
    write(tmp_path / "old", {"a/1": b"old", "c": b"old"})
    add_missing(tmp_path / "new", tmp_path / "old")
    found = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {"old/a/1": b"old", "old/a/2": b"new", "old/b": b"new", "old/c": b"old"}


def test_a_disk_that_is_too_small_is_told_before_the_download(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = birds(server.put("good.zip", packed_zip(BIRDS)), size=1 << 50)
    with pytest.raises(AtlasError, match=r"needs about \d+ MiB"):
        ensure_fetched(spec, tmp_path)
    assert server.requests == []


def test_data_without_a_source_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    spec = DatasetSpec(name="own", layout="image_folder", folder="own")
    with pytest.raises(AtlasError, match="is not at"):
        ensure_fetched(spec, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_waiting_process_says_so(server: FileServer, tmp_path: Path) -> None:
    from filelock import FileLock

    spec = birds(server.put("good.zip", packed_zip(BIRDS)))
    work = tmp_path / WORK_FOLDER / "birds"
    work.mkdir(parents=True)
    told: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with FileLock(f"{work}.lock"):
            waiting = pool.submit(ensure_fetched, spec, tmp_path, lambda p: told.append(p.step))
            while not told and not waiting.done():
                time.sleep(0.01)
        waiting.result()
    assert told[0] == "waiting for another process that fetches it"
