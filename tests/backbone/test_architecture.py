"""A model config is checked before anything is built: numbers, what divides what, and how large it gets."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from atlas_core.backbone.architecture import check_model_config
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.identity import backbone_identity
from atlas_core.backbone.known_models import known_models
from atlas_core.backbone.load import build_model, load_backbone
from atlas_core.backbone.source import input_size, model_config
from atlas_core.errors import AtlasError
from atlas_core.resources import data_path
from tests.small_clip import small_config, small_open_clip

DELETED = object()


def changed(field: str, value: Any) -> dict[str, Any]:
    """A small config with one field ("text_cfg.layers") set or deleted."""
    config = deepcopy(small_config())
    *parents, last = field.split(".")
    target = config
    for parent in parents:
        target = target[parent]
    if value is DELETED:
        del target[last]
    else:
        target[last] = value
    return config


def test_every_model_that_open_clip_knows_passes() -> None:
    for name, config in known_models().configs.items():
        check_model_config(config, name)


def test_the_demo_model_and_the_hubs_form_pass() -> None:
    config = json.loads(data_path("demo", "demo_clip.json").read_text())
    check_model_config(config, "demo")
    check_model_config(
        {"model_cfg": small_config(), "preprocess_cfg": {"mean": 0.5, "std": [0.5] * 3}}, "hub"
    )
    check_model_config({"model_cfg": small_config(), "preprocess_cfg": {"interpolation": "bicubic"}}, "hub")


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("embed_dim", 0, "embed_dim: Input should be greater than or equal to 1"),
        ("embed_dim", "512", "embed_dim: Input should be a valid integer"),
        ("embed_dim", True, "embed_dim: Input should be a valid integer"),
        ("embed_dim", 1.5, "embed_dim: Input should be a valid integer"),
        ("vision_cfg", [1], "vision_cfg: Input should be a valid dictionary"),
        ("vision_cfg.layers", -1, "vision_cfg.layers"),
        ("vision_cfg.layers", [1, 2, 3], "vision_cfg.layers"),
        ("vision_cfg.width", 50, "heads of width 16 do not divide the width 50"),
        ("vision_cfg.head_width", 0, "vision_cfg.head_width"),
        ("vision_cfg.patch_size", 0, "vision_cfg.patch_size"),
        ("vision_cfg.patch_size", 7, "patches of 7 do not divide an image of 32"),
        ("vision_cfg.image_size", [32, 32, 32], "vision_cfg.image_size"),
        ("vision_cfg.mlp_ratio", 0, "vision_cfg.mlp_ratio"),
        ("vision_cfg.mlp_ratio", float("nan"), "nan has no canonical form"),
        ("text_cfg", None, "text_cfg: Input should be a valid dictionary"),
        ("text_cfg.heads", 3, "3 heads do not divide the width 32"),
        ("text_cfg.heads", 0, "text_cfg.heads"),
        ("text_cfg.width", {}, "text_cfg.width"),
        ("text_cfg.vocab_size", -5, "text_cfg.vocab_size"),
        ("text_cfg.tokenizer_kwargs", [1], "text_cfg.tokenizer_kwargs"),
        ("text_cfg.hf_tokenizer_name", 5, "text_cfg.hf_tokenizer_name"),
        ("quick_gelu", "yes", "quick_gelu"),
        ("note", "\ud800", "surrogates not allowed"),
        ("model_cfg", 5, "model_cfg"),
        ("vision_cfg.layers", 10_000_000, "image tower of it asks for too much: more than 256 layers"),
        ("text_cfg.layers", 3000, "text tower of it asks for too much: more than 256 layers"),
        ("text_cfg.context_length", 1 << 20, "text tower of it asks for too much: more than 4,096 tokens"),
        ("vision_cfg.image_size", 1 << 20, "more than 8,192 pixels"),
        ("vision_cfg.width", 1 << 20, "it asks for too much: more than 10,000,000,000 parameters"),
        ("text_cfg.width", 1 << 40, "more than 10,000,000,000 parameters"),
        ("text_cfg.vocab_size", 1 << 30, "more than 10,000,000,000 parameters"),
        ("embed_dim", 1 << 40, "more than 10,000,000,000 parameters"),
    ],
)
def test_a_config_that_cannot_be_built_says_which_field(field: str, value: Any, says: str) -> None:
    with pytest.raises(AtlasError, match=says):
        check_model_config(changed(field, value), "it")


@pytest.mark.parametrize(
    "preprocessing", [[], {"mean": "x"}, {"mean": [1, 2]}, {"std": 0}, {"std": [1, 1, -1]}]
)
def test_preprocessing_of_another_form_is_refused(preprocessing: Any) -> None:
    with pytest.raises(AtlasError, match="preprocess_cfg"):
        check_model_config({"model_cfg": small_config(), "preprocess_cfg": preprocessing}, "it")


def test_a_config_file_is_checked_whatever_asks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "clip.json"
    path.write_text(json.dumps(changed("text_cfg.layers", 3000)))
    cfg = BackboneConfig(model=str(path), weights=tmp_path / "none.safetensors")
    for ask in (model_config, input_size):
        with pytest.raises(AtlasError, match=r"clip.json asks for too much"):
            ask(str(path))
    for ask_whole in (backbone_identity, load_backbone):
        with pytest.raises(AtlasError, match=r"clip.json asks for too much"):
            ask_whole(cfg)


@pytest.mark.parametrize(
    "extra", [{"act_kwargs": 5}, {"pos_embed_type": []}, {"no_such": 1}, {"pool_type": "x"}]
)
def test_what_only_open_clip_knows_to_be_wrong_is_one_error(extra: dict[str, Any]) -> None:
    with pytest.raises(AtlasError, match="open_clip cannot build backbone 'it'"), torch.device("meta"):
        build_model("it", small_config(vision=extra))


def test_options_that_the_tokenizer_does_not_have_are_one_error(tmp_path: Path) -> None:
    save_file(dict(small_open_clip().state_dict()), tmp_path / "w.safetensors")
    (tmp_path / "clip.json").write_text(json.dumps(small_config(text={"tokenizer_kwargs": {"no_such": 1}})))
    with pytest.raises(AtlasError, match="CLIP's tokenizer cannot be made"):
        load_backbone(BackboneConfig(model=str(tmp_path / "clip.json"), weights=tmp_path / "w.safetensors"))


def test_a_file_too_small_for_the_model_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    config = small_config(text_width=2048, text_layers=90, vision_width=2048, vision_layers=90)
    (tmp_path / "clip.json").write_text(json.dumps(config))
    (tmp_path / "w.safetensors").write_bytes(bytes(1000))
    cfg = BackboneConfig(model=str(tmp_path / "clip.json"), weights=tmp_path / "w.safetensors")
    with pytest.raises(AtlasError, match=r"w.safetensors has 1,000 bytes for the 9,\d+,\d+,\d+ parameters"):
        load_backbone(cfg)
