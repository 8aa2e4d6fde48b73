"""A file server on 127.0.0.1 with range requests, and with the faults of real ones."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What is served, how it misbehaves, and what was asked for.

    Attributes:
        files: Path (without the leading slash) to bytes; set `url` to get an address.
        cut_after: Bytes of the body after which the connection breaks, by path; once for each entry.
        stall_after: Bytes of the body after which nothing more comes, although the connection stays, by path.
        statuses: Statuses that are answered first, by path, one a request.
        headers: Headers that are added to the answer, by path.
        shifted: Paths whose range requests are answered from so many bytes later than asked.
        redirects: Path to the address that it redirects to.
        endless: Paths whose body has no declared length and does not end before the client goes.
        ranges: Whether range requests are understood.
        validators: Whether files have an ETag.
        requests: (path, Range header or "") of every request, in order.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    stall_after: dict[str, list[int]] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    shifted: dict[str, int] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)
    ranges: bool = True
    validators: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)

    def put(self, path: str, content: bytes) -> str:
        """Serve `content` and return its address."""
        self.files[path] = content
        return self.url(path)

    def url(self, path: str) -> str:
        return f"{self.address}/{path}"

    def asked(self, path: str) -> list[str]:
        """Range headers of the requests for a path."""
        return [header for requested, header in self.requests if requested == path]


@contextmanager
def serving() -> Iterator[FileServer]:
    """A running server."""
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, state)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, state: FileServer) -> None:
    path = handler.path.lstrip("/")
    wanted = handler.headers.get("Range", "")
    state.requests.append((path, wanted))
    if path in state.redirects:
        handler.send_response(302)
        handler.send_header("Location", state.redirects[path])
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    status = state.statuses[path].pop(0) if state.statuses.get(path) else 200
    if status != 200 or path not in state.files:
        handler.send_response(status if status != 200 else 404)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    content = state.files[path]
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    start = 0
    if state.ranges and wanted and handler.headers.get("If-Range") == tag:
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
    if start and start >= len(content):
        handler.send_response(416)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    start += state.shifted.get(path, 0) if start else 0
    body = content[start:]
    added = state.headers.get(path, {})
    handler.send_response(206 if start else 200)
    if start and "Content-Range" not in added:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    for name, value in added.items():
        handler.send_header(name, value)
    if state.validators:
        handler.send_header("ETag", tag)
    if path in state.endless:
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        with suppress(OSError):
            while True:
                handler.wfile.write(body)
        return
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if state.cut_after.get(path):
        body = body[: state.cut_after[path].pop(0)]
        handler.close_connection = True
    if state.stall_after.get(path):
        handler.wfile.write(body[: state.stall_after[path].pop(0)])
        # Ends when the client goes away, or with the server.
        handler.rfile.read(1)
        handler.close_connection = True
        return
    handler.wfile.write(body)
