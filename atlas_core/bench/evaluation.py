"""Evaluation of a text-side method on 50,000 cached features and 1,000 classes, beside the matmul alone.

CPU seconds of one thread, the median of several. The class features are given: a method computes them once for all
test images, which is the text tower's benchmark.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from atlas_core.bench.clocks import cpu_seconds, one_thread, peak_gigabytes
from atlas_core.bench.training_step import random_clip
from atlas_core.evaluation.predictions import prediction_rows
from atlas_core.features.cache import read_features, write_features
from atlas_core.methods.base import PromptMethod
from atlas_core.methods.traits.base import Classes, parse_options
from atlas_core.methods.zero_shot import ZeroShot
from atlas_core.stages.evaluate import test_logits
from atlas_core.training.randomness import stream

Row = dict[str, object]


def rows(repeats: int = 5, images: int = 50_000, classes: int = 1_000) -> list[Row]:
    """Logits of all test images, and the predictions' rows as they are stored, half a minute of CPU time."""
    _, clip = random_clip()
    names = tuple(f"class {number}" for number in range(classes))
    text = torch.randn(classes, clip.embed_dim, generator=stream(0, "classes"))
    method: PromptMethod = ZeroShot(
        clip,
        Classes(names, {"coop": "a photo of a {}."}),
        parse_options(ZeroShot, {}),
        generator=stream(0, "initial context"),
        reference=text,
    )
    vectors = np.random.default_rng(0).standard_normal((images, clip.embed_dim), dtype=np.float32)
    labels = [number % classes for number in range(images)]
    items = [f"{number:06}.jpg" for number in range(images)]
    size = f"{images} × {classes} × {clip.embed_dim}"
    with tempfile.TemporaryDirectory() as folder, one_thread():
        path, order = Path(folder) / "features.parquet", np.arange(images)
        write_features(path, order, np.zeros(images, np.int16), order % classes, vectors)
        inputs = {"image_features": Path(folder)}

        def logits() -> None:
            for _ in test_logits(method, clip, inputs):
                pass

        def stored() -> None:
            chunks = test_logits(method, clip, inputs)
            prediction_rows(chunks, labels, items, run_id="", target="t", subset="all")

        bank = torch.from_numpy(np.array(read_features(path).bank()[:, 0]))
        bare = _median(lambda: bank @ text.T, repeats)
        reading = _median(lambda: read_features(path).bank(), repeats)
        compared = {"baseline": "the matmul alone", "baseline_seconds": bare}
        return [
            {
                "name": f"logits {size}, features read from Parquet",
                "ours_seconds": _median(logits, repeats),
                "peak_gigabytes": peak_gigabytes(logits),
                "reading_seconds": reading,
                **compared,
            },
            {
                "name": f"the same with softmax, top five and a row an image, {size}",
                "ours_seconds": _median(stored, max(1, repeats // 2)),
                "peak_gigabytes": peak_gigabytes(stored),
                **compared,
            },
        ]


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    return median(cpu_seconds(work) for _ in range(repeats))
