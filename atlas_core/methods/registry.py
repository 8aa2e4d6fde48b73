"""The methods by name; importing this loads none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_core.registry import Registry

if TYPE_CHECKING:
    from atlas_core.methods.base import PromptMethod

METHODS: Registry[type[PromptMethod]] = Registry("method", "atlas.methods")
for _name, _target, _summary in (
    ("zero_shot", "zero_shot:ZeroShot", "CLIP with hand-written prompts, no learning"),
    ("coop", "coop:CoOp", "learned context vectors in the text prompt"),
):
    METHODS.add_lazy(_name, f"atlas_core.methods.{_target}", _summary)
