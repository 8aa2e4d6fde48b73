"""The words of an exported folder: its loader, README and model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from atlas_core.shown import shown_in_markdown

# FILE is the backbone's weights file.
_REWRITE = (
    'python -c "import sys; from atlas_core.backbone.weights import write_for_open_clip;'
    ' write_for_open_clip(*sys.argv[1:])" FILE WEIGHTS.safetensors'
)
_MEASURES = ("accuracy", "macro_f1", "top5", "ece", "nll")


def classify_script(config: Mapping[str, Any]) -> str:
    """A program of about ten lines that classifies an image with open_clip alone; runs inside the folder.

    Its arguments are the image and, for a backbone that no pretrained tag names, the weights file.
    """
    at = config["open_clip"]
    own = f'open_clip.add_model_config({json.dumps(at["architecture"])})\n' if at["architecture"] else ""
    weights = json.dumps(at["pretrained"]) if at["pretrained"] else "sys.argv[2]"
    return f"""\
import json, sys
import open_clip, torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file

config, text = json.load(open("config.json", encoding="utf-8")), load_file("classes.safetensors")["normalised"]
{own}model = open_clip.create_model({json.dumps(at["model"])}, pretrained={weights}).eval()
seen_as = {{name: config[name] for name in ("mean", "std", "interpolation", "resize_mode", "fill_color")}}
preprocess = image_transform_v2(PreprocessCfg(size=config["image_size"], **seen_as), is_train=False)
pixels = preprocess(Image.open(sys.argv[1]).convert("RGB"))[None]
with torch.no_grad():
    logits = config["logit_scale"] * model.encode_image(pixels, normalize=True) @ text.T
for probability, name in sorted(zip(logits.softmax(-1)[0].tolist(), config["classes"]), reverse=True):
    print(f"{{probability:.6f}} {{name}}")
"""


def readme(config: Mapping[str, Any]) -> str:
    """What the folder holds and how it is used."""
    files = [
        "- `prompts.safetensors`: the learned parameters; the training's configuration is in its metadata",
        "- `config.json`: method, options, classes, backbone, and how pixels become probabilities",
        "- `MODEL_CARD.md`: what was trained on what, and how well it did",
    ]
    if config["open_clip"]["architecture"]:
        files.append(f"- `{config['open_clip']['architecture']}`: the backbone's architecture for open_clip")
    if config["has_class_features"]:
        files += [
            "- `classes.safetensors`: class text features `[classes, width]`, `features` raw and `normalised`",
            "- `classify.py`: the program below",
        ]
    use = _with_open_clip(config) if config["has_class_features"] else _without_class_features(config)
    heading = (
        f"# {config['run']['name']}\n\nPrompts learned with {config['method']}, exported by `atlas export`.\n"
    )
    return "\n".join([heading, *files, "", use, "", _with_atlas()]) + "\n"


def _with_open_clip(config: Mapping[str, Any]) -> str:
    at = config["open_clip"]
    argument, note = "", ""
    if not at["pretrained"]:
        argument = " WEIGHTS"
        note = f"\nWEIGHTS is the backbone's weights file (SHA-256 `{at['weights_sha256']}`), which is not in here.\n"
        if not at["reads_weights"]:
            note += "open_clip does not read it as it is. Where ATLaS is installed, write WEIGHTS with\n\n"
            note += f"    {_REWRITE}\n"
    return f"""## With open_clip alone

The class features do not depend on the image, so nothing else is needed. Inside this folder
`python classify.py IMAGE{argument}` prints the probability of each class:
{note}
```python
{classify_script(config)}```"""


def _without_class_features(config: Mapping[str, Any]) -> str:
    return f"""## Prompts and configuration alone

{_reason(config["method"])} Class text features alone would give other predictions, so this folder holds none of
them: it holds the learned parameters and the configuration, and the method's own code has to put them into the
backbone."""


def _reason(method: str) -> str:
    if "dept" in method:
        return f"`{method}` adds a head of its own to the cosine similarities of its training classes."
    if "cocoop" in method:
        return f"`{method}` makes other class features for each image."
    return f"`{method}` changes the image tower as well."


def _with_atlas() -> str:
    return """## With ATLaS

    atlas predict --run THIS_FOLDER IMAGE...                         the classes it was trained on
    atlas predict --run THIS_FOLDER --classes names.txt IMAGE...     other classes, one name a line

A backbone from a local file is named with `--weights FILE`."""


def model_card(config: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> str:
    """The run's model card."""
    supervision = config["supervision"] or {}
    shots = (
        f"{config['shots']} images a class, seed {config['seed']}"
        if supervision
        else "none: nothing is learned"
    )
    facts = {
        "Method": f"{config['method']} {_plain(config['options'])}",
        "Supervision": _plain(supervision) if supervision else "none",
        "Backbone": f"{config['backbone']['label']} ({config['backbone']['precision']}), frozen",
        "Training data": f"{config['dataset']}, {config['subset']} classes; {shots}",
        "Training": _plain(config["training"]),
        "Run": f"{config['run']['name']} {config['run']['id']}".strip(),
    }
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    return "\n".join(
        [
            f"# Model card: {config['run']['name']}",
            "",
            "| | |",
            "|---|---|",
            *rows,
            "",
            f"## Classes ({len(config['classes'])})",
            "",
            ", ".join(map(shown_in_markdown, config["classes"])),
            "",
            "## Measured on test images",
            "",
            *_metric_rows(metrics),
            "",
            "## Limits",
            "",
            "One training with one seed; the spread over seeds is in the study's results. The model always answers "
            "with one of its classes, also for an image that shows none of them. What its backbone has learned, "
            "and must not be used for, stays with it; the backbone's and the data set's licences apply.",
            "",
        ]
    )


def _metric_rows(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    if not metrics:
        return ["No evaluation of this run was at hand when it was exported."]
    head = ["target", "classes", "images", *_MEASURES]
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "---:|" * (len(head) - 2)]
    for row in metrics:
        numbers = [f"{row[name]:.3f}" if name == "nll" else f"{row[name]:.2f}" for name in _MEASURES]
        lines.append(f"| {row['target']} | {row['subset']} | {row['n_samples']} | {' | '.join(numbers)} |")
    return [*lines, "", "Percent, except nll (nats); ece over 15 bins."]


def _plain(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value not in (None, "", {}, []))
