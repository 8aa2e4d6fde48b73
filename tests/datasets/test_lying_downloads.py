"""Servers that answer with something else than the file: nothing wrong is kept under its name."""

from __future__ import annotations

import gzip
import hashlib
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from atlas_core.datasets import download as module
from atlas_core.datasets.catalogue import Mirror
from atlas_core.datasets.download import DownloadError, download
from atlas_core.datasets.redirects import MOST_REDIRECTS, RedirectError, next_address
from tests.datasets.server import FileServer, serving

CONTENT = bytes(range(256)) * 400
MD5 = hashlib.md5(CONTENT).hexdigest()


def get(url: str, path: Path, **checks: Any) -> None:
    download(Mirror(url=url, **checks), path, lambda done, total: None)


def test_a_part_from_the_wrong_place_is_not_appended(server: FileServer, tmp_path: Path) -> None:
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [1000]
    server.shifted["a.bin"] = 256
    get(url, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked("a.bin") == ["", "bytes=1000-", ""]


@pytest.mark.parametrize(
    "said", ["", "bytes */102400", "items 1000-102399/102400", "bytes 0-102399/102400", "x"]
)
def test_a_part_that_does_not_say_where_it_begins_is_not_appended(
    said: str, server: FileServer, tmp_path: Path
) -> None:
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [1000]
    server.headers["a.bin"] = {"Content-Range": said}
    get(url, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_that_nobody_asked_for_is_refused(server: FileServer, tmp_path: Path) -> None:
    url = server.put("a.bin", CONTENT)
    server.statuses["a.bin"] = [206] * module.ATTEMPTS
    with pytest.raises(DownloadError, match="answered with the part"):
        get(url, tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_encoded_bytes_are_refused_unless_a_checksum_vouches_for_them(
    server: FileServer, tmp_path: Path
) -> None:
    url = server.put("a.bin", gzip.compress(CONTENT))
    server.headers["a.bin"] = {"Content-Encoding": "gzip"}
    with pytest.raises(DownloadError, match="encoded as 'gzip'"):
        get(url, tmp_path / "a.bin")
    with pytest.raises(DownloadError, match="md5 is"):
        get(url, tmp_path / "a.bin", md5=MD5)
    # Some servers call a .tgz, which is stored compressed, encoded: its bytes are the file's.
    server.put("a.bin", CONTENT)
    get(url, tmp_path / "a.bin", md5=MD5)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_redirects_on_the_named_host_are_followed(server: FileServer, tmp_path: Path) -> None:
    server.put("end.bin", CONTENT)
    server.redirects = {"a.bin": "/b.bin", "b.bin": server.url("end.bin")}
    server.cut_after["end.bin"] = [1000]
    get(server.url("a.bin"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked("end.bin") == ["", "bytes=1000-"]


@pytest.mark.parametrize(
    ("here", "there", "allowed"),
    [
        ("http://8.8.8.8/a", "https://8.8.4.4/a", True),
        ("https://8.8.8.8/a", "http://8.8.8.8/a", False),
        ("https://8.8.8.8/a", "https://8.8.4.4/a", True),
    ],
)
def test_a_redirect_may_go_to_https_but_not_back(here: str, there: str, allowed: bool) -> None:
    response = httpx.Response(302, request=httpx.Request("GET", here))
    response.next_request = httpx.Request("GET", there)
    if allowed:
        assert next_address(here, response, 0) == httpx.URL(there)
    else:
        with pytest.raises(RedirectError, match="from https to http"):
            next_address(here, response, 0)


def test_circles_of_redirects_end(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"a.bin": "/b.bin", "b.bin": "/a.bin"}
    with pytest.raises(DownloadError, match=f"redirects more than {MOST_REDIRECTS} times"):
        get(server.url("a.bin"), tmp_path / "a.bin")
    assert len(server.requests) == MOST_REDIRECTS + 1


@pytest.mark.parametrize(
    "target", ["ftp://example.org/a.bin", "file:///etc/passwd", "gopher://example.org"]
)
def test_a_redirect_to_another_scheme_is_refused(target: str, server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"a.bin": target}
    with pytest.raises(DownloadError, match="from http to"):
        get(server.url("a.bin"), tmp_path / "a.bin")


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "[::1]",
        "[fe80::1]",
        "0.0.0.0",
        "[::ffff:10.0.0.1]",
    ],
)
def test_a_redirect_into_a_private_network_is_refused(host: str, server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"a.bin": f"http://{host}/latest/meta-data"}
    with pytest.raises(DownloadError, match="private network"):
        get(server.url("a.bin"), tmp_path / "a.bin")


def test_a_public_name_of_a_private_address_is_refused(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 80))
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *a, **k: [entry] if host == "data.example.org" else real(host, *a, **k),
    )
    server.redirects = {"a.bin": "http://data.example.org/a.bin"}
    with pytest.raises(DownloadError, match=r"data.example.org \(10.1.2.3\), which is on a private network"):
        get(server.url("a.bin"), tmp_path / "a.bin")


def test_another_server_of_the_named_host_is_no_private_network(server: FileServer, tmp_path: Path) -> None:
    with serving() as other:
        server.redirects = {"a.bin": other.put("a.bin", CONTENT)}
        get(server.url("a.bin"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_body_without_an_end_is_cut(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.put("a.bin", CONTENT)
    server.endless.add("a.bin")
    with pytest.raises(DownloadError, match="it has more bytes than 500000"):
        get(url, tmp_path / "a.bin", size=500_000)
    monkeypatch.setattr(module, "DOWNLOAD_BYTES", module.DOWNLOAD_BYTES.__class__(1 << 20, "bytes"))
    with pytest.raises(DownloadError, match="it has more bytes than at most 1048576"):
        get(url, tmp_path / "b.bin")
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_file_of_another_size_is_refused_before_it_is_sent(server: FileServer, tmp_path: Path) -> None:
    told: list[int] = []
    with pytest.raises(DownloadError, match="it has 102400 bytes instead of 5"):
        download(
            Mirror(url=server.put("a.bin", CONTENT), size=5),
            tmp_path / "a.bin",
            lambda done, total: told.append(done),
        )
    assert told == []


def test_a_server_that_sends_next_to_nothing_is_given_up(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.0)
    url = server.put("a.bin", CONTENT)
    server.cut_after["a.bin"] = [1] * 100
    with pytest.raises(DownloadError, match="the server sent less than"):
        get(url, tmp_path / "a.bin")
    assert len(server.requests) < 100
