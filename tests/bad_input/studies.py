"""Studies that cannot be: YAML, ranges, names, overrides."""

from __future__ import annotations

import json
from typing import Any

from tests.bad_input.table import Ended, Ground, refused, refused_each


def _field(**overrides: Any) -> Any:
    return lambda ground: ground.run_with(**overrides)


def _training(**settings: Any) -> Any:
    return _field(training={"epochs": 1, **settings})


def _option(**options: Any) -> Any:
    return _field(methods=[{"name": "coop", "options": options}])


def _set(assignment: str) -> Any:
    return lambda ground: ground.atlas("run", "base-to-new", "--set", assignment, "--quiet", "--workers", "0")


refused_each(
    "study",
    {
        "unknown field": ("colour", _field(colour="blue")),
        "seeds that are words": ("seeds", _field(seeds=["one"])),
        "seeds that are no list": ("seeds", _field(seeds=3)),
        "negative seed": ("seeds", _field(seeds=[-1])),
        "seed beyond 64 bits": ("seeds", _field(seeds=[2**70])),
        "same seed twice": ("twice", _field(seeds=[1, 1])),
        "no shots": ("shots", _field(shots=[0])),
        "half a shot": ("shots", _field(shots=[1.5])),
        "no methods": ("methods", _field(methods=[])),
        "unknown method": ("did you mean", _field(methods=["cop"])),
        "method option unknown": ("n_cxt", _option(n_cxt=4)),
        "context of no length": ("n_ctx", _option(n_ctx=0)),
        "context of a word": ("n_ctx", _option(n_ctx="four")),
        "unknown supervision": ("did you mean", _field(supervisions=["one_hott"])),
        "K of zero": ("period", _field(supervisions=[{"name": "atlas_csl", "period": 0}])),
        "K below zero": ("period", _field(supervisions=[{"name": "atlas_csl", "period": -3}])),
        "K that is no integer": ("period", _field(supervisions=[{"name": "atlas_csl", "period": 2.5}])),
        "epsilon of zero": ("mix", _field(supervisions=[{"name": "ls", "mix": 0.0}])),
        "epsilon above one": ("mix", _field(supervisions=[{"name": "ls", "mix": 1.5}])),
        "epsilon NaN": ("mix", _field(supervisions=[{"name": "ls", "mix": float("nan")}])),
        "negative temperature": ("temperature", _field(supervisions=[{"name": "csl", "temperature": -1.0}])),
        "endless temperature": (
            "temperature",
            _field(supervisions=[{"name": "csl", "temperature": float("inf")}]),
        ),
        "supervision field unknown": ("epsilon", _field(supervisions=[{"name": "ls", "epsilon": 0.1}])),
        "unknown protocol": ("protocol", _field(protocol="old_to_new")),
        "no datasets": ("datasets", _field(datasets=[])),
        "transfer without a source": ("source", _field(protocol="cross_dataset", datasets=[])),
        "unknown dataset": ("did you mean", _field(datasets=["caltech102"])),
        "name that climbs": ("name", _field(name="../../evil")),
        "view bank of nothing": ("per_image", _field(views={"per_image": 0})),
        "features as float8": ("dtype", _field(views={"dtype": "float8"})),
        "unknown training setting": ("learning_rate", _training(learning_rate=0.1)),
        "learning rate of zero": ("lr", _training(lr=0.0)),
        "endless learning rate": ("lr", _training(lr=float("inf"))),
        "endless weight decay": ("weight_decay", _training(weight_decay=float("inf"))),
        "negative epochs": ("epochs", _training(epochs=-1)),
        "empty batches": ("batch_size", _training(batch_size=0)),
        "optimizer unknown": ("optimizer", _training(optimizer="lion")),
        "training that is a list": ("training", _field(training=[1, 2])),
        "backbone unknown": ("backbone", _field(backbone={"model": "ViT-B-61", "pretrained": "openai"})),
        "backbone tag unknown": ("tag", _field(backbone={"model": "ViT-B-32", "pretrained": "openia"})),
        "precision unknown": ("precision", _field(backbone={"model": "demo", "precision": "int4"})),
    },
)

refused_each(
    "study file",
    {
        "no YAML": ("yaml", lambda ground: ground.run_file("name: [tiny")),
        "a list": ("mapping", lambda ground: ground.run_file("- tiny\n")),
        "empty": ("mapping", lambda ground: ground.run_file("")),
        "bytes": ("cannot be read", lambda ground: ground.run_file(b"\xff\xfe\x00name")),
        "python object": (
            "yaml",
            lambda ground: ground.run_file("name: !!python/object/apply:os.system ['true']"),
        ),
        "missing": ("cannot be read", lambda ground: ground.atlas("run", str(ground.folder / "absent.yaml"))),
        "a folder": ("cannot be read", lambda ground: _run_a_folder(ground)),
        "unknown preset": ("unknown study", lambda ground: ground.atlas("run", "base-to-old")),
        "benchmark of itself": ("benchmark", lambda ground: ground.run_file("studies: [study.yaml]")),
        "benchmark of a number": ("studies", lambda ground: ground.run_file("studies: 4")),
        "benchmark with a stray field": ("seeds", lambda ground: ground.run_file("studies: [a]\nseeds: [1]")),
        "numbers as field names": ("study", lambda ground: ground.run_file("1: 2\n3: 4\n")),
    },
)

refused_each(
    "--set",
    {
        "without a value": ("--set", _set("seeds")),
        "value no YAML": ("yaml", _set("seeds=[1")),
        "field of a list": ("seeds", _set("seeds.first=1")),
        "without a field": ("--set", _set("=3")),
        "unknown field": ("sedes", _set("sedes=[1]")),
    },
)


def _run_a_folder(ground: Ground) -> Ended:
    (ground.folder / "folder.yaml").mkdir()
    return ground.atlas("run", str(ground.folder / "folder.yaml"))


@refused("seeds")
def set_below_a_field_that_was_set_to_a_list(ground: Ground) -> Ended:
    return ground.atlas("run", "base-to-new", "--set", "seeds=[1]", "--set", "seeds.first=1", "--quiet")


@refused("workers")
def fewer_workers_than_none(ground: Ground) -> Ended:
    return ground.atlas("run", "base-to-new", "--workers", "-1")


@refused("workers")
def workers_that_are_a_word(ground: Ground) -> Ended:
    return ground.atlas("run", "base-to-new", "--workers", "many")


@refused("device", may_add=True)
def a_device_that_is_not_here(ground: Ground) -> Ended:
    study = ground.folder / "study.yaml"
    study.write_text(json.dumps(ground.world.raw_study(seeds=[9], supervisions=["one_hot"])))
    return ground.atlas("run", str(study), "--device", "cuda:77", "--quiet", "--workers", "0")


@refused("--device")
def a_device_in_the_study(ground: Ground) -> Ended:
    return ground.atlas("plan", "base-to-new", "--set", "backbone.device=cpu")


@refused("unknown")
def why_of_a_run_that_is_not(ground: Ground) -> Ended:
    return ground.atlas("why", "a run that nobody ran")


@refused("unknown study")
def a_preset_that_is_a_path(ground: Ground) -> Ended:
    return ground.atlas("run", "../../../etc/passwd")
