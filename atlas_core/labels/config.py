"""Which supervision a run trains with: the user's words for it, checked and spelt out."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from atlas_core.errors import AtlasError
from atlas_core.hashing import sha256_of
from atlas_core.labels.base import SOURCES, LabelSource
from atlas_core.registry import unknown_name

DEFAULT_PERIOD = 5
_ATLAS = "atlas"
_PREFIX = "atlas_"
_PLAIN = "one_hot"


class SupervisionConfig(BaseModel):
    """A label source and how often it is used.

    Written as a name ("csl", "atlas_csl") or as a mapping with `name` and whatever differs from the default:
    `{name: atlas, source: csl, period: 2}`. Equal trainings are equal configurations: `atlas` with period 1
    becomes its source alone, and with period null (K = ∞) `one_hot`.

    Attributes:
        name: A label source, or "atlas" for one that alternates with one-hot ("atlas_csl" sets both).
        source: The label source; need be written for "atlas" alone.
        period: K: epoch e (1-based) uses the source when e mod K = 0 and one-hot otherwise. 1 is the source
            alone, null is one-hot alone.
        mix: ε, the weight of the soft part, in (0, 1]; default the source's (ls 0.1, csl and isl 1.0).
        temperature: s_t of the frozen model's soft labels (csl, isl); null is the model's own logit scale.
        options: The source's own constants, defaults filled in.

    Raises:
        pydantic.ValidationError: An unknown name (suggests the nearest), or a field the source lacks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str = ""
    period: int | None = Field(None, ge=1, strict=True)
    mix: float | None = Field(None, gt=0, le=1)
    temperature: float | None = Field(None, gt=0, allow_inf_nan=False)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _spelt_out(
        cls, data: Any, handler: ModelWrapValidatorHandler[SupervisionConfig]
    ) -> SupervisionConfig:
        if isinstance(data, SupervisionConfig):
            return handler(data)
        try:
            config = handler(_with_defaults(data))
        except AtlasError as error:
            raise ValueError(str(error)) from error
        if config.name != _ATLAS:
            return config
        if config.period is None:
            return handler(_with_defaults(_PLAIN))
        if config.period == 1:
            return handler(config.model_dump() | {"name": config.source})
        return config

    @property
    def label(self) -> str:
        """The family's name: "one_hot", "csl", "atlas_csl", … Parameters are separate columns."""
        return _PREFIX + self.source if self.name == _ATLAS else self.name

    @property
    def full_label(self) -> str:
        """The label, with the label source's constants where they are not the defaults."""
        plain = SupervisionConfig.model_validate(self.label)
        changed = [
            f"{name}={value}" for name, value in self.options.items() if plain.options.get(name) != value
        ]
        return self.label + (f"({','.join(changed)})" if changed else "")

    @property
    def needs(self) -> frozenset[str]:
        """Inputs to prepare before training, of {"csl", "isl", "teacher"}."""
        return SOURCES.get(self.source).needs

    def key_config(self) -> dict[str, Any]:
        """What the training depends on, in JSON types: equal exactly when the supervision is."""
        return self.model_dump(mode="json", exclude={"name"})

    def __hash__(self) -> int:
        return hash(sha256_of(self.key_config()))


def supervision_names() -> list[str]:
    """Every family: the label sources, then those that alternate with one-hot."""
    names = SOURCES.names()
    return names + [_PREFIX + name for name in names if name != _PLAIN]


def supervision_rows() -> list[tuple[str, str]]:
    """(name, one-line summary) of every family."""
    return [(name, _summary(name)) for name in supervision_names()]


def _summary(name: str) -> str:
    if name in SOURCES.names():
        return SOURCES.summary(name)
    return f"{name.removeprefix(_PREFIX)} in every K-th epoch (K = {DEFAULT_PERIOD}), one_hot in the others"


def _with_defaults(data: Any) -> dict[str, Any]:
    """The mapping that a user's name or mapping stands for."""
    if isinstance(data, str):
        data = {"name": data}
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise AtlasError(f"supervision {data!r}", expected="a name, or a mapping with one under 'name'")
    name, source = _name_and_source(data["name"], data.get("source"))
    kind = SOURCES.get(source)
    full = data | {"name": name, "source": source, "period": _period(name, data)}
    for field, taken in (("mix", kind.default_mix is not None), ("temperature", kind.takes_temperature)):
        if data.get(field) is not None and not taken:
            raise AtlasError(
                f"{field} of label source {source!r}",
                expected=f"a source with a {field}",
                fix=f"leave {field} out",
            )
    if data.get("mix") is None:
        full["mix"] = kind.default_mix
    full["options"] = _options(source, kind, data.get("options"))
    return full


def _name_and_source(name: str, source: Any) -> tuple[str, str]:
    known = SOURCES.names()
    implied = name
    if name not in known:
        if name != _ATLAS and name.removeprefix(_PREFIX) not in known:
            raise unknown_name("supervision", name, [*supervision_names(), _ATLAS])
        implied = source if name == _ATLAS else name.removeprefix(_PREFIX)
        name = _ATLAS
    if not isinstance(implied, str):
        raise AtlasError(
            "supervision 'atlas' without a source",
            expected="the label source it alternates",
            fix="write {name: atlas, source: csl}, or atlas_csl",
        )
    if source is not None and source != implied:
        raise AtlasError(
            f"supervision {implied!r} with source {source!r}",
            expected="one source",
            fix="leave source out, or use name: atlas",
        )
    SOURCES.check(implied)
    if name == _ATLAS and implied == _PLAIN:
        raise AtlasError(
            "supervision 'atlas' of one_hot",
            expected="a soft source to alternate with one_hot",
            fix="write one_hot, or name another source",
        )
    return name, implied


def _period(name: str, data: dict[str, Any]) -> Any:
    if name == _ATLAS:
        return data.get("period", DEFAULT_PERIOD)
    own = None if name == _PLAIN else 1
    if data.get("period", own) not in (own, 1):
        raise AtlasError(
            f"period {data['period']!r} of supervision {name!r}",
            expected="no period",
            fix=f"write {{name: atlas, source: {name}, period: …}} to alternate it with one_hot",
        )
    return own


def _options(source: str, kind: type[LabelSource], options: Any) -> dict[str, Any]:
    try:
        return kind.Options.model_validate({} if options is None else options).model_dump(mode="json")
    except ValidationError as error:
        known = ", ".join(kind.Options.model_fields) or "none"
        faults = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise AtlasError(f"options of label source {source!r}: {faults}", expected=f"of {known}") from error
