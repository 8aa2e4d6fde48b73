"""How large a job is: what its cost depends on, counted from its name and configuration without opening anything.

Operations are counted from the backbone's config, classes and images from the catalogue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from atlas_core.backbone.source import input_size, model_config
from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.errors import AtlasError
from atlas_core.plan.cost_numbers import cost_numbers


@dataclass(frozen=True)
class ModelSize:
    """A CLIP model's size, as far as costs depend on it.

    Attributes:
        text_operations: Of a token's forward pass.
        image_operations: Of an image's forward pass.
    """

    text_width: int
    image_width: int
    embed_dim: int
    image_side: int
    text_operations: float
    image_operations: float


@lru_cache(maxsize=32)
def model_size(model: str) -> ModelSize:
    """The size of an open_clip model, from its config; an image tower that is no transformer counts like ViT-B/16's."""
    config = model_config(model)
    text, vision = config["text_cfg"], config["vision_cfg"]
    side = input_size(model)
    layers, width, patch = vision.get("layers", 12), vision.get("width", 768), vision.get("patch_size", 16)
    if not (isinstance(layers, int) and isinstance(patch, int)):
        layers, width, patch = 12, 768, 16
    tokens = (side // patch) ** 2 + 1
    text_width, text_layers = int(text.get("width", 512)), int(text.get("layers", 12))
    return ModelSize(
        text_width=text_width,
        image_width=width,
        embed_dim=int(config["embed_dim"]),
        image_side=side,
        # A block has 12 w² weights, each multiplied and added once a token; attention compares all tokens.
        text_operations=24.0 * text_width**2 * text_layers,
        image_operations=layers * (24.0 * width**2 * tokens + 4.0 * tokens**2 * width),
    )


@dataclass(frozen=True)
class DatasetSize:
    """How much of a dataset there is: from the catalogue, else what is assumed of any.

    Attributes:
        image_bytes: Of an image on the disk.
        generated, downloaded: Where its images come from; neither, where a person has to bring them.
    """

    classes: int
    train: int
    test: int
    image_bytes: float
    generated: bool
    downloaded: bool

    @property
    def images(self) -> int:
        return self.train + self.test

    def classes_of(self, subset: str) -> int:
        """Classes of "base", "new" or "all"."""
        return {"base": (self.classes + 1) // 2, "new": self.classes // 2}.get(subset, self.classes)

    def test_images_of(self, subset: str) -> float:
        return self.test * self.classes_of(subset) / self.classes


@lru_cache(maxsize=256)
def dataset_size(name: str) -> DatasetSize:
    """The size of a dataset of the catalogue; of one's own, whose description is not found by name, what is assumed."""
    try:
        return _size_of(dataset_spec(name))
    except AtlasError:
        return _size_of(None)


def _size_of(spec: DatasetSpec | None) -> DatasetSize:
    assumed = cost_numbers().dataset
    counts = spec.counts if spec else {}
    source = spec.source if spec else None
    train = counts.get("train", 0) + counts.get("val", 0) if counts else assumed.train
    test = counts.get("test", 0) if counts else assumed.test
    # The first archive holds the images; its mirrors hold the same, packed otherwise.
    sizes = (
        [place.size for archive in source.archives[:1] for place in archive.candidates()] if source else []
    )
    each = next((size for size in sizes if size), 0) / max(1, train + test)
    generated = bool(source and source.generator)
    otherwise = assumed.generated_image_bytes if generated else assumed.image_bytes
    return DatasetSize(
        classes=counts.get("classes", assumed.classes),
        train=train,
        test=test,
        image_bytes=each or otherwise,
        generated=generated,
        downloaded=bool(source and source.archives and not source.gated),
    )


@dataclass(frozen=True)
class Work:
    """What decides a job's cost, as a node of a study has it and a manifest.

    Attributes:
        name: The node's name; it says dataset and method where the configuration does not.
        inputs: Roles of the inputs; of an aggregate, its evaluations.
    """

    stage: str
    name: str
    config: Mapping[str, Any]
    inputs: Collection[str]

    @property
    def parts(self) -> list[str]:
        """The name's parts, without the mark of a variant that the name does not tell apart."""
        return self.name.partition("#")[0].partition(" on ")[0].split("/")

    @property
    def dataset(self) -> str:
        return str(self.config["target"]) if self.stage == "evaluate" else self.parts[1]

    @property
    def size(self) -> DatasetSize:
        return dataset_size(self.dataset)

    @property
    def method(self) -> str:
        """The method of a training or an evaluation ("tune/digits/base/16-shot/coop/…", "…/base/zero_shot on …")."""
        if self.stage == "tune":
            return str(self.config["method"])
        return self.parts[4] if len(self.parts) > 4 else self.parts[-1]

    @property
    def classes(self) -> int:
        """Classes that the job's prompts or soft labels are of."""
        subset = self.config.get("subset") or self.parts[3 if self.stage == "isl" else 2]
        return self.size.classes_of(subset)

    @property
    def views(self) -> float:
        """Views of images that the job encodes, stores or labels."""
        if self.stage == "evaluate" or self.config.get("split") == "test":
            return self.size.test_images_of(self.config["subset"])
        if self.stage == "isl":
            _, _, _, _, shots, _, views, *_ = self.parts
            return float(shots.removesuffix("-shot")) * self.classes * float(views.removesuffix("-views"))
        return float(self.config["shots"] * self.classes * self.config["views"])

    @property
    def steps(self) -> int:
        """Steps of a training."""
        training = self.config["training"]
        epochs = min(training["epochs"], training.get("stop_after") or training["epochs"])
        return int(epochs * max(1, self.config["shots"] * self.classes // training["batch_size"]))
