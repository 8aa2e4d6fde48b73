"""Downloading one file: resumed where it broke off, retried with back-off, checked before it gets its name."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import time
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from atlas_core.datasets.catalogue import Mirror
from atlas_core.datasets.progress import Counter

ATTEMPTS = 6
CONNECT_ATTEMPTS = 3
BACKOFF_SECONDS = 1.0
_TIMEOUT = httpx.Timeout(60.0, connect=20.0)
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_WEB_PAGE = (b"<!doctype html", b"<html")


class DownloadError(Exception):
    """One address did not give the file; the message says why."""


class _InterruptionError(Exception):
    """A passing fault: worth another attempt."""


def download(mirror: Mirror, path: Path, count: Counter) -> None:
    """Bring one file to `path`, or leave `path` as it was.

    A partial file beside it (`.part`) is continued with an HTTP range request if the server says that its
    content has not changed since.

    Raises:
        DownloadError: The server refuses, keeps failing, or gave something with another size or checksum.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if mirror.url.startswith("gdrive:"):
        _from_google_drive(mirror, path, count)
        return
    part = path.with_name(path.name + ".part")
    continued = _transfer(mirror, part, count)
    problem = mismatch(mirror, part)
    if problem and continued:
        # Bytes left by an earlier attempt may be the wrong ones: once more from the start.
        _forget(part)
        _transfer(mirror, part, count)
        problem = mismatch(mirror, part)
    if problem:
        _forget(part)
        raise DownloadError(problem)
    os.replace(part, path)
    _notes(part).unlink(missing_ok=True)


def mismatch(mirror: Mirror, path: Path) -> str:
    """How a file differs from what the catalogue says of it; empty when it does not."""
    size = path.stat().st_size
    if mirror.md5 is None and mirror.sha256 is None and _is_web_page(path):
        return "it is a web page, not the file"
    if mirror.size is not None and size != mirror.size:
        return f"it has {size} bytes instead of {mirror.size}"
    for kind, expected in (("md5", mirror.md5), ("sha256", mirror.sha256)):
        if expected is not None and (found := _digest(path, kind)) != expected.lower():
            return f"its {kind} is {found} instead of {expected}"
    return ""


def _transfer(mirror: Mirror, part: Path, count: Counter) -> bool:
    """Get all bytes into `part`; True when some of them were there before.

    Attempts are counted anew whenever one brought bytes: a slow line that keeps breaking still gets there.
    """
    continued = _size(part) > 0
    failures = 0
    while True:
        before = _size(part)
        try:
            _request(mirror.url, part, count)
            return continued
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise DownloadError(str(error)) from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            last, limit = str(error) or type(error).__name__, CONNECT_ATTEMPTS
        except (httpx.TransportError, _InterruptionError) as error:
            last, limit = str(error) or type(error).__name__, ATTEMPTS
        failures = 1 if _size(part) > before else failures + 1
        if failures >= limit:
            raise DownloadError(f"{last} ({failures} attempts)")
        time.sleep(BACKOFF_SECONDS * 2 ** (failures - 1))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _request(url: str, part: Path, count: Counter) -> None:
    start, headers = _resume_headers(url, part)
    with (
        httpx.Client(follow_redirects=True, timeout=_TIMEOUT, verify=_tls()) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        if response.status_code == 416:
            _forget(part)
            raise _InterruptionError("the server has fewer bytes than were kept from an earlier attempt")
        if response.status_code in _PASSING:
            raise _InterruptionError(f"HTTP {response.status_code}")
        if not response.is_success:
            raise DownloadError(f"HTTP {response.status_code} {response.reason_phrase}")
        if response.status_code != 206:
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        _write_notes(part, url, response.headers)
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            stream.truncate()
            done = start
            # Raw bytes, as they come: the file as it is stored, and nothing is lost when the line breaks.
            for piece in response.iter_raw():
                stream.write(piece)
                done += len(piece)
                count(done, total)
        if total is not None and done != total:
            raise _InterruptionError(f"the connection ended after {done} of {total} bytes")


@cache
def _tls() -> ssl.SSLContext:
    # Loading the certificates takes longer than fetching a small file.
    return httpx.create_ssl_context()


def _resume_headers(url: str, part: Path) -> tuple[int, dict[str, str]]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "atlas-datasets"}
    notes = _read_notes(part)
    validator = notes.get("etag") or notes.get("last_modified")
    if part.exists() and notes.get("url") == url and validator:
        start = part.stat().st_size
        if start:
            # With If-Range a server that has another file now answers 200 and sends it from the start.
            return start, {**headers, "Range": f"bytes={start}-", "If-Range": str(validator)}
    return 0, headers


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_notes(part: Path) -> dict[str, Any]:
    try:
        content = json.loads(_notes(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_notes(part: Path, url: str, headers: httpx.Headers) -> None:
    etag = headers.get("ETag", "")
    notes = {
        "url": url,
        # A weak validator does not promise equal bytes.
        "etag": "" if etag.startswith("W/") else etag,
        "last_modified": headers.get("Last-Modified", ""),
    }
    _notes(part).write_text(json.dumps(notes), encoding="utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _from_google_drive(mirror: Mirror, path: Path, count: Counter) -> None:
    import gdown

    arrived = path.with_name(path.name + ".gdrive")
    try:
        gdown.download(
            id=mirror.url.removeprefix("gdrive:"),
            output=str(arrived),
            quiet=True,
            use_cookies=False,
            resume=True,
            progress=count,
            timeout=60.0,
        )
    except Exception as error:  # gdown lets errors of several libraries through
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DownloadError(f"Google Drive: {reason}") from error
    if not arrived.is_file():
        raise DownloadError("Google Drive gave no file")
    problem = mismatch(mirror, arrived)
    if problem:
        arrived.unlink()
        raise DownloadError(problem)
    os.replace(arrived, path)


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(200).lstrip().lower().startswith(_WEB_PAGE)


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()
