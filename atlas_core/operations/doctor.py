"""What could go wrong here, looked at before it does: versions, device, disk, store, server, hub."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
from filelock import Timeout
from packaging.version import InvalidVersion, Version

from atlas_core.locks import MARKER, keeps_locks, lock_on
from atlas_core.operations.finding import Finding
from atlas_core.operations.garbage import folder_bytes
from atlas_core.operations.hardware import available_memory, device_findings, memory_finding
from atlas_core.operations.versions import (
    import_findings,
    installed_version,
    package_findings,
    python_finding,
)
from atlas_core.placement import Placement
from atlas_core.store import Store

_LITTLE_SPACE = 2 << 30
# A study of ten thousand artifacts makes some five times as many files and folders.
_FEW_FILES = 50_000
_SERVER = "http://127.0.0.1:4200/api"
_HUB = "https://huggingface.co"


def examine(placement: Placement, *, network: bool = True) -> Iterator[Finding]:
    """Look at everything."""
    yield python_finding(sys.version_info[:2])
    yield from package_findings(installed_version)
    yield from import_findings()
    yield from device_findings(placement)
    memory = memory_finding(placement.workers, available_memory())
    if memory is not None:
        yield memory
    yield from _store(placement)
    yield from (_space(name, path) for name, path in _disks(placement))
    if network:
        yield server_finding(os.environ.get("PREFECT_API_URL", _SERVER), installed_version("prefect"))
        yield hub_finding(os.environ.get("HF_ENDPOINT", _HUB), os.environ.get("HF_HUB_OFFLINE", ""))


def _store(placement: Placement) -> Iterator[Finding]:
    store = Store(placement.store_path)
    place = _existing(store.root)
    try:
        with tempfile.TemporaryDirectory(prefix=".atlas-doctor-", dir=place) as folder:
            locks, by_kernel = _locks_hold(Path(folder)), keeps_locks(Path(folder))
    except OSError as error:
        what = f"{store.root} cannot be written to: {error.strerror}"
        yield Finding("store", "bad", what, "choose another with --store")
        return
    if not locks:
        what = f"{store.root}: its file system keeps no locks, so two studies may make one artifact at once"
        yield Finding("store", "note", what, "run one study at a time on it, or choose another with --store")
    elif not by_kernel:
        what = f"{store.root}: its file system keeps no locks; files named *{MARKER} in .work stand for them"
        yield Finding(
            "store", "note", what, "delete such a file where its process was killed on another machine"
        )
    if place != store.root:
        yield Finding("store", "ok", f"{store.root} is made by the first study")
        return
    count = sum(1 for _ in store.manifests())
    size = folder_bytes(store.root) / 1e6
    yield Finding("store", "ok", f"{store.root}: {count} artifacts, {size:.1f} MB")


def _locks_hold(folder: Path) -> bool:
    """Whether a lock that is held keeps others out."""
    probe = folder / "probe.lock"
    try:
        with lock_on(probe).acquire(blocking=False), lock_on(probe).acquire(blocking=False):
            return False
    except Timeout:
        return True


def _disks(placement: Placement) -> list[tuple[str, Path]]:
    places = {"disk of the store": placement.store_path, "disk of the data": placement.data_path}
    return [(name, _existing(path)) for name, path in places.items()]


def _space(name: str, path: Path) -> Finding:
    usage, system = shutil.disk_usage(path), os.statvfs(path)
    text = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free at {path}"
    fix = "`atlas gc` lists what nothing needs; `atlas plan STUDY` estimates a study"
    if usage.free < _LITTLE_SPACE:
        return Finding(name, "note", text, fix)
    if system.f_files and system.f_favail < _FEW_FILES:  # some file systems do not count files
        return Finding(name, "note", f"{text}, but room for {system.f_favail} more files alone", fix)
    return Finding(name, "ok", text)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if each.is_dir())


def server_finding(url: str, client: str | None) -> Finding:
    """Whether Prefect's server answers, and whether it is as new as the client here."""
    subject, base = "prefect server", url.rstrip("/")
    try:
        answer = httpx.get(f"{base}/health", timeout=2.0)
        answer.raise_for_status()
        number = str(httpx.get(f"{base}/admin/version", timeout=2.0).raise_for_status().json())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        what = f"{url} does not answer ({_reason(error)})"
        return Finding(subject, "note", what, "`make serve`; `atlas run` needs none")
    if client is not None and _older(number, client):
        what = f"{url} has version {number}, older than the client's {client}, which it may not understand"
        return Finding(subject, "note", what, f"pip install 'prefect>={client}' where the server runs")
    return Finding(subject, "ok", f"{url}, version {number}")


def _older(one: str, other: str) -> bool:
    try:
        return Version(one) < Version(other)
    except InvalidVersion:
        return False


def hub_finding(url: str, offline: str) -> Finding:
    """Whether weights can be fetched."""
    fix = "give `backbone.weights` a local file; the demo studies need no network"
    if offline.strip().upper() in ("1", "ON", "YES", "TRUE"):
        return Finding(
            "model hub", "note", f"HF_HUB_OFFLINE={offline}: only weights that are cached are found", fix
        )
    try:
        httpx.head(url, timeout=4.0, follow_redirects=True).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding("model hub", "note", f"{url} cannot be reached ({_reason(error)})", fix)
    return Finding("model hub", "ok", url)


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
