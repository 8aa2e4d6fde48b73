"""The whole benchmark: every study, one after the other, sharing every artifact they have in common."""

from prefect import flow

from atlas_core.placement import Placement
from atlas_core.presets import load_studies
from flows.parameters import Overrides, given, presets_of
from flows.study import carry_out

Preset = presets_of("benchmark")


@flow(name="benchmark", flow_run_name="benchmark-{preset}")
def benchmark(
    preset: Preset = Preset.demo,  # type: ignore[valid-type, attr-defined]
    overrides: Overrides | None = None,
    placement: Placement | None = None,
) -> list[str]:
    """Run all studies of a benchmark; returns the keys of their result tables.

    Args:
        preset: What to run; `atlas presets` says what each is.
        overrides: Methods, supervisions, shots, seeds, backbone, views, training, for every study.
        placement: Where it runs: home folder, store, workers, device.
    """
    studies = load_studies(f"benchmark-{preset}", given(overrides))
    # The artifacts' keys do not depend on the study, so what one study made is cached in the next.
    return [carry_out(study, placement or Placement()) for study in studies]
