"""From a study to its graph of nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from typing import Any

from atlas_core.backbone.conventions import conventions
from atlas_core.backbone.identity import backbone_identity
from atlas_core.backbone.source import backbone_label, input_size
from atlas_core.code.closure import Sources
from atlas_core.config import MethodConfig, StudyConfig
from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.datasets.identity import describe_datasets, study_datasets
from atlas_core.datasets.readers.base import READERS
from atlas_core.features.resizing import STANDARD
from atlas_core.hashing import sha256_of
from atlas_core.labels.base import SOURCES
from atlas_core.labels.config import SupervisionConfig
from atlas_core.methods.registry import METHODS, method_traits
from atlas_core.methods.sentences import sentences_digest
from atlas_core.methods.traits.base import Classes, MethodTraits, TextReference, parse_options
from atlas_core.placement import Placement
from atlas_core.plan.collector import without_collection
from atlas_core.plan.node import Node
from atlas_core.plan.run import Run, as_written
from atlas_core.plan.stacks import stack_family
from atlas_core.protocols.protocol import PROTOCOLS, Evaluation, Training
from atlas_core.stages.image_inputs import IMAGE_INPUTS
from atlas_core.stages.stage import STAGES
from atlas_core.training.recipe import Recipe, check_precisions, method_defaults, resolve_recipe


@dataclass(frozen=True)
class Graph:
    """A study's nodes, inputs before what uses them; the last one is `aggregate`.

    Attributes:
        whole: Whether no dataset was left out.
    """

    study: StudyConfig
    nodes: tuple[Node, ...]
    whole: bool = True

    def of_stage(self, stage: str) -> list[Node]:
        return [node for node in self.nodes if node.stage == stage]

    @property
    def aggregate(self) -> Node:
        return self.nodes[-1]


@without_collection()
def build_graph(study: StudyConfig, placement: Placement, datasets: Collection[str] | None = None) -> Graph:
    """All nodes of a study.

    Args:
        datasets: Names of the only datasets whose nodes are wanted; the aggregate of a graph that is not whole has
            a part of its inputs and stands for nothing. None wants all.

    Raises:
        AtlasError: The study names options, settings or weights that do not exist.
    """
    builder = _Builder(study, placement, datasets)
    evaluations = list(builder.evaluations())
    builder.add_aggregate(evaluations)
    return Graph(study, tuple(builder.nodes.values()), builder.whole)


@dataclass
class _Builder:
    """Makes each node once; a node's name is its identity within the study."""

    study: StudyConfig
    placement: Placement
    only: Collection[str] | None = None
    whole: bool = True
    nodes: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # One reading a dataset and so on: a study may have thousands of runs.
        named = study_datasets(self.study.entries)
        self._spec = cache(lambda entry: named.get(entry) or dataset_spec(entry))
        self._dataset = cache(self._make_dataset)
        self.backbone_runtime = self.study.backbone.model_dump(mode="json")

    @cached_property
    def backbone(self) -> dict[str, str]:
        return backbone_identity(self.study.backbone)

    @cached_property
    def image_size(self) -> int:
        return input_size(self.study.backbone.model)

    def evaluations(self) -> Iterator[Node]:
        for training in self._trainings():
            for method in self.study.methods:
                yield from self._runs_of(method, training)

    def _trainings(self) -> Iterator[Training]:
        """The protocol's trainings, without those that have nothing to do with a dataset that is wanted."""
        for training in PROTOCOLS.get(self.study.protocol)(self.study):
            kept = tuple(each for each in training.evaluations if self._wanted(each.dataset))
            self.whole &= kept == training.evaluations
            if kept or self._wanted(training.dataset):
                yield replace(training, evaluations=kept)

    def _wanted(self, dataset: str) -> bool:
        return self.only is None or self._spec(dataset).name in self.only

    def _runs_of(self, method: MethodConfig, training: Training) -> Iterator[Node]:
        traits = method_traits(method.name)
        recipe, raw_options = self._recipe(method, traits, training)
        options = parse_options(traits, raw_options)
        # Where nothing is learned, there is one run whatever the supervision, shots and seed.
        plain = Run(method.name, traits, recipe, options, training, None, 0)
        seeds = method.seeds or self.study.seeds
        for supervision in method.supervisions or self.study.supervisions:
            for seed in seeds:
                run = replace(plain, supervision=supervision, seed=seed) if traits.learns else plain
                tune = self._tune(run)
                yield from (self._evaluate(run, tune, each) for each in training.evaluations)

    def _recipe(
        self, method: MethodConfig, traits: type[MethodTraits], training: Training
    ) -> tuple[Recipe, dict[str, Any]]:
        recipe, options = resolve_recipe(
            method_defaults(traits.defaults_file),
            protocol=self.study.protocol,
            dataset=training.dataset,
            shots=training.shots,
            training={**self.study.training, **method.training} if traits.learns else {},
            options=method.options,
        )
        check_precisions(self.study.backbone.precision, recipe.precision)
        return recipe, options

    # --- stages before training -------------------------------------------------------------------------

    def _make_dataset(self, name: str) -> tuple[Node, DatasetSpec]:
        spec = self._spec(name)
        plain = spec.model_dump(mode="json")
        runtime = {"spec": plain, "folder": str(spec.path(self.placement.data_path))}
        source = plain["source"] or {}
        generator = source.get("generator")
        roots = [f"atlas_core.datasets.{generator}:generate"] if generator else []
        if generator:
            runtime["generator"] = Sources().digest(roots)  # its code is its version
        fetch = self._node("fetch", spec.name, {"source": source, "folder": spec.folder}, {}, runtime, roots)
        layout = {each: plain[each] for each in ("layout", "image_folder", "split_file", "options")}
        reader = READERS.target(spec.layout)
        return self._node("index", spec.name, layout, {"fetch": fetch}, runtime, [reader]), spec

    def _text(self, dataset: str, subset: str, reference: TextReference, label: str) -> Node:
        index, spec = self._dataset(dataset)
        config = {
            "backbone": self.backbone,
            "subset": subset,
            "templates": list(reference.templates),
            "normalise_each": reference.normalise_each,
            "keep_each": reference.keep_each,
        }
        runtime = self._at(index)
        if reference.sentences_file is not None:
            config["sentences_sha256"] = sentences_digest(reference.sentences_file)
            runtime["sentences_file"] = str(reference.sentences_file.absolute())
        return self._node("text_features", f"{spec.name}/{subset}/{label}", config, {"index": index}, runtime)

    def _images(self, stage: str, dataset: str, label: str, config: dict[str, Any]) -> Node:
        index, spec = self._dataset(dataset)
        full = {"backbone": self.backbone, "dtype": self.study.views.dtype, **config}
        if stage == "pixels":
            # Pixels depend on the model's input size alone, and on how it has test images resized.
            full = {"image_size": self.image_size, **config}
            resizing = conventions(self.study.backbone).pixels.resizing
            if config["views"] == "test" and resizing != STANDARD:
                full["resizing"] = asdict(resizing)
        if self.study.views.skip_damaged:
            full["skip_damaged"] = True
        return self._node(stage, f"{spec.name}/{label}", full, {"index": index}, self._at(index))

    def _training_images(self, stage: str, run: Run) -> Node:
        bank = self.study.views.per_image
        views = run.recipe.trained_epochs * run.traits.views_per_step if bank == "epochs" else bank
        training, augmentation = run.training, run.traits.augmentation
        config = {
            "split": "train",
            "subset": training.subset,
            "shots": training.shots,
            "seed": run.seed,
            "views": views,
            "augmentation": augmentation,
        }
        kind = "" if augmentation == "random_resized_crop" else f"/{augmentation}"
        label = f"train/{training.subset}/{training.shots}-shot/seed{run.seed}/{views}-views{kind}"
        return self._images(stage, training.dataset, label, config)

    def _test_images(self, stage: str, target: Evaluation) -> Node:
        config = {"split": "test", "subset": target.subset, "shots": None, "seed": None}
        config |= {"views": "test", "augmentation": "test"}
        return self._images(stage, target.dataset, f"test/{target.subset}", config)

    # --- training and after ----------------------------------------------------------------------------

    def _tune(self, run: Run) -> Node:
        _, spec = self._dataset(run.training.dataset)
        config = {
            "backbone": self.backbone,
            "method": run.method,
            "options": run.options.result(),
            "training": run.recipe.model_dump(mode="json"),
            "supervision": run.supervision.model_dump(mode="json") if run.supervision else None,
            "templates": spec.templates_of(run.traits.template_families),
            "dataset": spec.name,
            "subset": run.training.subset,
            "shots": run.training.shots if run.supervision else 0,
            "seed": run.seed,
        }
        inputs = self._class_inputs(run, run.training.dataset, run.training.subset)
        roots = [METHODS.target(run.method), IMAGE_INPUTS.target(run.traits.image_input)]
        if run.supervision is not None:
            inputs |= self._training_inputs(run, inputs["classes"])
            # A supervisor has one-hot labels beside its source, for the epochs without it.
            roots += [SOURCES.target(source) for source in (run.supervision.source, "one_hot")]
        runtime = {**self._at_backbone(), "cost": run.options.cost()}
        if run.traits.stackable:
            roots += [f"atlas_core.training.stack:{name}" for name in ("can_stack", "train_stack")]
            runtime["stack"] = stack_family(config)
        return self._node("tune", run.name(spec.name), config, inputs, runtime, roots, run.family(spec.name))

    def _class_inputs(self, run: Run, dataset: str, subset: str, *, trained: bool = True) -> dict[str, Node]:
        """Class names of a class set (with the dataset's own prompt), and the method's frozen text reference."""
        spec = self._spec(dataset)
        own = TextReference((spec.template("coop"),))
        inputs = {"classes": self._text(dataset, subset, own, "own")}
        templates = spec.templates_of(run.traits.template_families)
        reference = run.traits.text_reference(run.options, Classes((), templates, trained=trained))
        if reference == own:
            inputs["reference"] = inputs["classes"]
        elif reference is not None:
            inputs["reference"] = self._text(dataset, subset, reference, reference.label)
        return inputs

    def _training_inputs(self, run: Run, classes: Node) -> dict[str, Node]:
        assert run.supervision is not None
        features = self._training_images("image_features", run)
        inputs = {"image_features": features}
        if run.traits.image_input == "pixels":
            inputs["pixels"] = self._training_images("pixels", run)
        temperature = run.supervision.temperature
        soft = {"temperature": temperature}
        suffix = "" if temperature is None else f"/temperature{as_written(temperature)}"
        if "csl" in run.supervision.needs:
            place = classes.name.removeprefix("text_features/").removesuffix("/own")
            inputs["csl"] = self._node("csl", place + suffix, soft, {"text_features": classes})
        if "isl" in run.supervision.needs:
            place = features.name.removeprefix("image_features/")
            both = {"text_features": classes, "image_features": features}
            inputs["isl"] = self._node("isl", place + suffix, soft, both)
        if "teacher" in run.supervision.needs:
            plain = SupervisionConfig.model_validate("one_hot")
            inputs["teacher"] = self._tune(replace(run, supervision=plain))
        return inputs

    def _evaluate(self, run: Run, tune: Node, target: Evaluation) -> Node:
        spec = self._spec(target.dataset)
        trained = spec == self._spec(run.training.dataset) and target.subset == run.training.subset
        stage = run.traits.image_input if run.traits.image_input == "pixels" else "image_features"
        inputs = {"run": tune, stage: self._test_images(stage, target)}
        inputs |= self._class_inputs(run, target.dataset, target.subset, trained=trained)
        config = {
            "target": spec.name,
            "subset": target.subset,
            "trained_classes": trained,
            "templates": spec.templates_of(run.traits.template_families),
        }
        name = f"{tune.name.removeprefix('tune/')} on {spec.name}/{target.subset}"
        family = f"{tune.family.removeprefix('tune/')} on {spec.name}/{target.subset}"
        roots = [METHODS.target(run.method), IMAGE_INPUTS.target(run.traits.image_input)]
        runtime = {**self._at_backbone(), "cost": run.options.cost()}
        return self._node("evaluate", name, config, inputs, runtime, roots, family)

    def add_aggregate(self, evaluations: list[Node]) -> None:
        distinct = list({node.name: node for node in evaluations}.values())
        backbone = backbone_label(self.study.backbone)
        config: dict[str, Any] = {
            "study": self.study.name,
            "protocol": self.study.protocol,
            "backbone": backbone,
            "datasets": describe_datasets(self.study.entries),
        }
        # What each supervision is called depends on its label source's defaults, which only the plan looks at.
        config["supervisions"] = {
            sha256_of(each.model_dump(mode="json")): each.full_label for each in self._supervisions()
        }
        if words := self._stand_ins():
            config["stand_ins"] = words
        indexes = [node for node in self.nodes.values() if node.stage == "index"]
        self._node("aggregate", self.study.name, config, {node.name: node for node in (*distinct, *indexes)})

    def _stand_ins(self) -> dict[str, str]:
        """What runs have in place of something that their method's authors had, by the training's name."""
        found: dict[str, str] = {}
        for node in self.nodes.values():
            if node.stage == "tune":
                reference = node.inputs["reference"].config if "reference" in node.inputs else {}
                found[node.name] = method_traits(node.config["method"]).stand_in(reference)
        return {name: words for name, words in found.items() if words}

    def _supervisions(self) -> Iterator[SupervisionConfig]:
        yield from self.study.supervisions
        for method in self.study.methods:
            yield from method.supervisions or ()

    # --- making nodes ----------------------------------------------------------------------------------

    def _at(self, index: Node) -> dict[str, Any]:
        return {**index.runtime, **self._at_backbone()}

    def _at_backbone(self) -> dict[str, Any]:
        return {"backbone": self.backbone_runtime}

    def _node(
        self,
        stage: str,
        label: str,
        config: dict[str, Any],
        inputs: dict[str, Node],
        runtime: dict[str, Any] | None = None,
        roots: list[str] | None = None,
        family: str | None = None,
    ) -> Node:
        name = f"{stage}/{label}"
        same = self.nodes.get(name)
        if same is not None and (same.config, same.inputs) != (config, inputs):
            # Variants that the name does not tell apart (one method twice with other options, or other sentences).
            made_from = {role: each.name for role, each in inputs.items()}
            name = f"{name}#{sha256_of([config, made_from])[:6]}"
        if name not in self.nodes:
            code = tuple(dict.fromkeys((STAGES.target(stage), *(roots or []))))
            self.nodes[name] = Node(
                stage, name, f"{stage}/{family or label}", config, inputs, code, runtime or {}
            )
        return self.nodes[name]
