"""All the definitions that roots can reach, and one digest of them."""

from __future__ import annotations

import builtins
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from atlas_core.code.modules import keep_modules, read_module
from atlas_core.code.sources import in_project, source_path
from atlas_core.code.templates import Choice, Definition, Module, Template, text_digest
from atlas_core.errors import AtlasError

# What says things, looks things up, remembers answers and waits for others; none of it decides a number.
OPAQUE = frozenset(
    {
        "atlas_core.errors",
        "atlas_core.kept_answers",
        "atlas_core.locks",
        "atlas_core.registry",
        "atlas_core.stages.decoding_log",
    }
)
_REGISTRY = "~Registry"
# Bases that do not look at the annotations in a class's body; of another package they may.
_BLIND_BASES = sys.stdlib_module_names | {"torch", "builtins"}
_TYPED_BASES = frozenset({"typing.NamedTuple", "typing.TypedDict"})
_ON_IMPORT = "<import>"


@dataclass(frozen=True)
class _Target:
    """What a reference leads to: a definition ("module:name"; "module:*" for all of a module), or a name outside."""

    place: str
    rest: str = ""
    followed: bool = True


@dataclass(frozen=True)
class _Piece:
    """A definition or effect whose choices are made: its text's digest, and what it refers to."""

    text: str
    targets: tuple[_Target, ...]


@dataclass
class Sources:
    """The project's code as it is at one moment; each file is read once.

    Attributes:
        recorded: Files in which digests of it are known to be recorded.
    """

    recorded: set[Path] = field(default_factory=set)
    _modules: dict[str, Module | None] = field(default_factory=dict)
    _pieces: dict[str, _Piece] = field(default_factory=dict)
    _resolved: dict[tuple[str, str], _Target] = field(default_factory=dict)
    _digests: dict[tuple[str, ...], str] = field(default_factory=dict)

    def digest(self, roots: Iterable[str]) -> str:
        """SHA-256 (64 hex digits) over everything that roots can reach.

        Args:
            roots: "module:name"; a name that the module does not define, or none, stands for the whole module.

        Raises:
            AtlasError: A root's source cannot be found.
        """
        asked = tuple(roots)
        if asked not in self._digests:
            whole = hashlib.sha256()
            for _, text in self._walk(asked):
                whole.update(f"{text}\n".encode())
            self._digests[asked] = whole.hexdigest()
            keep_modules()
        return self._digests[asked]

    def definitions(self, roots: Iterable[str]) -> dict[str, str]:
        """Readable name ("atlas_core.labels.ols:OnlineSmoothing") → digest of its own text, of all that roots reach."""
        found = {}
        for place, _ in self._walk(tuple(roots)):
            piece = self._piece(place)
            # Without the module of what is referred to: it may move.
            edges = [
                each.place.partition(":")[2] + each.rest if each.followed else each.place
                for each in piece.targets
            ]
            found[place] = text_digest(f"{piece.text}{edges}")[:16]
        return found

    def _walk(self, roots: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """(place, text) of everything, in order of first encounter; in a text, places are numbers."""
        numbers: dict[str, int] = {}
        waiting: list[str] = []
        met: set[str] = set()

        def number(place: str) -> int:
            if place not in numbers:
                numbers[place] = len(numbers)
                waiting.append(place)
            return numbers[place]

        for root in roots:
            for place in self._root(root):
                number(place)
        for place in waiting:  # which grows meanwhile
            module = place.partition(":")[0]
            if module not in met:
                for effect in self._effects_of(module, met):
                    number(effect)
            piece = self._piece(place)
            edges = [edge for each in piece.targets for edge in self._edges(each, number)]
            yield place, f"{piece.text}({','.join(edges)})"

    def _edges(self, target: _Target, number: Callable[[str], int]) -> list[str]:
        """How a text refers to a target: by numbers, or by a name outside the project."""
        if not target.followed:
            return [target.place + target.rest]
        return [f"#{number(part)}{target.rest}" for part in self._parts(target)]

    def _root(self, root: str) -> list[str]:
        module, _, name = root.partition(":")
        if self._module(module) is None:
            raise AtlasError(
                f"no Python source for module {module!r}", fix="install the package that defines it"
            )
        return self._parts(self._in_module(module, name.split(".") if name else []))

    def _parts(self, target: _Target) -> list[str]:
        module, _, name = target.place.partition(":")
        if name != "*":
            return [target.place]
        found = self._module(module)
        assert found is not None
        # A module without anything in it is something all the same.
        return [f"{module}:{each}" for each in found.definitions] or [f"{module}:{_ON_IMPORT}"]

    def _effects_of(self, module: str, met: set[str]) -> Iterator[str]:
        """What importing a module does: it, the packages around it, and what it imports for nothing else."""
        parts = module.split(".")
        for name in (".".join(parts[: n + 1]) for n in range(len(parts))):
            found = self._module(name)
            if name in met or found is None:
                continue
            met.add(name)
            if name in OPAQUE:
                continue
            for each in found.loads:
                yield from self._effects_of(each, met)
            for place, effect in enumerate(found.effects):
                if not effect.fills or not all(self._is_registry(name, each) for each in effect.fills):
                    yield f"{name}:{_ON_IMPORT}{place}"

    # --- one definition ---------------------------------------------------------------------------------

    def _piece(self, place: str) -> _Piece:
        if place not in self._pieces:
            module, _, name = place.partition(":")
            found = self._module(module)
            assert found is not None
            if name in found.definitions:
                template = found.definitions[name].template
            elif name == _ON_IMPORT:
                template = Template("")
            else:
                template = found.effects[int(name.removeprefix(_ON_IMPORT))].template
            self._pieces[place] = self._chosen(module, template)
        return self._pieces[place]

    def _chosen(self, module: str, template: Template) -> _Piece:
        texts, targets = [template.text], [self._resolve(module, each) for each in template.refs]
        for choice in template.choices:
            inner = self._chosen(module, choice.yes if self._answer(module, choice) else choice.no)
            texts.append(inner.text)
            targets += inner.targets
        return _Piece(text_digest("|".join(texts)) if len(texts) > 1 else texts[0], tuple(targets))

    def _answer(self, module: str, choice: Choice) -> bool:
        if choice.question == "registry":
            return self._is_registry(module, choice.about)
        if choice.question == "exception":
            return self._is_exception(self._resolve(module, choice.about))
        return self._has_fields(self._resolve(module, choice.about))

    def _is_registry(self, module: str, ref: str) -> bool:
        target = self._resolve(module, ref)
        definition = self._definition(target)
        if definition is None or target.rest or not definition.made_by:
            return False
        return self._source_of(target.place, definition.made_by) == _REGISTRY

    def _has_fields(self, target: _Target) -> bool:
        definition = self._definition(target)
        if definition is None:
            return _reads_fields(target.place)
        bases = [self._resolve(target.place.partition(":")[0], each) for each in definition.bases]
        return definition.has_fields or any(self._has_fields(each) for each in bases)

    def _is_exception(self, target: _Target) -> bool:
        definition = self._definition(target)
        if definition is None:
            return _is_builtin_exception(target.place)
        bases = [self._resolve(target.place.partition(":")[0], each) for each in definition.bases]
        return any(self._is_exception(each) for each in bases)

    # --- names ------------------------------------------------------------------------------------------

    def _definition(self, target: _Target) -> Definition | None:
        module, _, name = target.place.partition(":")
        found = self._module(module) if name or target.followed else None
        return found.definitions.get(name) if found is not None else None

    def _source_of(self, place: str, ref: str) -> str:
        return self._resolve(place.partition(":")[0], ref).place

    def _resolve(self, module: str, ref: str) -> _Target:
        if (module, ref) not in self._resolved:
            self._resolved[module, ref] = self._find(module, ref)
        return self._resolved[module, ref]

    def _find(self, module: str, ref: str) -> _Target:
        """What a reference in a module leads to."""
        if "|" in ref:
            base, _, rest = ref.partition("|")
            return self._imported(module, base, [each for each in rest.split(".") if each])
        return self._in_module(module, ref.split("."))

    def _in_module(self, module: str, chain: list[str], seen: frozenset[str] = frozenset()) -> _Target:
        """What `chain` is in a module: a definition, what it imported, one of its own modules, or the whole of it."""
        found = self._module(module)
        assert found is not None
        if not chain:
            return _Target(f"{module}:*")
        name, *rest = chain
        if name in found.definitions:
            return _target(f"{module}:{name}", rest)
        if name in found.imports and module not in seen:
            base, _, attribute = found.imports[name].partition("|")
            return self._imported(module, base, [*([attribute] if attribute else []), *rest], seen | {module})
        for star in found.stars:
            if in_project(star, module) and self._offers(star, name):
                return self._in_module(star, chain, seen | {module})
        if self._module(f"{module}.{name}") is not None:
            return self._in_module(f"{module}.{name}", rest)
        if hasattr(builtins, name):
            return _Target(".".join(chain), followed=False)
        return _target(f"{module}:*", chain)  # something that the module makes in another way

    def _imported(
        self, module: str, base: str, chain: list[str], seen: frozenset[str] = frozenset()
    ) -> _Target:
        if not in_project(base, module) or self._module(base) is None:
            return _Target(".".join([base, *chain]), followed=False)
        return self._in_module(base, chain, seen)

    def _offers(self, module: str, name: str) -> bool:
        found = self._module(module)
        return found is not None and (name in found.definitions or name in found.imports)

    def _module(self, name: str) -> Module | None:
        if name not in self._modules:
            path = source_path(name)
            self._modules[name] = None if path is None else read_module(name, path)
        return self._modules[name]


def _target(place: str, rest: Iterable[str]) -> _Target:
    after = "".join(f".{each}" for each in rest)
    module, _, name = place.partition(":")
    # Of what is opaque its name counts.
    return _Target(place, after) if module not in OPAQUE else _Target(f"~{name}", after, followed=False)


def _is_builtin_exception(name: str) -> bool:
    each = getattr(builtins, name, None)
    return isinstance(each, type) and issubclass(each, BaseException)


def _reads_fields(name: str) -> bool:
    """Whether a class outside the project, as a base, makes something of annotations."""
    top = name.partition(".")[0]
    known = top in _BLIND_BASES or hasattr(builtins, top) or name.startswith("~")
    return name in _TYPED_BASES or not known
