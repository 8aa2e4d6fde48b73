"""A flow for each kind of study; they differ in their presets and in what is trained and tested on."""

from collections.abc import Callable

from prefect import flow
from prefect.flows import Flow

from atlas_core.placement import Placement
from atlas_core.presets import load_study
from flows.parameters import Dataset, Overrides, given, presets_of
from flows.study import carry_out

# No `from __future__ import annotations` here: Prefect reads the parameters' types, which differ from flow to flow.


def _on_datasets(name: str, about: str) -> Flow[..., str]:
    """A flow over studies that train and test on the same datasets."""
    Preset = presets_of(name)

    def study(
        preset: Preset = Preset.demo,  # type: ignore[valid-type, attr-defined]
        datasets: tuple[Dataset, ...] | None = None,  # type: ignore[valid-type]
        overrides: Overrides | None = None,
        placement: Placement | None = None,
    ) -> str:
        config = load_study(f"{name}-{preset}", given(overrides, datasets=datasets))
        return carry_out(config, placement or Placement())

    return _flow(study, name, about, "datasets: Datasets instead of the preset's.")


def _from_source_to_targets(name: str, about: str) -> Flow[..., str]:
    """A flow over studies that train on one dataset and test on others."""
    Preset = presets_of(name)

    def study(
        preset: Preset = Preset.demo,  # type: ignore[valid-type, attr-defined]
        source: Dataset | None = None,  # type: ignore[valid-type]
        targets: tuple[Dataset, ...] | None = None,  # type: ignore[valid-type]
        overrides: Overrides | None = None,
        placement: Placement | None = None,
    ) -> str:
        config = load_study(f"{name}-{preset}", given(overrides, source=source, targets=targets))
        return carry_out(config, placement or Placement())

    return _flow(study, name, about, "source, targets: Datasets instead of the preset's.")


def _flow(study: Callable[..., str], name: str, about: str, datasets: str) -> Flow[..., str]:
    study.__name__ = study.__qualname__ = name.replace("-", "_")
    study.__doc__ = f"""{about} Returns the key of the result tables.

    Args:
        preset: What to run; `atlas presets` says what each is.
        {datasets}
        overrides: Methods, supervisions, shots, seeds, backbone, views, training instead of the preset's.
        placement: Where it runs: home folder, store, workers, device.
    """
    return flow(name=name, flow_run_name=f"{name}-{{preset}}", description=about)(study)


base_to_new = _on_datasets("base-to-new", "Train on half of the classes, test on both halves.")
few_shot = _on_datasets("few-shot", "Train and test on all classes, at several numbers of shots.")
cross_dataset = _from_source_to_targets("cross-dataset", "Train on a source, test on other datasets.")
domain_generalization = _from_source_to_targets(
    "domain-generalization", "Train on a source, test on shifted versions of it."
)
supervision_comparison = _on_datasets(
    "supervision-comparison", "One method under every kind of label smoothing, base to new."
)
ablation = _on_datasets("ablation", "ATLaS over its period K, mix and temperature, base to new.")
