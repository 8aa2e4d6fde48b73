"""Cross-dataset transfer: train on a source, test on other datasets."""

from __future__ import annotations

from prefect import flow

from atlas_core.placement import Placement
from atlas_core.presets import load_study
from flows.study import Dataset, Overrides, given, run_as_tasks


@flow(name="cross-dataset", flow_run_name="cross-dataset-{preset}")
def cross_dataset(
    preset: str = "demo",
    source: Dataset | None = None,
    targets: tuple[Dataset, ...] | None = None,
    overrides: Overrides | None = None,
    placement: Placement | None = None,
) -> str:
    """Run a cross dataset study; returns the key of its result tables.

    Args:
        preset: demo, quick or paper.
        source, targets: Datasets instead of the preset's.
        overrides: Methods, supervisions, shots, seeds, backbone, views, training.
        placement: Where it runs: home folder, store, workers, device.
    """
    study = load_study(f"cross-dataset-{preset}", {"source": source, "targets": targets, **given(overrides)})
    return run_as_tasks(study, placement or Placement())
