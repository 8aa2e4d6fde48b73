"""Zero-shot CLIP: hand-written prompts, nothing learned (zsclip.py of KaiyangZhou/CoOp)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.methods.base import (
    Batch,
    Classes,
    CrossEntropy,
    Encoder,
    MethodOptions,
    PromptMethod,
    TextReference,
)

# The seven templates that OpenAI's CLIP notebook selected for ImageNet.
SEVEN_TEMPLATES = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


class ZeroShotOptions(MethodOptions):
    """Options of zero-shot CLIP.

    Attributes:
        prompts: `single`, the dataset's own template; `ensemble`, the mean over seven selected templates.
        own_template: Whether the ensemble has the dataset's own template too (published: except on ImageNet).
    """

    prompts: Literal["single", "ensemble"] = "single"
    own_template: bool = True


class ZeroShot(PromptMethod):
    """CLIP with hand-written prompts, no learning."""

    learns = False
    defaults_file = Path(__file__).with_suffix(".yaml")
    Options = ZeroShotOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference:
        assert isinstance(options, ZeroShotOptions)
        own = classes.template("coop")
        if options.prompts == "single":
            return TextReference((own,))
        return TextReference((*SEVEN_TEMPLATES, own) if options.own_template else SEVEN_TEMPLATES)

    def loss(self, batch: Batch, cross_entropy: CrossEntropy) -> tuple[Tensor, Tensor]:
        raise AtlasError("zero-shot CLIP has nothing to train", fix="leave it at 0 epochs")

    def encoder(self) -> Encoder:
        assert self.reference is not None
        text = self.reference
        return lambda features: (features, text)
