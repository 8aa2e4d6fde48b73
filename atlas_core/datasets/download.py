"""Downloading one file: resumed where it broke off, retried with back-off, checked before it gets its name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from atlas_core.budgets import DOWNLOAD_BYTES
from atlas_core.datasets.catalogue import Mirror
from atlas_core.datasets.progress import Counter
from atlas_core.datasets.redirects import RedirectError, next_address

ATTEMPTS = 6
CONNECT_ATTEMPTS = 3
BACKOFF_SECONDS = 1.0
_TIMEOUT = httpx.Timeout(60.0, connect=20.0)
# A server that sends less than this in so many seconds, in whatever number of attempts, is given up.
SLOW_SECONDS = 600.0
SLOW_BYTES = 1 << 20
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
_WEB_PAGE = (b"<!doctype html", b"<html")


class DownloadError(Exception):
    """One address did not give the file; the message says why."""


class _InterruptionError(Exception):
    """A passing fault: worth another attempt."""


def download(mirror: Mirror, path: Path, count: Counter) -> None:
    """Bring one file to `path`, or leave `path` as it was.

    A partial file beside it (`.part`) is continued with an HTTP range request if the server says that its
    content has not changed since. Only the file's bytes as they are stored are believed: not another part than was
    asked for, and not encoded ones, unless a checksum shows that they are the file's.

    Raises:
        DownloadError: The server refuses, keeps failing, is far too slow, redirects to where it must not, or gave
            something with another size or checksum.
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
    pace = _Pace()
    while True:
        before = _size(part)
        try:
            _request(mirror, part, count, pace)
            return continued
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError, RedirectError) as error:
            raise DownloadError(str(error)) from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            last, limit = str(error) or type(error).__name__, CONNECT_ATTEMPTS
        except (httpx.TransportError, _InterruptionError) as error:
            last, limit = str(error) or type(error).__name__, ATTEMPTS
        failures = 1 if _size(part) > before else failures + 1
        if failures >= limit:
            raise DownloadError(f"{last} ({failures} attempts)")
        pace.add(0)
        time.sleep(BACKOFF_SECONDS * 2 ** (failures - 1))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class _Pace:
    """Gives up on a server that sends next to nothing for long, over all attempts."""

    def __init__(self) -> None:
        self._since, self._bytes = time.monotonic(), 0

    def add(self, size: int) -> None:
        self._bytes += size
        if self._bytes >= SLOW_BYTES:
            self._since, self._bytes = time.monotonic(), 0
        elif time.monotonic() - self._since > SLOW_SECONDS:
            raise DownloadError(
                f"the server sent less than {SLOW_BYTES:,} bytes in {SLOW_SECONDS:.0f} seconds"
            )


def _request(mirror: Mirror, part: Path, count: Counter, pace: _Pace) -> None:
    start, headers = _resume_headers(mirror.url, part)
    with (
        httpx.Client(timeout=_TIMEOUT, verify=_tls()) as client,
        _answer(client, mirror.url, headers) as response,
    ):
        if response.status_code == 416:
            _forget(part)
            raise _InterruptionError("the server has fewer bytes than were kept from an earlier attempt")
        if response.status_code in _PASSING:
            raise _InterruptionError(f"HTTP {response.status_code}")
        if not response.is_success:
            raise DownloadError(f"HTTP {response.status_code} {response.reason_phrase}")
        _check_encoding(mirror, response)
        if response.status_code == 206:
            _check_part(part, start, response)
        else:
            start = 0
        total = _total(start, response)
        most = DOWNLOAD_BYTES.most if mirror.size is None else mirror.size
        if total is not None and total > most:
            _forget(part)
            raise DownloadError(f"it has {total} bytes instead of {_expected(mirror)}")
        _write_notes(part, mirror.url, response.headers)
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            stream.truncate()
            done = start
            # Raw bytes, as they come: the file as it is stored, and nothing is lost when the line breaks.
            for piece in response.iter_raw():
                done += len(piece)
                if done > most:  # a body without an end
                    _forget(part)
                    raise DownloadError(f"it has more bytes than {_expected(mirror)}")
                stream.write(piece)
                count(done, total)
                pace.add(len(piece))
        if total is not None and done != total:
            raise _InterruptionError(f"the connection ended after {done} of {total} bytes")


def _expected(mirror: Mirror) -> str:
    return str(mirror.size) if mirror.size is not None else f"at most {DOWNLOAD_BYTES.most}"


@contextmanager
def _answer(client: httpx.Client, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
    """The response at the end of the redirects, its body still to come."""
    address = httpx.URL(url)
    steps = 0
    while True:
        with client.stream("GET", address, headers=headers) as response:
            if not response.has_redirect_location:
                yield response
                return
            address = next_address(url, response, steps)
            steps += 1


def _check_encoding(mirror: Mirror, response: httpx.Response) -> None:
    """Refuse bytes that are encoded although they were asked for as they are, where no checksum tells them apart."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity") and mirror.md5 is None and mirror.sha256 is None:
        raise DownloadError(f"the server sends the file encoded as {encoding!r}, which was not asked for")


def _check_part(part: Path, start: int, response: httpx.Response) -> None:
    """Refuse another part of the file than the one that was asked for, and ask for all of it the next time."""
    said = response.headers.get("Content-Range", "")
    found = _CONTENT_RANGE.fullmatch(said.strip())
    if found is None or int(found[1]) != start or start == 0:
        _forget(part)
        raise _InterruptionError(
            f"the server answered with the part {said!r}; asked for was the part from {start} on"
        )


def _total(start: int, response: httpx.Response) -> int | None:
    """The file's size as far as the response tells it."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if response.status_code == 206 and found is not None and found[2] != "*":
        return int(found[2])
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() else None


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
