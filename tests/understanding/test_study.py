"""The same block wherever a study's understanding is shown, once, and before its work begins."""

from __future__ import annotations

import html
import json
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from atlas_core.cli import main
from atlas_core.errors import AtlasError
from atlas_core.plan.observers import SilentObserver
from atlas_core.plan.session import run_study
from atlas_core.plan.workers import Outcome
from atlas_core.understanding.study import Understanding
from atlas_core.understanding.text import understanding_lines
from tests.datasets.test_parquet_layout import write
from tests.tiny_study import TinyWorld, make_world


@dataclass
class Listener(SilentObserver):
    """Remembers what it was told, in order."""

    told: list[str] = field(default_factory=list)
    understandings: list[Understanding] = field(default_factory=list)

    def understood(self, understanding: Understanding) -> None:
        self.told.append("understood")
        self.understandings.append(understanding)

    def done(self, outcome: Outcome) -> None:
        self.told.append(outcome.name.split("/")[0])


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    return make_world(tmp_path)


def short(world: TinyWorld, *datasets: str) -> dict[str, object]:
    return world.raw_study(
        datasets=list(datasets) or [str(world.home / "ponds.yaml")],
        supervisions=["one_hot"],
        training={"epochs": 1, "batch_size": 4},
    )


def run(world: TinyWorld, *datasets: str, strict: bool = False) -> Listener:
    listener = Listener()
    raw = short(world, *datasets)
    placement = world.placement.model_copy(update={"strict": strict})
    try:
        run_study(world.study(**raw), placement, observer=listener)
    except AtlasError as error:
        listener.told.append(str(error))
    return listener


def parquet(world: TinyWorld) -> str:
    """A dataset that has to be taken out of its file first."""
    classes = ["red fox", "blue jay", "green frog"]
    write(world.home / "animals" / "train-0.parquet", {"label": classes * 4})
    write(world.home / "animals" / "test-0.parquet", {"label": classes})
    return f"hf_parquet:{world.home / 'animals'}"


def test_it_is_told_once_before_anything_is_made(world: TinyWorld) -> None:
    for _ in range(2):  # made and cached
        listener = run(world)
        assert listener.told[0] == "understood"
        assert listener.told.count("understood") == 1
        (only,) = listener.understandings
        assert [each.name for each in only.datasets] == ["ponds"]
        assert only.backbone is not None
        assert only.backbone.activation == "QuickGELU"  # as tests.small_clip's config has it


def test_a_dataset_that_is_fetched_first_is_understood_before_its_images_are_seen(world: TinyWorld) -> None:
    listener = run(world, str(world.home / "ponds.yaml"), parquet(world))
    assert listener.told.count("understood") == 1
    (only,) = listener.understandings
    assert [each.name for each in only.datasets] == ["ponds", "animals"]
    assert only.pending == ()
    before = listener.told[: listener.told.index("understood")]
    assert set(before) <= {"fetch", "index", "text_features", "image_features"}
    assert "tune" in listener.told


def test_two_readings_end_a_study_before_anything_is_made(world: TinyWorld) -> None:
    for domain in ("photo", "sketch"):
        shutil.copytree(world.home / "data" / "ponds", world.home / "data" / "domains" / domain)
    listener = run(world, str(world.home / "ponds.yaml"), f"image_folder:{world.home / 'data' / 'domains'}")
    (said,) = listener.told
    assert "has two readings" in said
    assert "options.levels: [group, class]" in said


@pytest.mark.parametrize("fetched", [False, True])
def test_strict_ends_a_study_with_an_oddity_before_it_trains(fetched: bool, world: TinyWorld) -> None:
    if fetched:
        write(world.home / "digits" / "train-0.parquet", {"label": [0, 1, 2, 3] * 4})
        name = f"hf_parquet:{world.home / 'digits'}"
    else:
        shutil.copytree(world.home / "data" / "ponds", world.home / "digits")
        for number, folder in enumerate(sorted((world.home / "digits").iterdir())):
            folder.rename(folder.with_name(str(number)))
        name = f"image_folder:{world.home / 'digits'}"
    listener = run(world, name, strict=True)
    assert "4 of 4 class names are bare numbers" in listener.told[-1]
    assert "tune" not in listener.told
    assert "tune" in run(world, name).told


def test_an_index_that_was_kept_says_the_same(world: TinyWorld) -> None:
    (world.home / "data" / "ponds" / "red fox" / "notes.txt").write_text("")
    first, again = (run(world).understandings[0] for _ in range(2))
    assert first == again
    (world.home / "data" / "ponds" / "red fox" / "more.txt").write_text("")
    (ignored,) = run(world).understandings[0].datasets[0].ignored
    assert ignored.count == 2


def test_a_side_file_more_makes_no_training_stale(world: TinyWorld) -> None:
    run(world)
    (world.home / "data" / "ponds" / "red fox" / "notes.txt").write_text("")
    assert run(world).told == ["understood", "index"]


# --- everywhere the same -----------------------------------------------------------------------------------------


def test_run_plan_log_and_report_show_the_same_block(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.home / "data" / "ponds" / "red fox" / "notes.txt").write_text("")
    (world.home / "study.yaml").write_text(yaml.safe_dump(short(world)))
    study, log = str(world.home / "study.yaml"), world.home / "log.jsonl"
    monkeypatch.setenv("ATLAS_HOME", str(world.home))

    def atlas(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["atlas", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        said = capsys.readouterr()
        return said.out + said.err

    run_said = atlas("run", study, "--workers", "0", "--log-file", str(log))
    plan_said = atlas("plan", study)
    atlas("report", study, "--output", str(world.home / "report.html"))
    (logged,) = [
        line["message"]
        for line in map(json.loads, log.read_text().splitlines())
        if line["event"] == "understood"
    ]
    page = html.unescape((world.home / "report.html").read_text())
    assert logged.splitlines()[0] == "what I understood"
    assert "ignored    files beside the images (1 .txt): 1 (red fox/notes.txt)" in logged
    for said in (run_said, plan_said, page):
        assert said.count(logged) == 1
    assert "what I understood" not in atlas("run", study, "--workers", "0", "--quiet")


def test_a_plan_says_what_is_not_here_yet(world: TinyWorld) -> None:
    from atlas_core.plan.build import build_graph
    from atlas_core.understanding.study import understand_study

    graph = build_graph(world.study(**short(world, parquet(world))), world.placement)
    understanding = understand_study(graph, {}, world.placement)
    ((name, why),) = understanding.pending
    assert name == "animals"
    assert re.match("not here yet; it will be brought to .*/data/animals-", why)
    assert "  dataset animals" in understanding_lines(understanding)
