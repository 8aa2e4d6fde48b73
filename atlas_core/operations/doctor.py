"""What could go wrong here, looked at before it does: versions, device, disk, store, server, hub."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import httpx
from packaging.specifiers import SpecifierSet

from atlas_core.config import Placement
from atlas_core.operations.garbage import folder_bytes
from atlas_core.store import Store

State = Literal["ok", "note", "bad"]

PACKAGES = (
    "atlas-prompt-tuning",
    "torch",
    "torchvision",
    "open_clip_torch",
    "prefect",
    "fastapi",
    "pyarrow",
    "duckdb",
    "numpy",
    "pillow",
    "pydantic",
    "safetensors",
)
_LITTLE_SPACE = 2 << 30
_SERVER = "http://127.0.0.1:4200/api"
_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: ok; note (something works less well, or not now); bad (a study will fail).
        fix: What to do, where there is something to do.
    """

    subject: str
    state: State
    message: str
    fix: str = ""


@dataclass(frozen=True)
class BadPair:
    """Versions that do not work together."""

    one: str
    one_versions: str
    other: str
    other_versions: str
    effect: str
    fix: str


BAD_PAIRS = (
    BadPair(
        "prefect",
        "<=3.8.8",
        "fastapi",
        ">=0.151",
        "prefect cannot be imported: it uses `min_items`, which fastapi removed",
        "pip install 'fastapi<0.151'",
    ),
)


def examine(placement: Placement, *, network: bool = True) -> Iterator[Finding]:
    """Look at everything, cheapest first."""
    yield _python()
    yield from package_findings(installed_version)
    yield _device(placement)
    yield _store(placement)
    yield from (_space(name, path) for name, path in _disks(placement))
    if network:
        yield _server(os.environ.get("PREFECT_API_URL", _SERVER))
        yield _hub(os.environ.get("HF_ENDPOINT", _HUB))


def installed_version(package: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def package_findings(installed: Callable[[str], str | None]) -> Iterator[Finding]:
    """The packages' versions, and the pairs of them that do not work together."""
    found = {name: installed(name) for name in PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    text = ", ".join(f"{name} {number}" for name, number in found.items() if number is not None)
    if missing:
        yield Finding("packages", "bad", f"{', '.join(missing)} not installed; {text}", "pip install .")
    else:
        yield Finding("packages", "ok", text)
    for pair in BAD_PAIRS:
        one, other = installed(pair.one), installed(pair.other)
        if one is None or other is None:
            continue
        if _within(one, pair.one_versions) and _within(other, pair.other_versions):
            yield Finding(
                "versions", "bad", f"{pair.one} {one} with {pair.other} {other}: {pair.effect}", pair.fix
            )


def _within(number: str, versions: str) -> bool:
    return SpecifierSet(versions).contains(number, prereleases=True)


def _python() -> Finding:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Finding("python", "ok", text)


def _device(placement: Placement) -> Finding:
    import torch

    from atlas_core.backbone.hardware import resolve_device
    from atlas_core.errors import AtlasError

    try:
        device = resolve_device(placement.device)
    except AtlasError as error:
        return Finding("device", "bad", error.what, error.fix)
    if device.type != "cuda":
        return Finding("device", "ok", f"{device}, {placement.workers} workers; no GPU is used")
    free, total = torch.cuda.mem_get_info(device)
    name = torch.cuda.get_device_name(device)
    return Finding(
        "device", "ok", f"{name}, {free >> 20} of {total >> 20} MiB free, CUDA {torch.version.cuda}"
    )


def _store(placement: Placement) -> Finding:
    store = Store(placement.store_path)
    place = _existing(store.root)
    try:
        with tempfile.TemporaryDirectory(prefix=".atlas-doctor-", dir=place):
            pass
    except OSError as error:
        return Finding(
            "store",
            "bad",
            f"{store.root} cannot be written to: {error.strerror}",
            "choose another with --store",
        )
    if place != store.root:
        return Finding("store", "ok", f"{store.root} is made by the first study")
    count = sum(1 for _ in store.manifests())
    return Finding("store", "ok", f"{store.root}: {count} artifacts, {folder_bytes(store.root) / 1e6:.1f} MB")


def _disks(placement: Placement) -> list[tuple[str, Path]]:
    places = {"disk of the store": placement.store_path, "disk of the data": placement.data_path}
    return [(name, _existing(path)) for name, path in places.items()]


def _space(name: str, path: Path) -> Finding:
    usage = shutil.disk_usage(path)
    text = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free at {path}"
    if usage.free < _LITTLE_SPACE:
        return Finding(
            name, "note", text, "`atlas gc` lists what nothing needs; `atlas plan` estimates a study"
        )
    return Finding(name, "ok", text)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if each.is_dir())


def _server(url: str) -> Finding:
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=2.0)
        answer.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        return Finding(
            "prefect server",
            "note",
            f"{url} does not answer ({reason})",
            "`make serve`; `atlas run` needs none",
        )
    return Finding("prefect server", "ok", url)


def _hub(url: str) -> Finding:
    try:
        httpx.head(url, timeout=4.0)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        fix = "give `backbone.weights` a local file; the demo studies need no network"
        return Finding("model hub", "note", f"{url} cannot be reached ({reason})", fix)
    return Finding("model hub", "ok", url)
