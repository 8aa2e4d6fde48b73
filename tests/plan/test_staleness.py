"""Only what a change concerns is made again."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atlas_core.plan.build import build_graph
from atlas_core.plan.resolve import Resolver
from atlas_core.store import Store
from tests.plan.conftest import EditModule
from tests.tiny_study import TinyWorld

RUNS = {"one_hot", "ls", "ols", "atlas_csl", "atlas_isl"}


def stages(made: list[str]) -> set[str]:
    return {name.partition("/")[0] for name in made}


def tuned(made: list[str]) -> set[str]:
    """Supervisions of the trainings that were made: 'tune/ponds/base/2-shot/coop/ls/seed1' → 'ls'."""
    return {name.split("/")[5] for name in made if name.startswith("tune/")}


def test_a_finished_study_makes_nothing(world: TinyWorld) -> None:
    assert world.run().made == []


def test_a_moved_store_and_data_folder_make_nothing(finished: TinyWorld, tmp_path: Path) -> None:
    shutil.copytree(finished.home, tmp_path / "elsewhere")
    assert TinyWorld(tmp_path / "elsewhere").run().made == []


def test_another_epsilon_makes_only_its_runs(world: TinyWorld) -> None:
    changed = ["one_hot", {"name": "ls", "mix": 0.2}, "ols", "atlas_csl", "atlas_isl"]
    made = world.run(supervisions=changed).made
    assert tuned(made) == {"ls(mix=0.2)"}
    assert stages(made) == {"tune", "evaluate", "aggregate"}


def test_another_period_makes_only_its_runs(world: TinyWorld) -> None:
    changed = ["one_hot", "ls", "ols", {"name": "atlas_csl", "period": 2}, "atlas_isl"]
    assert tuned(world.run(supervisions=changed).made) == {"atlas_csl(period=2)"}


def test_another_temperature_makes_new_soft_labels_and_their_runs(world: TinyWorld) -> None:
    changed = ["one_hot", "ls", "ols", {"name": "atlas_csl", "temperature": 20.0}, "atlas_isl"]
    made = world.run(supervisions=changed).made
    assert tuned(made) == {"atlas_csl(temperature=20)"}
    assert stages(made) == {"csl", "tune", "evaluate", "aggregate"}


def test_a_new_seed_makes_only_that_seed(world: TinyWorld) -> None:
    made = [name for name in world.run(seeds=[1, 2]).made if not name.startswith("aggregate")]
    assert made
    assert all("seed2" in name for name in made)
    assert tuned(made) == RUNS


def test_an_option_of_cost_makes_nothing(world: TinyWorld) -> None:
    methods = [{"name": "coop", "options": {"n_ctx": 2, "ctx_init": "", "text_chunk": 1}}]
    assert world.run(methods=methods).made == []


def test_an_option_of_cost_reaches_training_and_evaluation_and_no_artifact(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atlas_core.methods.coop import CoOp

    chunks: list[int | None] = []
    made = CoOp.__init__

    def noted(self: CoOp, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        chunks.append(self.options.text_chunk)

    monkeypatch.setattr(CoOp, "__init__", noted)
    methods = [{"name": "coop", "options": {"n_ctx": 3, "ctx_init": "", "text_chunk": 1}}]
    assert {"tune", "evaluate"} <= stages(world.run(methods=methods).made)
    assert set(chunks) == {1}
    folder = world.placement.store_path
    files = [file for file in folder.glob("[a-z]*/**/*") if file.is_file()]
    assert not [file for file in files if b"text_chunk" in file.read_bytes()]


def test_an_edited_comment_makes_nothing(world: TinyWorld, edit_module: EditModule) -> None:
    edit_module("atlas_core.labels.ols", lambda text: f"# a remark\n{text}\n# another\n")
    edit_module(
        "atlas_core.training.loop", lambda text: text.replace('"""Train a method in place.', '"""Train it.')
    )
    assert world.run().made == []


def test_edited_ols_code_makes_only_ols_runs(world: TinyWorld, edit_module: EditModule) -> None:
    edit_module("atlas_core.labels.ols", lambda text: text.replace("self._counts > 0", "self._counts > 0.5"))
    made = world.run().made
    assert tuned(made) == {"ols"}
    # The edit changes no number, so what follows the training is not made again: early cut-off.
    assert stages(made) == {"tune"}


def test_edited_csl_code_makes_only_what_uses_csl(world: TinyWorld, edit_module: EditModule) -> None:
    edit_module(
        "atlas_core.labels.csl",
        lambda text: text.replace("required_mix(self.mix)", "+required_mix(self.mix)"),
    )
    assert tuned(world.run().made) == {"atlas_csl"}


def test_edited_soft_label_code_stops_at_equal_soft_labels(world: TinyWorld, edit_module: EditModule) -> None:
    edit_module("atlas_core.labels.soft_labels", lambda text: text.replace("return out", "return +out"))
    assert stages(world.run().made) == {"csl", "isl"}


def test_an_edited_method_makes_only_its_runs(world: TinyWorld, edit_module: EditModule) -> None:
    both = [*world.raw_study()["methods"], "zero_shot"]
    world.run(methods=both)
    edit_module(
        "atlas_core.methods.zero_shot", lambda text: text.replace("(features, text)", "(+features, text)")
    )
    made = world.run(methods=both).made
    assert {name for name in made if name.startswith("tune/")} == {
        "tune/ponds/base/zero_shot",
        "tune/woods/base/zero_shot",
    }


def test_a_changed_image_makes_its_dataset_again_and_no_other(world: TinyWorld) -> None:
    # A base class: its images are among the shots whichever they are.
    for path in (world.home / "data" / "ponds" / "blue jay").iterdir():
        Image.fromarray(np.full((40, 40, 3), 7, dtype=np.uint8)).save(path)
    made = [name for name in world.run().made if not name.startswith("aggregate")]
    assert {"index", "image_features", "isl", "tune", "evaluate"} <= stages(made)
    assert all("ponds" in name for name in made)


def test_a_deleted_artifact_is_the_only_one_made_again(world: TinyWorld) -> None:
    store = Store(world.placement.store_path)
    for stage in ("image_features", "csl", "tune", "evaluate", "aggregate"):
        victim = next(iter(store.manifests(stage)))
        store.delete(stage, victim.key)
        assert world.run().made == [victim.name]


def test_a_truncated_artifact_is_made_again(world: TinyWorld) -> None:
    store = Store(world.placement.store_path)
    victim = next(iter(store.manifests("tune")))
    file = store.path("tune", victim.key) / "prompts.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert world.run().made == [victim.name]


def test_status_tells_fresh_stale_and_missing_before_anything_runs(world: TinyWorld) -> None:
    changed = ["one_hot", {"name": "ls", "mix": 0.2}, "csl"]
    graph = build_graph(world.study(supervisions=changed, seeds=[1, 3]), world.placement)
    states = Resolver(graph, Store(world.placement.store_path)).states()
    assert states["tune/ponds/base/2-shot/coop/one_hot/seed1"].status == "fresh"
    assert states["tune/ponds/base/2-shot/coop/ls(mix=0.2)/seed1"].status == "stale"
    assert states["tune/ponds/base/2-shot/coop/csl/seed1"].status == "missing"
    assert states["tune/ponds/base/2-shot/coop/one_hot/seed3"].status == "missing"
    assert states["aggregate/tiny"].status == "stale"


def test_equal_seeds_give_bit_identical_prompts_and_predictions(finished: TinyWorld, tmp_path: Path) -> None:
    again = TinyWorld(tmp_path / "again")
    shutil.copytree(finished.home, again.home, ignore=shutil.ignore_patterns("store"))
    again.run()
    first, second = Store(finished.placement.store_path), Store(again.placement.store_path)
    for stage in ("image_features", "tune", "evaluate"):
        digests = [{each.name: each.digest for each in store.manifests(stage)} for store in (first, second)]
        assert digests[0] == digests[1]
