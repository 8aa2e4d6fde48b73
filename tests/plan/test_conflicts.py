"""What cannot work together is told by the plan and before the first job, whatever the method."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from atlas_core.backbone.config_facts import context_length, has_tokens, image_tower_kind, too_long
from atlas_core.errors import AtlasError
from atlas_core.labels.base import SOURCES, LabelSource
from atlas_core.methods.base import PromptMethod
from atlas_core.methods.prompts import words
from atlas_core.methods.registry import METHODS, method_traits
from atlas_core.methods.traits.base import Classes, MethodTraits, Requirements, parse_options
from atlas_core.plan.build import build_graph
from atlas_core.plan.conflicts import conflicts
from atlas_core.plan.known_datasets import known_datasets
from atlas_core.plan.resolve import Resolver
from atlas_core.store import Store
from atlas_core.training.recipe import method_defaults
from tests.small_clip import small_clip, small_config
from tests.studies.test_dataset_identity import draw
from tests.tiny_study import TinyWorld, make_world

RESNET = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}
PROMPTING = {"vpt", "ivlp", "maple", "promptsrc", "coprompt", "dept_maple"}


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    return make_world(tmp_path / "home", images=2)


def found(world: TinyWorld, **fields: Any) -> list[str]:
    """The plan's conflicts; a study that has some is refused before its first job, with the same words."""
    study = world.study(**{"supervisions": ["one_hot"], **fields})
    graph = build_graph(study, world.placement)
    states = Resolver(graph, Store(world.placement.store_path)).states()
    lines = conflicts(graph, known_datasets(graph, states, world.placement))
    if lines:
        with pytest.raises(AtlasError) as caught:
            world.run(**{"supervisions": ["one_hot"], **fields})
        assert all(line in str(caught.value) for line in lines[:8])
        assert list(Store(world.placement.store_path).manifests()) == []
    return lines


def with_config(world: TinyWorld, **changed: Any) -> dict[str, str]:
    path = world.home / "other.json"
    path.write_text(json.dumps({**small_config(), **changed}))
    return {"model": str(path), "weights": str(world.home / "clip.safetensors")}


def test_a_study_that_works_has_none(world: TinyWorld) -> None:
    methods = [
        name for name in METHODS.names() if name in PROMPTING | {"coop", "tcp", "prograd", "zero_shot"}
    ]
    assert found(world, methods=methods, supervisions=["one_hot", "tfkd", "tfkd_self", "atlas_isl"]) == []


def test_methods_with_visual_prompts_over_a_resnet(world: TinyWorld) -> None:
    backbone = with_config(world, vision_cfg=RESNET)
    lines = found(world, methods=METHODS.names(), backbone=backbone)
    assert {line.split()[0] for line in lines} == PROMPTING
    assert all("and the image tower of" in line and "is a ResNet" in line for line in lines)


def test_every_method_says_whether_it_prompts_the_image_tower() -> None:
    for name in METHODS.names():
        assert requirements(name).vision_transformer == (name in PROMPTING)


def test_the_config_tells_the_image_tower_that_methods_can_prompt() -> None:
    known = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    assert {name: image_tower_kind(name) for name in ("RN50", "RN50x4-quickgelu", "ViT-B-16", "ViT-L-14-336")} == {
        "RN50": "a ResNet", "RN50x4-quickgelu": "a ResNet", "ViT-B-16": "", "ViT-L-14-336": "",
    }  # fmt: skip
    for name, config in known.items():
        if "timm_model_name" in config["vision_cfg"]:
            assert "timm" in image_tower_kind(name)


@pytest.mark.parametrize("protocol", ["base_to_new", "cross_dataset"])
def test_class_specific_contexts_where_other_classes_are_tested(world: TinyWorld, protocol: str) -> None:
    ponds, woods = world.raw_study()["datasets"]
    fields: dict[str, Any] = {
        "methods": [{"name": "coop", "options": {"class_specific": True, "ctx_init": ""}}]
    }
    if protocol == "cross_dataset":
        fields |= {"protocol": protocol, "datasets": [], "source": ponds, "targets": [woods]}
    lines = found(world, **fields)
    assert lines
    assert all("set class_specific: false" in line for line in lines)


def test_class_specific_contexts_on_their_own_classes(world: TinyWorld) -> None:
    assert (
        found(
            world,
            protocol="few_shot",
            methods=[{"name": "coop", "options": {"class_specific": True, "ctx_init": ""}}],
        )
        == []
    )


@pytest.mark.parametrize("method", ["zero_shot", "coop", "tcp", "maple", "cocoop", "kgcoop", "prograd"])
def test_a_prompt_that_is_too_long(world: TinyWorld, method: str) -> None:
    long = draw(world.home / "long", ("robin", " ".join(["a"] * 80)))
    (line, *_) = found(world, datasets=[long], protocol="few_shot", methods=[method])
    assert "has more tokens than the 77" in line


def test_a_long_context_before_a_short_name(world: TinyWorld) -> None:
    methods = [{"name": "coop", "options": {"n_ctx": 64}}]
    names = draw(world.home / "names", ("robin", " ".join(["wren"] * 10)))
    assert found(world, datasets=[names], protocol="few_shot", methods=methods) == []
    longer = draw(world.home / "longer", ("robin", " ".join(["wren"] * 11)))
    (line,) = found(world, datasets=[longer], protocol="few_shot", methods=methods)
    assert line.startswith("coop on longer")


@pytest.mark.parametrize("n_words", [73, 74, 75])
def test_a_prompt_of_exactly_the_context_length_is_legal(n_words: int) -> None:
    clip, prompt = small_clip(), " ".join(["wren"] * n_words) + "."
    fits = n_words + 1 + 2 <= clip.text.context_length
    assert (too_long([prompt], "ViT-B-32") is None) == fits
    if not fits:
        with pytest.raises(AtlasError, match="at most 77 tokens"):
            clip.check_length([prompt])
        return
    clip.check_length([prompt])
    whole = clip.encode_text([prompt])
    assert not torch.equal(whole, clip.encode_text([" ".join(["wren"] * (n_words - 1)) + "."]))


def test_a_study_with_prompts_of_exactly_the_context_length_runs(world: TinyWorld) -> None:
    # start, 64 context vectors, ten words, the full stop, end
    names = draw(world.home / "names", tuple(" ".join([word] * 10) for word in ("robin", "wren")))
    methods = [{"name": "coop", "options": {"n_ctx": 64}}]
    world.run(datasets=[names], protocol="few_shot", methods=methods, supervisions=["one_hot"])


def test_the_tokenizer_is_asked_about_long_prompts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas_core.backbone.config_facts._tokenizer", lambda model: pytest.fail("was asked"))
    assert context_length("ViT-B-16") == 77
    assert too_long(["a photo of a white-throated needletail, a type of bird."], "ViT-B-16") is None
    assert has_tokens("a photo of a", 4, "ViT-B-16")


@pytest.mark.parametrize(
    ("method", "options", "said"),
    [
        ("maple", {"n_ctx": 6}, "starts 6 context vectors from 'a photo of a'"),
        ("ivlp", {"n_ctx_text": 6}, "starts 6 context vectors from 'a photo of a'"),
        ("tcp", {"n_ctx": 4, "ctx_init": "a bird"}, "starts 4 context vectors from 'a bird'"),
        ("tcp", {"inject_at": 9}, "enters text block 9"),
        ("prograd", {"n_ctx": 2}, "2 context vectors for the 4 words"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(
    world: TinyWorld, method: str, options: dict[str, Any], said: str
) -> None:
    lines = found(world, methods=[{"name": method, "options": options}])
    assert lines
    assert all(said in line for line in lines)


def test_a_supervision_over_too_few_classes(world: TinyWorld) -> None:
    two = draw(world.home / "two", ("robin", "wren"))
    (line,) = found(world, datasets=[two], supervisions=["one_hot", "tfkd"])
    assert line == "supervision tfkd needs 2 classes, and two/base has 1"


def test_a_supervision_whose_input_nothing_makes(world: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    source: type[LabelSource] = SOURCES.get("tfkd_self")
    monkeypatch.setattr(source, "needs", frozenset({"teacher", "second teacher"}))
    lines = found(world, supervisions=["tfkd_self"])
    assert lines == ["supervision tfkd_self needs second teacher, which no stage makes"]


def test_a_class_without_sentences(world: TinyWorld) -> None:
    sentences = world.home / "sentences.json"
    sentences.write_text(
        json.dumps({"blue jay": ["A jay."], "green frog": ["A frog."], "grey seal": ["A seal."]})
    )
    methods = [{"name": "coprompt", "options": {"sentences_file": str(sentences)}}]
    assert found(world, methods=methods) == []
    (line,) = found(world, methods=methods, protocol="few_shot")
    assert "'red fox'" in line
    sentences.write_text(json.dumps({"blue jay": ["A jay."], "green frog": ["a " * 80]}))
    line, _ = found(world, methods=methods)
    assert line.startswith("sentences on ponds")


def test_a_dataset_that_has_to_be_fetched_is_refused_before_its_features(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its classes are known once its images are taken out of the Parquet file: then, and not before, it is refused.
    parquet = world.home / "pets.parquet"
    picture = io.BytesIO()
    Image.new("RGB", (24, 24)).save(picture, "PNG")
    names = ["robin"] * 8 + [" ".join(["a"] * 80)] * 8
    pq.write_table(pa.table({"image": [picture.getvalue()] * 16, "label": names}), parquet)
    fields: dict[str, Any] = {
        "protocol": "few_shot",
        "datasets": [f"hf_parquet:{parquet}", world.raw_study()["datasets"][0]],
    }
    study = {**fields, "methods": ["zero_shot"], "supervisions": ["one_hot"]}
    with pytest.raises(
        AtlasError, match=r"dataset pets in study tiny cannot work: .* has more tokens than the 77"
    ):
        world.run(**study)
    made = [manifest.name for manifest in Store(world.placement.store_path).manifests()]
    assert "index/pets" in made
    assert not [name for name in made if "features/pets" in name]
    assert [name for name in made if name.startswith("evaluate/ponds")]


def requirements(name: str, **options: Any) -> Requirements:
    traits: type[MethodTraits] = method_traits(name)
    parsed = parse_options(traits, {**method_defaults(traits.defaults_file).options, **options})
    return traits.requirements(parsed, Classes((), {"coop": "a photo of a {}."}))


@pytest.mark.parametrize("name", [each for each in METHODS.names() if each not in ("zero_shot", "vpt")])
def test_the_prompt_that_traits_name_is_the_one_that_the_method_tokenises(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    clip = small_clip()
    monkeypatch.setattr(type(clip), "check_length", lambda self, prompts: checked.extend(prompts))
    method: type[PromptMethod] = METHODS.get(name)
    options = parse_options(method, method_defaults(method.defaults_file).options)
    classes = Classes(("red fox", "owl"), {"coop": "a photo of a {}."})
    method(clip, classes, options, generator=torch.Generator().manual_seed(0))
    prompt = requirements(name).prompt
    assert prompt is not None
    assert checked == [prompt.replace("{}", each) for each in classes.names]
    assert words("a_photo of") == ["a", "photo", "of"]
