"""Backbones open from files and names, say who they are, and refuse what cannot work with a way out."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from atlas_core.backbone import hardware
from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.config import BackboneConfig, Precision
from atlas_core.backbone.load import backbone_identity, build_model, input_size, load_backbone
from atlas_core.backbone.text import extract_text_tower
from atlas_core.errors import AtlasError
from tests.small_clip import MEAN, random_openai_state_dict, small_clip, small_config, small_open_clip

PROMPTS = ["a photo of a cat.", "a dog"]
SIGLIP = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def write_config(folder: Path, name: str = "tiny.json", **sizes: Any) -> str:
    path = folder / name
    path.write_text(json.dumps(small_config(**sizes)))
    return str(path)


def tiny(folder: Path, weights: str = "tiny.safetensors", **sizes: Any) -> BackboneConfig:
    """A config file and its safetensors weights in a folder."""
    save_file(dict(small_open_clip(7, **sizes).state_dict()), folder / "tiny.safetensors")
    return BackboneConfig(model=write_config(folder, **sizes), pretrained=None, weights=folder / weights)


def features(clip: FrozenClip) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return clip.encode_text(PROMPTS), clip.encode_image(pixels)


def assert_is_model_7(clip: FrozenClip, tolerance: float = 0.0) -> None:
    for found, wanted in zip(features(clip), features(small_clip(7)), strict=True):
        torch.testing.assert_close(found.float(), wanted, rtol=tolerance, atol=tolerance)


def test_a_config_file_with_safetensors_weights(tmp_path: Path) -> None:
    clip = load_backbone(tiny(tmp_path))
    assert_is_model_7(clip)
    assert (clip.image_size, clip.embed_dim, clip.mean) == (32, 24, MEAN)


@pytest.mark.parametrize("wrap", [dict, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}])
def test_pt_weights_bare_or_as_training_scripts_wrap_them(tmp_path: Path, wrap: Any) -> None:
    torch.save(wrap(small_open_clip(7).state_dict()), tmp_path / "tiny.pt")
    assert_is_model_7(load_backbone(tiny(tmp_path, "tiny.pt")))


def test_a_state_dict_as_openai_published_it_is_widened_to_float32(tmp_path: Path) -> None:
    torch.save(random_openai_state_dict(7), tmp_path / "openai.pt")
    clip = load_backbone(tiny(tmp_path, "openai.pt"))
    assert clip.dtype == torch.float32
    assert_is_model_7(clip, tolerance=2e-2)


def test_pickled_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(AtlasError, match="nothing but tensors"):
        load_backbone(tiny(tmp_path, "trap.pt"))
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(AtlasError, match="nothing but tensors"):
        load_backbone(tiny(tmp_path, "old.pt"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_torchscript_archive_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "jit.pt"))  # type: ignore[no-untyped-call]
    with pytest.raises(AtlasError, match=r"TorchScript.*torch\.jit\.load"):
        load_backbone(tiny(tmp_path, "jit.pt"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.safetensors", None, "does not exist"),
        ("tiny.onnx", b"x", "unknown ending"),
        ("cut.safetensors", b"\x08\x00\x00", "cannot be read"),
        ("cut.pt", b"PK\x03\x04", "cannot be read"),
    ],
)
def test_unreadable_weights_are_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AtlasError, match=message):
        load_backbone(tiny(tmp_path, name))


def test_weights_of_another_architecture_are_refused_by_name_and_shape(tmp_path: Path) -> None:
    save_file(
        dict(small_open_clip(7, text_layers=3, embed_dim=20).state_dict()), tmp_path / "other.safetensors"
    )
    with pytest.raises(AtlasError, match=r"missing \(transformer.resblocks.3.*text_projection \(32, 20\)"):
        load_backbone(tiny(tmp_path, "other.safetensors"))


def test_a_config_file_may_say_how_its_pixels_are_normalised(tmp_path: Path) -> None:
    cfg = tiny(tmp_path)
    content = {"model_cfg": small_config(), "preprocess_cfg": SIGLIP}
    (tmp_path / "hub.json").write_text(json.dumps(content))
    hub = cfg.model_copy(update={"model": str(tmp_path / "hub.json")})
    assert load_backbone(hub).mean == (0.5, 0.5, 0.5)
    assert backbone_identity(hub) != backbone_identity(cfg)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read"), ("[]", "lacks embed_dim"), ('{"embed_dim": 3}', "lacks vision_cfg, text_cfg")],
)
def test_a_broken_config_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(AtlasError, match=message):
        load_backbone(BackboneConfig(model=str(tmp_path / "broken.json"), weights=tmp_path / "w.safetensors"))


def test_a_config_file_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"set `backbone\.weights`"):
        load_backbone(BackboneConfig(model=write_config(tmp_path), pretrained=None))


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_here_is_refused(device: str, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=f"device '{device}' is not available here.*--device"):
        load_backbone(tiny(tmp_path), device)


def test_a_model_is_loaded_once_on_the_device_that_was_asked_for(tmp_path: Path) -> None:
    backbone = tiny(tmp_path)
    clip = load_backbone(backbone, "cpu")
    assert clip.device == torch.device("cpu")
    assert load_backbone(backbone, "cpu") is clip


def test_identity_is_the_content_and_not_the_path(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    one, other = tiny(here), tiny(there)
    assert backbone_identity(one) == backbone_identity(other)
    assert not any(str(tmp_path) in value for value in backbone_identity(one).values())
    save_file(dict(small_open_clip(8).state_dict()), there / "tiny.safetensors")
    assert backbone_identity(one)["weights_sha256"] != backbone_identity(other)["weights_sha256"]
    assert backbone_identity(one) != backbone_identity(one.model_copy(update={"precision": "bf16"}))


def test_a_named_model_is_identified_by_name_and_tag_without_the_weights() -> None:
    identity = backbone_identity(BackboneConfig())
    assert identity["model"] == "ViT-B-16-quickgelu"
    assert identity["pretrained"] == "openai"
    assert str(MEAN[0]) in identity["pixels"]
    assert input_size("ViT-L-14-336") == 336


def test_a_missing_hub_says_how_to_point_to_a_local_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(AtlasError, match=r"cannot be downloaded.*`backbone\.weights` to the local file"):
        load_backbone(BackboneConfig())


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (BackboneConfig(model="ViT-B-16-quickgalu"), "ViT-B-16-quickgelu"),
        (BackboneConfig(pretrained="opnai"), "openai"),
        (BackboneConfig(pretrained=None), "has no weights"),
        (BackboneConfig(model="ViT-B-16"), "set `backbone.model: ViT-B-16-quickgelu`"),
        (BackboneConfig(pretrained="datacomp_xl_s13b_b90k"), "pretrained tag"),
    ],
)
def test_wrong_names_are_refused_with_the_right_ones(cfg: BackboneConfig, message: str) -> None:
    with pytest.raises(AtlasError, match=message):
        load_backbone(cfg)


@pytest.mark.parametrize("model", ["coca_ViT-B-32", "roberta-ViT-B-32", "ViT-B-16-SigLIP"])
def test_text_towers_that_cannot_be_prompted_are_refused(model: str, tmp_path: Path) -> None:
    """The reason is the architecture, found before any weights are fetched or read."""
    save_file({"x": torch.zeros(1)}, tmp_path / "any.safetensors")
    with pytest.raises(AtlasError, match="choose another open_clip model"):
        load_backbone(BackboneConfig(model=model, pretrained=None, weights=tmp_path / "any.safetensors"))


def test_a_text_tower_without_causal_mask_is_refused(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"custom_text": True, "text": {"no_causal_mask": True}}
    save_file(dict(small_open_clip(7, **sizes).state_dict()), tmp_path / "free.safetensors")
    path = tmp_path / "free.json"
    path.write_text(json.dumps({**small_config(text=sizes["text"]), "custom_text": True}))
    with pytest.raises(AtlasError, match="no causal mask"):
        load_backbone(BackboneConfig(model=str(path), pretrained=None, weights=tmp_path / "free.safetensors"))


def test_an_image_tower_that_is_no_vit_serves_every_use_but_prompts(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"vision_width": 64, "vision": {"layers": [1, 1, 1, 1], "head_width": 64}}
    cfg = tiny(tmp_path, **sizes)
    clip, model = load_backbone(cfg), small_open_clip(7, **sizes)
    pixels = torch.randn(2, 3, 32, 32)
    wanted = model.encode_image(pixels)  # type: ignore[operator]
    torch.testing.assert_close(clip.encode_image(pixels), wanted)
    with pytest.raises(AtlasError, match="image tower has the type ModifiedResNet"):
        clip.image_tower()


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50", "EVA02-B-16", "MobileCLIP-B", "PE-Core-B-16"])
def test_architectures_of_open_clip_have_a_text_tower_that_can_be_prompted(name: str) -> None:
    """Shapes only: the whole model lives on the meta device."""
    with torch.device("meta"):
        model = build_model(name, open_clip.get_model_config(name))
    tower = extract_text_tower(model, torch.float32, torch.device("meta"))
    assert tower.layers == len(tower.blocks) > 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_the_cpu_would_emulate_is_refused(
    precision: Precision, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hardware, "_cpu_flags", lambda: frozenset({"avx2"}))
    cfg = tiny(tmp_path).model_copy(update={"precision": precision})
    with pytest.raises(AtlasError, match=f"{precision} on a CPU without {precision} units"):
        load_backbone(cfg)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_float32_where_the_cpu_has_it(
    precision: Precision, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hardware, "_cpu_flags", lambda: frozenset({"avx512_bf16", "avx512_fp16"}))
    clip = load_backbone(tiny(tmp_path).model_copy(update={"precision": precision}))
    assert clip.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert_is_model_7(clip, tolerance=0.15)
