"""Options and traits of CoPrompt (Roy & Etemad, ICLR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from atlas_core.methods.traits.base import Classes, MethodOptions, TextReference
from atlas_core.methods.traits.imagenet_templates import SIXTY_TEMPLATES
from atlas_core.methods.traits.maple import MaPLeOptions, MaPLeTraits


class CoPromptOptions(MaPLeOptions):
    """Options of CoPrompt beyond those of MaPLe.

    Attributes:
        weight: W, of both consistency terms.
        image_adapter, text_adapter: Share m of the adapter in m·A(x) + (1 − m)·x.
        sentences_file: JSON of sentences by class name, as the authors publish from GPT-3. Without it the
            sixty ImageNet templates stand in. The path is no part of a key: the file's content is.
    """

    weight: float = Field(1.0, ge=0)
    image_adapter: float = Field(0.1, ge=0, le=1)
    text_adapter: float = Field(0.2, ge=0, le=1)
    sentences_file: Path | None = Field(None, exclude=True)


class CoPromptTraits(MaPLeTraits):
    """What planning needs to know of CoPrompt."""

    augmentation = "randaugment"
    views_per_step = 2
    defaults_file = Path(__file__).with_suffix(".yaml")
    Options: ClassVar[type[CoPromptOptions]] = CoPromptOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference | None:
        assert isinstance(options, CoPromptOptions)
        if not classes.trained:
            return None
        if options.sentences_file is None:
            return TextReference(SIXTY_TEMPLATES, keep_each=True)
        return TextReference((), keep_each=True, sentences_file=options.sentences_file)

    @classmethod
    def stand_in(cls, reference: Mapping[str, Any]) -> str:
        if "sentences_sha256" in reference:
            return ""
        return f"{len(SIXTY_TEMPLATES)} ImageNet templates in place of the authors' GPT-3 sentences"
