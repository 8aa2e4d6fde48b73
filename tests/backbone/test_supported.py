"""The list of published weights that work is true: of the configs, of built models, and of the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from atlas_core.backbone import load, tower_kinds
from atlas_core.backbone.clip import freeze
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.identity import backbone_identity
from atlas_core.backbone.image import extract_image_tower
from atlas_core.backbone.known_models import known_models
from atlas_core.backbone.load import build_model, load_backbone
from atlas_core.backbone.supported import Support, published_support, support, support_table
from atlas_core.backbone.text import extract_text_tower
from atlas_core.backbone.tower_kinds import check_image_tower, check_text_tower
from atlas_core.cli import app
from atlas_core.errors import AtlasError
from tests.small_clip import MEAN, STD

ROOT = Path(__file__).parents[2]
META = torch.device("meta")


@pytest.fixture(autouse=True)
def without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower_kinds, "find_spec", lambda name: None)


def passes(check: Callable[[], object]) -> bool:
    try:
        check()
    except AtlasError:
        return False
    return True


def test_configs_tell_what_built_models_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of open_clip's architectures, built without memory and without a check of ours in between."""
    monkeypatch.setattr(tower_kinds, "find_spec", lambda name: SimpleNamespace())
    for name, config in known_models().configs.items():
        told = passes(partial(check_text_tower, name, config))
        if "multimodal_cfg" in config or config["text_cfg"].get("hf_model_name"):
            assert not told, name  # built by transformers alone, or with a decoder
            continue
        plain = deepcopy(config)
        kind = open_clip.CustomTextCLIP if plain.pop("custom_text", False) else open_clip.CLIP
        if timm := "timm_model_name" in plain["vision_cfg"]:
            plain["vision_cfg"] = {"layers": 1, "width": 64}  # building all of timm's takes a minute
        with META:
            model = kind(**plain)
        assert told == passes(partial(extract_text_tower, model, torch.float32, META)), name
        prompted = not timm and passes(partial(extract_image_tower, model.visual, torch.float32, META))
        assert passes(partial(check_image_tower, config)) == prompted, name


def shrunk(config: dict[str, Any]) -> dict[str, Any]:
    """The same kind of architecture with two narrow layers."""
    config = deepcopy(config)
    config["embed_dim"] = 24
    config["text_cfg"] |= {"width": 32, "heads": 2, "layers": 2, "vocab_size": 49408}
    vision = config["vision_cfg"]
    if isinstance(vision["layers"], list):
        vision |= {"layers": [1, 1, 1, 1], "width": 64, "image_size": 32}
    else:
        vision |= {"layers": 2, "width": 64, "head_width": 32, "image_size": 2 * vision["patch_size"]}
    return config


def own_towers() -> list[str]:
    """Models that are usable and whose image tower is open_clip's own, one for each architecture."""
    kinds: dict[str, str] = {}
    for each in published_support():
        config = known_models().configs[each.model]
        if each.state != "refused" and "timm_model_name" not in config["vision_cfg"]:
            kinds.setdefault(str(shrunk(config)), each.model)
    return list(kinds.values())


@pytest.mark.parametrize("name", own_towers())
def test_models_that_are_said_to_work_compute_what_open_clip_computes(name: str) -> None:
    config = shrunk(known_models().configs[name])
    torch.manual_seed(0)
    assert_computes_the_same(name, config, config["vision_cfg"]["image_size"])


@pytest.mark.parametrize("name", ["PE-Core-T-16-384", "ViTamin-S"])
def test_so_do_models_of_timm_that_are_small_enough_to_build(name: str) -> None:
    config = deepcopy(known_models().configs[name])
    config["text_cfg"] |= {"layers": 2}
    torch.manual_seed(0)
    assert_computes_the_same(name, config, config["vision_cfg"]["image_size"])


def assert_computes_the_same(name: str, config: dict[str, Any], size: int) -> None:
    model: Any = build_model(name, config).eval().requires_grad_(False)
    tokenizer = open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    clip = freeze(model, tokenizer, mean=MEAN, std=STD)
    prompts = ["a photo of a cat.", "a dog"]
    pixels: Tensor = torch.randn(2, 3, size, size)
    ids = tokenizer(prompts)
    torch.testing.assert_close(clip.encode_text(prompts), model.encode_text(ids), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(clip.encode_image(pixels), model.encode_image(pixels), rtol=1e-3, atol=1e-4)
    works = {each.state for each in published_support(f"{name}/")} == {"works"}
    assert passes(clip.image_tower) == works or "works" in {e.state for e in published_support(f"{name}/")}


@pytest.mark.parametrize("each", list(published_support()), ids=lambda each: f"{each.model}/{each.tag}")
def test_refused_weights_are_refused_before_anything_is_fetched(each: Support) -> None:
    cfg = BackboneConfig(model=each.model, pretrained=each.tag)
    assert passes(lambda: backbone_identity(cfg)) == (each.state != "refused")
    if each.state == "refused":
        with pytest.raises(AtlasError):
            load_backbone(cfg)


def test_where_another_model_is_named_its_weights_work() -> None:
    for each in published_support():
        if found := re.fullmatch(r"set `backbone\.model: (.*)`", each.reason):
            assert support(found[1], each.tag).state != "refused"


def test_the_documentation_lists_every_tag_as_it_is() -> None:
    page = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    assert support_table() in page
    states = [each.state for each in published_support()]
    counted = {state: states.count(state) for state in ("works", "features only", "refused")}
    for text in (page, (ROOT / "README.md").read_text(encoding="utf-8")):
        said = re.search(r"Of open_clip's (\d+) published\s+weights (\d+) work", text)
        more = re.search(r"(\d+) more work with", text)
        assert said, "the number of published weights is not said"
        assert more, "the number of those whose features can be used is not said"
        assert (int(said[1]), int(said[2]), int(more[1])) == (
            len(states),
            counted["works"],
            counted["features only"],
        )


def test_the_doctor_lists_them() -> None:
    result = CliRunner().invoke(app, ["doctor", "--backbone", "rn50/"])
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert re.fullmatch(r"refused +RN50/openai +set `backbone\.model: RN50-quickgelu`", lines[0])
    result = CliRunner().invoke(app, ["doctor", "--backbone", "all"])
    listed = [line.split()[-1] if " " not in line.rstrip() else line for line in result.stdout.splitlines()]
    for each in published_support():
        assert any(line.startswith(each.state) and f"{each.model}/{each.tag}" in line for line in listed)


def test_a_name_that_no_weights_have_is_refused() -> None:
    with pytest.raises(AtlasError, match="--backbone all"):
        list(published_support("ViT-B-61"))


def test_a_tokenizer_that_takes_placeholders_apart_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Letters:
        """Two tokens for each word, then padding."""

        def __init__(self, *_: Any, **__: Any) -> None: ...

        def __call__(self, texts: list[str]) -> Tensor:
            count = 2 * len(texts[0].split())
            return torch.tensor([[5, *range(10, 10 + count), 6, *[1] * (75 - count)]])

    monkeypatch.setattr(load, "HFTokenizer", Letters)
    with pytest.raises(AtlasError, match="takes the letter X apart"):
        load._tokenizer("tiny", {"text_cfg": {"hf_tokenizer_name": "org/letters"}})
