"""`atlas status` of a study of 10,000 artifacts that are all in the store: a whole process, from its start to its end.

The artifacts are made up, so that nothing needs to be trained, but each lies under the key that the study's plan gives
it, so that the command finds all of them fresh. Elapsed time and CPU seconds.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from atlas_core.config import StudyConfig
from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.resolve import Resolver
from atlas_core.presets import validate_study
from atlas_core.store import Store

Row = dict[str, object]

_STUDY = {
    "name": "ten-thousand",
    "protocol": "base_to_new",
    "datasets": ["demo_shapes", "demo_digits", "demo_objects", "demo_textures"],
    "methods": ["coop", "kgcoop", "tcp", "cocoop"],
    "supervisions": ["one_hot", "ls", "csl", "isl", "atlas_ls", "atlas_csl", "atlas_isl", "tfkd"],
}
_SEEDS = 26


def rows(repeats: int = 3, quick: bool = False) -> Iterator[Row]:
    """One row, the fastest of `repeats`; `quick` takes a thirteenth of the seeds."""
    study = validate_study(
        {**_STUDY, "seeds": list(range(_SEEDS // 13 if quick else _SEEDS))}, "of the benchmark"
    )
    with TemporaryDirectory() as folder:
        placement = Placement(home=Path(folder), workers=0)
        artifacts = make_up(study, placement)
        path = Path(folder) / "study.yaml"
        path.write_text(json.dumps(study.model_dump(mode="json")))  # JSON is YAML
        wall, cpu = min(_status(path, placement, artifacts) for _ in range(repeats))
    yield {
        "name": f"atlas status, {artifacts:,} artifacts, all fresh",
        "ours_seconds": wall,
        "cpu_seconds": cpu,
        "clock": "wall",
        "goal_seconds": 2.0,
    }


def make_up(study: StudyConfig, placement: Placement) -> int:
    """Put an artifact with a made-up file under every key of a study's plan; returns how many there are."""
    for name in study.datasets:
        dataset_spec(name).path(placement.data_path).mkdir(parents=True)
    graph, store = build_graph(study, placement), Store(placement.store_path)
    resolver = Resolver(graph, store)
    while jobs := resolver.ready_jobs(resolver.states()):
        for job in jobs:
            text = f"made up for {job.name}"
            store.publish(
                job.stage,
                job.name,
                job.key_parts,
                lambda out, text=text: (out / "content").write_text(text),  # type: ignore[misc]
                family=job.family,
            )
    return len(graph.nodes)


def _status(study: Path, placement: Placement, artifacts: int) -> tuple[float, float]:
    """Elapsed and CPU seconds of one call."""
    command = [sys.executable, "-m", "atlas_core.cli", "status", str(study), "--home", str(placement.home)]
    wall, cpu = time.perf_counter(), _children_cpu()
    done = subprocess.run([*command, "--format", "json"], check=True, capture_output=True, text=True)
    spent = time.perf_counter() - wall, _children_cpu() - cpu
    said = [node["status"] for node in json.loads(done.stdout)]
    assert said == ["fresh"] * artifacts, "the command did not find what was put there"
    return spent


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
