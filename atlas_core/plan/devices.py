"""Which GPU a worker process sees: one process, one GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"
# What Linux's drivers of GPUs that torch's CUDA devices may be make: NVIDIA (also Jetson), AMD, and either under WSL.
GPU_NODES = ("/dev/nvidiactl", "/dev/nvhost-ctrl-gpu", "/dev/kfd", "/dev/dxg")


def shared_gpus(device: str) -> tuple[str, ...]:
    """This machine's GPUs that worker processes take turns with; empty where there is nothing to share out."""
    if device not in ("auto", "cuda") or (device == "auto" and not may_have_gpus()):
        return ()
    import torch  # takes more than a second, which a machine without GPUs need not wait for

    return gpus_to_share(device, torch.cuda.device_count(), os.environ.get(VISIBLE))


def gpu_count(device: str) -> int:
    """GPUs that a placement's device stands for; asks torch only where there may be some."""
    if device == "cpu" or (device == "auto" and not may_have_gpus()):
        return 0
    import torch

    return torch.cuda.device_count()


def may_have_gpus() -> bool:
    """Whether a driver of a GPU is loaded; always where it cannot be told without asking torch."""
    return sys.platform != "linux" or any(os.path.exists(node) for node in GPU_NODES)


def gpus_to_share(device: str, count: int, visible: str | None) -> tuple[str, ...]:
    """Names of GPUs, one of which each worker process gets.

    Args:
        device: The placement's device. A GPU that is named ("cuda:1") is taken as it is, for every worker.
        count: GPUs that torch sees.
        visible: `CUDA_VISIBLE_DEVICES` of this process: indices or UUIDs, as a cluster's scheduler sets them.

    Returns:
        Values for the workers' `CUDA_VISIBLE_DEVICES`; empty for one GPU, none, or a CPU.
    """
    if device not in ("auto", "cuda") or count < 2:
        return ()
    if visible is None:
        return tuple(str(index) for index in range(count))
    # CUDA itself stops at the first name that it does not know, so torch may see fewer than are listed.
    return tuple(name.strip() for name in visible.split(","))[:count]


def see_one_gpu(gpus: Sequence[str], number: int) -> None:
    """Let this process see one GPU alone, by its number among the workers; has to come before CUDA is used.

    The others are hidden rather than left unused: a process that sees them all holds memory on the first.
    """
    if gpus:
        os.environ[VISIBLE] = gpus[number % len(gpus)]
