"""Domain generalization: train on a source, test on shifted versions of it."""

from __future__ import annotations

from prefect import flow

from atlas_core.placement import Placement
from atlas_core.presets import load_study
from flows.study import Dataset, Overrides, given, run_as_tasks


@flow(name="domain-generalization", flow_run_name="domain-generalization-{preset}")
def domain_generalization(
    preset: str = "demo",
    source: Dataset | None = None,
    targets: tuple[Dataset, ...] | None = None,
    overrides: Overrides | None = None,
    placement: Placement | None = None,
) -> str:
    """Run a domain generalization study; returns the key of its result tables.

    Args:
        preset: demo, quick or paper.
        source, targets: Datasets instead of the preset's.
        overrides: Methods, supervisions, shots, seeds, backbone, views, training.
        placement: Where it runs: home folder, store, workers, device.
    """
    study = load_study(
        f"domain-generalization-{preset}", {"source": source, "targets": targets, **given(overrides)}
    )
    return run_as_tasks(study, placement or Placement())
