"""What `views.skip_damaged` leaves out is said, and no class is left without an image to train on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from atlas_core.datasets.advice import datasets_command
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.items import DatasetIndex, Item
from atlas_core.datasets.reading import first_few
from atlas_core.errors import AtlasError

log = logging.getLogger(__name__)


def tell_damaged(
    index: DatasetIndex,
    spec: DatasetSpec,
    items: Sequence[Item],
    damaged: Mapping[str, str],
    config: Mapping[str, Any],
) -> None:
    """Log which images were left out, and which classes have none left.

    Args:
        items: All images that were asked for.
        damaged: Path to reason, of those left out.
        config: The job's: `shots` is None for a test set.

    Raises:
        AtlasError: A class has no whole image to train on.
    """
    if not damaged:
        return
    dataset = index.name
    asked, lost = (
        Counter(item.class_name for item in items),
        Counter(item.class_name for item in items if item.path in damaged),
    )
    gone = [name for name, count in lost.items() if count == asked[name]]
    what = f"dataset {dataset!r}: {len(damaged)} of {len(items)} images cannot be decoded and are left out"
    reason = next(iter(damaged.values()))
    if gone and config["shots"] is not None:
        raise AtlasError(
            f"dataset {dataset!r}: none of the {asked[gone[0]]} training images of {first_few(map(repr, gone))} "
            f"can be decoded ({reason})",
            expected="at least one whole image of every class that is trained on",
            fix=f"replace the damaged files ({datasets_command('verify', spec, index.root)} names them), or leave "
            "the class out",
        )
    log.warning("%s (%s): %s", what, first_few(damaged), reason)
    if gone:
        log.warning("dataset %r: no test image of %s is left", dataset, first_few(map(repr, gone)))
