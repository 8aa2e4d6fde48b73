"""What an open_clip model config must say to be built, checked before anything is: numbers, shapes and size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from atlas_core.budgets import CONTEXT, IMAGE_SIDE, LAYERS, PARAMETERS, PATCHES, Budget
from atlas_core.errors import AtlasError
from atlas_core.hashing import canonical_json

_Positive = Annotated[int, Field(ge=1)]
_Ratio = Annotated[float, Field(gt=0, le=64)]
# Other fields are open_clip's to check: it knows its own, and refuses the others when it builds the model.
_FORM = ConfigDict(extra="allow", strict=True)


class _Vision(BaseModel):
    """A vision tower; the defaults are open_clip's."""

    model_config = _FORM
    timm_model_name: str | None = None
    layers: _Positive | Annotated[list[_Positive], Field(min_length=4, max_length=4)] = 12
    width: _Positive = 768
    head_width: _Positive = 64
    mlp_ratio: _Ratio = 4.0
    patch_size: _Positive | None = 16
    image_size: _Positive | Annotated[list[_Positive], Field(min_length=2, max_length=2)] = 224

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.timm_model_name is None and isinstance(self.layers, int):
            if self.width % self.head_width:
                raise ValueError(f"heads of width {self.head_width} do not divide the width {self.width}")
            if self.patch_size is None or any(side % self.patch_size for side in self.sides):
                raise ValueError(f"patches of {self.patch_size} do not divide an image of {self.image_size}")
        return self

    @property
    def sides(self) -> list[int]:
        return self.image_size if isinstance(self.image_size, list) else [self.image_size] * 2

    @property
    def blocks(self) -> int:
        return self.layers if isinstance(self.layers, int) else sum(self.layers)

    @property
    def parameters(self) -> int:
        """Roughly how many a transformer of these sizes has; convolutional and timm towers are counted when built."""
        if self.timm_model_name is not None or not isinstance(self.layers, int) or self.patch_size is None:
            return 0
        patches = math.prod(side // self.patch_size for side in self.sides)
        PATCHES.check(patches, "the image tower")
        fixed = (3 * self.patch_size**2 + patches) * self.width
        return _in_blocks(self.blocks, self.width, self.mlp_ratio) + fixed


class _Text(BaseModel):
    """A text tower; the defaults are open_clip's."""

    model_config = _FORM
    hf_model_name: str | None = None
    hf_tokenizer_name: str | None = None
    tokenizer_kwargs: dict[str, Any] | None = None
    context_length: _Positive = 77
    vocab_size: _Positive = 49408
    width: _Positive = 512
    heads: _Positive = 8
    layers: _Positive = 12
    mlp_ratio: _Ratio = 4.0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the width {self.width}")
        return self

    @property
    def parameters(self) -> int:
        fixed = (self.vocab_size + self.context_length) * self.width
        return _in_blocks(self.layers, self.width, self.mlp_ratio) + fixed


class _Model(BaseModel):
    model_config = _FORM
    embed_dim: _Positive
    vision_cfg: _Vision
    text_cfg: _Text
    quick_gelu: bool = False
    custom_text: bool = False


_Channel = Annotated[float, Field(allow_inf_nan=False)]
_Channels = _Channel | Annotated[list[_Channel], Field(min_length=3, max_length=3)] | None


class _Preprocessing(BaseModel):
    model_config = _FORM
    mean: _Channels = None
    std: _Channels = None

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.std is not None and any(
            each <= 0 for each in (self.std if isinstance(self.std, list) else [self.std])
        ):
            raise ValueError("std must be positive")
        return self


class _Hub(BaseModel):
    """The hub's form of a config file."""

    model_config = _FORM
    model_cfg: _Model
    preprocess_cfg: _Preprocessing = _Preprocessing()


def check_model_config(content: Mapping[str, Any], what: str) -> None:
    """Check an open_clip model config, or the hub's form of it with "model_cfg" and "preprocess_cfg".

    Args:
        what: Names it in errors.

    Raises:
        AtlasError: A field is missing or has another type, heads or patches do not divide, or a size is out of bounds.
    """
    try:
        canonical_json(dict(content)).encode()
        model = (
            _Hub.model_validate(content).model_cfg
            if "model_cfg" in content
            else _Model.model_validate(content)
        )
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'config'}: {each['msg']}" for each in error.errors()
        )
        raise _refused(what, problems) from error
    except ValueError as error:  # NaN, or half a character
        raise _refused(what, str(error)) from error
    vision, text = model.vision_cfg, model.text_cfg
    sizes: list[tuple[str, Budget, int]] = [
        ("the image tower", LAYERS, vision.blocks),
        ("the text tower", LAYERS, text.layers),
        ("the image tower", IMAGE_SIDE, max(vision.sides)),
        ("the text tower", CONTEXT, text.context_length),
    ]
    for tower, bound, amount in sizes:
        bound.check(amount, f"{tower} of {what}")
    projections = model.embed_dim * (vision.width + text.width)
    PARAMETERS.check(vision.parameters + text.parameters + projections, what)


def _in_blocks(layers: int, width: int, mlp_ratio: float) -> int:
    """Weights of a transformer's blocks: attention's four projections and the MLP's two, without biases."""
    return layers * (4 * width**2 + 2 * width * int(width * mlp_ratio))


def _refused(what: str, problems: str) -> AtlasError:
    return AtlasError(
        f"{what} cannot be built: {problems}",
        expected="an open_clip model config",
        fix="copy one of open_clip's model_configs and change it",
    )
