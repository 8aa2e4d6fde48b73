"""A run's training images as tensors, and the batches of an epoch (protocol, sections 2.4 and 1.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_core.backbone.hardware import copied
from atlas_core.errors import AtlasError
from atlas_core.methods.base import Batch
from atlas_core.training.randomness import stream


@dataclass(frozen=True)
class TrainingData:
    """Training images of one run.

    Attributes:
        labels: [N] class indices from 0, on the device that trains.
        bank: [N, V, D] raw features of V augmented views of each image; there too, or in main memory if it is too
            large for the device (see `resident`): then a step's rows are copied.
        pixels: A function from rows [B] and views [B] to normalised images [B, 3, H, W], or None.
    """

    labels: Tensor
    bank: Tensor
    pixels: Callable[[Tensor, Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if len(self.labels) == 0:
            raise AtlasError(
                "the training set is empty", expected="at least one image", fix="check shots and split"
            )

    @property
    def n_views(self) -> int:
        return self.bank.shape[1]


def steps_per_epoch(n_images: int, batch_size: int) -> int:
    """floor(N / B), or one short batch where N < B (Dassl drops the last batch unless it is the only one)."""
    return max(1, n_images // batch_size)


def epoch_batches(
    data: TrainingData, *, epoch: int, epochs: int, batch_size: int, seed: int, views_per_step: int = 1
) -> Iterator[Batch]:
    """Batches of a 1-based epoch in a random order that depends on the seed and the epoch alone.

    With one view an epoch (V ≥ epochs) epoch e uses view e−1, which is the published procedure: a fresh crop for
    every image and epoch. A smaller bank is sampled: one view an image and epoch, uniformly.
    """
    n = len(data.labels)
    order = torch.randperm(n, generator=stream(seed, "order", epoch))
    views = draw_views(n, data.n_views, epoch=epoch, epochs=epochs, seed=seed, per_step=views_per_step)
    steps, device = steps_per_epoch(n, batch_size), data.labels.device
    for step in range(steps):
        rows = order[step * batch_size : (step + 1) * batch_size]
        first = views[rows, 0]
        at = rows.to(device)
        second = views[rows, 1] if views_per_step > 1 else None
        yield Batch(
            labels=data.labels[at],
            rows=at,
            views=first.to(device),
            features=_rows(data.bank, rows, first, device),
            pixels=data.pixels(rows, first) if data.pixels is not None else None,
            second_features=_rows(data.bank, rows, second, device) if second is not None else None,
            epoch=epoch,
            step=(epoch - 1) * steps + step,
        )


def resident(bank: Tensor, device: torch.device) -> Tensor:
    """The bank on the device, if it takes at most half of what is free there; else where it is."""
    if device.type == "cuda" and bank.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
        return bank
    return bank.to(device)


def _rows(bank: Tensor, rows: Tensor, views: Tensor, device: torch.device) -> Tensor:
    """Features [B, D] of rows and views [B] on the device that trains."""
    if bank.device == device:
        return bank[rows.to(device), views.to(device)]
    return copied(bank[rows, views], device)


def draw_views(n: int, n_views: int, *, epoch: int, epochs: int, seed: int, per_step: int) -> Tensor:
    """[N, per_step] which views an epoch uses of each image."""
    if n_views >= epochs * per_step:
        first = (epoch - 1) * per_step
        return torch.arange(first, first + per_step).expand(n, per_step)
    generator = stream(seed, "views", epoch)
    if per_step == 1 or n_views < per_step:
        return torch.randint(n_views, (n, per_step), generator=generator)
    # Two views of one image in one step are never the same one.
    return torch.rand(n, n_views, generator=generator).argsort(dim=1)[:, :per_step]
