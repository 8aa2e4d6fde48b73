"""The images and views of an extraction, in the order in which they are computed."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from atlas_core.errors import AtlasError
from atlas_core.features.images import ViewBatch, Workers, iter_views
from atlas_core.features.resizing import STANDARD, Resizing
from atlas_core.features.transforms import Recipe
from atlas_core.hashing import sha256_of

Progress = Callable[[int, int], None]
Views = int | Literal["test"]


@dataclass(frozen=True)
class ImageSource:
    """What to decode: images in ascending order of their item numbers, and the views of each."""

    root: Path
    paths: tuple[str, ...]
    items: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    views: int
    recipe: Recipe
    seed: int
    image_size: int
    workers: Workers
    skip_damaged: bool
    progress: Progress
    resizing: Resizing

    @property
    def rows(self) -> int:
        """How many views there are."""
        return len(self.paths) * self.views

    def batches(
        self, first_row: int, batch_size: int, pin_memory: bool = False
    ) -> Generator[ViewBatch, None, None]:
        """The views from `first_row` on; see `iter_views`."""
        return iter_views(
            self.root,
            self.paths,
            self.views,
            seed=self.seed,
            image_size=self.image_size,
            batch_size=batch_size,
            recipe=self.recipe,
            workers=self.workers,
            first_row=first_row,
            skip_damaged=self.skip_damaged,
            pin_memory=pin_memory,
            resizing=self.resizing,
        )

    def identity(self, **more: Any) -> str:
        """Digest of all that decides the pixels, and of what the caller adds (not of the files' bytes)."""
        drawn: dict[str, Any] = {"views": self.views, "recipe": self.recipe, "seed": self.seed}
        drawn |= {"image_size": self.image_size, "resizing": str(self.resizing)}
        columns = {"paths": self.paths, "items": self.items.tolist(), "labels": self.labels.tolist()}
        return sha256_of({**drawn, **columns, "skip_damaged": self.skip_damaged, **more})


def image_source(
    root: Path,
    paths: Sequence[str],
    labels: Sequence[int],
    items: Sequence[int] | None,
    n_views: Views,
    recipe: Recipe,
    seed: int,
    image_size: int,
    workers: Workers,
    skip_damaged: bool,
    progress: Progress | None,
    resizing: Resizing = STANDARD,
) -> ImageSource:
    """Check the columns and sort them by item number. Arguments as in `extract_features`.

    Raises:
        AtlasError: No images, columns of different lengths, or an item number that occurs twice.
    """
    numbers = np.arange(len(paths)) if items is None else np.asarray(items)
    if (
        not len(paths) == len(labels) == len(numbers)
        or len(np.unique(numbers)) != len(numbers)
        or not len(paths)
    ):
        raise AtlasError(
            f"{len(paths)} images with {len(labels)} labels and {len(np.unique(numbers))} item numbers",
            expected="at least one image, and a label and a number of its own for each",
        )
    order = np.argsort(numbers)
    return ImageSource(
        root=root,
        paths=tuple(paths[index] for index in order),
        items=numbers[order].astype(np.int32),
        labels=np.asarray(labels, dtype=np.int32)[order],
        views=1 if n_views == "test" else n_views,
        recipe="test" if n_views == "test" else recipe,
        seed=0 if n_views == "test" else seed,
        image_size=image_size,
        workers=workers,
        skip_damaged=skip_damaged,
        progress=progress or (lambda done, total: None),
        resizing=resizing,
    )
