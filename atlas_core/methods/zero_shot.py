"""Zero-shot CLIP: hand-written prompts, nothing learned (zsclip.py of KaiyangZhou/CoOp)."""

from __future__ import annotations

from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.methods.base import Batch, CrossEntropy, Encoder, PromptMethod
from atlas_core.methods.traits.zero_shot import ZeroShotTraits


class ZeroShot(ZeroShotTraits, PromptMethod):
    """CLIP with hand-written prompts, no learning."""

    def loss(self, batch: Batch, cross_entropy: CrossEntropy) -> tuple[Tensor, Tensor]:
        raise AtlasError("zero-shot CLIP has nothing to train", fix="leave it at 0 epochs")

    def encoder(self) -> Encoder:
        assert self.reference is not None
        text = self.reference
        return lambda features: (features, text)
