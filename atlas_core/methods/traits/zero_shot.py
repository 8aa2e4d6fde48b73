"""Options and traits of zero-shot CLIP (zsclip.py of KaiyangZhou/CoOp)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from atlas_core.methods.traits.base import Classes, MethodOptions, MethodTraits, TextReference

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


class ZeroShotTraits(MethodTraits):
    """What planning needs to know of ZeroShot."""

    learns = False
    template_families = ("coop",)
    defaults_file = Path(__file__).with_suffix(".yaml")
    Options = ZeroShotOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference:
        assert isinstance(options, ZeroShotOptions)
        own = classes.template("coop")
        if options.prompts == "single":
            return TextReference((own,))
        return TextReference((*SEVEN_TEMPLATES, own) if options.own_template else SEVEN_TEMPLATES)
