"""Options and traits of PromptSRC (Khattak et al., ICCV 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from atlas_core.methods.traits.base import Classes, MethodOptions, TextReference
from atlas_core.methods.traits.imagenet_templates import SIXTY_TEMPLATES
from atlas_core.methods.traits.ivlp import IVLPOptions, IVLPTraits


class PromptSRCOptions(IVLPOptions):
    """Options of PromptSRC beyond those of IVLP.

    Attributes:
        text_weight: λ₁ of mean |g − g⁰| over classes and dimensions.
        image_weight: λ₂ of mean |f − f⁰| over images and dimensions.
        logit_weight: Factor of the Kullback-Leibler term.
        frozen_features: Where f⁰ comes from: "cached" reads the features of the same view, "computed" runs
            the frozen tower again, which only matters where the cache is in half precision.
    """

    n_ctx_text: int = Field(4, ge=1, le=64)
    n_ctx_vision: int = Field(4, ge=1, le=256)
    depth_text: int = Field(9, ge=1)
    depth_vision: int = Field(9, ge=1)
    text_weight: float = Field(25.0, ge=0)
    image_weight: float = Field(10.0, ge=0)
    logit_weight: float = Field(1.0, ge=0)
    frozen_features: Literal["cached", "computed"] = "cached"


class PromptSRCTraits(IVLPTraits):
    """What planning needs to know of PromptSRC."""

    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[PromptSRCOptions]] = PromptSRCOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference | None:
        # Prediction does without it, so it is not made for classes that are only predicted.
        return TextReference(SIXTY_TEMPLATES, normalise_each=False) if classes.trained else None
