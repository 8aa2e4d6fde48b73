"""Studies from YAML: the presets that ship with the project, and files of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from atlas_core.config import StudyConfig
from atlas_core.documents import parse_yaml, read_text
from atlas_core.errors import AtlasError
from atlas_core.registry import unknown_name
from atlas_core.resources import data_path, expanded


def preset_names() -> list[str]:
    """Names of the presets that ship with the project."""
    return sorted(path.stem for path in data_path("presets").glob("*.yaml"))


def study_title(study: str, preset: str) -> str:
    """The preset that a study's name and a preset's name stand for: ("base-to-new", "demo") → "base-to-new-demo".

    A YAML file and the full name of a preset stand for themselves.
    """
    if study.endswith((".yaml", ".yml")):
        return study
    title = study.replace("_", "-")
    return title if title in preset_names() else f"{title}-{preset}"


def load_study(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> StudyConfig:
    """A study from a preset's name or a YAML file, with overrides on top.

    Args:
        name_or_path: A preset ("base-to-new-demo") or a path to a YAML file.
        overrides: Fields of `StudyConfig` that replace the file's; mappings (`training`, `views`, `backbone`) are
            merged, None values are left out.

    Raises:
        AtlasError: No such study, or the YAML does not describe one; names the field and what it may hold.
    """
    path, raw = _read_preset(name_or_path)
    if "studies" in raw:
        raise AtlasError(f"{path.stem} is a benchmark of several studies", fix="name one of its studies")
    return validate_study(_merged(raw, overrides or {}), where=str(path))


def load_studies(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> list[StudyConfig]:
    """Like `load_study`, but a benchmark (a YAML with a list `studies` of presets or files) gives all of its studies.

    Overrides go to every study that has the field's protocol in common: `datasets` to those with datasets,
    `source` and `targets` to those with a source.
    """
    path, raw = _read_preset(name_or_path)
    if "studies" not in raw:
        return [validate_study(_merged(raw, overrides or {}), where=str(path))]
    unknown = sorted(set(raw) - {"studies", "description"})
    if unknown or not isinstance(raw["studies"], list) or not raw["studies"]:
        raise AtlasError(
            f"benchmark {path}: " + (f"unknown field {unknown[0]!r}" if unknown else "`studies` is no list"),
            expected="studies: [preset or YAML file, …] and an optional description",
        )
    return [_load_member(path, str(member), overrides or {}) for member in raw["studies"]]


def _load_member(benchmark: Path, member: str, overrides: Mapping[str, Any]) -> StudyConfig:
    """One study of a benchmark; a relative file is looked for beside the benchmark's."""
    where = benchmark.parent / member if member.endswith((".yaml", ".yml")) else Path(member)
    path, raw = _read_preset(where)
    if "studies" in raw:
        raise AtlasError(
            f"benchmark {benchmark} names {member!r}, which is a benchmark itself",
            expected="presets or YAML files of single studies",
            fix="name its studies one by one",
        )
    foreign = {"datasets"} if "source" in raw else {"source", "targets"}
    kept = {field: value for field, value in overrides.items() if field not in foreign}
    return validate_study(_merged(raw, kept), where=str(path))


def _read_preset(name_or_path: str | Path) -> tuple[Path, dict[str, Any]]:
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = data_path("presets", f"{name_or_path}.yaml")
        if not path.is_file():
            raise unknown_name("study", str(name_or_path), preset_names())
    try:
        raw = parse_yaml(read_text(path), f"study {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise AtlasError(f"study {path} cannot be read: {error}", fix="check the path") from error
    except yaml.YAMLError as error:
        raise AtlasError(
            f"study {path} is no valid YAML: {error}", fix="correct the line it names"
        ) from error
    if not isinstance(raw, dict):
        raise AtlasError(f"study {path} is a {type(raw).__name__}", expected="a mapping of fields to values")
    return path, _anchored(raw, path.parent.absolute())


def _anchored(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A study's mapping with its relative paths counted from its own folder, wherever it is run from."""
    anchored = dict(raw)
    for field in ("datasets", "targets"):
        if isinstance(raw.get(field), list):
            anchored[field] = [_anchored_dataset(each, folder) for each in raw[field]]
    if "source" in raw:
        anchored["source"] = _anchored_dataset(raw["source"], folder)
    if isinstance(raw.get("backbone"), dict):
        paths = {
            field: str(folder / expanded(value))
            for field, value in raw["backbone"].items()
            if isinstance(value, str)
            and (field == "weights" or (field == "model" and value.endswith(".json")))
        }
        anchored["backbone"] = {**raw["backbone"], **paths}
    return anchored


def _anchored_dataset(value: Any, folder: Path) -> Any:
    """`./birds.yaml` and `image_folder:birds` as absolute paths; a catalogue name as it is."""
    if not isinstance(value, str):
        return value
    layout, colon, place = value.rpartition(":")
    if colon or place.endswith((".yaml", ".yml")):
        return f"{layout}{colon}{folder / expanded(place)}"
    return value


def _merged(raw: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with overrides on top; mappings are merged."""
    merged = dict(raw)
    for field, value in overrides.items():
        if value is None:
            continue
        both_mappings = isinstance(value, Mapping) and isinstance(merged.get(field), Mapping)
        merged[field] = _merged(merged[field], value) if both_mappings else value
    return merged


def validate_study(raw: Mapping[str, Any], where: str) -> StudyConfig:
    """A study from plain values; every mistake is one `AtlasError` that names all the fields concerned."""
    try:
        return StudyConfig.model_validate(dict(raw))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc'])) or 'study'}: {each['msg']}" for each in error.errors()]
        raise AtlasError(
            f"study {where} is not valid: " + "; ".join(lines),
            expected=f"fields {', '.join(StudyConfig.model_fields)}",
            fix="correct the fields named",
        ) from error
