"""Weights files of every common form give the model that they were made from, or a message that helps."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from atlas_core.backbone.tensor_names import tensor_names
from atlas_core.backbone.weights import load_weights, read_state_dict
from atlas_core.errors import AtlasError
from tests.small_clip import random_openai_state_dict, small_open_clip

State = dict[str, Tensor]


def save_pickled(state: State, path: Path) -> None:
    torch.save(state, path)


def save_pickled_before_torch_1_6(state: State, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


FORMATS = [("w.safetensors", save_file), ("w.pt", save_pickled), ("w.bin", save_pickled_before_torch_1_6)]
in_every_format = pytest.mark.parametrize(("name", "save"), FORMATS, ids=["safetensors", "zip", "old pickle"])


def assert_loads_as_model_7(path: Path, tolerance: float = 0.0, **sizes: Any) -> None:
    model = small_open_clip(0, **sizes)
    load_weights(model, path)
    for name, wanted in small_open_clip(7, **sizes).state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], wanted, rtol=tolerance, atol=tolerance)


@in_every_format
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module."])
def test_prefixes_of_wrapped_models_are_taken_off(
    tmp_path: Path, name: str, save: Callable[[State, Path], None], prefix: str
) -> None:
    save({prefix + key: value for key, value in small_open_clip(7).state_dict().items()}, tmp_path / name)
    assert_loads_as_model_7(tmp_path / name)


@in_every_format
def test_a_compiled_image_tower_within_a_model_is_read(
    tmp_path: Path, name: str, save: Callable[[State, Path], None]
) -> None:
    state = small_open_clip(7).state_dict()
    save({k.replace("visual.", "visual._orig_mod."): value for k, value in state.items()}, tmp_path / name)
    assert_loads_as_model_7(tmp_path / name)


@in_every_format
@pytest.mark.parametrize("prefix", ["", "module."])
def test_openais_three_entries_are_no_weights(
    tmp_path: Path, name: str, save: Callable[[State, Path], None], prefix: str
) -> None:
    state = {prefix + key: value for key, value in random_openai_state_dict(7).items()}
    save(state, tmp_path / name)
    assert_loads_as_model_7(tmp_path / name, tolerance=2e-3)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_weights_beside_the_state_of_a_training_are_read(tmp_path: Path, wrapper: str) -> None:
    state = small_open_clip(7).state_dict()
    torch.save({"epoch": 3, wrapper: state, "optimizer": {"state": {}, "lr": 0.1}}, tmp_path / "w.pt")
    assert_loads_as_model_7(tmp_path / "w.pt")


def test_a_model_beside_its_average_is_refused(tmp_path: Path) -> None:
    state = small_open_clip(7).state_dict()
    both = {**state, **{f"module.{key}": value + 1 for key, value in state.items()}}
    save_file(both, tmp_path / "w.safetensors")
    with pytest.raises(AtlasError, match=r"two tensors 'ln_final\.bias'"):
        read_state_dict(tmp_path / "w.safetensors")


OUTSIDE_BLOCKS = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
    "logit_scale": "logit_scale",
}
IN_BLOCKS = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def as_transformers_names_them(state: State) -> State:
    """An open_clip state dict in the form that transformers' `CLIPModel.save_pretrained` writes."""
    ids = torch.arange(77)[None]
    found = {f"{tower}.embeddings.position_ids": ids.clone() for tower in ("text_model", "vision_model")}
    for key, value in state.items():
        tower = "vision_model" if key.startswith("visual.") else "text_model"
        if key in OUTSIDE_BLOCKS:
            matrix = key in ("text_projection", "visual.proj")
            found[OUTSIDE_BLOCKS[key]] = value.T.contiguous() if matrix else value
            continue
        _, _, rest = key.partition("resblocks.")
        layer, _, rest = rest.partition(".")
        block = f"{tower}.encoder.layers.{layer}"
        if rest.startswith("attn.in_proj_"):
            kind = rest.removeprefix("attn.in_proj_")
            for which, part in zip("qkv", value.chunk(3), strict=True):
                found[f"{block}.self_attn.{which}_proj.{kind}"] = part.clone()
        else:
            module, _, kind = rest.rpartition(".")
            found[f"{block}.{IN_BLOCKS[module]}.{kind}"] = value
    return found


@in_every_format
@pytest.mark.parametrize("custom_text", [False, True])
def test_checkpoints_of_transformers_clip_are_translated(
    tmp_path: Path, name: str, save: Callable[[State, Path], None], custom_text: bool
) -> None:
    state = small_open_clip(7).state_dict()
    theirs = as_transformers_names_them(state)
    assert len(theirs) > len(state)  # queries, keys and values stand apart
    save(theirs, tmp_path / name)
    model = small_open_clip(0, custom_text=custom_text)
    load_weights(model, tmp_path / name)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[49406, 320, 2368, 49407] + [0] * 73])
    wanted: Any = small_open_clip(7)
    found: Any = model
    assert torch.equal(found.encode_image(pixels), wanted.encode_image(pixels))
    assert torch.equal(found.encode_text(ids), wanted.encode_text(ids))
    assert torch.equal(found.logit_scale, wanted.logit_scale)


def test_a_transformers_checkpoint_without_keys_is_refused(tmp_path: Path) -> None:
    theirs = as_transformers_names_them(small_open_clip(7).state_dict())
    del theirs["text_model.encoder.layers.2.self_attn.k_proj.bias"]
    save_file(theirs, tmp_path / "w.safetensors")
    with pytest.raises(AtlasError, match=r"resblocks\.2\.attn\.in_proj_bias"):
        load_weights(small_open_clip(0), tmp_path / "w.safetensors")


@pytest.mark.parametrize("old", [False, True])
def test_a_pickled_model_is_refused_and_the_advice_converts_it(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "x.pt"
    torch.save(small_open_clip(7), path, _use_new_zipfile_serialization=not old)
    with pytest.raises(AtlasError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert "pickled open_clip.model.CLIP" in message
    assert message.isprintable()
    python, *arguments = shlex.split(caught.value.fix.partition(": ")[2])
    assert python == "python"
    subprocess.run([sys.executable, *arguments], check=True)
    assert_loads_as_model_7(tmp_path / "x-state-dict.pt")


BUILD_OF_A_NUMBER = b"\x80\x02K\x01}b."  # the unpickler's answer is its advice in bold, then the reason

A_NUMBER = (1).to_bytes(8, "little") + b"5"  # in the place of a safetensors header


@pytest.mark.parametrize("content", [BUILD_OF_A_NUMBER, b"PK\x03\x04", b"{}", b"", b"hello" * 9, A_NUMBER])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_damaged_files_are_told_in_words_that_print(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AtlasError, match="cannot be read") as caught:
        read_state_dict(tmp_path / name)
    assert str(caught.value).isprintable()
    assert tensor_names(tmp_path / name) == frozenset()


@in_every_format
def test_names_are_told_without_reading_tensors(
    tmp_path: Path, name: str, save: Callable[[State, Path], None]
) -> None:
    state = small_open_clip(7).state_dict()
    save({f"module.{key}": value for key, value in state.items()}, tmp_path / name)
    assert tensor_names(tmp_path / name) >= set(state)
