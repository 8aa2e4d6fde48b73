"""How many images are encoded at once: the same number on the same kind of device, whatever else runs there.

Features of one image differ in their last bits between batch sizes, and those bits decide content digests. So
nothing here looks at timings or at the memory that happens to be free.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

PROCESSOR_BATCH: Final = 32
"""On a processor, larger batches gain nothing: its matrix products are already busy."""

_PROBE: Final = 8
_MOST: Final = 256
"""A ViT-B keeps any device busy with this many images, and every device from 4 GB on has room for them."""


def automatic_batch_size(encode: Callable[[Tensor], Tensor], image_size: int, device: torch.device) -> int:
    """32 on a processor; on CUDA a power of two, at most 256, whose batches take at most half of all memory.

    The peak memory of 8 and of 16 images is measured, and their difference gives an image's share: a property
    of the tower and the image size. Memory that others hold is not looked at (see the module's text); where
    it is missing, `extract_features` halves the batch and writes that down.
    """
    if device.type != "cuda":
        return PROCESSOR_BATCH
    small, large = (_peak_bytes(encode, image_size, device, count) for count in (_PROBE, 2 * _PROBE))
    total = torch.cuda.get_device_properties(device).total_memory
    return fitting_batch_size(max(1, (large - small) // _PROBE), total)


def fitting_batch_size(image_bytes: int, device_bytes: int) -> int:
    """The largest power of two, from 1 to 256, of images that take at most half of the device's memory."""
    fitting = max(1, device_bytes // 2 // image_bytes)
    return min(_MOST, 1 << (fitting.bit_length() - 1))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or this machine, has no memory left for a batch."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def _peak_bytes(encode: Callable[[Tensor], Tensor], image_size: int, device: torch.device, count: int) -> int:
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with torch.inference_mode():
        encode(torch.zeros(count, 3, image_size, image_size, device=device))
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
