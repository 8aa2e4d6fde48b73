"""What a study knows of a method before anything is computed, without importing torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from atlas_core.errors import AtlasError

# Where the class name stands among the context vectors.
Position = Literal["end", "middle", "front"]


_COST = "costs time or memory and decides no result"
T = TypeVar("T")
# The type of such an option: `text_chunk: Cost[int | None]`. It is no part of keys, manifests or result rows.
Cost = Annotated[T, _COST]


class MethodOptions(BaseModel):
    """Options of a method; each method adds its own, those that decide no result as `Cost[…]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def result(self) -> dict[str, Any]:
        """The options that decide what a run gives, in JSON types."""
        return self.model_dump(mode="json", exclude=self._cost_names())

    def cost(self) -> dict[str, Any]:
        """Those that decide what it costs, in JSON types."""
        return self.model_dump(mode="json", include=self._cost_names())

    @classmethod
    def _cost_names(cls) -> set[str]:
        return {name for name, field in cls.model_fields.items() if _COST in field.metadata}


@dataclass(frozen=True)
class TextReference:
    """Frozen text features that a method compares with or learns from.

    Attributes:
        templates: Hand-written templates with `{}` for the class name; several are averaged.
        normalise_each: Normalise every template's feature before averaging (zero-shot ensembles do, PromptSRC
            does not).
        keep_each: Keep one feature a template, [K, C, D], instead of the average [C, D].
        sentences_file: JSON of sentences by class name that take the templates' place (`read_sentences`).
    """

    templates: tuple[str, ...]
    normalise_each: bool = True
    keep_each: bool = False
    sentences_file: Path | None = None

    @property
    def label(self) -> str:
        """Part of a node's name: the template itself, or how many there are, or that there are sentences."""
        prompts = self.templates[0] if len(self.templates) == 1 else f"{len(self.templates)} templates"
        prompts = prompts if self.sentences_file is None else "sentences"
        return (
            prompts.replace("/", "-")
            + ("" if self.normalise_each else ", raw")
            + (", each" if self.keep_each else "")
        )


@dataclass(frozen=True)
class Classes:
    """The classes that a method classifies among.

    Attributes:
        names: Class names as they stand in a prompt, [C].
        templates: Their dataset's templates by family: those in the method's `template_families`.
        trained: Whether these are the classes that the method was trained on.
        ids: What tells each class from others of its name, [C] (ImageNet's WordNet ids); empty where none are known.
    """

    names: tuple[str, ...]
    templates: Mapping[str, str]
    trained: bool = True
    ids: tuple[str, ...] = ()

    def template(self, family: str) -> str:
        """The template of a family, or of "coop" where the dataset has none of its own.

        Raises:
            AtlasError: Neither is there.
        """
        for each in (family, "coop"):
            if each in self.templates:
                return self.templates[each]
        raise AtlasError(
            f"the method reads the template family {family!r}, which it does not name",
            expected=f"families among {', '.join(self.templates) or '(none)'}",
            fix=f"add {family!r} to the method's `template_families`",
        )

    def __len__(self) -> int:
        return len(self.names)

    def rows_among(self, others: Classes) -> list[int] | None:
        """Where each of these classes stands among others; None unless all are known to be there.

        Classes are the same where their ids are. Without ids only equal lists are the same classes, label by label: one
        name may mean two classes (ImageNet's names have "missile" and "sunglasses" twice).
        """
        if self.ids and others.ids:
            places = {each: row for row, each in enumerate(others.ids)}
            return [places[each] for each in self.ids] if set(self.ids) <= places.keys() else None
        return list(range(len(self))) if self.names == others.names else None


def words(text: str) -> list[str]:
    """The words of an initial context; `_` counts as a space."""
    return text.replace("_", " ").split()


def placeholder(n: int) -> str:
    """`n` tokens that only hold the place of context vectors."""
    return " ".join(["X"] * n)


@dataclass(frozen=True)
class Requirements:
    """What a method with certain options needs of the backbone and of the classes; see `atlas_core.plan.conflicts`.

    Attributes:
        vision_transformer: It puts prompts into the image tower, which must be a plain vision transformer.
        own_classes: What it learns belongs to the classes that it is trained on, so it can classify no others.
        prompt: The prompt of every class, with `{}` for the name; the tower reads as many tokens. None where it
            learns nothing in the text (the prompts that are encoded frozen are known without the method).
        initial: Words that the context starts from, and how many of their tokens it takes.
        text_block: A block (0-based) that the text tower must have; None for any tower.
        contradiction: What of its options cannot be together, in words; empty where they can.
    """

    vision_transformer: bool = False
    own_classes: bool = False
    prompt: str | None = None
    initial: tuple[str, int] = ("", 0)
    text_block: int | None = None
    contradiction: str = ""


class MethodTraits:
    """What planning needs to know of a method: its options, what it reads, and what it needs prepared.

    A built-in method's traits are a class of their own that its method inherits, in a module without torch: a study
    is planned and looked up in the store before anything is computed, and importing torch takes longer than both.
    A method of another package may set them on the method itself.

    Attributes:
        image_input: "features" when the image tower stays as it is (training reads cached features),
            "pixels" when the method puts prompts into it.
        augmentation: How training views are drawn.
        views_per_step: Views of each image that a step needs.
        learns: Whether there is anything to train.
        stackable: Whether runs of it may train as one stack: its step is CoOp's (atlas_core/training/stack.py).
        template_families: Families of a dataset's templates that the method reads, itself or in `text_reference`;
            no other enters its keys. None: any.
        defaults_file: The YAML of constants beside the traits.
        Options: Pydantic model of the method's options.
    """

    image_input: ClassVar[Literal["features", "pixels"]] = "features"
    augmentation: ClassVar[Literal["random_resized_crop", "randaugment"]] = "random_resized_crop"
    views_per_step: ClassVar[int] = 1
    learns: ClassVar[bool] = True
    stackable: ClassVar[bool] = False
    template_families: ClassVar[tuple[str, ...] | None] = None
    defaults_file: ClassVar[Path]
    Options: ClassVar[type[MethodOptions]] = MethodOptions

    @classmethod
    def text_reference(cls, options: MethodOptions, classes: Classes) -> TextReference | None:
        """The frozen text features that the method needs as `reference`, or None."""
        return None

    @classmethod
    def stand_in(cls, reference: Mapping[str, Any]) -> str:
        """What takes the place of something that the method's authors had, for people; empty where nothing does.

        Args:
            reference: Configuration of the run's text features (empty where the method has none).
        """
        return ""

    @classmethod
    def requirements(cls, options: MethodOptions, classes: Classes) -> Requirements:
        """What must be so for the method to work; a study that breaks it is refused when it is planned.

        Args:
            classes: With the templates of the dataset; the names may be missing.
        """
        return Requirements()


def parse_options(method: type[MethodTraits], raw: Mapping[str, Any]) -> MethodOptions:
    """Validate a method's options.

    Raises:
        AtlasError: An unknown option or a value of the wrong kind.
    """
    try:
        return method.Options.model_validate(dict(raw))
    except ValidationError as error:
        first, name = error.errors()[0], method.__name__.removesuffix("Traits")
        raise AtlasError(
            f"option {'.'.join(map(str, first['loc']))!r} of method {name}: {first['msg']}",
            expected=f"options among {', '.join(method.Options.model_fields) or '(none)'}",
            fix="correct it under `methods:` in the study",
        ) from error
