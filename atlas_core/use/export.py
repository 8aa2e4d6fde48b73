"""A run as a small folder that others can use: prompts, class features, configuration, model card, loader."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip, normalise
from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.conventions import conventions
from atlas_core.backbone.source import backbone_label, model_config, weights_file
from atlas_core.backbone.weights import is_read_by_open_clip
from atlas_core.errors import AtlasError
from atlas_core.features.atomic import share_like_folder
from atlas_core.methods.base import PromptMethod
from atlas_core.stages.run_id import run_id
from atlas_core.stages.trained_method import PROMPTS_FILE
from atlas_core.training.checkpoint import write_tensors
from atlas_core.use.export_text import classify_script, model_card, readme
from atlas_core.use.runs import EXPORT_CONFIG, FinishedRun

CLASSES_FILE = "classes.safetensors"
SCRIPT_FILE = "classify.py"
_PROBES = 4
_TOLERANCE = 1e-4


def export_run(
    run: FinishedRun,
    method: PromptMethod,
    clip: FrozenClip,
    backbone: BackboneConfig,
    folder: Path,
    metrics: Sequence[Mapping[str, Any]] = (),
) -> list[str]:
    """Write the run's folder, whole or not at all.

    Args:
        run: The run.
        method: Its method over its training classes (`load_trained`).
        clip, backbone: The backbone that it was trained on.
        folder: A folder that does not exist yet, or is empty.
        metrics: Rows with target, subset and the measures, for the model card.

    Returns:
        Names of the files.

    Raises:
        AtlasError: The folder holds something, or cannot be written to.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise AtlasError(
            f"{folder} is there and not empty", expected="a new folder", fix="choose another one"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
        temporary.mkdir()
    except OSError as error:
        raise AtlasError(
            f"{folder} cannot be written: {error.strerror}", fix="choose another folder"
        ) from error
    try:
        _write(run, method, clip, backbone, temporary, metrics)
        share_like_folder(temporary)
        names = sorted(path.name for path in temporary.iterdir())
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return names


def class_features(method: PromptMethod, clip: FrozenClip) -> Tensor | None:
    """Raw class features [C, D] where these and the frozen image tower are all of the trained model, else None.

    None for methods that put prompts into the image tower, that make class features for each image (CoCoOp), or
    that add to the cosine logits (DePT). Whether something is added is tried out on random image features.
    """
    if method.image_input == "pixels":
        return None
    probes = torch.randn(_PROBES, clip.embed_dim, generator=torch.Generator().manual_seed(0)).to(clip.device)
    with torch.no_grad():
        _, text = method.encoder()(probes)
        if text.ndim != 2:
            return None
        plain = method.cosine_logits(probes, text)
        same = torch.allclose(method.predictor()(probes), plain, atol=_TOLERANCE * clip.logit_scale)
    return text if same else None


def _write(
    run: FinishedRun,
    method: PromptMethod,
    clip: FrozenClip,
    backbone: BackboneConfig,
    out: Path,
    metrics: Sequence[Mapping[str, Any]],
) -> None:
    shutil.copyfile(run.folder / PROMPTS_FILE, out / PROMPTS_FILE)
    text = class_features(method, clip)
    config = export_config(run, clip, backbone, has_class_features=text is not None)
    if architecture := config["open_clip"]["architecture"]:
        plain = {**model_config(backbone.model), "quick_gelu": conventions(backbone).quick_gelu}
        (out / architecture).write_text(json.dumps(plain, indent=1), encoding="utf-8")
    if text is not None:
        tensors = {"features": text.float(), "normalised": normalise(text.float())}
        write_tensors(out / CLASSES_FILE, tensors, {"names": list(run.classes)})
        (out / SCRIPT_FILE).write_text(classify_script(config), encoding="utf-8")
    (out / EXPORT_CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
    (out / "MODEL_CARD.md").write_text(model_card(config, metrics), encoding="utf-8")
    (out / "README.md").write_text(readme(config), encoding="utf-8")


def export_config(
    run: FinishedRun, clip: FrozenClip, backbone: BackboneConfig, *, has_class_features: bool
) -> dict[str, Any]:
    """What `config.json` says: the run, its backbone for open_clip, and how pixels become probabilities."""
    # One that open_clip has under no name: a config file's, or a named one with the other activation.
    own_architecture = not run.identity.keys().isdisjoint(("model_sha256", "activation"))
    weights = weights_file(backbone)
    label = backbone_label(backbone).replace("/", "-")
    name = f"atlas-{label}" if own_architecture else backbone.model
    fields = (
        "method",
        "options",
        "supervision",
        "training",
        "dataset",
        "subset",
        "shots",
        "seed",
        "templates",
    )
    return {
        "format": 1,
        "run": {"name": run.name, "id": run_id(run.manifest.key) if run.manifest else ""},
        **{field: run.config[field] for field in fields},
        "classes": list(run.classes),
        "logit_scale": clip.logit_scale,
        "image_size": clip.image_size,
        "mean": list(clip.mean),
        "std": list(clip.std),
        "interpolation": clip.resizing.interpolation,
        "resize_mode": clip.resizing.mode,
        "fill_color": clip.resizing.fill,
        "has_class_features": has_class_features,
        "open_clip": {
            "model": name,
            "pretrained": run.identity.get("pretrained"),
            "architecture": f"{name}.json" if own_architecture else None,
            "weights_sha256": run.identity.get("weights_sha256"),
            "reads_weights": weights is None or is_read_by_open_clip(weights),
        },
        "backbone": {"label": backbone_label(backbone), **run.identity},
    }
