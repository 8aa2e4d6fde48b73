"""A study that runs in a second: two drawn datasets, a small random CLIP, CoOp under several supervisions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from safetensors.torch import save_file

from atlas_core.config import StudyConfig
from atlas_core.placement import Placement
from atlas_core.plan.observers import SilentObserver
from atlas_core.plan.session import run_study
from atlas_core.plan.workers import JobFailure, Outcome
from atlas_core.presets import validate_study
from tests.small_clip import small_config, small_open_clip

CLASSES = ("red fox", "blue jay", "green frog", "grey seal")


@dataclass
class RecordingObserver(SilentObserver):
    """Remembers the names of what was made and of what failed."""

    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def done(self, outcome: Outcome) -> None:
        if isinstance(outcome, JobFailure):
            self.failed[outcome.name] = outcome.message
        elif not outcome.cached:
            self.made.append(outcome.name)


@dataclass(frozen=True)
class TinyWorld:
    """A folder with datasets, weights and a store of its own."""

    home: Path

    @property
    def placement(self) -> Placement:
        return Placement(home=self.home, workers=0)

    def raw_study(self, **overrides: Any) -> dict[str, Any]:
        return {
            "name": "tiny",
            "protocol": "base_to_new",
            "datasets": [str(self.home / "ponds.yaml"), str(self.home / "woods.yaml")],
            "methods": [{"name": "coop", "options": {"n_ctx": 2, "ctx_init": ""}}],
            "supervisions": ["one_hot", "ls", "ols", "atlas_csl", "atlas_isl"],
            "shots": [2],
            "seeds": [1],
            "backbone": {
                "model": str(self.home / "clip.json"),
                "weights": str(self.home / "clip.safetensors"),
            },
            "views": {"per_image": 2},
            "training": {"epochs": 5, "batch_size": 4},
            **overrides,
        }

    def study(self, **overrides: Any) -> StudyConfig:
        return validate_study(self.raw_study(**overrides), "tiny")

    def run(self, **overrides: Any) -> RecordingObserver:
        """Run the study; what had to be made stands in the answer."""
        observer = RecordingObserver()
        run_study(self.study(**overrides), self.placement, observer=observer)
        return observer


def make_world(home: Path, *, images: int = 6, side: int = 40) -> TinyWorld:
    """Draw the datasets and write the random backbone under `home`."""
    home.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("ponds", "woods")):
        draw_image_folder(home / "data" / name, images=images, side=side, seed=number)
        write_yaml(home / f"{name}.yaml", {"name": name, "layout": "image_folder", "folder": name})
    (home / "clip.json").write_text(json.dumps(small_config()))
    model = small_open_clip(0)
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, home / "clip.safetensors"
    )
    return TinyWorld(home)


def draw_image_folder(folder: Path, *, images: int, side: int, seed: int) -> None:
    """Class folders of noisy one-colour images."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        colour = np.array([60 * label, 255 - 50 * label, 40 + 30 * label])
        for number in range(images):
            noise = rng.normal(0, 40, (side, side, 3))
            pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(content)))
