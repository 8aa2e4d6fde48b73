"""What a study says about its backbone."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

Precision = Literal["fp32", "bf16", "fp16"]


class BackboneConfig(BaseModel):
    """A frozen CLIP model: which one, from which weights and in which precision. Where it runs, the placement says.

    Attributes:
        model: An open_clip model name, the path of an open_clip model-config JSON, or "demo" for the small
            model that ships with the project.
        pretrained: An open_clip pretrained tag of that model. Not used with `weights` nor with "demo".
        weights: A local file to load instead: `.safetensors`, or a state dict in `.pt`, `.pth` or `.bin`.
        precision: Number format of weights and activations. bf16 and fp16 need hardware that has them.
        compile: Run the image tower's blocks through `torch.compile` (it needs a C++ compiler, and a minute at the
            first step). Part of the key where it is set: fused operations round differently.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = "ViT-B-16-quickgelu"
    pretrained: str | None = "openai"
    weights: Path | None = None
    precision: Precision = "fp32"
    compile: bool = False

    @model_validator(mode="before")
    @classmethod
    def _without_device(cls, value: object) -> object:
        if isinstance(value, dict) and "device" in value:
            raise ValueError(
                "`device` is no part of a study: give --device to the command, or `placement.device` to a deployment"
            )
        return value
