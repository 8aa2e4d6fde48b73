"""Stochastic gradients of CoOp's context under different targets: variance, norm, and Lemma 1's κ."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atlas_core.backbone.clip import normalise
from atlas_core.methods.coop import CoOp


@dataclass(frozen=True)
class GradientStatistics:
    """One target's gradients at one context; the sample is the training set, each image with one view.

    With g_i the gradient of image i's loss and ḡ their mean (the full gradient):

    Attributes:
        loss: Mean cross-entropy against the target.
        gradient_norm: ‖ḡ‖.
        variance: σ² = mean_i ‖g_i − ḡ‖², the variance of the gradient of one image drawn at random.
        minibatch_variance: Of the mean gradient of B images drawn without replacement, σ²/B·(N − B)/(N − 1).
        kappa: σ² of this target over σ² of the one-hot target, at the same context. A minibatch's variance has
            the same ratio, whatever B.
        bias: ‖ḡ − ḡ_one-hot‖, how far this target's full gradient is from the one-hot loss's.
        kappa_about_one_hot: mean_i ‖g_i − ḡ_one-hot‖² over σ² of the one-hot target: `kappa` + bias²/σ²_one-hot,
            the ratio where this target's gradient stands in for the one-hot loss's.
    """

    loss: float
    gradient_norm: float
    variance: float
    minibatch_variance: float
    kappa: float
    bias: float
    kappa_about_one_hot: float


def compare_targets(
    method: CoOp, features: Tensor, targets: dict[str, Tensor], batch_size: int
) -> dict[str, GradientStatistics]:
    """Statistics of each target's gradients at the method's present context.

    Args:
        features: Raw image features [N, D].
        targets: Distributions [N, C] by name; "one_hot" has to be among them.
        batch_size: B of `minibatch_variance`.
    """
    gradients = {name: sample_gradients(method, features, target) for name, target in targets.items()}
    with torch.no_grad():
        logits = method.cosine_logits(features, method.text_features()).double()
    logs = torch.log_softmax(logits, dim=1)
    plain = gradients["one_hot"]
    reference = _variance(plain, plain.mean(dim=0))
    return {
        name: GradientStatistics(
            loss=float(-(targets[name].double() * logs).sum(dim=1).mean()),
            gradient_norm=float(each.mean(dim=0).norm()),
            variance=_variance(each, each.mean(dim=0)),
            minibatch_variance=minibatch_variance(each, batch_size),
            kappa=_variance(each, each.mean(dim=0)) / reference,
            bias=float((each.mean(dim=0) - plain.mean(dim=0)).norm()),
            kappa_about_one_hot=_variance(each, plain.mean(dim=0)) / reference,
        )
        for name, each in gradients.items()
    }


def sample_gradients(method: CoOp, features: Tensor, target: Tensor) -> Tensor:
    """Each image's gradient of its cross-entropy in the context, float64 [N, P].

    The class features do not depend on the image: they are computed once, and only their backward pass is
    repeated for each image.
    """
    text = method.text_features()
    with torch.no_grad():
        pulls = _text_gradients(method, features, text.detach(), target)
    rows = [torch.autograd.grad(text, method.ctx, pull, retain_graph=True)[0].flatten() for pull in pulls]
    return torch.stack(rows).double()


def minibatch_variance(gradients: Tensor, batch_size: int) -> float:
    """E‖g_B − ḡ‖² of the mean of B of the N gradients [N, P], drawn without replacement; 0 where B ≥ N."""
    n, size = len(gradients), min(batch_size, len(gradients))
    if n == size:
        return 0.0
    return _variance(gradients, gradients.mean(dim=0)) / size * (n - size) / (n - 1)


def _text_gradients(method: CoOp, features: Tensor, text: Tensor, target: Tensor) -> Tensor:
    """∂L_i/∂g_c [N, C, D] for raw class features g [C, D], z_ic = s·f̂_i·ĝ_c and L_i = −Σ_c y_ic log p_ic."""
    unit, image = normalise(text), normalise(features)
    cosine = image @ unit.T
    residual = torch.softmax(method.clip.logit_scale * cosine, dim=1) - target
    tangent = image[:, None] - cosine[..., None] * unit
    pull: Tensor = method.clip.logit_scale * residual[..., None] * tangent / text.norm(dim=1)[:, None]
    return pull


def _variance(gradients: Tensor, about: Tensor) -> float:
    return float((gradients - about).square().sum(dim=1).mean())
