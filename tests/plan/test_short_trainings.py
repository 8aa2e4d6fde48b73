"""A study says which of its alternating supervisions never come to their soft labels."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.short_trainings import short_trainings
from atlas_core.presets import load_study

MAPLE = "maple trains 2 epochs, fewer than K = 5: no epoch of atlas_ls, atlas_csl, atlas_isl has soft labels"


def lines(preset: str, home: Path, **overrides: object) -> list[str]:
    return short_trainings(build_graph(load_study(preset, overrides), Placement(home=home)))


def test_maple_in_transfer_is_too_short_for_the_default_period(tmp_path: Path) -> None:
    (line,) = lines("cross-dataset-demo", tmp_path)
    assert line.startswith(MAPLE)


@pytest.mark.parametrize("preset", ["base-to-new-demo", "few-shot-demo", "supervision-comparison-demo"])
def test_a_study_whose_trainings_are_long_enough_says_nothing(preset: str, tmp_path: Path) -> None:
    assert lines(preset, tmp_path) == []


def test_the_period_counts_up_to_the_last_epoch_that_is_trained(tmp_path: Path) -> None:
    def said(period: int, **training: int) -> list[str]:
        supervisions = ["one_hot", "ls", {"name": "atlas", "source": "ls", "period": period}]
        methods = [{"name": "coop", "training": training}]
        return lines("base-to-new-demo", tmp_path, supervisions=supervisions, methods=methods)

    assert said(7, epochs=7) == []
    assert said(8, epochs=7)[0].startswith(
        "coop trains 7 epochs, fewer than K = 8: no epoch of atlas_ls has soft labels"
    )
    assert said(7, epochs=7, stop_after=6)[0].startswith("coop trains 6 epochs")


def test_the_plan_of_a_study_says_it(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["plan", "cross-dataset", "--home", str(tmp_path)])
    assert f"note {MAPLE}" in answer.output
