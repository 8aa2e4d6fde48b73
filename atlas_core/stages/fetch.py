"""fetch: bring a dataset's files under the data root, or adopt the folder that is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.fetch import ensure_fetched
from atlas_core.stages.stage import Stage, StageContext


def _run(context: StageContext) -> None:
    spec = DatasetSpec(**context.runtime["spec"])
    ensure_fetched(spec, context.placement.data_path)
    # The folder's place is no part of the result: a moved data root makes nothing else stale.
    source = {"name": spec.name, "layout": spec.layout, "source": context.config["source"]}
    (context.out / "source.json").write_text(json.dumps(source, sort_keys=True))


def _usable(runtime: Mapping[str, Any]) -> bool:
    return Path(runtime["folder"]).is_dir()


FETCH = Stage(_run, usable=_usable)
