"""fetch: bring a dataset's files under the data root, or adopt the folder that is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.stages.stage import Stage, StageContext


def _run(context: StageContext) -> None:
    from atlas_core.datasets.fetch import ensure_fetched  # HTTP, which telling what is stale does without

    spec = DatasetSpec(**context.runtime["spec"])
    ensure_fetched(spec, context.placement.data_path, again=_drawn_by_other_code(spec, context))
    # Neither the folder's place nor its name in a study is part of the result: what only moves makes nothing stale.
    source = {"layout": spec.layout, "source": context.config["source"]}
    (context.out / "source.json").write_text(json.dumps(source, sort_keys=True))


def _drawn_by_other_code(spec: DatasetSpec, context: StageContext) -> bool:
    """Whether a generated dataset that is there may have been drawn by another version of its generator.

    What a generator draws is not downloaded, so its code is its version; the last one is noted beside the data.
    """
    if spec.source is None or spec.source.generator is None:
        return False
    known = note_generator(context.placement.data_path, spec.name, context.runtime)
    return known != context.runtime["generator"] and spec.path(context.placement.data_path).is_dir()


def note_generator(data_root: Path, name: str, runtime: Mapping[str, Any]) -> str:
    """Note which code drew a dataset, or would draw it alike; returns what was noted before."""
    note = data_root / ".generated" / name
    known = note.read_text(encoding="utf-8") if note.is_file() else ""
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(runtime["generator"], encoding="utf-8")
    return known


def _usable(runtime: Mapping[str, Any]) -> bool:
    return Path(runtime["folder"]).is_dir()


FETCH = Stage(_run, usable=_usable)
