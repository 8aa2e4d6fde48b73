"""Finished runs: found by name, id or folder, with what they were made from and how they did."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from atlas_core.backbone.config import BackboneConfig
from atlas_core.backbone.identity import backbone_identity
from atlas_core.backbone.known_models import known_models
from atlas_core.backbone.source import model_config
from atlas_core.budgets import LIST_BYTES
from atlas_core.documents import parse_json, read_text
from atlas_core.errors import AtlasError
from atlas_core.evaluation.measures import evaluation_row
from atlas_core.manifest import Manifest
from atlas_core.plan.records import recorded_studies
from atlas_core.plan.resolve import newest_first
from atlas_core.registry import unknown_name
from atlas_core.stages.run_id import run_id
from atlas_core.stages.trained_method import PROMPTS_FILE
from atlas_core.store import Store
from atlas_core.training.checkpoint import read_tensors

EXPORT_CONFIG = "config.json"
_SHORTEST_KEY = 6


@dataclass(frozen=True)
class FinishedRun:
    """A run whose prompts are on this machine.

    Attributes:
        name: "digits/base/16-shot/coop/atlas_csl/seed1".
        folder: Where `prompts.safetensors` lies: an artifact of the store, or an exported folder.
        config: The training's configuration.
        classes: The names that it was trained on, as they stand in a prompt.
        manifest: The artifact's manifest; None for an exported folder.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    classes: tuple[str, ...]
    manifest: Manifest | None

    @property
    def identity(self) -> dict[str, str]:
        """What decides its backbone's features (`backbone_identity`)."""
        return dict(self.config["backbone"])


def open_run(store: Store, run: str) -> FinishedRun:
    """A run by its id, the start of its key, its name, words that only its name has, or an exported folder.

    Raises:
        AtlasError: No run, or several, answer to the words; or the run's files are gone or damaged.
    """
    exported = Path(run)
    if os.path.isfile(exported / PROMPTS_FILE) and os.path.isfile(exported / EXPORT_CONFIG):
        return _opened(_exported_name(exported), exported, None)
    manifest = find_run(store, run)
    if store.lookup("tune", manifest.key) is None:
        raise AtlasError(
            f"files of the run {run_name(manifest)} are gone or damaged",
            expected=f"a whole artifact in {store.path('tune', manifest.key)}",
            fix="run its study again",
        )
    return _opened(run_name(manifest), store.path("tune", manifest.key), manifest)


def find_run(store: Store, run: str) -> Manifest:
    """The manifest of a run in the store; of several versions of one run, the newest.

    Words are looked for as whole parts of the name first ("coop" is not "dept_coop"), then inside the parts.

    Raises:
        AtlasError: No run, or several, answer to the words.
    """
    newest: dict[str, Manifest] = {}
    versions = newest_first(store.manifests("tune"))
    for manifest in versions:
        newest.setdefault(run_name(manifest), manifest)
    found = [each for name, each in newest.items() if name == run.removeprefix("tune/")]
    if not found and len(run) >= _SHORTEST_KEY:
        found = [each for each in versions if each.key.startswith(run)]
    words = run.replace("/", " ").split()
    if not found and words:
        found = [each for name, each in newest.items() if set(words) <= set(name.split("/"))]
    if not found and words:
        found = [each for name, each in newest.items() if all(word in name for word in words)]
    if not newest:
        raise AtlasError(
            f"no run in the store {store.root}",
            expected="a store on which a study was run",
            fix="run one first (`atlas demo`), or name the store with --home or --store",
        )
    if not found:
        raise unknown_name("run", run, sorted(newest)[:40])
    if len(found) > 1:
        names = [f"{run_name(each)} ({run_id(each.key)})" for each in found]
        raise AtlasError(
            f"{len(names)} runs answer to {run!r}: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}",
            expected="one run",
            fix="give more of its name, or its run id",
        )
    return found[0]


def run_name(manifest: Manifest) -> str:
    """A run's name without its stage."""
    return manifest.name.removeprefix("tune/")


def evaluations_of(store: Store, run: Manifest) -> list[Manifest]:
    """A run's evaluations, the newest for each target and subset, in the order of their names."""
    newest: dict[tuple[str, str], Manifest] = {}
    for manifest in newest_first(store.manifests("evaluate")):
        if manifest.key_parts["inputs"].get("run") == run.digest:
            config = manifest.key_parts["config"]
            newest.setdefault((config["target"], config["subset"]), manifest)
    return [newest[place] for place in sorted(newest)]


def evaluation_metrics(store: Store, run: Manifest) -> list[dict[str, Any]]:
    """A run's rows of `metrics`: target, subset and the measures."""
    return [evaluation_row(store.path("evaluate", each.key)) for each in evaluations_of(store, run)]


def input_folder(store: Store, run: Manifest, role: str, stage: str) -> Path:
    """The folder of an artifact that a run was made from, found by its content.

    Raises:
        AtlasError: The run has no such input, or the store no longer holds it.
    """
    digest = run.key_parts["inputs"].get(role)
    for manifest in store.manifests(stage):
        if manifest.digest == digest and store.lookup(stage, manifest.key) is not None:
            return store.path(stage, manifest.key)
    raise AtlasError(
        f"the store has no {stage} artifact that the run {run_name(run)} was made from",
        expected="a trained run whose inputs are still in the store",
        fix="choose another run, or run its study again",
    )


def backbone_of(
    run: FinishedRun, store: Store, *, model: str | None = None, weights: Path | None = None
) -> BackboneConfig:
    """The configuration of the backbone that a run was trained on.

    Names of published weights are in the run itself. Files are known by their hashes alone, so they are looked
    for among the demo model, the studies that were run on the store, and what the caller offers.

    Args:
        model: An open_clip model name or a model-config JSON that the caller says it is.
        weights: A weights file that the caller says it is.

    Raises:
        AtlasError: No candidate has the run's hashes.
    """
    identity = run.identity
    candidates: list[BackboneConfig] = []
    if weights is not None or model is not None:
        candidates = list(_offered(identity, model or identity.get("model", "demo"), weights))
    elif "pretrained" in identity:
        candidates = list(_offered(identity, identity["model"], None))
    else:
        candidates = [*_offered(identity, "demo", None)]
        candidates += [study.backbone for study in recorded_studies(store)]
    for candidate in candidates:
        if _has_identity(candidate, identity):
            return candidate
    raise AtlasError(
        f"the backbone of the run {run.name} was not found",
        expected=", ".join(f"{field} {value[:16]}" for field, value in identity.items() if field != "pixels"),
        fix="name it with --weights FILE, and --model NAME_OR_JSON where the architecture is a file",
    )


def _offered(identity: dict[str, str], model: str, weights: Path | None) -> Iterator[BackboneConfig]:
    """Configurations of an offered model that may be a run's; a file's may be one that named a tag of the model."""
    own = bool(model_config(model).get("quick_gelu", False))
    tags: Iterable[str | None] = [identity.get("pretrained")]
    if weights is not None:
        tags = [None, *known_models().weights.get(model, {})]
    for tag in tags:
        yield BackboneConfig.model_validate(
            {
                "model": model,
                "pretrained": tag,
                "weights": weights,
                "precision": identity["precision"],
                "activation": identity.get("activation", "quick_gelu" if own else "gelu"),
            }
        )


def _has_identity(candidate: BackboneConfig, identity: dict[str, str]) -> bool:
    try:
        return backbone_identity(candidate) == identity
    except AtlasError:  # its files were moved or removed
        return False


def _exported_name(folder: Path) -> str:
    try:
        content = parse_json(read_text(folder / EXPORT_CONFIG, LIST_BYTES), str(folder / EXPORT_CONFIG))
        return str(content["run"]["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AtlasError(
            f"{folder / EXPORT_CONFIG} is not an exported run's ({type(error).__name__})",
            expected="a folder made by `atlas export`",
            fix="export the run again",
        ) from error


class _Trained(BaseModel):
    """What the rest of this package asks of a training's configuration."""

    method: str
    options: dict[str, Any]
    templates: dict[str, str]
    seed: int
    backbone: dict[str, str]


class _Metadata(BaseModel):
    config: _Trained
    names: tuple[str, ...] = Field(min_length=1)


def _opened(name: str, folder: Path, manifest: Manifest | None) -> FinishedRun:
    _, metadata = read_tensors(folder / PROMPTS_FILE)
    try:
        names = _Metadata.model_validate(metadata).names
    except ValidationError as error:
        first = error.errors()[0]
        raise AtlasError(
            f"{folder / PROMPTS_FILE} is not of a trained run"
            f" ({'.'.join(map(str, first['loc'])) or 'metadata'}: {first['msg']})",
            expected="a file as a training or `atlas export` wrote it",
            fix="run the study, or export the run, again",
        ) from error
    return FinishedRun(name, folder, dict(metadata["config"]), names, manifest)
