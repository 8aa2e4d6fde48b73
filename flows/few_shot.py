"""Few-shot classification: all classes, at several numbers of shots."""

from __future__ import annotations

from prefect import flow

from atlas_core.placement import Placement
from atlas_core.presets import load_study
from flows.study import Dataset, Overrides, given, run_as_tasks


@flow(name="few-shot", flow_run_name="few-shot-{preset}")
def few_shot(
    preset: str = "demo",
    datasets: tuple[Dataset, ...] | None = None,
    overrides: Overrides | None = None,
    placement: Placement | None = None,
) -> str:
    """Run a few-shot study; returns the key of its result tables.

    Args:
        preset: demo, quick or paper.
        datasets: Datasets instead of the preset's.
        overrides: Methods, supervisions, shots, seeds, backbone, views, training.
        placement: Where it runs: home folder, store, workers, device.
    """
    study = load_study(f"few-shot-{preset}", {"datasets": datasets, **given(overrides)})
    return run_as_tasks(study, placement or Placement())
