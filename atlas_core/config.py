"""A study as data: what is trained on what, with which supervision, and under which protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from atlas_core.backbone.config import BackboneConfig
from atlas_core.budgets import ENTRIES, RUNS
from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.datasets.identity import same_dataset, study_datasets
from atlas_core.errors import AtlasError
from atlas_core.labels.config import SupervisionConfig
from atlas_core.methods.registry import METHODS

T = TypeVar("T")

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

    @field_validator("datasets", "targets", "methods", "supervisions", "shots", "seeds", mode="before")
    @classmethod
    def _of_some_length(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, (list, tuple)):
            ENTRIES.check(len(value), f"`{info.field_name}` of the study")
        return value

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
        arms = sum(
            len(self.supervisions if each.supervisions is None else each.supervisions)
            * len(self.seeds if each.seeds is None else each.seeds)
            for each in self.methods
        )
        RUNS.check(max(1, len(self.datasets)) * len(self.shots) * arms, f"study {self.name!r}")
        return self

    @model_validator(mode="after")
    def _each_dataset_once(self) -> StudyConfig:
        for entries in (self.datasets, self.targets):
            if (same := same_dataset(entries)) is not None:
                raise ValueError(f"{same[0]} and {same[1]} are the same dataset: leave one of them out")
        _checked(study_datasets, self.entries)
        return self

    @property
    def entries(self) -> tuple[str, ...]:
        """Everything that names a dataset, as it stands in the study."""
        source = () if self.source is None else (self.source,)
        return tuple(dict.fromkeys((*self.datasets, *source, *self.targets)))


def _checked(check: Callable[[T], object], value: T) -> T:
    """Turn a registry's error into one that pydantic reports with the field's place."""
    try:
        check(value)
    except AtlasError as error:
        raise ValueError(str(error)) from error
    return value
