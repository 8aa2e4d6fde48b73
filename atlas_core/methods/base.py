"""What every prompt-tuning method offers: learned parameters, logits, and its loss on a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip, normalise
from atlas_core.errors import AtlasError

# (logits [B, C]) → scalar: the run's supervision. A stacked batch of n·B rows repeats the labels n times.
CrossEntropy = Callable[[Tensor], Tensor]
Predictor = Callable[[Tensor], Tensor]
# Images (raw features [B, D], or pixels [B, 3, H, W]) → raw image features [B, D] and class features [C, D]
# ([B, C, D] where they depend on the image).
Encoder = Callable[[Tensor], tuple[Tensor, Tensor]]


class MethodOptions(BaseModel):
    """Options of a method; each method adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class TextReference:
    """Frozen text features that a method compares with or learns from.

    Attributes:
        templates: Hand-written templates with `{}` for the class name; several are averaged.
        normalise_each: Normalise every template's feature before averaging (zero-shot ensembles do, PromptSRC
            does not).
        keep_each: Keep one feature a template, [K, C, D], instead of the average [C, D].
        sentences_file: JSON of sentences by class name that take the templates' place (`read_sentences`).
    """

    templates: tuple[str, ...]
    normalise_each: bool = True
    keep_each: bool = False
    sentences_file: Path | None = None

    @property
    def label(self) -> str:
        """Part of a node's name: the template itself, or how many there are, or that there are sentences."""
        prompts = self.templates[0] if len(self.templates) == 1 else f"{len(self.templates)} templates"
        prompts = prompts if self.sentences_file is None else "sentences"
        return (
            prompts.replace("/", "-")
            + ("" if self.normalise_each else ", raw")
            + (", each" if self.keep_each else "")
        )


@dataclass(frozen=True)
class Classes:
    """The classes that a method classifies among.

    Attributes:
        names: Class names as they stand in a prompt, [C].
        templates: The dataset's templates by method family ("coop" is always there).
        trained: Whether these are the classes that the method was trained on.
    """

    names: tuple[str, ...]
    templates: Mapping[str, str]
    trained: bool = True

    def template(self, family: str) -> str:
        return self.templates.get(family, self.templates["coop"])

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Batch:
    """One step's images.

    Attributes:
        labels: [B] class indices.
        rows: [B] positions in the training table; rows of the instance-wise soft labels.
        views: [B] which augmented view of each image.
        features: [B, D] raw features of the views by the frozen image tower.
        pixels: [B, 3, H, W] normalised views; only for methods that learn visual prompts.
        second_features: [B, D] raw frozen features of another view of the same images (CoPrompt).
        epoch: 1-based epoch; `step` counts from 0 over the whole training.
    """

    labels: Tensor
    rows: Tensor
    views: Tensor
    features: Tensor
    pixels: Tensor | None
    second_features: Tensor | None
    epoch: int
    step: int


class PromptMethod(nn.Module):
    """A prompt-tuning method over a frozen CLIP.

    A sub-class sets the class attributes, makes its `nn.Parameter`s in `__init__`, and gives `encoder`, with
    `regulariser` where its loss has more than the cross-entropy; `loss` and `predictor` follow from these. A
    method of another form overrides those two instead. Frozen tensors are kept outside the parameters, so
    `learned_state` is what a checkpoint holds.

    Attributes:
        image_input: "features" when the image tower stays as it is (training reads cached features),
            "pixels" when the method puts prompts into it.
        augmentation: How training views are drawn.
        views_per_step: Views of each image that a step needs.
        stackable: Whether runs of it may train as one stack: its step is CoOp's (atlas_core/training/stack.py).
        defaults_file: The YAML of constants beside the method.
        Options: Pydantic model of the method's options.
    """

    image_input: ClassVar[Literal["features", "pixels"]] = "features"
    augmentation: ClassVar[Literal["random_resized_crop", "randaugment"]] = "random_resized_crop"
    views_per_step: ClassVar[int] = 1
    learns: ClassVar[bool] = True
    stackable: ClassVar[bool] = False
    defaults_file: ClassVar[Path]
    Options: ClassVar[type[MethodOptions]] = MethodOptions

    def __init__(
        self,
        clip: FrozenClip,
        classes: Classes,
        options: MethodOptions,
        *,
        generator: torch.Generator,
        reference: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.classes = classes
        self.options = options
        self.reference = reference

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference | None:
        """The frozen text features that the method needs as `reference`, or None."""
        return None

    def encoder(self) -> Encoder:
        """A function from images to raw features; what does not depend on the images is computed here, once.

        Training asks for one each step and `predictor` one for all test images, so it carries gradients where
        these are enabled.
        """
        raise NotImplementedError

    def regulariser(self, image: Tensor, text: Tensor) -> Tensor | float:
        """What the loss adds to the cross-entropy, from the encoder's raw features; nothing by default."""
        return 0.0

    def images(self, batch: Batch) -> Tensor:
        """The batch as the encoder takes it."""
        if self.image_input == "features":
            return batch.features
        assert batch.pixels is not None
        return batch.pixels

    def loss(self, batch: Batch, cross_entropy: CrossEntropy) -> tuple[Tensor, Tensor]:
        """The training loss and the logits [B, C] that the supervision may observe."""
        image, text = self.encoder()(self.images(batch))
        logits = self.cosine_logits(image, text)
        return cross_entropy(logits) + self.regulariser(image, text), logits

    def backward(self, loss: Tensor) -> None:
        """Put gradients on the learned parameters (ProGrad projects them)."""
        loss.backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def predictor(self) -> Predictor:
        """A function from raw features [B, D] or pixels [B, 3, H, W] to logits [B, C]."""
        encode = self.encoder()

        @torch.no_grad()
        def predict(images: Tensor) -> Tensor:
            return self.cosine_logits(*encode(images))

        return predict

    def learned_state(self) -> dict[str, Tensor]:
        """The learned parameters by name: a checkpoint's content."""
        return {name: parameter.detach().clone() for name, parameter in self.named_parameters()}

    def load_learned_state(
        self, state: Mapping[str, Tensor], trained_names: Sequence[str] | None = None
    ) -> None:
        """Take over learned parameters.

        Args:
            state: Another instance's `learned_state()`, of the same method and options.
            trained_names: The class names it was trained on, for methods with a part that belongs to them.

        Raises:
            AtlasError: A parameter is missing or has another shape, so the checkpoint is of other options.
        """
        for name, parameter in self.named_parameters():
            if name not in state:
                raise AtlasError(
                    f"the checkpoint has no parameter {name!r}",
                    expected=f"parameters {', '.join(n for n, _ in self.named_parameters())}",
                    fix="load it with the method and options that it was trained with",
                )
            if state[name].shape != parameter.shape:
                raise AtlasError(
                    f"parameter {name!r} has shape {tuple(state[name].shape)} in the checkpoint",
                    expected=f"{tuple(parameter.shape)}",
                    fix="use the classes and options that it was trained with",
                )
            with torch.no_grad():
                parameter.copy_(state[name])

    def cosine_logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """s·f·gᵀ from raw features [B, D] and [C, D] (or [B, C, D])."""
        if image_features.shape[-1] != text_features.shape[-1]:
            raise AtlasError(
                f"image features of width {image_features.shape[-1]} and text features of width"
                f" {text_features.shape[-1]}",
                expected="features of one backbone",
                fix="compute both with the same `backbone`",
            )
        g = normalise(text_features)
        f = normalise(image_features).to(g.dtype)
        product = f @ g.T if g.ndim == 2 else torch.einsum("bd,bcd->bc", f, g)
        return self.clip.logit_scale * product


def parse_options(method: type[PromptMethod], raw: Mapping[str, Any]) -> MethodOptions:
    """Validate a method's options.

    Raises:
        AtlasError: An unknown option or a value of the wrong kind.
    """
    try:
        return method.Options.model_validate(dict(raw))
    except ValidationError as error:
        first = error.errors()[0]
        raise AtlasError(
            f"option {'.'.join(map(str, first['loc']))!r} of method {method.__name__}: {first['msg']}",
            expected=f"options among {', '.join(method.Options.model_fields) or '(none)'}",
            fix="correct it under `methods:` in the study",
        ) from error
