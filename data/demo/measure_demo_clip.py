"""Measure the demo CLIP on every demo dataset: a Markdown table of zero-shot and linear-probe accuracy.

    python data/demo/measure_demo_clip.py [--weights FILE] [--data FOLDER]

Images and model go through the code that real ones go through: catalogue, reader, test transform, backbone.
Base and new are zero-shot accuracies among the base classes alone and among the new classes alone. The probe is
a logistic regression on image features of 16 images a class: what the frozen features hold.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.load import load_backbone
from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.datasets.demo import DEMO_DATASETS
from atlas_core.datasets.fetch import ensure_fetched
from atlas_core.datasets.items import DatasetIndex, Split, base_new_labels, prompt_name
from atlas_core.datasets.readers import read_dataset
from atlas_core.features.images import decode_image
from atlas_core.features.transforms import normalise, test_transform

PROBE_SHOTS = 16
Features = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Skill:
    """Accuracies in percent; `probe` is None where a class has too few training images."""

    classes: int
    images: int
    chance: float
    zero_shot: float
    base: float
    new: float
    probe: float | None = None


def image_features(clip: FrozenClip, index: DatasetIndex, split: Split) -> tuple[Features, Labels]:
    """Normalised features [N,D] and labels [N] of one split."""
    items = [index.items[position] for position in index.positions(split)]
    images = [test_transform(decode_image(index.path(item)), clip.image_size) for item in items]
    features = clip.encode_image(normalise(torch.stack(images), clip.mean, clip.std))
    return F.normalize(features, dim=-1).numpy(), np.asarray([item.label for item in items])


def class_features(clip: FrozenClip, index: DatasetIndex, template: str) -> Features:
    """Normalised text features [C,D] of one template's prompts."""
    prompts = [template.format(prompt_name(name)) for name in index.class_names]
    features: Features = F.normalize(clip.encode_text(prompts), dim=-1).numpy()
    return features


def accuracy_among(images: Features, labels: Labels, texts: Features, classes: tuple[int, ...]) -> float:
    """Accuracy in percent on the images of some classes, with those classes' prompts alone."""
    rows = np.flatnonzero(np.isin(labels, classes))
    guesses = np.asarray(classes)[(images[rows] @ texts[list(classes)].T).argmax(axis=1)]
    return 100 * float((guesses == labels[rows]).mean())


def probe_accuracy(train: tuple[Features, Labels], test: tuple[Features, Labels]) -> float | None:
    """Test accuracy in percent of a logistic regression on the first images of every class."""
    from sklearn.linear_model import LogisticRegression

    features, labels = train
    shots = [np.flatnonzero(labels == label)[:PROBE_SHOTS] for label in np.unique(labels)]
    if min(len(rows) for rows in shots) < PROBE_SHOTS:
        return None
    rows = np.concatenate(shots)
    probe = LogisticRegression(C=30, max_iter=2000).fit(features[rows], labels[rows])
    return 100 * float(probe.score(*test))


def measure(clip: FrozenClip, name: str, data_root: Path, with_probe: bool = False) -> Skill:
    """The model's skill on a demo dataset, which is drawn under `data_root` if it is not there yet."""
    spec = dataset_spec(name)
    ensure_fetched(spec, data_root)
    index = read_dataset(spec, data_root)
    images, labels = image_features(clip, index, "test")
    texts = class_features(clip, index, spec.template("coop"))
    base, new = base_new_labels(len(index.class_names))
    probe = None
    if with_probe:
        probe = probe_accuracy(image_features(clip, index, "train"), (images, labels))
    return Skill(
        classes=len(index.class_names),
        images=len(labels),
        chance=100 / len(index.class_names),
        zero_shot=accuracy_among(images, labels, texts, base + new),
        base=accuracy_among(images, labels, texts, base),
        new=accuracy_among(images, labels, texts, new),
        probe=probe,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, help="instead of the shipped file")
    parser.add_argument("--data", type=Path, help="where the datasets lie or will be drawn")
    args = parser.parse_args()
    clip = load_backbone(BackboneConfig(model="demo", pretrained=None, weights=args.weights), "cpu")
    with tempfile.TemporaryDirectory() as scratch:
        print(
            f"| dataset | classes | test images | chance | zero-shot | base | new | {PROBE_SHOTS}-shot probe |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for name in DEMO_DATASETS:
            skill = measure(clip, name, args.data or Path(scratch), with_probe=True)
            probe = "–" if skill.probe is None else f"{skill.probe:.1f}"
            numbers = (skill.chance, skill.zero_shot, skill.base, skill.new)
            percents = " | ".join(f"{number:.1f}" for number in numbers)
            print(f"| `{name}` | {skill.classes} | {skill.images} | {percents} | {probe} |", flush=True)


if __name__ == "__main__":
    main()
