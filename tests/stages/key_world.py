"""A finished study with every stage and method, and stages run again with one thing changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from atlas_core.plan.execution import run_study
from safetensors import safe_open
from safetensors.torch import save_file

from atlas_core.backbone.load import load_backbone
from atlas_core.errors import AtlasError
from atlas_core.methods.registry import METHODS
from atlas_core.plan.node import Node
from atlas_core.plan.session import StudySession
from atlas_core.stages.evaluate import test_logits as logits_of
from atlas_core.stages.runtime import backbone_config
from atlas_core.stages.stage import STAGES, StageContext
from atlas_core.stages.trained_method import load_method
from tests.small_clip import small_open_clip
from tests.tiny_study import CLASSES, RecordingObserver, TinyWorld, draw_image_folder, make_world, write_yaml

REEF = ("clown fish", "sea star", "blue whale", "hermit crab")
TRAINING = {"epochs": 2, "batch_size": 4, "lr": 0.02, "average": None, "parameter_lr": {}}
OPTIONS: dict[str, dict[str, Any]] = {
    "coop": {"n_ctx": 2, "ctx_init": ""},
    "cocoop": {"n_ctx": 2, "ctx_init": ""},
    "kgcoop": {"n_ctx": 2, "ctx_init": ""},
    "dept_coop": {"n_ctx": 2, "ctx_init": ""},
    "dept_cocoop": {"n_ctx": 2, "ctx_init": ""},
    "dept_kgcoop": {"n_ctx": 2, "ctx_init": ""},
    "maple": {"n_ctx": 2, "depth": 2, "ctx_init": ""},
    "dept_maple": {"n_ctx": 2, "depth": 2, "ctx_init": ""},
    "coprompt": {"n_ctx": 2, "depth": 2, "ctx_init": ""},
    "ivlp": {"n_ctx_text": 2, "n_ctx_vision": 2, "depth_text": 2, "depth_vision": 2, "ctx_init": ""},
    "promptsrc": {"n_ctx_text": 2, "n_ctx_vision": 2, "depth_text": 2, "depth_vision": 2, "ctx_init": ""},
    "vpt": {"n_ctx": 2, "depth": 2},
}
Outcome = dict[str, Any]


@dataclass
class KeyWorld:
    """The study after it ran."""

    world: TinyWorld
    session: StudySession

    def __post_init__(self) -> None:
        self.states = self.session.states()
        self.outcomes: dict[str, Outcome] = {}

    def node(self, stage: str, *words: str) -> Node:
        """The first node of a stage whose name has all these words between its slashes."""
        nodes = self.session.graph.of_stage(stage)
        return next(node for node in nodes if set(words) <= set(node.name.replace(" on ", "/").split("/")))

    def folder(self, node: Node) -> Path:
        manifest = self.states[node.name].manifest
        assert manifest is not None
        return self.session.resolver.store.path(manifest.stage, manifest.key)

    def outcome(
        self,
        node: Node,
        fields: Mapping[str, Any],
        inputs: Mapping[str, Node] | None = None,
        runtime: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """What the node's stage makes with some fields ("training.lr"), inputs and runtime settings replaced."""
        job = self.session.resolver.job(node, self.states)
        config = changed(job.config, fields)
        folders = {role: self.folder(each) for role, each in {**node.inputs, **(inputs or {})}.items()}
        out, work = (self.world.home / "again" / each for each in ("out", "work"))
        for each in (out, work):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir(parents=True)
        context = StageContext(
            config, folders, out, work, "key", {**job.runtime, **(runtime or {})}, self.world.placement
        )
        try:
            STAGES.get(node.stage).run(context)
            made = content(out)
            return made | self._predictions(context, node) if node.stage == "tune" else made
        except AtlasError as error:
            return {"error": str(error)}

    def _predictions(self, context: StageContext, run: Node) -> Outcome:
        """What the trained method says of the training dataset's test images."""
        node = self.node("evaluate", *run.name.removeprefix("tune/").split("/"), "ponds")
        images = {role: self.folder(each) for role, each in node.inputs.items() if role != "run"}
        inputs = {**images, **{role: context.inputs[role] for role in node.inputs if role in context.inputs}}
        inputs |= {role: images[role] for role in ("image_features", "pixels") if role in images}
        clip = load_backbone(backbone_config(context))
        templates = context.config["templates"]
        method = load_method(clip, context.out, inputs, templates=templates, trained=True)
        return {"logits": torch.cat(list(logits_of(method, clip, inputs))).tolist()}

    def base(self, node: Node, fields: Mapping[str, Any], runtime: Mapping[str, Any]) -> Outcome:
        """What other outcomes are compared with, made once."""
        name = node.name + json.dumps([dict(fields), dict(runtime)], sort_keys=True)
        if name not in self.outcomes:
            self.outcomes[name] = self.outcome(node, fields, runtime=runtime)
        return self.outcomes[name]

    def at(self, node: Node, folder: str) -> dict[str, Any]:
        """Runtime settings that lead to another folder below the data root; none where it is empty."""
        return {"spec": {**node.runtime["spec"], "folder": folder}} if folder else {}


def changed(config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with dotted fields replaced."""
    copy = deepcopy(dict(config))
    for field, value in fields.items():
        *path, last = field.split(".")
        place = copy
        for part in path:
            place = place[part]
        place[last] = value
    return copy


def content(folder: Path) -> Outcome:
    """Everything that an artifact holds but a run's own configuration, which has every field in it."""
    found: Outcome = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as stream:
                metadata = json.loads((stream.metadata() or {}).get("atlas", "{}"))
                metadata.pop("config", None)
                tensors = {key: stream.get_tensor(key).tolist() for key in stream.keys()}  # noqa: SIM118
            found[name] = [metadata, tensors]
        elif path.suffix == ".parquet":
            found[name] = pq.read_table(path).to_pylist()
        else:
            found[name] = path.read_bytes()
    return found


def finish(home: Path) -> KeyWorld:
    """Every method trained on ponds and tested on reef too; CoOp under four supervisions with two seeds."""
    world = make_world(home, images=4)
    draw_image_folder(home / "data" / "reef", images=4, side=40, seed=7, classes=REEF)
    templates = {"coop": "a drawing of a {}.", "tcp_prompt": "X X X X {}, a fish."}
    write_yaml(
        home / "reef.yaml",
        {"name": "reef", "layout": "image_folder", "folder": "reef", "templates": templates},
    )
    draw_image_folder(home / "data" / "two" / "a", images=3, side=40, seed=8)
    draw_image_folder(home / "data" / "two" / "b", images=2, side=40, seed=9)
    for name, cut in (("a.json", slice(0, 2)), ("b.json", slice(1, 3))):
        rows = [
            [f"{folder}/{each}", label, folder]
            for label, folder in enumerate(sorted(CLASSES))
            for each in ("00.png", "01.png", "02.png")[cut]
        ]
        listing = {"train": rows, "val": [], "test": []}
        (home / "data" / "two" / name).write_text(json.dumps(listing))
    shutil.copytree(home / "data" / "ponds", home / "data" / "damaged")
    for image in (home / "data" / "damaged").rglob("00.png"):
        image.write_bytes(b"no image")
    save_file(
        {key: each.contiguous() for key, each in small_open_clip(3).state_dict().items()},
        home / "other.safetensors",
    )
    soft = [
        {"name": f"atlas_{source}", "period": 2, "temperature": temperature}
        for source, temperature in (("csl", 5.0), ("csl", 2.0), ("isl", 5.0))
    ]
    supervisions: list[Any] = ["one_hot", *soft, {"name": "tfkd_self", "options": {"m": 1.0}}]
    methods: list[dict[str, Any]] = []
    for name in METHODS.names():
        options = {"options": OPTIONS.get(name, {})}
        if name == "coop":
            methods.append({"name": name, "training": TRAINING, "supervisions": supervisions, **options})
        elif METHODS.get(name).learns:
            methods.append({"name": name, "training": TRAINING, **options})
        else:
            methods.append({"name": name})
    study = world.study(
        protocol="cross_dataset",
        datasets=[],
        source=str(home / "ponds.yaml"),
        targets=[str(home / "reef.yaml")],
        methods=methods,
        supervisions=["one_hot"],
        seeds=[1, 2],
        views={"per_image": 2, "dtype": "float16"},
        training={},
    )
    observer = RecordingObserver()
    session = run_study(study, world.placement, observer=observer)
    assert observer.failed == {}
    return KeyWorld(world, session)


def fields_of(node: Node) -> set[str]:
    """The fields of a node's configuration, those of a training's parts one by one, and its inputs."""
    nested = {
        f"{name}.{each}"
        for name in ("options", "training", "supervision")
        for each in (node.config.get(name) or {})
        if node.stage == "tune"
    }
    plain = {name for name, value in node.config.items() if value not in ({}, None)}
    return (
        nested
        | (plain - {each.partition(".")[0] for each in nested})
        | {f"inputs.{role}" for role in node.inputs}
    )
