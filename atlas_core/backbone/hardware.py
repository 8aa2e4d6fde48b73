"""What this machine can compute on, and in which precision."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from atlas_core.backbone.config import Precision
from atlas_core.errors import AtlasError

# Flags of /proc/cpuinfo (x86, then Arm) of a CPU that computes in that format.
_NATIVE = {
    "bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "fp16": frozenset({"avx512_fp16", "amx_fp16", "fphp"}),
}


def resolve_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu", "cuda", "cuda:1", "mps", ….

    Raises:
        AtlasError: No such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise AtlasError(
            f"device {name!r} is not available here ({str(error).partition(chr(10))[0]})",
            expected='"auto", "cpu", or a device that torch sees',
            fix="choose one of these with --device, or `placement.device` in a deployment",
        ) from error
    return device


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a number format that the hardware would only emulate.

    Raises:
        AtlasError: bf16 or fp16 on a CPU without such units, or bf16 on a GPU older than Ampere.
    """
    if precision == "fp32":
        return
    if device.type == "cpu" and not _cpu_flags() & _NATIVE[precision]:
        slow, instead = " (measured 28 times slower than fp32)", "fp32 on this CPU, or a GPU"
    elif device.type == "cuda" and precision == "bf16" and torch.cuda.get_device_capability(device) < (8, 0):
        slow, instead = "", "fp16 or fp32 on this GPU"
    else:
        return
    where = "CPU" if device.type == "cpu" else "GPU"
    raise AtlasError(
        f"precision {precision} on a {where} without {precision} units{slow}",
        expected=instead,
        fix="set `backbone.precision: fp32`",
    )


def copied(host: Tensor, device: torch.device) -> Tensor:
    """A tensor of main memory on the device; to a GPU from pinned memory, so that the copy overlaps with work."""
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host.to(device)


@lru_cache(maxsize=1)
def _cpu_flags() -> frozenset[str]:
    """What the CPU can do, as Linux names it; empty where that cannot be read."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, flags=re.MULTILINE)
    return frozenset(found.group(1).split()) if found else frozenset()
