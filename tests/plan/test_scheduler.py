"""Nodes run as soon as their own inputs are there, in lanes, the longest path first; a failure stops what needs it."""

from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Event, Thread

import pytest

from atlas_core.bench import pipeline
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph
from atlas_core.plan.groups import groups_of
from atlas_core.plan.lanes import DOWNLOADS, InProcessLane, Lane, ProcessLane, lanes_for
from atlas_core.plan.node import Node
from atlas_core.plan.observers import SilentObserver
from atlas_core.plan.resolve import Resolver
from atlas_core.plan.scheduler import Scheduler
from atlas_core.plan.session import StudySession
from atlas_core.plan.workers import JobFailure, Outcome, attempt
from atlas_core.presets import load_study
from atlas_core.stages.execute import JobResult
from atlas_core.stages.stage import Job
from atlas_core.store import Store
from tests.tiny_study import RecordingObserver, TinyWorld, make_world


class GatedLane:
    """Runs each unit in a thread of its own, once a gate is open; one gate for all."""

    slots = DOWNLOADS

    def __init__(self) -> None:
        self.gate = Event()
        self.waiting: list[str] = []

    def submit(self, jobs: Sequence[Job], placement: Placement) -> "Future[list[Outcome]]":
        future: Future[list[Outcome]] = Future()
        self.waiting += [job.name for job in jobs]

        def run() -> None:
            assert self.gate.wait(timeout=60), "nothing else went on while this waited"
            future.set_result(attempt(jobs, placement))

        Thread(target=run, daemon=True).start()
        return future

    def explain(self, error: Exception) -> tuple[str, bool]:
        return str(error), False

    def deserted(self) -> str | None:
        return None


class Opening(RecordingObserver):
    """Opens a gate when something was made."""

    def __init__(self, gate: Event, name: str) -> None:
        super().__init__()
        self.gate, self.name = gate, name

    def done(self, outcome: Outcome) -> None:
        super().done(outcome)
        if outcome.name == self.name:
            self.gate.set()


def test_a_slow_download_holds_up_nothing_but_its_own_dataset(tmp_path: Path) -> None:
    world = make_world(tmp_path / "home")
    slow, here = GatedLane(), InProcessLane()
    tested = "evaluate/ponds/base/2-shot/coop/atlas_isl/seed1 on ponds/new"
    session = StudySession(world.study(), world.placement)
    woods = next(node for node in session.graph.of_stage("fetch") if "woods" in node.name)
    woods.runtime["lane"] = "slow"  # of its index too, which has the same runtime
    observer = Opening(slow.gate, tested)
    lanes: dict[str, Lane] = {"slow": slow, "network": here, "processors": here, "device": here}
    scheduler = Scheduler(session.graph, session.resolver, world.placement, observer, lanes)
    scheduler.run()
    assert slow.waiting == ["fetch/woods", "index/woods"]
    assert observer.made.index(tested) < observer.made.index(woods.name)
    assert set(scheduler.ends) == {node.name for node in session.graph.nodes}
    assert scheduler.failures == []


def node(label: str, seconds: float = 1.0, *inputs: Node, lane: str = "device") -> Node:
    roles = {str(number): each for number, each in enumerate(inputs)}
    config = {"seconds": seconds, "name": label}
    return Node("wait", label, label, config, roles, (f"{pipeline.__name__}:_wait",), {"lane": lane})


def scheduler_of(
    tmp_path: Path, nodes: Sequence[Node], lanes: dict[str, Lane], observer: SilentObserver | None = None
) -> Scheduler:
    placement = Placement(home=tmp_path, workers=0)
    graph = Graph(load_study("base-to-new-demo"), tuple(nodes))
    resolver = Resolver(graph, Store(placement.store_path))
    return Scheduler(graph, resolver, placement, observer, lanes, expected=pipeline.seconds_of)


class PretendLane:
    """Answers at once that jobs are made, or that something went wrong; one unit at a time."""

    slots = 1

    def __init__(self, store: Store, errors: Sequence[Exception | None] = ()) -> None:
        self.store, self.errors = store, list(errors)
        self.order: list[str] = []

    def submit(self, jobs: Sequence[Job], placement: Placement) -> "Future[list[Outcome]]":
        future: Future[list[Outcome]] = Future()
        self.order += [job.name for job in jobs]
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            future.set_exception(error)
            return future
        future.set_result([self._made(job) for job in jobs])
        return future

    def _made(self, job: Job) -> Outcome:
        if job.config["name"].startswith("bad"):
            return JobFailure(job.name, "it is bad", "")

        def write(out: Path) -> None:
            (out / "name").write_text(job.name)

        manifest = self.store.publish(job.stage, job.name, job.key_parts, write)
        return JobResult(job.name, manifest.ref, False, 0.0)

    def explain(self, error: Exception) -> tuple[str, bool]:
        return ProcessLane(1, 1).explain(error)

    def deserted(self) -> str | None:
        return None


@pytest.fixture
def pretend(tmp_path: Path) -> PretendLane:
    return PretendLane(Store(tmp_path / "store"))


def test_the_longest_path_of_work_comes_first(tmp_path: Path, pretend: PretendLane) -> None:
    short, long, start = node("short", 5.0), node("long", 2.0), node("start", 1.0)
    nodes = [short, start, long, node("after start", 9.0, start), node("after long", 2.0, long)]
    scheduler_of(tmp_path, nodes, {"device": pretend}).run()
    # start: 1 + 9; after start: 9; short: 5; long: 2 + 2; after long: 2.
    assert pretend.order == ["start", "after start", "short", "long", "after long"]


def test_a_failed_node_stops_only_what_needs_it(tmp_path: Path, pretend: PretendLane) -> None:
    bad, good = node("bad"), node("good")
    nodes = [bad, good, node("needs both", 1.0, bad, good), node("needs good", 1.0, good)]
    nodes.append(node("needs that", 1.0, nodes[2]))
    scheduler = scheduler_of(tmp_path, nodes, {"device": pretend})
    scheduler.run()
    assert scheduler.ends["good"] == scheduler.ends["needs good"] == "made"
    assert scheduler.ends["needs both"] == scheduler.ends["needs that"] == "not reached"
    assert [failure.name for failure in scheduler.failures] == ["bad"]


def test_a_job_whose_worker_died_is_tried_once_more(tmp_path: Path) -> None:
    died = BrokenProcessPool("killed")
    once = PretendLane(Store(tmp_path / "store"), [died])
    scheduler = scheduler_of(tmp_path, [node("a")], {"device": once})
    scheduler.run()
    assert scheduler.ends == {"a": "made"}
    twice = PretendLane(Store(tmp_path / "store"), [died, died])
    scheduler = scheduler_of(tmp_path, [node("b")], {"device": twice})
    scheduler.run()
    assert "worker process was killed" in scheduler.failures[0].message


def test_an_error_that_is_no_job_s_own_and_no_death_fails_the_job(tmp_path: Path) -> None:
    lane = PretendLane(Store(tmp_path / "store"), [ValueError("cannot be sent")])
    scheduler = scheduler_of(tmp_path, [node("a")], {"device": lane})
    scheduler.run()
    assert scheduler.failures[0].message == "ValueError: cannot be sent"


def test_parts_can_be_asked_for_from_other_threads(tmp_path: Path, pretend: PretendLane) -> None:
    first, second = node("first"), node("bad second")
    nodes = [first, second, node("third", 1.0, first), node("fourth", 1.0, second)]
    scheduler = scheduler_of(tmp_path, nodes, {"device": pretend})
    thread = Thread(target=scheduler.serve, daemon=True)
    thread.start()
    scheduler.make(["first"])
    assert pretend.order == ["first"]
    scheduler.make(["third", "first"])
    scheduler.make(["bad second"])
    scheduler.make(["fourth"])
    assert scheduler.ends["fourth"] == "not reached"
    scheduler.close()
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_what_ends_the_scheduler_reaches_whoever_waits(tmp_path: Path, pretend: PretendLane) -> None:
    scheduler = scheduler_of(tmp_path, [node("a"), node("b")], {"device": pretend})
    thread = Thread(target=scheduler.serve, daemon=True)
    thread.start()
    scheduler.abandon(KeyboardInterrupt())
    for _ in range(2):  # while it runs, and after
        with pytest.raises(KeyboardInterrupt):
            scheduler.make(["a"])
        thread.join(timeout=60)


def test_several_downloads_run_at_once_and_hold_no_worker(tmp_path: Path) -> None:
    slow = GatedLane()
    downloads = [node(f"download{number}", 0.0, lane="network") for number in range(DOWNLOADS + 2)]
    work = node("work", 0.0)
    observer = Opening(slow.gate, "work")
    scheduler = scheduler_of(
        tmp_path, [*downloads, work], {"network": slow, "device": InProcessLane()}, observer
    )
    scheduler.run()
    assert observer.made[0] == "work"
    assert len(slow.waiting) == DOWNLOADS + 2


def test_worker_processes_share_the_work_of_a_made_up_study(tmp_path: Path) -> None:
    nodes = pipeline.STUDIES["one slow download among seven quick ones"](0.01)
    placement = Placement(home=tmp_path, workers=2)
    graph = Graph(load_study("base-to-new-demo"), tuple(nodes))
    scheduler = Scheduler(graph, Resolver(graph, Store(placement.store_path)), placement)
    scheduler.run()
    assert set(scheduler.ends) == {each.name for each in nodes}
    assert set(scheduler.ends.values()) == {"made"}


def test_the_bound_of_a_made_up_study_is_its_longest_chain_or_its_work() -> None:
    a, b = node("a", 3.0), node("b", 1.0)
    chain = [a, node("c", 2.0, a), b]
    assert pipeline.lower_bound(chain, workers=4) == 5.0
    assert pipeline.lower_bound(chain, workers=1) == 6.0
    assert pipeline.lower_bound([node("n", 8.0, lane="network"), b], workers=1) == 8.0


def test_without_a_gpu_training_and_decoding_share_the_workers_and_downloads_have_their_own() -> None:
    lanes = lanes_for(Placement(workers=3, device="cpu"))
    assert lanes["processors"] is lanes["device"]
    assert lanes["network"] is not lanes["device"]
    assert lanes["network"].slots == DOWNLOADS


def test_beside_a_gpu_decoding_has_workers_that_see_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas_core.plan.lanes.gpu_count", lambda device: 2)
    monkeypatch.setattr("atlas_core.plan.lanes.shared_gpus", lambda device: ("0", "1"))
    lanes = lanes_for(Placement(workers=2, device="cuda"))
    assert lanes["processors"] is not lanes["device"]
    assert lanes["processors"]._pool[2] == ("",)  # type: ignore[attr-defined]
    assert lanes["device"]._pool[2] == ("0", "1")  # type: ignore[attr-defined]


def test_groups_are_known_before_anything_is_made_and_hold_every_node_once(tmp_path: Path) -> None:
    world = make_world(tmp_path / "home")
    study = world.study(supervisions=["one_hot", "tfkd_self", "atlas_isl"], seeds=list(range(40)))
    graph = StudySession(study, world.placement).graph
    groups = groups_of(graph, {})
    names = [each.name for group in groups for each in group.nodes]
    assert sorted(names) == sorted(each.name for each in graph.nodes)
    seen: set[int] = set()
    for group in groups:
        assert len(group.nodes) <= 64
        assert all(id(each) in seen for each in group.needs)
        seen.add(id(group))
        own = {each.name for each in group.nodes}
        needed = {each.name for one in group.nodes for each in one.inputs.values()} - own
        assert needed <= {each.name for need in group.needs for each in need.nodes}
    stages = {group.stage: {need.stage for need in group.needs} for group in groups}
    assert stages["evaluate"] == {"tune", "image_features", "text_features"}
    assert stages["index"] == {"fetch"}


def test_a_cached_study_opens_no_lane(world: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "atlas_core.plan.lanes.process_pool", lambda *_, **__: pytest.fail("a worker started")
    )
    session = StudySession(world.study(), world.placement.model_copy(update={"workers": 2}))
    session.scheduler.run()
    assert set(session.scheduler.ends.values()) == {"cached"}
