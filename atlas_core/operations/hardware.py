"""The machine that a study would run on: its device and its memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import torch

from atlas_core.backbone.hardware import resolve_device
from atlas_core.errors import AtlasError
from atlas_core.operations.finding import Finding
from atlas_core.placement import Placement

# What a worker holds with ViT-B/16 and a small class set (docs/performance.md); the demo's model takes less.
WORKER_BYTES = 1.5e9
_DRIVER = Path("/proc/driver/nvidia/version")
_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def device_findings(placement: Placement) -> Iterator[Finding]:
    """The device that a study would use, and GPUs that it would not."""
    try:
        device = resolve_device(placement.device)
    except AtlasError as error:
        yield Finding("device", "bad", error.what, error.fix)
        return
    if device.type != "cuda":
        yield Finding("device", "ok", f"{device}, {placement.workers} workers; no GPU is used")
        if placement.device == "auto" and _DRIVER.exists():
            yield unseen_gpu(torch.__version__, torch.version.cuda)
        return
    several = (
        range(torch.cuda.device_count()) if placement.device in ("auto", "cuda") else [device.index or 0]
    )
    for index in several:
        free, total = torch.cuda.mem_get_info(index)
        name = f"{torch.cuda.get_device_name(index)}, {free >> 20} of {total >> 20} MiB free"
        yield gpu_finding(name, torch.cuda.get_device_capability(index), torch.cuda.get_arch_list())


def unseen_gpu(build: str, cuda: str | None) -> Finding:
    """There is a driver, and torch sees no GPU."""
    made = f"built for CUDA {cuda}" if cuda else "built for CPUs alone"
    return Finding(
        "device",
        "note",
        f"an NVIDIA driver is loaded, but torch {build}, {made}, sees no GPU",
        "update the driver, install a build of torch for its CUDA version, or look at CUDA_VISIBLE_DEVICES",
    )


def gpu_finding(name: str, capability: tuple[int, int], built_for: Collection[str]) -> Finding:
    """A GPU, and whether this build of torch has code for it.

    Args:
        capability: Compute capability, such as (9, 0).
        built_for: `torch.cuda.get_arch_list()`: "sm_90" is machine code, which later minor versions run as well,
            "compute_90" is code that the driver translates for anything later.
    """
    major, minor = capability
    text = f"{name}, CUDA {torch.version.cuda}, compute capability {major}.{minor}"
    for each in built_for:
        kind, _, digits = each.partition("_")
        number = int("".join(filter(str.isdigit, digits)) or 0)
        made_major, made_minor = divmod(number, 10)
        later = (made_major, made_minor) <= (major, minor)
        if later and (kind == "compute" or made_major == major):
            return Finding("device", "ok", text)
    return Finding(
        "device",
        "bad",
        f"{text}: this build of torch has code for {', '.join(built_for)} alone",
        "install a build of torch for this GPU (docs/install.md), or choose --device cpu",
    )


def memory_finding(workers: int, available: float | None) -> Finding | None:
    """Whether the workers fit the memory that is free, None where it is not known.

    Args:
        available: Bytes.
    """
    if available is None:
        return None
    processes = max(1, workers)
    text = f"{available / 1e9:.1f} GB free for {processes} workers"
    if available < processes * WORKER_BYTES:
        wanted = f"{text}; with ViT-B/16 each takes {WORKER_BYTES / 1e9:.1f} GB or more"
        return Finding("memory", "note", wanted, "run with fewer --workers")
    return Finding("memory", "ok", text)


def available_memory(system: Path = _MEMORY, group: Path = _GROUP) -> float | None:
    """Bytes that processes may still take: of the machine, and of the control group (a container's limit)."""
    found = [each for each in (_left_in_system(system), _left_in_group(group)) if each is not None]
    return min(found) if found else None


def _left_in_system(file: Path) -> float | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None  # not Linux
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _left_in_group(folder: Path) -> float | None:
    try:
        limit, used, details = (
            (folder / name).read_text() for name in ("memory.max", "memory.current", "memory.stat")
        )
    except OSError:
        return None  # no control group of this kind
    if limit.strip() == "max":
        return None
    # Cached files are given back to whoever asks for memory.
    cached = next(
        (line.split()[1] for line in details.splitlines() if line.startswith("inactive_file ")), "0"
    )
    return max(0.0, float(limit) - float(used) + float(cached))
