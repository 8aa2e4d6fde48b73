"""The Prefect flow does what `atlas run` does, and its tasks show as Cached when nothing is to be made."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun, TaskRunResult
from prefect.client.schemas.sorting import FlowRunSort
from prefect.flows import flow
from prefect.testing.utilities import prefect_test_harness
from prefect.utilities.callables import parameter_schema

from atlas_core.errors import AtlasError
from atlas_core.plan.groups import groups_of
from atlas_core.plan.session import StudySession
from atlas_core.presets import load_study
from atlas_core.store import Store
from flows.protocols import base_to_new
from flows.study import carry_out
from tests.datasets.test_parquet_layout import write
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture(scope="module", autouse=True)
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    return make_world(tmp_path_factory.mktemp("flow"))


@flow(name="tiny")
def tiny(study_file: str, home: str) -> tuple[str, str]:
    """The body of every protocol's flow, on a study from a file."""
    from prefect.runtime import flow_run

    world = TinyWorld(Path(home))
    return carry_out(load_study(study_file), world.placement), str(flow_run.id)


def run_tiny(world: TinyWorld) -> tuple[str, dict[str, str]]:
    """Run the flow; answers the aggregate's key, and the state of every task run by name."""
    study = world.home / "tiny.yaml"
    study.write_text(yaml.safe_dump(world.raw_study()))
    key, run_id = tiny(str(study), str(world.home))
    return key, {run.name: run.state_name or "" for run in task_runs(run_id, world)}


def task_runs(run_id: str, world: TinyWorld) -> list[TaskRun]:
    """The flow run's task runs, once the server has recorded the end of each: it does so a little after it happens."""
    session = StudySession(world.study(), world.placement)
    expected = len(groups_of(session.graph, {}))
    deadline = time.monotonic() + 300
    while True:
        with get_client(sync_client=True) as client:
            runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
        if len(runs) == expected and all(run.state is not None and run.state.is_final() for run in runs):
            return runs
        assert time.monotonic() < deadline, [(run.name, run.state_name) for run in runs]
        time.sleep(0.5)


def test_a_second_flow_run_shows_every_task_as_cached(world: TinyWorld) -> None:
    key, first = run_tiny(world)
    assert "Completed" in first.values()
    again, second = run_tiny(world)
    assert again == key
    assert set(second.values()) == {"Cached"}


def test_an_artifact_that_is_gone_is_made_again_although_prefect_remembers_it(world: TinyWorld) -> None:
    run_tiny(world)
    store = Store(world.placement.store_path)
    victim = next(manifest for manifest in store.manifests("tune") if "/ls/" in manifest.name)
    store.delete("tune", victim.key)
    _, states = run_tiny(world)
    assert store.lookup("tune", victim.key) is not None
    assert [name for name, state in states.items() if state == "Completed"] == [
        name for name in states if name.startswith("tune") and states[name] == "Completed"
    ]
    assert "Completed" in states.values()


def test_the_run_s_page_shows_the_edges_from_datasets_to_tables(world: TinyWorld) -> None:
    study = world.home / "tiny.yaml"
    study.write_text(yaml.safe_dump(world.raw_study()))
    _, run_id = tiny(str(study), str(world.home))
    runs = {str(run.id): run for run in task_runs(run_id, world)}
    edges = {
        (runs[str(each.id)].name.partition(":")[0], run.name.partition(":")[0])
        for run in runs.values()
        for inputs in run.task_inputs.values()
        for each in inputs
        if isinstance(each, TaskRunResult)
    }
    assert edges == {
        ("fetch", "index"),
        ("index", "cache text features"),
        ("index", "cache image features"),
        ("cache text features", "class-wise soft labels"),
        ("cache text features", "instance-wise soft labels"),
        ("cache image features", "instance-wise soft labels"),
        ("cache text features", "tune"),
        ("cache image features", "tune"),
        ("class-wise soft labels", "tune"),
        ("instance-wise soft labels", "tune"),
        ("tune", "evaluate"),
        ("cache text features", "evaluate"),
        ("cache image features", "evaluate"),
        ("index", "aggregate"),
        ("evaluate", "aggregate"),
    }


def test_the_run_s_page_has_the_table_the_report_and_how_far_it_came(world: TinyWorld) -> None:
    key, _ = run_tiny(world)
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(limit=200)
    newest = {artifact.key: artifact for artifact in sorted(found, key=lambda each: str(each.updated))}
    assert {"tiny-progress", "tiny-base-to-new", "tiny-report"} <= set(newest)
    assert newest["tiny-progress"].data == 100.0
    report = world.home / "reports" / f"tiny-{key[:12]}.html"
    assert report.is_file()
    assert report.as_uri() in str(newest["tiny-report"].data)


def test_the_flow_and_the_command_line_make_the_same_artifacts(world: TinyWorld, tmp_path: Path) -> None:
    run_tiny(world)
    assert world.run().made == []


def test_a_failing_run_leaves_the_others_alone(world: TinyWorld) -> None:
    raw = world.raw_study(
        methods=[{"name": "coop", "options": {"n_ctx": 2}, "training": {"lr": 1e30}}, "zero_shot"]
    )
    study = world.home / "broken.yaml"
    study.write_text(yaml.safe_dump(raw))
    with pytest.raises(AtlasError, match=r"jobs failed.*were not reached"):
        tiny(str(study), str(world.home))
    store = Store(world.placement.store_path)
    assert any("zero_shot" in manifest.name for manifest in store.manifests("evaluate"))
    with get_client(sync_client=True) as client:
        flow_runs = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)
        run_id = FlowRunFilterId(any_=[flow_runs[0].id])
        deadline = time.monotonic() + 300
        while True:
            runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=run_id))
            states = {run.name.partition("(")[0].strip(): run.state_name for run in runs}
            if "NotReached" in states.values():
                break
            assert time.monotonic() < deadline, states
            time.sleep(0.5)
    assert states["tune: ponds/base/2-shot/coop"] == "Failed"
    assert states["evaluate: ponds/base/2-shot/coop"] == "NotReached"
    assert states["evaluate: ponds/base/zero_shot"] in ("Completed", "Cached")


def test_the_form_of_a_deployment_shows_what_there_is_to_choose_from() -> None:
    schema = parameter_schema(base_to_new).model_dump()
    text = json.dumps(schema)
    assert {"demo", "quick", "paper"} <= set(schema["definitions"]["base-to-new_preset"]["enum"])
    for kind, some in (("dataset", "dtd"), ("method", "maple"), ("supervision", "atlas_isl")):
        assert some in schema["definitions"][kind]["enum"], text


@pytest.mark.parametrize(
    ("parameters", "suggestion"),
    [
        ({"datasets": ["demo_shape"]}, "demo_shapes"),
        ({"overrides": {"methods": ["co-op"]}}, "coop"),
        ({"overrides": {"supervisions": ["atlas_cls"]}}, "atlas_csl"),
        ({"overrides": {"epochs": 3}}, "epochs"),
    ],
)
def test_wrong_parameters_are_refused_with_suggestions(
    parameters: dict[str, object], suggestion: str
) -> None:
    with pytest.raises(Exception, match=suggestion) as caught:
        base_to_new(**parameters)
    assert suggestion in str(caught.value), json.dumps(parameters)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@flow(name="strict")
def strictly(study_file: str, home: str) -> None:
    """A study on which everything odd is an error."""
    placement = TinyWorld(Path(home)).placement.model_copy(update={"strict": True})
    carry_out(load_study(study_file), placement)


def test_the_log_says_what_was_understood_and_strict_ends_a_study_with_oddities(world: TinyWorld) -> None:
    write(world.home / "digits" / "train-0.parquet", {"label": [0, 1, 2, 3] * 4})
    study = world.home / "digits.yaml"
    datasets = [f"hf_parquet:{world.home / 'digits'}"]
    study.write_text(
        yaml.safe_dump(world.raw_study(name="digits", datasets=datasets, supervisions=["one_hot"]))
    )
    heard = _Lines()
    logging.getLogger("prefect.flow_runs").addHandler(heard)
    try:
        with pytest.raises(AtlasError, match="4 of 4 class names are bare numbers"):
            strictly(str(study), str(world.home))
    finally:
        logging.getLogger("prefect.flow_runs").removeHandler(heard)
    (block,) = [line for line in heard.lines if line.startswith("what I understood")]
    assert "classes    4: '0', '1', '2' and 1 more" in block
