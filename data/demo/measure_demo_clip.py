"""Measure the demo CLIP on every demo dataset: a Markdown table of zero-shot and linear-probe accuracy.

python data/demo/measure_demo_clip.py [--weights FILE] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import open_clip
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from atlas_core.datasets.demo import DEMO_DATASETS, generate

HERE = Path(__file__).resolve().parent
MEAN = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
STD = torch.tensor(open_clip.OPENAI_DATASET_STD).view(1, 3, 1, 1)
Split = tuple[NDArray[np.float32], NDArray[np.int64]]


def load_demo_clip(weights: Path) -> open_clip.CLIP:
    """The demo model in float32 and eval mode."""
    model = open_clip.CLIP(**json.loads((HERE / "demo_clip.json").read_text()))
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
    return model.eval()


def template_of(name: str) -> str:
    """The dataset's own template, from the catalogue."""
    entry = yaml.safe_load((HERE.parent / "catalogue" / f"{name}.yaml").read_text())
    return str(entry["templates"]["coop"])


def image_features(model: open_clip.CLIP, folder: Path, class_names: tuple[str, ...]) -> Split:
    """Normalised features [N,D] and labels [N] of one split."""
    features, labels = [], []
    for label, name in enumerate(class_names):
        files = sorted((folder / name.replace(" ", "_")).iterdir())
        pixels = torch.from_numpy(np.stack([np.asarray(Image.open(file)) for file in files]))
        batch = (pixels.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
        with torch.inference_mode():
            features.append(model.encode_image(batch, normalize=True).numpy())
        labels += [label] * len(files)
    return np.concatenate(features), np.asarray(labels)


def zero_shot(model: open_clip.CLIP, class_names: tuple[str, ...], template: str, data: Split) -> float:
    """Accuracy in percent of the prompts made from a template."""
    tokens = open_clip.SimpleTokenizer()([template.format(name) for name in class_names])
    with torch.inference_mode():
        text = model.encode_text(tokens, normalize=True).numpy()
    features, labels = data
    return 100 * float(((features @ text.T).argmax(axis=1) == labels).mean())


def linear_probe(train: Split, test: Split, shots: int = 16) -> float:
    """Test accuracy in percent of a logistic regression on the first `shots` images of every class."""
    features, labels = train
    rows = np.concatenate([np.flatnonzero(labels == label)[:shots] for label in np.unique(labels)])
    probe = LogisticRegression(C=30, max_iter=2000).fit(features[rows], labels[rows])
    return 100 * float(probe.score(*test))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, default=HERE / "demo_clip.safetensors")
    parser.add_argument("--data", type=Path, help="where the datasets lie or will be drawn")
    args = parser.parse_args()
    model = load_demo_clip(args.weights)
    with tempfile.TemporaryDirectory() as scratch:
        root = args.data or Path(scratch)
        print("| dataset | classes | chance | zero-shot | 16-shot linear probe |\n|---|---:|---:|---:|---:|")
        for name, dataset in DEMO_DATASETS.items():
            if not (root / name).exists():
                generate(name, root / name)
            test = image_features(model, root / name / "test", dataset.class_names)
            skill = zero_shot(model, dataset.class_names, template_of(name), test)
            probe = "–"
            if dataset.sizes["train"] >= 16:
                train = image_features(model, root / name / "train", dataset.class_names)
                probe = f"{linear_probe(train, test):.1f}"
            n = len(dataset.class_names)
            print(f"| `{name}` | {n} | {100 / n:.1f} | {skill:.1f} | {probe} |", flush=True)


if __name__ == "__main__":
    main()
