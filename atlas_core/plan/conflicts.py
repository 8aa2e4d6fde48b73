"""What of a study cannot work together, found before its first job.

What a method needs stands in its traits (`Requirements`), what a model has in its config, and what a dataset has in its
index; here they are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from atlas_core.backbone.config_facts import (
    context_length,
    has_tokens,
    image_tower_kind,
    text_layers,
    too_long,
)
from atlas_core.errors import AtlasError
from atlas_core.hashing import canonical_json
from atlas_core.labels.base import SOURCES
from atlas_core.labels.config import SupervisionConfig
from atlas_core.methods.registry import method_traits
from atlas_core.methods.sentences import read_sentences
from atlas_core.methods.traits.base import Classes, Requirements, parse_options
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph
from atlas_core.plan.known_datasets import KnownDataset, known_datasets
from atlas_core.plan.node import Node
from atlas_core.plan.resolve import NodeState, Resolver

# Inputs of a supervision that the graph makes.
_MADE = frozenset({"csl", "isl", "teacher"})
_SHOWN = 8
# Stages that look at a dataset's images or class names for the first time after its index.
_FROM_INDEX = frozenset({"text_features", "image_features", "pixels"})


class ConflictWatch:
    """Refuses a study's conflicts before its first job, and a dataset's as soon as that was fetched.

    Attributes:
        known: What is known of the datasets by now; each is read once.
    """

    def __init__(self, graph: Graph, resolver: Resolver, placement: Placement) -> None:
        self._graph, self._resolver, self._placement = graph, resolver, placement
        self._late: dict[str, list[str]] = {}
        self.known: dict[str, KnownDataset] = {}

    def refuse(self) -> None:
        """Refuse a study that cannot end well.

        Raises:
            AtlasError: Names everything that is known not to work together.
        """
        self.known = known_datasets(self._graph, self._index_states(), self._placement)
        self._raise(conflicts(self._graph, self.known), f"study {self._graph.study.name}")

    def check(self, node: Node, states: Mapping[str, NodeState]) -> None:
        """Refuse to encode a dataset that was not there when the study began, if what is asked of it cannot work.

        Raises:
            AtlasError: Names the conflicts with its classes.
        """
        if states[node.name].manifest is not None or node.stage not in _FROM_INDEX:
            return
        name = node.runtime["spec"]["name"]
        if name not in self.known:
            before = set(conflicts(self._graph, self.known))
            index = node.inputs["index"].name
            self.known = known_datasets(self._graph, {index: states[index]}, self._placement, self.known)
            self._late[name] = [each for each in conflicts(self._graph, self.known) if each not in before]
        self._raise(self._late.get(name, []), f"dataset {name} in study {self._graph.study.name}")

    def _index_states(self) -> dict[str, NodeState]:
        states: dict[str, NodeState] = {}
        for node in self._graph.nodes:
            if node.stage in ("fetch", "index"):
                try:
                    states[node.name] = self._resolver.look_up(node, states)
                except (AtlasError, OSError):  # said by the job, or of a store that cannot be used
                    states[node.name] = NodeState("missing", None, None)
        return states

    def _raise(self, found: list[str], what: str) -> None:
        if found:
            more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise AtlasError(
                f"{what} cannot work: {'; '.join(found[:_SHOWN])}{more}",
                fix="leave one of the two out, or change the option named",
            )


def conflicts(graph: Graph, known: Mapping[str, KnownDataset]) -> list[str]:
    """A line for each conflict; of datasets that are not known yet only what needs no class names."""
    return list(dict.fromkeys(_Check(graph, known).lines()))


class _Check:
    """Looks at each method, dataset and prompt once, though a study may have thousands of runs of them."""

    def __init__(self, graph: Graph, known: Mapping[str, KnownDataset]) -> None:
        self.graph, self.known = graph, known
        self.model = graph.study.backbone.model
        self._requirements: dict[tuple[str, str], Requirements] = {}
        self._looked_at: set[tuple[str, str, str]] = set()

    def lines(self) -> Iterator[str]:
        for tune in self.graph.of_stage("tune"):
            needs = self._needs(tune, tune.config["templates"])
            yield from _of_the_backbone(tune, needs, self.model)
            yield from _of_the_supervision(tune, self.known)
            yield from self._of_learned_prompts(tune, needs, tune.config["dataset"], tune.config["subset"])
        for evaluate in self.graph.of_stage("evaluate"):
            tune, target, subset = (
                evaluate.inputs["run"],
                evaluate.config["target"],
                evaluate.config["subset"],
            )
            needs = self._needs(tune, evaluate.config["templates"])
            if needs.own_classes and not evaluate.config["trained_classes"]:
                yield (
                    f"{tune.config['method']} with class-specific contexts can classify the classes that it is "
                    f"trained on alone, not {target}/{subset} (set class_specific: false)"
                )
            yield from self._of_learned_prompts(tune, needs, target, subset)
        for node in self.graph.of_stage("text_features"):
            yield from self._of_frozen_prompts(node)

    def _needs(self, tune: Node, templates: Mapping[str, str]) -> Requirements:
        """What the method of a training needs over the classes of a dataset with these templates."""
        options, name = tune.config["options"], tune.config["method"]
        key = (name, canonical_json([options, dict(templates)]))
        if key not in self._requirements:
            traits = method_traits(name)
            parsed = parse_options(traits, options)
            self._requirements[key] = traits.requirements(parsed, Classes((), templates))
        return self._requirements[key]

    def _of_learned_prompts(
        self, tune: Node, needs: Requirements, dataset: str, subset: str
    ) -> Iterator[str]:
        if needs.prompt is not None:
            yield from self._long(needs.prompt, tune.config["method"], dataset, subset)

    def _of_frozen_prompts(self, node: Node) -> Iterator[str]:
        dataset, subset = node.runtime["spec"]["name"], node.config["subset"]
        if dataset not in self.known:
            return
        names = self.known[dataset].names(subset)
        if "sentences_file" in node.runtime:
            try:
                rows = read_sentences(Path(node.runtime["sentences_file"]), names)
            except AtlasError as error:
                yield str(error).removesuffix(".")
                return
            yield from self._too_long((each for row in rows for each in row), "sentences", dataset)
        for template in node.config["templates"]:
            yield from self._long(template, "hand-written prompts", dataset, subset)

    def _long(self, template: str, whose: str, dataset: str, subset: str) -> Iterator[str]:
        if dataset in self.known and (template, dataset, subset) not in self._looked_at:
            self._looked_at.add((template, dataset, subset))
            prompts = (template.replace("{}", name) for name in self.known[dataset].names(subset))
            yield from self._too_long(prompts, whose, dataset)

    def _too_long(self, prompts: Iterable[str], whose: str, dataset: str) -> Iterator[str]:
        long = too_long(prompts, self.model)
        if long is not None:
            yield (
                f"{whose} on {dataset}: the prompt {long!r} has more tokens than the {context_length(self.model)} that "
                f"{self.model} reads, start and end among them (shorten the class name, the template or the context)"
            )


def _of_the_backbone(tune: Node, needs: Requirements, model: str) -> Iterator[str]:
    method = tune.config["method"]
    if needs.contradiction:
        yield f"{method} on {tune.config['dataset']} has {needs.contradiction}"
    if needs.vision_transformer and (kind := image_tower_kind(model)):
        yield f"{method} puts prompts into a plain vision transformer, and the image tower of {model} is {kind}"
    if needs.text_block is not None and needs.text_block >= text_layers(model):
        yield (
            f"{method} enters text block {needs.text_block}, and {model} has blocks 1 to {text_layers(model) - 1} "
            "(set `inject_at` lower, or leave it out)"
        )
    words, count = needs.initial
    if count and not has_tokens(words, count, model):
        yield f"{method} starts {count} context vectors from {words!r}, which has fewer tokens (set ctx_init or n_ctx)"


def _of_the_supervision(tune: Node, known: Mapping[str, KnownDataset]) -> Iterator[str]:
    if tune.config["supervision"] is None:
        return
    supervision = SupervisionConfig.model_validate(tune.config["supervision"])
    if missing := sorted(supervision.needs - _MADE):
        yield f"supervision {supervision.label} needs {', '.join(missing)}, which no stage makes"
    if (dataset := known.get(tune.config["dataset"])) is not None:
        classes = len(dataset.labels(tune.config["subset"]))
        fewest = SOURCES.get(supervision.source).fewest_classes(supervision)
        if classes < fewest:
            yield (
                f"supervision {supervision.label} needs {fewest} classes, and "
                f"{dataset.name}/{tune.config['subset']} has {classes}"
            )
