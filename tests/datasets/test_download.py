"""One file over HTTP: resumed, retried, checked; and from Google Drive."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import gdown
import pytest

from atlas_core.datasets import download as module
from atlas_core.datasets.catalogue import Mirror
from atlas_core.datasets.download import DownloadError, download
from tests.datasets.server import FileServer

CONTENT = bytes(range(256)) * 400
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


def get(url: str, path: Path, **checks: Any) -> list[tuple[int, int | None]]:
    told: list[tuple[int, int | None]] = []
    download(Mirror(url=url, **checks), path, lambda done, total: told.append((done, total)))
    return told


def test_the_file_arrives_with_progress_and_nothing_beside_it(server: FileServer, tmp_path: Path) -> None:
    told = get(server.put("a.bin", CONTENT), tmp_path / "a.bin", md5=MD5, sha256=SHA256, size=len(CONTENT))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_breaks_are_survived_by_asking_for_the_rest(server: FileServer, tmp_path: Path) -> None:
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [1000, 2000, 3000]
    get(url, tmp_path / "a.bin", md5=MD5)
    assert server.asked("a.bin") == ["", "bytes=1000-", "bytes=3000-", "bytes=6000-"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_line_that_keeps_breaking_still_gets_there(server: FileServer, tmp_path: Path) -> None:
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [5000] * (3 * module.ATTEMPTS)
    get(url, tmp_path / "a.bin", md5=MD5)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_it_all_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [1000]
    get(url, tmp_path / "a.bin", md5=MD5)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_without_a_validator_nothing_is_continued(server: FileServer, tmp_path: Path) -> None:
    server.validators = False
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [1000]
    get(url, tmp_path / "a.bin", md5=MD5)
    assert server.asked("a.bin") == ["", ""]


def test_a_file_that_changed_meanwhile_is_not_mixed_with_the_old_one(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [1000]
    with pytest.raises(DownloadError):
        get(url, tmp_path / "a.bin")
    server.files["a.bin"] = CONTENT[::-1]
    get(url, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_a_rotten_partial_file_is_noticed_and_fetched_afresh(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [1000]
    with pytest.raises(DownloadError):
        get(url, tmp_path / "a.bin", md5=MD5)
    (tmp_path / "a.bin.part").write_bytes(bytes(1000))
    get(url, tmp_path / "a.bin", md5=MD5)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_partial_file_longer_than_the_served_one_is_dropped(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [1000]
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    with pytest.raises(DownloadError):
        get(url, tmp_path / "a.bin")
    monkeypatch.undo()
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.001)
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    get(url, tmp_path / "a.bin", md5=MD5)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_passing_faults_are_retried_and_lasting_ones_are_not(server: FileServer, tmp_path: Path) -> None:
    url = server.put("a.bin", CONTENT)
    server.statuses["a.bin"] = [503, 429]
    get(url, tmp_path / "a.bin", md5=MD5)
    assert len(server.asked("a.bin")) == 3
    with pytest.raises(DownloadError, match="HTTP 404"):
        get(server.url("none.bin"), tmp_path / "none.bin")
    assert len(server.asked("none.bin")) == 1


@pytest.mark.parametrize(
    ("checks", "complaint"),
    [
        ({"md5": "0" * 32}, "md5 is"),
        ({"sha256": "0" * 64}, "sha256 is"),
        ({"size": 5}, "bytes instead of 5"),
    ],
)
def test_what_is_not_the_file_leaves_no_trace(
    checks: dict[str, Any], complaint: str, server: FileServer, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=complaint):
        get(server.put("a.bin", CONTENT), tmp_path / "a.bin", **checks)
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_in_place_of_an_unchecked_file_is_refused(server: FileServer, tmp_path: Path) -> None:
    page = b"\n<!DOCTYPE html><html>Quota exceeded</html>"
    with pytest.raises(DownloadError, match="web page"):
        get(server.put("split.json", page), tmp_path / "split.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.bin", "ftp://127.0.0.1/a.bin", "http://[/a.bin"])
def test_an_address_that_cannot_be_reached_is_one_error(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError):
        get(url, tmp_path / "a.bin")


def test_google_drive_goes_through_gdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fake(**arguments: Any) -> str:
        asked.update(arguments)
        Path(arguments["output"]).write_bytes(CONTENT)
        arguments["progress"](len(CONTENT), None)
        return str(arguments["output"])

    monkeypatch.setattr(gdown, "download", fake)
    told = get("gdrive:1-61f_ol", tmp_path / "a.bin", md5=MD5)
    assert (asked["id"], asked["resume"]) == ("1-61f_ol", True)
    assert told == [(len(CONTENT), None)]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="md5"):
        get("gdrive:1-61f_ol", tmp_path / "b.bin", md5="0" * 32)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_the_installed_gdown_takes_what_it_is_given() -> None:
    import inspect

    taken = set(inspect.signature(gdown.download).parameters)
    assert {"id", "output", "quiet", "use_cookies", "resume", "progress", "timeout"} <= taken


def test_a_refusal_of_google_drive_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> str:
        raise RuntimeError("Too many users have viewed this file\nlong\nexplanation")

    monkeypatch.setattr(gdown, "download", refuse)
    with pytest.raises(DownloadError, match=r"^Google Drive: Too many users have viewed this file$"):
        get("gdrive:1-61f_ol", tmp_path / "a.bin")
