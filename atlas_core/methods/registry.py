"""The methods by name, and their traits; importing this loads none of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from atlas_core.registry import Registry

if TYPE_CHECKING:
    from atlas_core.methods.base import PromptMethod
    from atlas_core.methods.traits.base import MethodTraits

_HERE = "atlas_core.methods."

METHODS: Registry[type[PromptMethod]] = Registry("method", "atlas.methods")
for _name, _target, _summary in (
    ("zero_shot", "zero_shot:ZeroShot", "CLIP with hand-written prompts, no learning"),
    ("coop", "coop:CoOp", "learned context vectors in the text prompt"),
    ("cocoop", "cocoop:CoCoOp", "CoOp's context shifted by each image through a small network"),
    ("kgcoop", "kgcoop:KgCoOp", "CoOp kept near the features of hand-written prompts"),
    ("prograd", "prograd:ProGrad", "CoOp whose gradient may not go against the zero-shot model"),
    ("tcp", "tcp:TCP", "prompts made of each class's frozen text feature, inside the text tower"),
    ("dept_coop", "dept:DePTCoOp", "DePT over CoOp: a class-bound linear head beside the prompts"),
    ("dept_cocoop", "dept:DePTCoCoOp", "DePT over CoCoOp"),
    ("dept_kgcoop", "dept:DePTKgCoOp", "DePT over KgCoOp"),
    ("dept_maple", "dept:DePTMaPLe", "DePT over MaPLe"),
    ("maple", "maple:MaPLe", "deep text prompts and visual prompts coupled to them"),
    ("promptsrc", "promptsrc:PromptSRC", "deep prompts in both towers, held near the frozen model"),
    ("coprompt", "coprompt:CoPrompt", "MaPLe with adapters, consistent with the frozen model"),
    ("ivlp", "ivlp:IVLP", "deep prompts in both towers, independent of each other"),
    ("vpt", "vpt:VPT", "prompts in the image tower alone, shallow or deep"),
):
    METHODS.add_lazy(_name, f"{_HERE}{_target}", _summary)


def method_traits(name: str) -> type[MethodTraits]:
    """The traits of the method of that name: what planning needs, without importing torch for a method of this package.

    Raises:
        AtlasError: No such name; the message suggests the nearest ones.
    """
    module, _, kind = METHODS.target(name).partition(":")
    if not module.startswith(_HERE):  # of another package, or registered in place of one of ours
        return METHODS.get(name)
    # "coop:CoOp" has its traits in "traits.coop:CoOpTraits".
    traits = import_module(f"{_HERE}traits.{module.removeprefix(_HERE)}")
    return cast("type[MethodTraits]", getattr(traits, f"{kind}Traits"))
