"""Every flow turns its parameters into the study that the command line would run; nothing is run here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atlas_core.config import StudyConfig
from atlas_core.placement import Placement
from atlas_core.presets import load_studies, load_study
from flows import benchmark as benchmark_module
from flows import protocols
from flows.parameters import Overrides

Carried = list[tuple[StudyConfig, Placement]]
ON_DATASETS = {
    "base-to-new": protocols.base_to_new,
    "few-shot": protocols.few_shot,
    "supervision-comparison": protocols.supervision_comparison,
    "ablation": protocols.ablation,
}
FROM_A_SOURCE = {
    "cross-dataset": protocols.cross_dataset,
    "domain-generalization": protocols.domain_generalization,
}
PROTOCOL_OF = {
    "base-to-new": "base_to_new",
    "few-shot": "few_shot",
    "supervision-comparison": "base_to_new",
    "ablation": "base_to_new",
    "cross-dataset": "cross_dataset",
    "domain-generalization": "domain_generalization",
}


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> Carried:
    """What would be carried out, instead of its being so."""
    asked: Carried = []

    def remember(study: StudyConfig, placement: Placement) -> str:
        asked.append((study, placement))
        return f"key of {study.name}"

    monkeypatch.setattr(protocols, "carry_out", remember)
    monkeypatch.setattr(benchmark_module, "carry_out", remember)
    return asked


def call(flow: Any, **parameters: Any) -> Any:
    """The body of a flow with parameters as a deployment gives them: plain values, read as its form reads them."""
    return flow.fn(**flow.validate_parameters(parameters))


@pytest.mark.parametrize("name", [*ON_DATASETS, *FROM_A_SOURCE])
def test_without_parameters_a_flow_runs_its_demo(name: str, carried: Carried) -> None:
    flow = (ON_DATASETS | FROM_A_SOURCE)[name]
    assert call(flow) == f"key of {name}-demo"
    ((study, placement),) = carried
    assert study == load_study(f"{name}-demo")
    assert study.protocol == PROTOCOL_OF[name]
    assert placement == Placement()
    assert flow.name == name


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("few-shot", "paper"),
        ("supervision-comparison", "paper"),
        ("ablation", "paper"),
        ("cross-dataset", "quick"),
        ("domain-generalization", "paper"),
    ],
)
def test_a_preset_is_the_one_of_the_command_line(name: str, preset: str, carried: Carried) -> None:
    call((ON_DATASETS | FROM_A_SOURCE)[name], preset=preset)
    assert carried[0][0] == load_study(f"{name}-{preset}")


@pytest.mark.parametrize("name", ON_DATASETS)
def test_datasets_and_overrides_replace_the_preset_s(name: str, carried: Carried, tmp_path: Path) -> None:
    overrides = {
        "methods": ["maple", {"name": "coop", "options": {"n_ctx": 2}}],
        "supervisions": ["one_hot", {"name": "atlas_csl", "period": 3}],
        "shots": [2],
        "seeds": [7],
        "training": {"epochs": 3},
    }
    call(
        ON_DATASETS[name],
        datasets=["demo_glyphs"],
        overrides=overrides,
        placement={"home": str(tmp_path), "workers": 0},
    )
    ((study, placement),) = carried
    assert study == load_study(f"{name}-demo", {**overrides, "datasets": ["demo_glyphs"]})
    assert (study.datasets, study.shots, study.seeds) == (("demo_glyphs",), (2,), (7,))
    assert [method.name for method in study.methods] == ["maple", "coop"]
    assert [(each.name, each.source, each.period) for each in study.supervisions][1] == ("atlas", "csl", 3)
    assert placement == Placement(home=tmp_path, workers=0)


@pytest.mark.parametrize("name", FROM_A_SOURCE)
def test_a_source_and_targets_replace_the_preset_s(name: str, carried: Carried) -> None:
    call(FROM_A_SOURCE[name], source="demo_textures", targets=["demo_shapes", "demo_digits"])
    ((study, _),) = carried
    assert study == load_study(
        f"{name}-demo", {"source": "demo_textures", "targets": ["demo_shapes", "demo_digits"]}
    )
    assert study.source == "demo_textures"
    assert study.targets == ("demo_shapes", "demo_digits")


def test_a_benchmark_carries_out_each_of_its_studies_in_turn(carried: Carried, tmp_path: Path) -> None:
    keys = call(
        benchmark_module.benchmark,
        preset="quick",
        overrides={"seeds": [4], "methods": ["coop"]},
        placement={"home": str(tmp_path)},
    )
    studies = [study for study, _ in carried]
    assert studies == load_studies("benchmark-quick", {"seeds": [4], "methods": ["coop"]})
    assert [study.name for study in studies] == [
        f"{name}-quick" for name in ("base-to-new", "cross-dataset", "domain-generalization", "few-shot")
    ]
    assert all(study.seeds == (4,) for study in studies)
    assert keys == [f"key of {study.name}" for study in studies]
    assert {placement for _, placement in carried} == {Placement(home=tmp_path)}


def test_the_benchmark_s_demo_has_every_flow_s_demo(carried: Carried) -> None:
    call(benchmark_module.benchmark)
    assert {study.name for study, _ in carried} == {f"{name}-demo" for name in ON_DATASETS | FROM_A_SOURCE}


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("few-shot", {"datasets": ["demo_shape"]}, "demo_shapes"),
        ("cross-dataset", {"source": "demo_object"}, "demo_objects"),
        ("domain-generalization", {"targets": ["demo_objects_sketched"]}, "demo_objects_sketch"),
        ("ablation", {"preset": "quick"}, "paper"),
        ("supervision-comparison", {"overrides": {"supervisions": ["atlas_cls"]}}, "atlas_csl"),
        ("few-shot", {"source": "demo_objects"}, "source"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_carried_out(
    name: str, parameters: dict[str, Any], said: str, carried: Carried
) -> None:
    with pytest.raises(Exception, match=said):
        call((ON_DATASETS | FROM_A_SOURCE)[name], **parameters)
    assert carried == []


def test_fields_that_were_left_out_stay_as_the_preset_has_them(carried: Carried) -> None:
    call(protocols.few_shot, overrides=Overrides(seeds=(2,)).model_dump(exclude_unset=True))
    assert carried[0][0] == load_study("few-shot-demo", {"seeds": [2]})
