"""The log of a study's execution: JSON lines that say what ran where, for how long, and what went wrong."""

import json
import logging
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.run_log import FIELDS, logged_to
from atlas_core.plan.session import run_study
from atlas_core.stages.account import accounting
from tests.tiny_study import TinyWorld, make_world, write_yaml

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    return make_world(tmp_path / "home")


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def run_logged(world: TinyWorld, file: Path, workers: int = 0, **overrides: Any) -> list[dict[str, Any]]:
    """Run the study with a log; the lines of this execution."""
    before = len(lines_of(file)) if file.is_file() else 0
    small = {"supervisions": ["one_hot", "ls"], "training": {"epochs": 2, "batch_size": 4}}
    study, placement = world.study(**small | overrides), Placement(home=world.home, workers=workers)
    with logged_to(file, study.name) as observer:
        run_study(study, placement, observer=observer)
    return lines_of(file)[before:]


def damage_images(world: TinyWorld) -> None:
    for image in (world.home / "data" / "ponds").rglob("*.png"):
        image.write_bytes(b"no image")


def test_every_line_has_every_field_and_the_id_of_its_execution(world: TinyWorld, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    first, second = run_logged(world, file), run_logged(world, file)
    for lines in (first, second):
        assert {tuple(line) for line in lines} == {FIELDS}
        assert len({line["run"] for line in lines}) == 1
        assert {line["study"] for line in lines} == {"tiny"}
        uuid.UUID(lines[0]["run"])
    assert first[0]["run"] != second[0]["run"]


def test_each_job_is_queued_and_made_once_and_cached_the_next_time(world: TinyWorld, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    first, second = run_logged(world, file), run_logged(world, file)
    made = [line for line in first if line["event"] == "job_made"]
    assert len({line["job"] for line in made}) == len(made) > 0
    assert {line["job"] for line in made} == {line["job"] for line in first if line["event"] == "job_queued"}
    again = [line for line in second if line["event"] == "job_cached"]
    assert {(line["stage"], line["job"], line["key"]) for line in again} == {
        (line["stage"], line["job"], line["key"]) for line in made
    }
    assert (first[0]["event"], first[-1]["event"]) == ("study_started", "study_ended")
    assert first[-1]["message"] == f"tiny: {len(made)} made, 0 cached, 0 failed, 0 left"
    assert second[-1]["message"] == f"tiny: 0 made, {len(made)} cached, 0 failed, 0 left"


def test_times_are_utc_and_a_job_started_before_it_was_made(world: TinyWorld, tmp_path: Path) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    lines = run_logged(world, tmp_path / "log.jsonl")
    for line in lines:
        assert before < datetime.fromisoformat(line["time"]) < datetime.now(UTC) + timedelta(seconds=1)
    for line in lines:
        if line["event"] == "job_made":
            assert line["started"] <= line["time"]
            assert line["seconds"] > 0


def test_a_failing_job_is_logged_with_its_error_and_traceback(world: TinyWorld, tmp_path: Path) -> None:
    damage_images(world)
    file = tmp_path / "log.jsonl"
    with pytest.raises(AtlasError):
        run_logged(world, file)
    lines = lines_of(file)
    failed = [line for line in lines if line["event"] == "job_failed"]
    assert failed
    assert {line["level"] for line in failed} == {"ERROR"}
    assert all(line["key"] and line["stage"] and line["error"] for line in failed)
    assert all("Traceback" in line["traceback"] for line in failed)
    assert lines[-1]["event"] == "stopped"
    assert "of the study's jobs failed" in lines[-1]["error"]
    assert len({line["run"] for line in lines}) == 1


def test_jobs_of_worker_processes_are_logged_with_the_workers_ids(world: TinyWorld, tmp_path: Path) -> None:
    damage_images(world)
    file = tmp_path / "log.jsonl"
    with pytest.raises(AtlasError):
        run_logged(world, file, workers=2)
    lines = lines_of(file)
    ours = lines[0]["pid"]
    ended = [line for line in lines if line["event"] in ("job_made", "job_failed")]
    assert {line["event"] for line in ended} == {"job_made", "job_failed"}
    assert ours not in {line["pid"] for line in ended}
    assert all("Traceback" in line["traceback"] for line in ended if line["event"] == "job_failed")


def test_what_a_worker_process_logs_arrives_under_its_job(world: TinyWorld, tmp_path: Path) -> None:
    study = world.study(seeds=[1, 2])
    placement = Placement(home=world.home, workers=1, stack=2)
    with logged_to(tmp_path / "log.jsonl", study.name) as observer:
        run_study(study, placement, observer=observer)
    said = [line for line in lines_of(tmp_path / "log.jsonl") if line["event"] == "log"]
    assert {line["logger"] for line in said} == {"atlas_core.stages.stacked_tune"}
    assert {line["stage"] for line in said} == {"tune"}
    assert all(line["job"] and line["run"] for line in said)


def test_lines_logged_in_a_job_come_once_and_outside_of_jobs_at_once(tmp_path: Path) -> None:
    log = logging.getLogger("atlas_core.somewhere")
    with logged_to(tmp_path / "log.jsonl", "tiny"):
        log.info("outside")
        with accounting() as kept:
            log.warning("inside %d", 1)
    assert [line["message"] for line in lines_of(tmp_path / "log.jsonl")] == ["outside"]
    assert [line.message for line in kept.account().lines] == ["inside 1"]


def test_the_documented_queries_run_over_the_log(
    world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage_images(world)
    with pytest.raises(AtlasError):
        run_logged(world, tmp_path / "atlas.jsonl")
    monkeypatch.chdir(tmp_path)
    summary, lost = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    stages = {row["stage"]: row for row in duckdb.sql(summary).to_arrow_table().to_pylist()}
    assert stages["index"]["made"] == 2
    assert stages["image_features"]["failed"] > 0
    assert "cannot be" in stages["image_features"]["an_error"]
    assert duckdb.sql(lost).fetchall() == []
    whole = (tmp_path / "atlas.jsonl").read_text().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(whole) if '"job_made"' in line)
    (tmp_path / "atlas.jsonl").write_text("".join(whole[:cut]))
    assert len(duckdb.sql(lost).fetchall()) > 0


def test_the_run_command_takes_the_file_as_an_option_or_from_the_environment(
    world: TinyWorld, tmp_path: Path
) -> None:
    small = {"supervisions": ["one_hot"], "training": {"epochs": 1, "batch_size": 4}}
    write_yaml(tmp_path / "tiny.yaml", world.raw_study(**small))
    command = ["run", str(tmp_path / "tiny.yaml"), "--home", str(world.home), "--workers", "0", "--quiet"]
    given = CliRunner().invoke(app, [*command, "--log-file", str(tmp_path / "a.jsonl")])
    assert given.exit_code == 0, given.output
    found = CliRunner().invoke(app, command, env={"ATLAS_LOG_FILE": str(tmp_path / "b.jsonl")})
    assert found.exit_code == 0, found.output
    assert lines_of(tmp_path / "a.jsonl")[-1]["event"] == "study_ended"
    assert lines_of(tmp_path / "b.jsonl")[-1]["message"].startswith("tiny: 0 made")


def test_a_log_that_cannot_be_opened_is_refused_before_anything_is_made(
    world: TinyWorld, tmp_path: Path
) -> None:
    with pytest.raises(AtlasError, match="cannot write the log"):
        run_logged(world, tmp_path)
    assert not world.placement.store_path.exists()


def test_a_log_on_a_full_disk_is_given_up_and_the_study_goes_on(
    world: TinyWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    study = world.study(supervisions=["one_hot"])
    with logged_to(Path("/dev/full"), study.name) as observer:
        session = run_study(study, world.placement, observer=observer)
    assert session.finish()
    assert capsys.readouterr().err.count("the log /dev/full is not written any more") == 1
