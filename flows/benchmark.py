"""The whole benchmark: every protocol, one after the other, sharing every artifact they have in common."""

from __future__ import annotations

from prefect import flow

from atlas_core.placement import Placement
from atlas_core.presets import load_studies
from flows.study import Overrides, given, run_as_tasks


@flow(name="benchmark", flow_run_name="benchmark-{preset}")
def benchmark(
    preset: str = "demo",
    overrides: Overrides | None = None,
    placement: Placement | None = None,
) -> list[str]:
    """Run all studies of a benchmark; returns the keys of their result tables.

    Args:
        preset: demo, quick or paper.
        overrides: Methods, supervisions, shots, seeds, backbone, views, training, for every study.
        placement: Where it runs: home folder, store, workers, device.
    """
    studies = load_studies(f"benchmark-{preset}", given(overrides))
    # The artifacts' keys do not depend on the study, so what one study made is cached in the next.
    return [run_as_tasks(study, placement or Placement()) for study in studies]
