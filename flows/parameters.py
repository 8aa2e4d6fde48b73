"""The flows' parameters: a choice wherever there is a list, so that a deployment's form shows what there is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import to_jsonable_python

from atlas_core.backbone.config import BackboneConfig
from atlas_core.config import MethodConfig, ViewsConfig
from atlas_core.datasets.catalogue import dataset_names, dataset_spec
from atlas_core.errors import AtlasError
from atlas_core.labels.config import SupervisionConfig, supervision_names
from atlas_core.methods.registry import METHODS
from atlas_core.presets import preset_names
from flows.roots import check_dataset


def _choices(title: str, names: list[str]) -> type[StrEnum]:
    return StrEnum(title, {name: name for name in names})  # type: ignore[return-value]


def presets_of(study: str) -> type[StrEnum]:
    """The presets of a study ("base-to-new": demo, quick, paper, …)."""
    prefix = f"{study}-"
    names = [name.removeprefix(prefix) for name in preset_names() if name.startswith(prefix)]
    return _choices(f"{study} preset", sorted(names, key=lambda name: (name != "demo", name)))


def _known_dataset(name: str) -> str:
    try:
        check_dataset(name)
        dataset_spec(name)
    except AtlasError as error:
        raise ValueError(str(error)) from error
    return name


def _valid(model: type[BaseModel]) -> AfterValidator:
    """Check a value against a model but keep it as it was given, a bare name or a mapping."""

    def check(value: Any) -> Any:
        model.model_validate(value)
        return value

    return AfterValidator(check)


DatasetName = _choices("dataset", dataset_names())
MethodName = _choices("method", METHODS.names())
SupervisionName = _choices("supervision", supervision_names())

# A name of the list, or the user's own: a folder or YAML of images, a method or supervision with constants. What it
# says is checked before anything starts, with suggestions for a name that is not known.
Dataset = DatasetName | Annotated[str, AfterValidator(_known_dataset)]
Method = MethodName | Annotated[str | dict[str, Any], _valid(MethodConfig)]
Supervision = SupervisionName | Annotated[str | dict[str, Any], _valid(SupervisionConfig)]


class Overrides(BaseModel):
    """Fields of the preset to replace; what is left out stays as the preset has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    methods: tuple[Method, ...] | None = None  # type: ignore[valid-type]
    supervisions: tuple[Supervision, ...] | None = None  # type: ignore[valid-type]
    shots: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    backbone: BackboneConfig | None = None
    views: ViewsConfig | None = None
    training: dict[str, Any] | None = None


def given(overrides: Overrides | None, **more: Any) -> dict[str, Any]:
    """The fields that were given, as plain values."""
    fields = overrides.model_dump(mode="json", exclude_none=True, exclude_unset=True) if overrides else {}
    plain: dict[str, Any] = to_jsonable_python(more)
    return fields | plain
