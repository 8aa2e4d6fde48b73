"""No change of what a stage computes leaves its key as it is: drawn changes that the key does not see are run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import atlas_core
from atlas_core.code import closure, modules
from atlas_core.code.closure import Sources
from atlas_core.methods.registry import METHODS
from atlas_core.plan.build import build_graph
from atlas_core.plan.resolve import Resolver
from atlas_core.store import Store
from tests.plan import mutants
from tests.plan.mutants import Mutant
from tests.tiny_study import TinyWorld

PACKAGE = Path(atlas_core.__file__).parent
SEED = 20_250_817


def module_of(file: str) -> str:
    parts = Path(file).relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class Sampler:
    """Draws mutants for the jobs of a finished study and counts what becomes of them."""

    def __init__(self, world: TinyWorld, folder: Path, **overrides: Any) -> None:
        self.folder = folder
        graph = build_graph(world.study(**overrides), world.placement)
        store = Store(world.placement.store_path)
        resolver = Resolver(graph, store)
        states = resolver.states()
        assert {state.status for state in states.values()} == {"fresh"}
        self.nodes = {node.name: node for node in graph.nodes}
        self.jobs: dict[str, dict[str, Any]] = {}
        for node in graph.nodes:
            job = resolver.job(node, states)
            inputs = {role: str(store.path(ref.stage, ref.key)) for role, ref in job.inputs.items()}
            self.jobs[node.name] = {
                "stage": job.stage,
                "config": job.config,
                "inputs": inputs,
                "key": job.key,
                "runtime": job.runtime,
                "home": str(world.home),
            }
        self.process = subprocess.Popen(
            [sys.executable, str(Path(mutants.__file__))],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACKAGE.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.counts: Counter[str] = Counter()
        self.false_fresh: list[str] = []

    def check(self, name: str, count: int) -> None:
        """Draw changes of what a job runs; run those that leave its key, and note which of them change its output."""
        lines = self._ask({"stage": self.jobs[name], "package": str(PACKAGE)})
        drawn = mutants.draw(lines, count, SEED)
        unseen = [each for each in drawn if not self._changes_key(name, each)]
        changes = [(module_of(each.file), each.file, each.source()) for each in unseen]
        answer = self._ask({"stage": self.jobs[name], "changes": changes})
        self.counts.update({"stale": len(drawn) - len(unseen), "drawn": len(drawn)})
        for mutant, outcome in zip(unseen, answer["changed"], strict=True):
            if outcome == answer["unchanged"]:
                self.counts["fresh, and makes the same"] += 1
            elif ":" in outcome:
                self.counts["fresh, and makes nothing"] += 1
            else:
                self.false_fresh.append(f"{name}: {mutant}")

    def _changes_key(self, name: str, mutant: Mutant) -> bool:
        changed = self.folder / Path(mutant.file).name
        changed.write_text(mutant.source())
        original, module = closure.source_path, module_of(mutant.file)
        roots = self.nodes[name].roots
        with pytest.MonkeyPatch.context() as patch:
            before = Sources().digest(roots)
            patch.setattr(
                closure, "source_path", lambda asked: changed if asked == module else original(asked)
            )
            return Sources().digest(roots) != before

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a changed file is of no use to anybody."""
    monkeypatch.setattr(modules, "keep_answer", lambda *_: None)


def sample(
    world: TinyWorld, folder: Path, wanted: Sequence[str], count: int, **overrides: Any
) -> tuple[Counter[str], list[str]]:
    """Check jobs whose names match; returns what became of the changes, and those that a key should have seen."""
    sampler = Sampler(world, folder, **overrides)
    try:
        for pattern in wanted:
            names = [name for name in sampler.jobs if re.search(pattern, name)]
            assert names, f"no job is called {pattern}"
            sampler.check(names[0], count)
    finally:
        sampler.close()
    return sampler.counts, sampler.false_fresh


def test_no_change_of_what_a_stage_computes_leaves_its_key(
    finished: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["index/", "text_features/", "image_features/.*train", "csl/", "isl/"]
    wanted += ["tune/.*/ols/", "tune/.*/atlas_isl/", "evaluate/.*/ls/", "aggregate/"]
    counts, false_fresh = sample(finished, tmp_path, wanted, 35)
    with capsys.disabled():
        print(f"\n{dict(counts)}")
    assert false_fresh == []
    assert counts["drawn"] >= 300


@pytest.mark.slow
def test_no_change_of_what_any_method_computes_leaves_its_key(
    world: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisions = ["one_hot", "atlas_csl", "tfkd", "tfkd_self"]
    study = {
        "methods": METHODS.names(),
        "supervisions": supervisions,
        "training": {"epochs": 5, "batch_size": 4},
    }
    world.run(**study)
    wanted = ["pixels/.*train", "image_features/.*randaugment", "evaluate/.*zero_shot", "fetch/"]
    wanted += [f"tune/.*/{method}/{{}}" for method in METHODS.names() if method != "zero_shot"]
    wanted = [each.format(supervisions[number % 4]) + "/?" for number, each in enumerate(wanted)]
    wanted += ["evaluate/.*/maple/", "evaluate/.*/cocoop/"]
    counts, false_fresh = sample(world, tmp_path, wanted, 60, **study)
    with capsys.disabled():
        print(f"\n{dict(counts)}")
    assert false_fresh == []
