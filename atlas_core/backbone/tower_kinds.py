"""Which architectures can be used for what, told from open_clip's model configs without building a model.

What these functions let pass is looked at again where the towers are extracted; a test keeps both of one mind.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from atlas_core.errors import AtlasError

TEXT_TOWER = "the text tower"
IMAGE_TOWER = "the image tower"

# Of open_clip's CustomResidualAttentionBlock (transformer.py): any of them replaces the standard block.
_CUSTOM_BLOCK = (
    "qk_norm",
    "scaled_cosine_attn",
    "scale_heads",
    "scale_attn_inner",
    "scale_attn",
    "scale_fc",
)


def unsupported(where: str, found: str) -> AtlasError:
    """The error for an architecture that the functional towers do not cover."""
    return AtlasError(
        f"{where} has {found}, which is not supported",
        expected="open_clip's standard pre-norm transformer blocks (as in the OpenAI and LAION ViT models)",
        fix="choose another open_clip model (`atlas doctor --backbone all` lists them). An unsupported image tower"
        " still serves every method that leaves it unprompted; an unsupported text tower serves no method",
    )


def check_text_tower(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a text tower that no method can prompt.

    Raises:
        AtlasError: Names what it has instead of CLIP's causal transformer.
    """
    text = config.get("text_cfg", {})
    if "multimodal_cfg" in config or text.get("hf_model_name"):
        kind = "a caption decoder" if "multimodal_cfg" in config else "a Hugging Face text model"
        raise AtlasError(
            f"backbone {name!r} has {kind}, which cannot be prompted",
            expected="CLIP's causal text transformer",
            fix="choose another open_clip model, such as 'ViT-B-16-quickgelu' (`atlas doctor --backbone all` lists"
            " them); no method works with this one",
        )
    tokenizer = text.get("hf_tokenizer_name")
    if text.get("no_causal_mask") or text.get("embed_cls"):
        raise unsupported(TEXT_TOWER, "no causal mask, or an appended class token")
    if (pool := text.get("pool_type", "argmax")) not in ("argmax", "eos"):
        raise unsupported(TEXT_TOWER, f"the pooling {pool!r} (its features are not the end token's)")
    if _custom_blocks(text):
        raise unsupported(TEXT_TOWER, "blocks of type CustomResidualAttentionBlock")
    if tokenizer and find_spec("transformers") is None:
        raise AtlasError(
            f"backbone {name!r} has the tokenizer {tokenizer!r}, which is read by the package transformers",
            expected="transformers, which is not installed",
            fix="install it (pip install transformers), or choose a model with CLIP's own tokenizer",
        )


def check_image_tower(config: Mapping[str, Any]) -> None:
    """Refuse an image tower that methods cannot prompt; the others need its features alone.

    Raises:
        AtlasError: Names what it has instead of a plain vision transformer.
    """
    vision = config.get("vision_cfg", {})
    size = vision.get("image_size", 224)
    if vision.get("timm_model_name"):
        raise unsupported(IMAGE_TOWER, "the type TimmModel")
    if isinstance(vision.get("layers", 12), (list, tuple)):
        raise unsupported(IMAGE_TOWER, "the type ModifiedResNet")
    if vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        raise unsupported(IMAGE_TOWER, "a pooling other than the class token")
    if isinstance(size, (list, tuple)) and len(set(size)) > 1:
        raise unsupported(IMAGE_TOWER, f"images of {size[0]} × {size[1]} pixels")
    if _custom_blocks(vision):
        raise unsupported(IMAGE_TOWER, "blocks of type CustomResidualAttentionBlock")


def _custom_blocks(tower: Mapping[str, Any]) -> bool:
    return tower.get("block_type") == "custom" or any(tower.get(each) for each in _CUSTOM_BLOCK)
