"""KgCoOp: CoOp whose class features are kept near those of hand-written prompts (Yao et al., CVPR 2023)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity

from atlas_core.methods.coop import CoOp
from atlas_core.methods.traits.kgcoop import KgCoOpOptions, KgCoOpTraits


class KgCoOp(KgCoOpTraits, CoOp):
    """CoOp with L = CE + λ·(1 − mean_c cos(g_c, g⁰_c)), λ = 8."""

    options: KgCoOpOptions

    def regulariser(self, image: Tensor, text: Tensor) -> Tensor:
        return self.options.weight * distance_to_reference(text, self.reference)


def distance_to_reference(text: Tensor, reference: Tensor | None) -> Tensor:
    """1 − mean_c cos(g_c, g⁰_c) for class features and their frozen counterparts, both [C, D]."""
    assert reference is not None, "the method was built without its text reference"
    return 1.0 - cosine_similarity(text, reference.to(text.dtype), dim=-1).mean()
