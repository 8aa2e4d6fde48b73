"""Studies as data: presets, files, overrides, and what is refused."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.commands.options import overrides_from
from atlas_core.errors import AtlasError
from atlas_core.methods.registry import METHODS
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.conflicts import conflicts
from atlas_core.presets import load_studies, load_study, preset_names, study_title, validate_study

BASE = {
    "name": "mine",
    "protocol": "base_to_new",
    "datasets": ["demo_shapes"],
    "methods": ["coop"],
    "supervisions": ["one_hot"],
}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_valid_study_named_like_its_file(name: str) -> None:
    studies = load_studies(name)
    assert studies
    if len(studies) == 1:
        assert studies[0].name == name


@pytest.mark.parametrize("kind", ["demo", "quick", "paper"])
def test_a_benchmark_chains_every_protocol(kind: str) -> None:
    protocols = {study.protocol for study in load_studies(f"benchmark-{kind}")}
    assert protocols == {"base_to_new", "cross_dataset", "domain_generalization", "few_shot"}


def test_paper_presets_draw_one_view_an_epoch_as_published() -> None:
    for name in preset_names():
        if "paper" in name:
            assert {study.views.per_image for study in load_studies(name)} == {"epochs"}


@pytest.mark.parametrize(
    "preset",
    [
        "base-to-new-paper",
        "base-to-new-paper-10seeds",
        "cross-dataset-paper",
        "domain-generalization-paper",
    ],
)
def test_a_paper_preset_of_every_method_has_every_method(preset: str) -> None:
    (study,) = load_studies(preset)
    assert sorted(method.name for method in study.methods) == sorted(METHODS.names())


def test_the_readme_counts_the_methods() -> None:
    words = {15: "Fifteen", 16: "Sixteen", 17: "Seventeen"}
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"\n{words[len(METHODS.names())]} methods" in readme


def test_a_protocol_and_a_preset_name_a_study() -> None:
    assert study_title("base-to-new", "demo") == "base-to-new-demo"
    assert study_title("few_shot", "quick") == "few-shot-quick"
    assert study_title("base-to-new-demo", "paper") == "base-to-new-demo"
    assert study_title("my/study.yaml", "demo") == "my/study.yaml"


def test_overrides_replace_lists_and_merge_mappings() -> None:
    overrides = overrides_from(["seeds=[7]", "training.epochs=3", "views.per_image=epochs"])
    study = load_study("base-to-new-demo", overrides)
    assert study.seeds == (7,)
    assert study.training == {"epochs": 3}
    assert study.views.per_image == "epochs"
    assert study.backbone.model == "demo"


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"datasets": ["demo_shape"]}, "demo_shapes"),
        ({"methods": ["cop"]}, "coop"),
        ({"supervisions": ["atlas_cls"]}, "atlas_csl"),
        ({"protocol": "base_to_old"}, "base_to_new"),
        ({"protocol": "cross_dataset"}, "source"),
        ({"protocol": "few_shot", "datasets": []}, "datasets"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": [1, 1]}, "twice"),
        ({"shots": [0]}, "shots"),
        ({"shots": ["many"]}, "shots"),
        ({"sheds": [1]}, "sheds"),
        ({"supervisions": [{"name": "ls", "mix": 1.5}]}, "mix"),
        ({"supervisions": [{"name": "atlas_ls", "period": 0}]}, "period"),
        ({"views": {"per_image": 0}}, "views.per_image"),
        ({"backbone": {"precision": "fp8"}}, "precision"),
        ({"name": "../escape"}, "name"),
    ],
)
def test_a_wrong_study_names_the_field_and_suggests(change: dict[str, object], hint: str) -> None:
    with pytest.raises(AtlasError) as caught:
        validate_study({**BASE, **change}, "mine.yaml")
    assert hint in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_an_unknown_study_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(AtlasError, match="base-to-new-demo"):
        load_study("base-to-knew-demo")


@pytest.mark.parametrize("text", ["[1, 2]", "name: [", "\x00", ""])
def test_a_file_that_describes_no_study_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(AtlasError):
        load_study(path)


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.none(), max_size=5))
def test_any_mapping_is_a_study_or_one_clear_error(raw: dict[str, object]) -> None:
    try:
        validate_study(raw, "any")
    except AtlasError as error:
        message = str(error)
    else:
        return
    assert "any" in message


def test_a_study_survives_its_own_yaml(tmp_path: Path) -> None:
    study = validate_study(BASE, "mine")
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(study.model_dump(mode="json")))
    assert load_study(path) == study


def test_relative_paths_in_a_study_count_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "birds").mkdir()
    (tmp_path / "studies" / "ponds.yaml").write_text("{name: ponds, layout: image_folder, folder: ponds}")
    path = tmp_path / "studies" / "mine.yaml"
    backbone = {"model": "demo", "weights": "clip.safetensors"}
    path.write_text(
        yaml.safe_dump({**BASE, "datasets": ["ponds.yaml", "image_folder:birds"], "backbone": backbone})
    )
    monkeypatch.chdir(tmp_path)
    study = load_study("studies/mine.yaml")
    folder = tmp_path / "studies"
    assert study.datasets == (str(folder / "ponds.yaml"), f"image_folder:{folder / 'birds'}")
    assert study.backbone.weights == folder / "clip.safetensors"


def test_class_specific_contexts_are_refused_where_a_study_would_test_other_classes(tmp_path: Path) -> None:
    options = {"class_specific": True, "ctx_init": "", "n_ctx": 4}
    methods = [{"name": "coop", "options": options}]

    def found(preset: str) -> list[str]:
        return conflicts(build_graph(load_study(preset, {"methods": methods}), Placement(home=tmp_path)), {})

    assert found("few-shot-demo") == []
    for preset in ("base-to-new-demo", "cross-dataset-demo"):
        assert "class_specific: false" in "".join(found(preset))
    options["class_specific"] = False  # the message's advice
    assert found("base-to-new-demo") == []
