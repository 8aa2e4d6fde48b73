"""What every prompt-tuning method offers: learned parameters, logits, and its loss on a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from atlas_core.backbone.clip import FrozenClip, normalise
from atlas_core.errors import AtlasError
from atlas_core.methods.traits.base import (
    Classes,
    Cost,
    MethodOptions,
    MethodTraits,
    TextReference,
    parse_options,
)

# All that a method's author needs, from one place.
__all__ = [
    "Batch",
    "Classes",
    "Cost",
    "CrossEntropy",
    "Encoder",
    "MethodOptions",
    "MethodTraits",
    "Predictor",
    "PromptMethod",
    "TextReference",
    "parse_options",
]

# (logits [B, C]) → scalar: the run's supervision. A stacked batch of n·B rows repeats the labels n times.
CrossEntropy = Callable[[Tensor], Tensor]
Predictor = Callable[[Tensor], Tensor]
# Images (raw features [B, D], or pixels [B, 3, H, W]) → raw image features [B, D] and class features [C, D]
# ([B, C, D] where they depend on the image).
Encoder = Callable[[Tensor], tuple[Tensor, Tensor]]


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


class PromptMethod(MethodTraits, nn.Module):
    """A prompt-tuning method over a frozen CLIP.

    A sub-class has its traits, makes its `nn.Parameter`s in `__init__`, and gives `encoder`, with
    `regulariser` where its loss has more than the cross-entropy; `loss` and `predictor` follow from these. A
    method of another form overrides those two instead. Frozen tensors are kept outside the parameters, so
    `learned_state` is what a checkpoint holds.
    """

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
