"""Taking over a study's artifacts after a change of the code that is meant to change no number.

What the store has under another code's key is a candidate. Of each stage some are drawn and remade in a scratch place;
where all are equal bit for bit, all candidates are entered under their new keys, and where one is not, none is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.paths import file_names
from atlas_core.errors import AtlasError
from atlas_core.hashing import file_sha256, sha256_of
from atlas_core.manifest import Manifest, read_manifest
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph
from atlas_core.plan.node import Node
from atlas_core.plan.resolve import NodeState, Resolver, newest_first
from atlas_core.plan.stacks import stack_names
from atlas_core.plan.workers import JobFailure, attempt_here
from atlas_core.stages.fetch import note_generator
from atlas_core.stages.stage import LOOKS_OUTSIDE, STAGES, Job
from atlas_core.store import Store

# Its rows hold the runs' keys, so it is made again: that takes no training.
_LEFT = frozenset({"aggregate"})


@dataclass(frozen=True)
class Candidate:
    """An artifact that may stand for what a job would make.

    Attributes:
        job: Makes it with the present code.
        manifest: What the store has under another key.
        stack: The node's stack; empty where it trains alone.
    """

    job: Job
    manifest: Manifest
    stack: str


def candidates(graph: Graph, resolver: Resolver) -> list[Candidate]:
    """All candidates of a study, inputs before what uses them.

    A candidate's inputs are fresh, or candidates whose content is taken for what it will be.
    """
    states: dict[str, NodeState] = {}
    versions: dict[str, list[Manifest]] = {}
    for each in newest_first(resolver.manifests()):
        versions.setdefault(_but_code(each.key_parts), []).append(each)
    stacks = stack_names(graph.nodes)
    found: list[Candidate] = []
    for node in graph.nodes:
        state = states[node.name] = resolver.look_up(node, states)
        if state.key_parts is None or state.status == "fresh" or node.stage in _LEFT:
            continue
        same = versions.get(_but_code(state.key_parts), []) if _is_there(node) else []
        whole = (each for each in same if resolver.store.lookup(each.stage, each.key))
        if (manifest := next(whole, None)) is not None:
            job = resolver.job(node, states)
            found.append(Candidate(job, manifest, stacks.get(node.name, "")))
            states[node.name] = NodeState("fresh", state.key_parts, manifest)
    return found


def _but_code(key_parts: Mapping[str, Any]) -> str:
    """What two versions of the code have in common: stage, configuration, inputs and source."""
    return sha256_of({name: part for name, part in key_parts.items() if name != "code"})


def _is_there(node: Node) -> bool:
    """Whether what an artifact stands for, outside the store, is there."""
    usable = STAGES.get(node.stage).usable if node.stage in LOOKS_OUTSIDE else None
    return usable is None or usable(node.runtime)


def drawn(found: Sequence[Candidate], number: int) -> list[list[Candidate]]:
    """Those to remake: of each stage `number`, drawn by their names; a stack's members together.

    Raises:
        AtlasError: A stage's artifacts were all trained in stacks that this study does not have.
    """
    groups: list[list[Candidate]] = []
    for stage in dict.fromkeys(each.job.stage for each in found):
        of_stage = [each for each in found if each.job.stage == stage]
        units = {tuple(member.job.name for member in unit): unit for unit in _units(of_stage)}
        if not units:
            raise AtlasError(
                f"none of the {len(of_stage)} {stage} artifacts can be made as it was: each was trained in a stack, and"
                " the study has no stack of that size",
                expected="the study that the artifacts were made for",
                fix="run the study; nothing was accepted",
            )
        names = sorted(units)
        chosen = random.Random(str(names)).sample(names, min(number, len(names)))
        groups += [units[name] for name in chosen]
    return groups


def _units(of_stage: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Candidates that can be remade as they were made: alone, or with the other members of their stack."""
    for each in of_stage:
        if each.manifest.trained_with == 0:
            yield [each]
    for stack in dict.fromkeys(each.stack for each in of_stage if each.manifest.trained_with):
        members = [each for each in of_stage if each.stack == stack]
        if stack and all(each.manifest.trained_with == len(members) - 1 for each in members):
            yield members


def check(store: Store, unit: Sequence[Candidate], placement: Placement) -> None:
    """Remake artifacts in a scratch place and compare every file.

    Raises:
        AtlasError: One cannot be remade, or a file is not the same; names both.
    """
    with store.scratch("accept") as folder:
        Store(folder).make()
        for ref in {ref for each in unit for ref in each.job.inputs.values()}:
            place = folder / ref.stage / ref.key
            place.parent.mkdir(exist_ok=True)
            place.symlink_to(store.path(ref.stage, ref.key))
        there = placement.model_copy(update={"store": folder, "stack": len(unit)})
        if _is_generated(unit[0].job):
            there = there.model_copy(update={"data_root": folder / ".data"})
        for each, outcome in zip(unit, attempt_here([each.job for each in unit], there), strict=True):
            if isinstance(outcome, JobFailure):
                raise AtlasError(
                    f"{each.job.name} cannot be remade: {outcome.message}",
                    expected="code that makes what the store has",
                    fix="correct it, or run the study; nothing was accepted",
                )
            remade = read_manifest(folder / outcome.ref.stage / outcome.ref.key)
            assert remade is not None
            made, now = (
                {name: file.sha256 for name, file in of.outputs.items()} for of in (each.manifest, remade)
            )
            _compare(each.job.name, made, now)
            if _is_generated(each.job):
                spec = DatasetSpec(**each.job.runtime["spec"])
                _compare(each.job.name, *(_hashes(spec.path(of.data_path)) for of in (placement, there)))


def enter(store: Store, found: Sequence[Candidate], checked: Sequence[str], placement: Placement) -> None:
    """Enter all candidates under their new keys, inputs before what uses them; each is whole whatever happens.

    Args:
        checked: Names of those that were remade.

    Raises:
        AtlasError: The store cannot be written to.
    """
    for each in found:
        store.enter(each.manifest, each.job.key_parts, checked)
        if _is_generated(each.job):
            note_generator(
                placement.data_path, DatasetSpec(**each.job.runtime["spec"]).name, each.job.runtime
            )


def _is_generated(job: Job) -> bool:
    return job.stage == "fetch" and "generator" in job.runtime


def _hashes(folder: Path) -> dict[str, str]:
    return {path: file_sha256(folder / path) for path in file_names(folder)}


def _compare(name: str, made: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise where files, by their hashes, are not the same."""
    for file in sorted(made.keys() | now.keys()):
        if made.get(file) != now.get(file):
            raise AtlasError(
                f"{name}: {file} is not what the store has",
                expected="code that gives the same, bit for bit",
                fix="run the study, which makes all that is stale again; nothing was accepted",
            )
