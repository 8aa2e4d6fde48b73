"""A study as data: what is trained on what, with which supervision, and where its results go."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from atlas_core.backbone.config import BackboneConfig
from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.errors import AtlasError
from atlas_core.labels.config import SupervisionConfig
from atlas_core.methods.registry import METHODS
from atlas_core.registry import unknown_name
from atlas_core.resources import data_path

# Result tables hold seeds and shots as 32-bit integers.
_LARGEST = 2**31 - 1


class MethodConfig(BaseModel):
    """A prompt-tuning method and what differs from its published constants.

    Attributes:
        name: A registered method.
        options: Overrides of the method's options (`n_ctx`, `position`, …).
        training: Overrides of its recipe (`epochs`, `lr`, `batch_size`, …).
        supervisions: Supervisions of this method alone; None takes the study's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    options: dict[str, Any] = {}
    training: dict[str, Any] = {}
    supervisions: tuple[SupervisionConfig, ...] | None = None
    seeds: tuple[int, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        return _checked(METHODS.check, value)


class ViewsConfig(BaseModel):
    """Augmented views of each training image.

    Attributes:
        per_image: Size V of the bank; "epochs" draws one view an epoch, the published procedure exactly.
        dtype: How features are stored. float32 is exact; float16 halves the disk.
        skip_damaged: Leave out images that cannot be decoded; without it the first one is an error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    per_image: int | Literal["epochs"] = 8
    dtype: Literal["float32", "float16"] = "float32"
    skip_damaged: bool = False

    @field_validator("per_image")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 1000:
            raise ValueError("views.per_image must be between 1 and 1000, or 'epochs'")
        return value


class StudyConfig(BaseModel):
    """A study: a protocol and its matrix.

    Attributes:
        name: Name of the study; its tables and reports carry it.
        protocol: A registered protocol.
        datasets: Datasets trained and tested on (base_to_new, few_shot).
        source: Dataset trained on (cross_dataset, domain_generalization).
        targets: Datasets tested on besides the source.
        methods, supervisions, shots, seeds: The matrix.
        backbone: The frozen CLIP.
        training: Recipe overrides for every method; a method's own win.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    protocol: str
    datasets: tuple[str, ...] = ()
    source: str | None = None
    targets: tuple[str, ...] = ()
    methods: tuple[MethodConfig, ...] = Field(min_length=1)
    supervisions: tuple[SupervisionConfig, ...] = Field(min_length=1)
    shots: tuple[int, ...] = Field(default=(16,), min_length=1)
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1)
    backbone: BackboneConfig = BackboneConfig()
    views: ViewsConfig = ViewsConfig()
    training: dict[str, Any] = {}
    description: str = ""

    @field_validator("protocol")
    @classmethod
    def _known_protocol(cls, value: str) -> str:
        # Here and not at the top: a protocol's function takes a StudyConfig.
        from atlas_core.protocols.protocol import PROTOCOLS

        return _checked(PROTOCOLS.check, value)

    @field_validator("datasets", "targets")
    @classmethod
    def _known_datasets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            _checked(dataset_spec, each)
        return value

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str | None) -> str | None:
        if value is not None:
            _checked(dataset_spec, value)
        return value

    @field_validator("shots")
    @classmethod
    def _positive_shots(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(each < 1 for each in value):
            raise ValueError("shots must be 1 or more")
        if any(each > _LARGEST for each in value):
            raise ValueError(f"shots must be at most {_LARGEST}")
        return value

    @field_validator("seeds")
    @classmethod
    def _natural_seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= each <= _LARGEST for each in value):
            raise ValueError(f"seeds must be between 0 and {_LARGEST}")
        return value

    @field_validator("datasets", "targets", "methods", "supervisions", "shots", "seeds")
    @classmethod
    def _no_duplicates(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if any(each in value[:position] for position, each in enumerate(value)):
            raise ValueError("the same entry stands twice")
        return value

    @model_validator(mode="after")
    def _fits_protocol(self) -> StudyConfig:
        if self.protocol in ("cross_dataset", "domain_generalization"):
            if self.source is None or not self.targets:
                raise ValueError(f"protocol {self.protocol} needs `source` and `targets`")
        elif not self.datasets:
            raise ValueError(f"protocol {self.protocol} needs `datasets`")
        return self


def _checked(check: Callable[[str], object], value: str) -> str:
    """Turn a registry's error into one that pydantic reports with the field's place."""
    try:
        check(value)
    except AtlasError as error:
        raise ValueError(str(error)) from error
    return value


class Placement(BaseModel):
    """Where a study runs; no part of any key.

    Attributes:
        home: Folder that holds the store and fetched data unless they are given.
        workers: Processes that train at the same time; 0 trains in this process.
        dask: Address of a Dask scheduler whose workers train instead, or "local": a cluster of `workers` processes
            on this machine. None uses no Dask.
        threads: Torch threads a process.
        stack: Runs that train in one batch, at most; "auto" takes as many as `stack_gigabytes` hold. 1 trains each
            alone, so that its bits depend on nothing but its own configuration.
        stack_gigabytes: What the activations of a stack may take (of a GPU's memory, if there is one).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    home: Path = Field(default_factory=lambda: default_home())
    store: Path | None = None
    data_root: Path | None = None
    workers: int = Field(default_factory=lambda: max(1, os.cpu_count() or 1), ge=0)
    dask: str | None = Field(default=None, min_length=1)
    threads: int = Field(default=1, ge=1)
    device: str = "auto"
    stack: Literal["auto"] | int = 1
    stack_gigabytes: float = Field(default=2.0, gt=0)

    @field_validator("stack")
    @classmethod
    def _one_run_or_more(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 1:
            raise ValueError("stack must be 1 (each run alone) or more, or 'auto'")
        return value

    @property
    def in_process(self) -> bool:
        """Whether jobs run in this very process, one after the other."""
        return self.workers == 0 and self.dask is None

    @property
    def store_path(self) -> Path:
        return (self.store or self.home / "store").expanduser().absolute()

    @property
    def data_path(self) -> Path:
        return (self.data_root or self.home / "data").expanduser().absolute()


def default_home() -> Path:
    """`$ATLAS_HOME`, else the user's cache folder."""
    given = os.environ.get("ATLAS_HOME")
    return Path(given) if given else Path(platformdirs.user_cache_dir("atlas"))


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
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
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
            field: str(folder / Path(value).expanduser())
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
        return f"{layout}{colon}{folder / Path(place).expanduser()}"
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
