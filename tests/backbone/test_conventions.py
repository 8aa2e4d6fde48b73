"""Activation, normalisation and resizing are those that weights were trained with, or are asked for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import save_file

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.conventions import conventions
from atlas_core.backbone.identity import backbone_identity
from atlas_core.backbone.known_models import known_models
from atlas_core.backbone.load import load_backbone
from atlas_core.backbone.source import OPENAI_MEAN, backbone_label
from atlas_core.errors import AtlasError
from atlas_core.features.resizing import STANDARD, Resizing
from tests.small_clip import random_openai_state_dict, small_clip, small_config, small_open_clip

Make = Callable[..., BackboneConfig]


@pytest.fixture
def plain(tmp_path: Path) -> Make:
    """A configuration of a weights file whose content tells nothing."""
    path = tmp_path / "ViT-B-16.safetensors"
    save_file({"positional_embedding": torch.zeros(1)}, path)
    return lambda **fields: BackboneConfig(weights=path, **fields)


@pytest.fixture
def openai(tmp_path: Path) -> Make:
    """A configuration of a state dict with the entries of OpenAI's archives."""
    path = tmp_path / "openai.pt"
    torch.save({"positional_embedding": torch.zeros(1), "input_resolution": torch.tensor(224)}, path)
    return lambda **fields: BackboneConfig(weights=path, **fields)


def advice(error: AtlasError) -> list[dict[str, str]]:
    """The settings that a message names, `backbone.field: value`."""
    return [dict([pair]) for pair in re.findall(r"`backbone\.(\w+): ([\w.-]+)`", error.fix)]


@pytest.mark.parametrize("model", ["ViT-B-16-quickgelu", "ViT-B-16", "ViT-B-32", "ViT-L-14"])
def test_a_file_that_does_not_tell_its_activation_is_asked_for_it(plain: Make, model: str) -> None:
    """The default model's name, and the README's line with it, say nothing about a file."""
    with pytest.raises(AtlasError, match=r"published with it \(.* and without \(") as caught:
        conventions(plain(model=model))
    choices = advice(caught.value)
    assert choices == [{"activation": "quick_gelu"}, {"activation": "gelu"}]
    with pytest.raises(AtlasError):
        backbone_identity(plain(model=model))  # before anything runs


@pytest.mark.parametrize("model", ["ViT-B-16-quickgelu", "ViT-B-16"])
@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_the_answer_decides_whatever_the_models_name(plain: Make, model: str, activation: Any) -> None:
    cfg = plain(model=model, activation=activation)
    kept = conventions(cfg)
    assert kept.quick_gelu == (activation == "quick_gelu")
    assert (kept.pixels.mean, kept.pixels.resizing) == (OPENAI_MEAN, STANDARD)
    differs = ("quickgelu" in model) != kept.quick_gelu
    assert backbone_identity(cfg).get("activation") == (activation if differs else None)


def test_a_tag_and_an_answer_about_a_file_are_both_heard(plain: Make) -> None:
    kept = conventions(plain(model="ViT-L-14", pretrained="laion2b_s32b_b82k", activation="quick_gelu"))
    assert kept.quick_gelu
    assert kept.pixels.mean == (0.5, 0.5, 0.5)


def test_an_answer_cannot_change_published_weights() -> None:
    with pytest.raises(AtlasError, match=r"leave `backbone\.activation` out"):
        conventions(BackboneConfig(activation="gelu"))
    with pytest.raises(AtlasError, match="unlike model 'ViT-B-16'"):
        conventions(BackboneConfig(model="ViT-B-16", activation="quick_gelu"))
    assert conventions(BackboneConfig(activation="quick_gelu")) == conventions(BackboneConfig())


def test_a_files_tag_answers_every_question(plain: Make) -> None:
    kept = conventions(plain(model="ViT-L-14", pretrained="laion2b-s32b-b82k"))
    assert not kept.quick_gelu
    assert kept.pixels.mean == (0.5, 0.5, 0.5)
    assert conventions(plain(pretrained="openai")).quick_gelu


@pytest.mark.parametrize(
    ("model", "tag", "right"),
    [
        ("ViT-B-16-quickgelu", "laion2b_s34b_b88k", "ViT-B-16"),
        ("ViT-B-16", "openai", "ViT-B-16-quickgelu"),
        ("ViT-H-14", "dfn5b", "ViT-H-14-quickgelu"),
    ],
)
def test_a_tag_of_the_other_activation_names_the_model_for_it(
    plain: Make, model: str, tag: str, right: str
) -> None:
    with pytest.raises(AtlasError, match="QuickGELU, unlike model") as caught:
        conventions(plain(model=model, pretrained=tag))
    (choice,) = advice(caught.value)
    assert choice == {"model": right}
    conventions(plain(pretrained=tag, **choice))


def test_openais_entries_say_quickgelu(openai: Make) -> None:
    assert conventions(openai()).quick_gelu
    with pytest.raises(AtlasError, match=r"input_resolution.*were trained with QuickGELU") as caught:
        conventions(openai(model="ViT-B-16"))
    (choice,) = advice(caught.value)
    assert conventions(openai(**choice)).quick_gelu
    assert conventions(openai(model="ViT-L-14-quickgelu")).pixels.mean == OPENAI_MEAN


def test_openais_entries_in_a_config_without_quickgelu_are_refused(tmp_path: Path) -> None:
    torch.save(random_openai_state_dict(7), tmp_path / "openai.pt")
    (tmp_path / "gelu.json").write_text(json.dumps(small_config(quick_gelu=False)))
    fields: dict[str, Any] = {"model": str(tmp_path / "gelu.json"), "weights": tmp_path / "openai.pt"}
    with pytest.raises(AtlasError, match=r"unlike config .*gelu\.json"):
        load_backbone(BackboneConfig(**fields))
    clip = load_backbone(BackboneConfig(**fields, activation="quick_gelu"))
    wanted = small_clip(7).encode_text(["a dog"])
    torch.testing.assert_close(clip.encode_text(["a dog"]), wanted, rtol=0, atol=2e-2)
    assert torch.allclose(clip.encode_text(["a dog"]), wanted, atol=2e-2)


@pytest.mark.parametrize("quick", [True, False])
def test_a_config_file_says_the_activation_and_an_answer_overrides_it(tmp_path: Path, quick: bool) -> None:
    save_file(dict(small_open_clip(7).state_dict()), tmp_path / "w.safetensors")
    (tmp_path / "clip.json").write_text(json.dumps(small_config(quick_gelu=quick)))
    fields: dict[str, Any] = {"model": str(tmp_path / "clip.json"), "weights": tmp_path / "w.safetensors"}
    prompts = ["a photo of a cat."]
    own, other = (small_clip(7, quick_gelu=each).encode_text(prompts) for each in (quick, not quick))
    assert torch.equal(load_backbone(BackboneConfig(**fields)).encode_text(prompts), own)
    asked: Any = "gelu" if quick else "quick_gelu"
    found = load_backbone(BackboneConfig(**fields, activation=asked)).encode_text(prompts)
    assert torch.equal(found, other)
    assert not torch.equal(own, other)


def test_a_model_whose_weights_all_agree_is_not_asked_for(plain: Make) -> None:
    assert not conventions(plain(model="ViT-g-14")).quick_gelu
    assert conventions(plain(model="ViT-L-14-336-quickgelu")).quick_gelu
    assert not conventions(plain(model="ViT-S-16")).quick_gelu  # no weights are published: the model's own
    kept = conventions(plain(model="PE-Core-B-16"))
    assert (kept.pixels.mean, kept.pixels.resizing) == ((0.5, 0.5, 0.5), Resizing("bilinear", "squash"))
    with pytest.raises(AtlasError, match="all published weights") as caught:
        conventions(plain(model="ViT-L-14-336"))
    assert advice(caught.value) == [{"model": "ViT-L-14-336-quickgelu"}, {"activation": "gelu"}]
    assert not conventions(plain(model="ViT-L-14-336", activation="gelu")).quick_gelu


@pytest.mark.parametrize(
    ("model", "activation", "differ"),
    [("ViT-L-14", "gelu", "mean 0.5/0.5/0.5"), ("ViT-H-14-quickgelu", "quick_gelu", "bicubic squash")],
)
def test_pixels_that_published_weights_differ_in_are_asked_for(
    plain: Make, model: str, activation: Any, differ: str
) -> None:
    with pytest.raises(AtlasError, match=f"published weights of {model} differ: .*{differ}") as caught:
        conventions(plain(model=model, activation=activation))
    assert "`backbone.pretrained`" in caught.value.fix
    for tag in re.findall(r"\((\w+)", caught.value.what):
        kept = conventions(plain(model=model, pretrained=tag))
        assert kept.pixels.mean == tuple(get_pretrained_cfg(model, tag)["mean"])
        assert kept.pixels.resizing.mode == get_pretrained_cfg(model, tag)["resize_mode"]


@pytest.mark.parametrize(("act", "right"), [("quick_gelu", "ViT-B-32-quickgelu"), ("gelu", "ViT-B-32")])
def test_transformers_config_beside_its_weights_says_the_activation(
    tmp_path: Path, act: str, right: str
) -> None:
    save_file({"vision_model.post_layernorm.bias": torch.zeros(1)}, tmp_path / "model.safetensors")
    towers = {tower: {"hidden_act": act} for tower in ("text_config", "vision_config")}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", **towers}))
    weights = tmp_path / "model.safetensors"
    kept = conventions(BackboneConfig(model=right, weights=weights))
    assert kept.quick_gelu == (act == "quick_gelu")
    wrong = "ViT-B-32" if act == "quick_gelu" else "ViT-B-32-quickgelu"
    with pytest.raises(AtlasError, match=r"config\.json beside it"):
        conventions(BackboneConfig(model=wrong, weights=weights))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(AtlasError, match="does not say whether"):
        conventions(BackboneConfig(model=right, weights=weights))


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_a_folder_of_the_hub_says_it_all(tmp_path: Path, name: str) -> None:
    weights = tmp_path / name
    state = {"positional_embedding": torch.zeros(1)}
    save_file(state, weights) if name.endswith("safetensors") else torch.save(state, weights)
    content = {
        "model_cfg": small_config(quick_gelu=True),
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "interpolation": "bilinear", "resize_mode": "squash"},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    kept = conventions(BackboneConfig(model="ViT-L-14-quickgelu", weights=weights))
    assert kept.quick_gelu
    assert (kept.pixels.mean, kept.pixels.resizing) == ((0.5, 0.5, 0.5), Resizing("bilinear", "squash"))
    with pytest.raises(AtlasError, match=r"open_clip_config\.json beside it"):
        conventions(BackboneConfig(model="ViT-L-14", weights=weights))
    other = weights.rename(tmp_path / f"mine{weights.suffix}")  # another file that happens to lie there
    with pytest.raises(AtlasError, match="does not say whether"):
        conventions(BackboneConfig(model="ViT-L-14-quickgelu", weights=other))


@pytest.mark.parametrize("form", ["https://a.org/models/{}/ViT-L-14.pt", "https://a.org/vit_l_14-{:.8}.pt"])
def test_a_published_file_is_known_by_its_hash(
    plain: Make, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    digest = hashlib.sha256((weights := plain().weights).read_bytes()).hexdigest()  # type: ignore[union-attr]
    assert weights is not None
    known = known_models().model_copy(deep=True)
    known.weights["ViT-L-14"]["laion2b_s32b_b82k"]["url"] = form.format(digest)
    monkeypatch.setattr("atlas_core.backbone.conventions.known_models", lambda: known)
    kept = conventions(plain(model="ViT-L-14"))
    assert not kept.quick_gelu
    assert kept.pixels.mean == (0.5, 0.5, 0.5)
    with pytest.raises(AtlasError, match="published file of 'laion2b_s32b_b82k'"):
        conventions(plain(model="ViT-L-14-quickgelu"))


def test_the_way_that_images_are_resized_is_part_of_the_identity() -> None:
    quick: dict[str, Any] = {"model": "ViT-H-14-quickgelu"}
    squashed = backbone_identity(BackboneConfig(**quick, pretrained="dfn5b"))
    shortest = backbone_identity(BackboneConfig(**quick, pretrained="metaclip_fullcc"))
    assert squashed["pixels"] == f"{shortest['pixels']} bicubic squash"


def test_a_config_file_may_say_how_images_are_resized(tmp_path: Path) -> None:
    save_file(dict(small_open_clip(7).state_dict()), tmp_path / "w.safetensors")
    said = {
        "mean": [0.5] * 3,
        "std": 0.5,
        "interpolation": "bilinear",
        "resize_mode": "longest",
        "fill_color": 9,
    }
    content = {"model_cfg": small_config(), "preprocess_cfg": {"size": [32, 32], "mode": "RGB", **said}}
    (tmp_path / "hub.json").write_text(json.dumps(content))
    cfg = BackboneConfig(model=str(tmp_path / "hub.json"), weights=tmp_path / "w.safetensors")
    clip = load_backbone(cfg)
    assert (clip.resizing, clip.std) == (Resizing("bilinear", "longest", 9), (0.5, 0.5, 0.5))
    assert backbone_identity(cfg)["pixels"].endswith("bilinear longest fill 9")


def test_what_is_said_of_a_file_stands_in_the_backbones_name(plain: Make) -> None:
    assert backbone_label(BackboneConfig()) == "ViT-B-16-quickgelu/openai"
    assert backbone_label(plain()) == "ViT-B-16-quickgelu/ViT-B-16"
    assert backbone_label(plain(activation="gelu")) == "ViT-B-16-quickgelu/ViT-B-16/gelu"
    assert backbone_label(plain(pretrained="openai")) == "ViT-B-16-quickgelu/ViT-B-16/openai"


def test_a_configuration_survives_being_written_and_read() -> None:
    for cfg in (
        BackboneConfig(),
        BackboneConfig(weights=Path("w.pt")),
        BackboneConfig(weights=Path("w.pt"), pretrained="openai", activation="quick_gelu"),
    ):
        assert BackboneConfig.model_validate(cfg.model_dump(mode="json")) == cfg
    assert BackboneConfig(weights=Path("w.pt")).pretrained is None
