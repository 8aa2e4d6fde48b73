"""ProGrad: CoOp whose gradient may not go against the zero-shot model (Zhu et al., ICCV 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.methods.base import Batch, CrossEntropy
from atlas_core.methods.coop import CoOp
from atlas_core.methods.prompts import context_tokens, random_context
from atlas_core.methods.traits.prograd import ProGradOptions, ProGradTraits


class ProGrad(ProGradTraits, CoOp):
    """CoOp with the cross-entropy's gradient projected where it conflicts with the zero-shot model's.

    The loss is the cross-entropy alone. L_kl = −T²·mean_i Σ_c softmax(zᵗ/T)_c · log softmax(z/T)_c, with the
    zero-shot logits zᵗ of the same features, only steers: see `project`.
    """

    options: ProGradOptions
    distillation: Tensor

    def initial_context(self, generator: torch.Generator) -> Tensor:
        n_ctx, width = self.options.n_ctx, self.clip.text.width
        if self.options.initial == "random":
            count = (len(self.classes),) if self.options.class_specific else ()
            return random_context((*count, n_ctx, width), generator)
        own = self.template_words(self.classes)
        if len(own) > n_ctx:
            raise AtlasError(
                f"{n_ctx} context vectors for the {len(own)} words {' '.join(own)!r}",
                expected=f"n_ctx of at least {len(own)}",
                fix="raise n_ctx, or set `initial: random`",
            )
        start = torch.zeros(n_ctx, width)
        if own:
            # As many tokens as words: where a comma makes one more, the last stays in the prompt as it is.
            start[n_ctx - len(own) :] = context_tokens(self.clip, " ".join(own), len(own)).cpu()
        return start

    def loss(self, batch: Batch, cross_entropy: CrossEntropy) -> tuple[Tensor, Tensor]:
        loss, logits = super().loss(batch, cross_entropy)
        assert self.reference is not None, "the method was built without its text reference"
        temperature = self.options.temperature
        teacher = self.cosine_logits(batch.features, self.reference).to(logits.dtype)
        soft = (teacher / temperature).softmax(dim=-1)
        log_probabilities = (logits / temperature).log_softmax(dim=-1)
        self.distillation = -(temperature**2) * (soft * log_probabilities).sum(dim=-1).mean()
        return loss, logits

    def backward(self, loss: Tensor) -> None:
        parameters = [each for each in self.parameters() if each.requires_grad]
        directions = torch.autograd.grad(self.distillation, parameters, retain_graph=True)
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient, direction in zip(parameters, gradients, directions, strict=True):
            parameter.grad = project(gradient, direction, self.options.projection)
        del self.distillation


def project(gradient: Tensor, direction: Tensor, amount: float) -> Tensor:
    """a − λ(a·b̂)b̂ where a·b̂ < 0, else a; b̂ = b/‖b‖ over the whole tensor.

    Args:
        gradient: a, the cross-entropy's, of any shape.
        direction: b, the distillation's, of the same shape. Zero: a is returned.
        amount: λ; 1 takes the conflicting part away altogether.
    """
    norm = torch.linalg.vector_norm(direction)
    if norm == 0:
        return gradient
    unit = direction / norm
    along = (gradient * unit).sum()
    return gradient - amount * along * unit if along < 0 else gradient
