"""text_features: the frozen text tower on hand-written prompts, averaged over templates."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from atlas_core.backbone.clip import FrozenClip
from atlas_core.backbone.load import load_backbone
from atlas_core.datasets.items import prompt_name, select_class_ids, select_class_names
from atlas_core.methods.class_names import check_distinct
from atlas_core.methods.sentences import read_sentences
from atlas_core.stages.index import read_index
from atlas_core.stages.runtime import backbone_config, dataset_name, dataset_root, subset_labels
from atlas_core.stages.stage import Stage, StageContext
from atlas_core.stages.tensors import TextFeatures, write_text_features


def _run(context: StageContext) -> None:
    config = context.config
    index = read_index(context.inputs["index"], dataset_root(context), dataset_name(context))
    labels = subset_labels(len(index.class_names), config["subset"])
    names = tuple(prompt_name(name) for name in select_class_names(index, labels))
    clip = load_backbone(backbone_config(context), context.placement.device)
    each = torch.stack([clip.encode_text(prompts).float() for prompts in _prompts(context, clip, names)])
    features = combine_templates(each, normalise_each=config["normalise_each"], keep_each=config["keep_each"])
    ids = select_class_ids(index, labels)
    write_text_features(context.out, TextFeatures(features, names, clip.logit_scale, ids))


def _prompts(context: StageContext, clip: FrozenClip, names: tuple[str, ...]) -> list[list[str]]:
    """One prompt a class for each template, or for each sentence of a file."""
    if "sentences_file" in context.runtime:
        prompts = [list(row) for row in read_sentences(Path(context.runtime["sentences_file"]), names)]
    else:
        prompts = [[template.format(name) for name in names] for template in context.config["templates"]]
    for each in prompts:
        clip.check_length(each)
    check_distinct(
        names,
        clip.tokenize(prompts[0]).tolist(),
        f"dataset {context.runtime['spec']['name']!r}",
        "correct options.class_names, or merge the classes",
    )
    return prompts


def combine_templates(each: Tensor, *, normalise_each: bool, keep_each: bool) -> Tensor:
    """Combine raw text features [K, C, D] of K templates into normalised [C, D] (or keep [K, C, D]).

    The mean of normalised features is CLIP's ensemble; PromptSRC takes the mean of raw ones (protocol 1.1).
    """
    if keep_each:
        return normalize(each, dim=-1)
    return normalize((normalize(each, dim=-1) if normalise_each else each).mean(dim=0), dim=-1)


TEXT_FEATURES = Stage(_run)
