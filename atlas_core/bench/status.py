"""`atlas status`, and `atlas run`, of a study of 10,000 artifacts that are all in the store: whole processes.

The artifacts are made up, so that nothing needs to be trained, but each lies under the key that the study's plan gives
it, so that the commands find all of them fresh. Elapsed time from a process's start to its end, and CPU seconds.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from atlas_core.config import StudyConfig
from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.datasets.items import SPLITS, DatasetIndex, Item
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.resolve import Resolver
from atlas_core.presets import validate_study
from atlas_core.stages.index import write_index
from atlas_core.stages.stage import Job
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
    """Two rows, the fastest of `repeats` each; `quick` takes a thirteenth of the seeds."""
    study = validate_study(
        {**_STUDY, "seeds": list(range(_SEEDS // 13 if quick else _SEEDS))}, "of the benchmark"
    )
    with TemporaryDirectory() as folder:
        placement = Placement(home=Path(folder), workers=0)
        artifacts = make_up(study, placement)
        path = Path(folder) / "study.yaml"
        path.write_text(json.dumps(study.model_dump(mode="json")))  # JSON is YAML
        for command, check, goal in (("status", _all_fresh, 2.0), ("run", _nothing_made, 5.0)):
            wall, cpu = min(_spent(command, path, placement, check, artifacts) for _ in range(repeats))
            yield {
                "name": f"atlas {command}, {artifacts:,} artifacts, all of them fresh",
                "ours_seconds": wall,
                "cpu_seconds": cpu,
                "clock": "wall",
                "goal_seconds": goal,
            }


def make_up(study: StudyConfig, placement: Placement) -> int:
    """Put an artifact with a made-up file under every key of a study's plan; returns how many there are."""
    for name in study.datasets:
        dataset_spec(name).path(placement.data_path).mkdir(parents=True)
    graph, store = build_graph(study, placement), Store(placement.store_path)
    resolver = Resolver(graph, store)
    while jobs := resolver.ready_jobs(resolver.states()):
        for job in jobs:
            write = partial(_write, job=job)
            store.publish(job.stage, job.name, job.key_parts, write, family=job.family)
    return len(graph.nodes)


def _write(out: Path, job: Job) -> None:
    """What is made up for a job; an index is read when a study starts, so it has to be one."""
    if job.stage == "index":
        items = [Item(f"{split}/{n}", n % 4, f"class {n % 4}", split) for split in SPLITS for n in range(64)]
        names = tuple(f"class {label}" for label in range(4))
        write_index(DatasetIndex(job.name, out, tuple(items), names), [""] * len(items), out)
    (out / "content").write_text(f"made up for {job.name}")


def _spent(
    command: str, study: Path, placement: Placement, check: Callable[[str, int], None], artifacts: int
) -> tuple[float, float]:
    """Elapsed and CPU seconds of one call, whose answer is checked."""
    line = [sys.executable, "-m", "atlas_core.cli", command, str(study), "--home", str(placement.home)]
    line += ["--format", "json"] if command == "status" else ["--workers", "1"]
    wall, cpu = time.perf_counter(), _children_cpu()
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    spent = time.perf_counter() - wall, _children_cpu() - cpu
    check(done.stdout + done.stderr, artifacts)
    return spent


def _all_fresh(answer: str, artifacts: int) -> None:
    said = [node["status"] for node in json.loads(answer)]
    assert said == ["fresh"] * artifacts, "the command did not find what was put there"


def _nothing_made(answer: str, artifacts: int) -> None:
    counts = re.findall(r"(\d+) made +(\d+) cached", answer)
    assert [sum(map(int, each)) for each in zip(*counts, strict=True)] == [0, artifacts], answer


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
