"""A finished run's method over any class names, built without the store's features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from atlas_core.backbone.clip import FrozenClip
from atlas_core.budgets import LIST_BYTES
from atlas_core.datasets.items import prompt_name
from atlas_core.documents import read_text
from atlas_core.errors import AtlasError
from atlas_core.methods.base import PromptMethod
from atlas_core.methods.class_names import check_distinct
from atlas_core.methods.registry import METHODS
from atlas_core.methods.sentences import read_sentences
from atlas_core.methods.traits.base import Classes, TextReference, parse_options
from atlas_core.stages.text_features import combine_templates
from atlas_core.stages.trained_method import PROMPTS_FILE, trained_classes
from atlas_core.training.checkpoint import read_tensors
from atlas_core.training.randomness import stream
from atlas_core.use.runs import FinishedRun


def load_trained(run: FinishedRun, clip: FrozenClip, names: Sequence[str] | None = None) -> PromptMethod:
    """The run's method as it was trained, over its own classes or over other names.

    Args:
        names: C class names as they stand in a prompt; the run's own where None.

    Raises:
        AtlasError: The method has parts that belong to its training classes and was asked for others, or names
            are one to the backbone's tokenizer, or too long for it.
    """
    state, metadata = read_tensors(run.folder / PROMPTS_FILE)
    config = metadata["config"]
    chosen = run.classes if names is None else tuple(names)
    if names is not None:
        clip.check_length(names)  # with the words around them it is checked where the prompts are made
        fix = "give each class a name of its own"
        check_distinct(names, clip.tokenize(list(names)).tolist(), "other class names than the run's", fix)
    method_class = METHODS.get(config["method"])
    options = parse_options(method_class, config["options"])
    classes = Classes(chosen, config["templates"], trained=chosen == run.classes)
    method = method_class(
        clip,
        classes,
        options,
        generator=stream(config["seed"], "initial context"),
        reference=reference_features(clip, method_class.text_reference(options, classes), chosen),
    )
    if method.learns:
        method.load_learned_state(state, trained_classes(metadata))
    return method.eval()


def reference_features(
    clip: FrozenClip, reference: TextReference | None, names: Sequence[str]
) -> Tensor | None:
    """The frozen text features that a method asks for, [C, D] or [K, C, D]; None where it asks for none."""
    if reference is None:
        return None
    if reference.sentences_file is not None:
        prompts = [list(row) for row in read_sentences(reference.sentences_file, names)]
    else:
        prompts = [[template.format(name) for name in names] for template in reference.templates]
        for row in prompts:
            clip.check_length(row)
    each = torch.stack([clip.encode_text(row).float() for row in prompts])
    return combine_templates(each, normalise_each=reference.normalise_each, keep_each=reference.keep_each)


def read_class_names(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line, as they stand in a prompt; empty lines are left out.

    Raises:
        AtlasError: The file cannot be read, has no names, or has one twice.
    """
    try:
        lines = read_text(path, LIST_BYTES).removeprefix("\ufeff").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AtlasError(
            f"the class names {path} cannot be read ({error})", expected="a UTF-8 text file, one name a line"
        ) from error
    names = tuple(prompt_name(line.strip()) for line in lines if line.strip())
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if not names or twice:
        raise AtlasError(
            f"the class names {path} {f'hold {twice[0]!r} twice' if twice else 'are empty'}",
            expected="at least one name, each on a line of its own and once",
        )
    return names
