"""The list of methods, and a method that another installed package adds."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest
import torch

from atlas_core.errors import AtlasError
from atlas_core.labels.base import FrozenTargets
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import Classes, PromptMethod, parse_options
from atlas_core.methods.registry import METHODS
from atlas_core.training.data import TrainingData
from atlas_core.training.loop import train
from atlas_core.training.recipe import method_defaults, resolve_recipe
from tests.methods.visual_case import NAMES, NEW_NAMES, clip_of_state

TOY_MODULE = '''
"""A method of one file, outside of the package."""

from pathlib import Path

import torch
from torch import nn

from atlas_core.methods.base import MethodOptions, PromptMethod, TextReference


class ToyOptions(MethodOptions):
    size: float = 1.0


class Toy(PromptMethod):
    """A learned direction added to every class feature."""

    defaults_file = Path(__file__).with_suffix(".yaml")
    Options = ToyOptions

    def __init__(self, clip, classes, options, *, generator, reference=None):
        super().__init__(clip, classes, options, generator=generator, reference=reference)
        self.direction = nn.Parameter(options.size * torch.randn(clip.embed_dim, generator=generator))

    @classmethod
    def text_reference(cls, options, classes):
        return TextReference((classes.template("coop"),))

    def encoder(self):
        text = self.reference + self.direction
        return lambda features: (features, text)
'''
TOY_YAML = "{source: this test, training: {lr: 0.1, batch_size: 4, epochs: 5}, options: {size: 0.5}}\n"


@pytest.fixture
def toy_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed distribution with an entry point in the group `atlas.methods`; the method's name."""
    (tmp_path / "toy_prompts.py").write_text(TOY_MODULE)
    (tmp_path / "toy_prompts.yaml").write_text(TOY_YAML)
    info = tmp_path / "toy_prompts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-prompts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[atlas.methods]\ntoy = toy_prompts:Toy\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    invalidate_caches()
    # Entry points are looked up once a process; look again, and forget the toy afterwards.
    monkeypatch.setattr(METHODS, "_discovered", False)
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    monkeypatch.delitem(sys.modules, "toy_prompts", raising=False)
    return "toy"


def test_a_method_of_another_package_is_listed_and_trained_and_rebuilt(toy_package: str) -> None:
    assert toy_package in METHODS.names()
    assert METHODS.summary(toy_package) == "A learned direction added to every class feature."
    assert METHODS.target(toy_package) == "toy_prompts:Toy"
    method_class = METHODS.get(toy_package)
    recipe, options = resolve_recipe(
        method_defaults(method_class.defaults_file),
        protocol="base_to_new",
        dataset="any",
        shots=16,
        training={},
        options={},
    )
    method = _build(method_class, options, NAMES, trained=True)
    labels = torch.arange(16) % len(NAMES)
    assert method.reference is not None
    noise = torch.randn(16, 1, method.clip.embed_dim, generator=torch.Generator().manual_seed(0))
    data = TrainingData(labels, method.reference[labels][:, None] + 0.3 * noise)
    supervision = SupervisionConfig.model_validate("one_hot")
    supervisor = Supervisor.from_config(supervision, FrozenTargets(len(NAMES)))
    curves = train(method, data, supervisor, recipe, seed=1)
    assert len(curves) == 5
    assert curves[-1].loss < curves[0].loss
    new = _build(method_class, options, NEW_NAMES, trained=False)
    new.load_learned_state(method.learned_state())
    assert new.predictor()(data.bank[:, 0]).shape == (16, len(NEW_NAMES))


def test_an_option_that_the_method_lacks_is_refused(toy_package: str) -> None:
    with pytest.raises(AtlasError, match="option 'colour' of method Toy"):
        parse_options(METHODS.get(toy_package), {"colour": "red"})


def test_the_toy_is_gone_without_its_package() -> None:
    with pytest.raises(AtlasError, match="unknown method 'toy'"):
        METHODS.get("toy")


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_has_a_summary_readable_constants_and_a_page(name: str) -> None:
    assert METHODS.summary(name)
    method_class = METHODS.get(name)
    defaults = method_defaults(method_class.defaults_file)
    assert defaults.source
    recipe, options = resolve_recipe(
        defaults, protocol="base_to_new", dataset="imagenet", shots=16, training={}, options={}
    )
    parse_options(method_class, options)
    assert method_class.learns == (recipe.epochs > 0)
    page = "dept" if name.startswith("dept_") else name
    assert (Path(__file__).parents[2] / "docs" / "methods" / f"{page}.md").is_file()


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(AtlasError, match="did you mean 'kgcoop'"):
        METHODS.get("kgcop")


def test_listing_the_methods_loads_no_torch() -> None:
    code = (
        "import sys; from atlas_core.methods.registry import METHODS;"
        "[METHODS.summary(name) for name in METHODS.names()]; assert 'torch' not in sys.modules"
    )
    root = Path(import_module("atlas_core").__file__ or "").parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def _build(
    method_class: type[PromptMethod], options: dict[str, object], names: tuple[str, ...], *, trained: bool
) -> PromptMethod:
    clip = clip_of_state()
    return method_class(
        clip,
        Classes(names, {"coop": "a photo of a {}."}, trained=trained),
        parse_options(method_class, options),
        generator=torch.Generator().manual_seed(1),
        reference=torch.nn.functional.normalize(
            clip.encode_text([f"a photo of a {n}." for n in names]), dim=-1
        ),
    )
