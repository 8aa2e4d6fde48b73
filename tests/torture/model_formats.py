"""Model configs and weights files."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import save

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.identity import backbone_identity
from atlas_core.backbone.load import load_backbone
from atlas_core.backbone.source import backbone_label, input_size
from atlas_core.backbone.weights import read_state_dict
from atlas_core.store import Store
from atlas_core.use.runs import open_run
from atlas_core.use.trained import load_trained
from tests.small_clip import small_clip, small_config, small_open_clip
from tests.torture.format import Format, as_json, of_document, of_file
from tests.torture.mutations import changed, mangled

# One thread: children are forked, and torch's threads do not survive that.
torch.set_num_threads(1)

TINY: dict[str, Any] = {
    "text_width": 8, "text_layers": 1, "text_heads": 2, "vision_width": 8, "vision_layers": 1, "head_width": 4,
    "embed_dim": 4, "image_size": 8, "patch_size": 4,
}  # fmt: skip
_DTYPES = ["F64", "F16", "I8", "U64", "BOOL", "F8_E4M3", "F8_E8M0", "F4", "C64", "I128", "f32"]


def model_formats() -> list[Format]:
    """The formats of models."""
    config = small_config(**TINY)
    weights = save(
        {name: value.contiguous() for name, value in small_open_clip(0, **TINY).state_dict().items()}
    )
    beside = {"w.safetensors": weights}
    hub = {"model_cfg": config, "preprocess_cfg": {"mean": 0.5, "std": [0.5, 0.5, 0.5]}}
    return [
        of_document("model config", _read_model, "clip.json", config, as_json, beside),
        of_document("hub's model config", _read_model, "clip.json", hub, as_json, beside),
        of_file(
            "safetensors", _read_weights("w.safetensors"), "w.safetensors", _written(_HEADER), _safetensors()
        ),
        of_file("pickled weights", _read_weights("w.pt"), "w.pt", _pickled()),
        of_document(
            "exported run",
            _read_run,
            "run/prompts.safetensors",
            _TRAINED,
            _prompts,
            {"run/config.json": _EXPORTED},
        ),
    ]


def _read_model(folder: Path) -> object:
    cfg = BackboneConfig(model=str(folder / "clip.json"), weights=folder / "w.safetensors")
    answers = backbone_identity(cfg), backbone_label(cfg), input_size(cfg.model)
    return answers, load_backbone(cfg, "cpu").encode_text(["a"])


_TRAINED = {
    "config": {
        "method": "coop",
        "options": {"n_ctx": 2, "ctx_init": ""},
        "templates": {"coop": "a photo of a {}."},
        "seed": 1,
        "backbone": {"precision": "fp32", "model_sha256": "0", "weights_sha256": "0", "pixels": "x"},
    },
    "names": ["robin", "wren"],
}
_EXPORTED = b'{"run": {"name": "birds/coop/seed1", "id": ""}}'


def _prompts(metadata: Any) -> bytes:
    return save({"ctx": torch.zeros(2, TINY["text_width"])}, metadata={"atlas": as_json(metadata).decode()})


def _read_run(folder: Path) -> object:
    run = open_run(Store(folder / "store"), str(folder / "run"))
    return load_trained(run, _clip()).classes


@cache
def _clip() -> FrozenClip:
    return small_clip(0, **TINY)


def _read_weights(name: str) -> Callable[[Path], object]:
    return lambda folder: read_state_dict(folder / name)


_HEADER = {
    "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]},
}


def _written(header: Any) -> bytes:
    text = as_json(header)
    return len(text).to_bytes(8, "little") + text + bytes(24)


def _safetensors() -> st.SearchStrategy[bytes]:
    """A header that says something else of its tensors, or damaged bytes."""
    other = st.sampled_from(_DTYPES).map(
        lambda kind: {"a": {"dtype": kind, "shape": [2], "data_offsets": [0, 24]}}
    )
    return (changed(_HEADER, 1) | other).map(_written) | mangled(_written(_HEADER))


def _pickled() -> bytes:
    out = io.BytesIO()
    torch.save({"a": torch.zeros(3), "b": torch.ones(2)}, out)
    return out.getvalue()
