"""Zero-shot CLIP: hand-written prompts, nothing learned (protocol 1.1, CoOp's zsclip)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.methods.base import (
    Batch,
    Classes,
    CrossEntropy,
    MethodOptions,
    Predictor,
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
    """`single`: the dataset's own template. `ensemble`: the mean over seven templates and the dataset's own."""

    prompts: Literal["single", "ensemble"] = "single"


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
        # The published ensemble adds a dataset's own template unless it is ImageNet's plain one.
        return TextReference(SEVEN_TEMPLATES if own == "a photo of a {}." else (*SEVEN_TEMPLATES, own))

    def loss(self, batch: Batch, cross_entropy: CrossEntropy) -> tuple[Tensor, Tensor]:
        raise AtlasError("zero-shot CLIP has nothing to train", fix="leave it at 0 epochs")

    def predictor(self) -> Predictor:
        assert self.reference is not None
        text = self.reference
        return lambda features: self.cosine_logits(features, text)
