"""Making a graph's nodes, each as soon as its own inputs are there: no node waits for a stage or a wave.

One scheduler for every way to run: in this process, in worker processes, on a Dask cluster, and under Prefect, whose
tasks ask for the nodes of a group at a time. A node's key is found when its inputs' digests are known, so an input that
was made again with an equal result stops there.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Literal

from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph
from atlas_core.plan.collector import without_collection
from atlas_core.plan.cost_numbers import device_class
from atlas_core.plan.estimate import Costs
from atlas_core.plan.lanes import Lane, lanes_for
from atlas_core.plan.node import Node
from atlas_core.plan.observers import Observer, SilentObserver
from atlas_core.plan.resolve import NodeState, Resolver
from atlas_core.plan.stacks import stack_names
from atlas_core.plan.workers import JobFailure, Outcome, attempt_here
from atlas_core.stages.stage import Job

# How often a lane is asked whether its workers are still there, in seconds.
_LOOK_EVERY = 2.0

# How a node ended: in the store already, made now, left out because something it needs failed, or tried in vain.
Ending = Literal["cached", "made", "not reached"] | JobFailure


@dataclass(eq=False)
class _Unit:
    """Jobs that one worker takes together: a stack's, or a single one.

    Attributes:
        members: Names that are not known yet to need making or not.
    """

    lane: Lane
    members: set[str]
    jobs: list[Job] = field(default_factory=list)
    priority: float = 0.0
    tried_again: bool = False


@dataclass(eq=False)
class _Request:
    left: set[str]
    answer: Future[None] = field(default_factory=Future)


class Scheduler:
    """Runs a graph's nodes in lanes, the one with the longest path of work behind it first.

    Everything is changed by the thread that calls `run` or `serve`; `make` and `close` may be called from any other.

    Args:
        graph: What there is to make.
        resolver: Finds keys, and what is in the store.
        placement: Where jobs run.
        observer: Told what happens, from the thread that runs.
        lanes: The lanes by name; the placement's where none are given.
        expected: Seconds that a node is expected to take; from what its like has cost where it is not given.

    Attributes:
        check: Asked about each node whose inputs are there; what it raises is the node's failure.
        stacks: The stack of each node that trains in one, by name.
        states: What is known of each node that was looked up, by name.
        ends: How each node that is over ended, by name. A failed node stops only what needs it.
    """

    def __init__(
        self,
        graph: Graph,
        resolver: Resolver,
        placement: Placement,
        observer: Observer | None = None,
        lanes: Mapping[str, Lane] | None = None,
        expected: Callable[[Node], float] | None = None,
    ) -> None:
        self.graph, self.resolver, self.placement = graph, resolver, placement
        self.observer = observer or SilentObserver()
        self.check: Callable[[Node, Mapping[str, NodeState]], None] = lambda node, states: None
        self.states: dict[str, NodeState] = {}
        self.ends: dict[str, Ending] = {}
        self._lanes = lanes_for(placement) if lanes is None else lanes
        self._nodes = {node.name: node for node in graph.nodes}
        self._dependents: dict[str, list[str]] = {name: [] for name in self._nodes}
        self._sorter: TopologicalSorter[str] = TopologicalSorter()
        for node in graph.nodes:
            inputs = {each.name for each in node.inputs.values()}
            self._sorter.add(node.name, *inputs)
            for name in inputs:
                self._dependents[name].append(node.name)
        self._sorter.prepare()
        self._expected = expected
        self._paths: dict[str, float] = {}
        self.stacks = stack_names(graph.nodes) if placement.stack != 1 else {}
        self._stacked = self._stacked_units()
        self._queues: dict[int, list[tuple[float, int, _Unit]]] = {}
        self._in_flight: dict[int, _Unit] = {}
        self._number = 0
        self._wanted: set[str] = set()
        self._ready: list[str] = []  # inputs are there, but nobody wants it yet
        self._requests: dict[str, list[_Request]] = {}
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._closed = False
        self._lock = Lock()  # guards the two below, which other threads use
        self._open: list[_Request] = []
        self._broken: BaseException | None = None

    # --- for whoever runs a study ---------------------------------------------------------------------

    def run(self) -> None:
        """Make everything, in this thread; returns when nothing more can be made."""
        self._wanted = set(self._nodes)
        self._closed = True
        self._loop()

    def serve(self) -> None:
        """Make what `make` asks for, in this thread, until `close` is called."""
        try:
            self._loop()
        except BaseException as error:
            with self._lock:
                self._broken = error
                for request in self._open:
                    request.answer.set_exception(error)

    def close(self) -> None:
        """Let `serve` return once its workers are at rest."""
        self._events.put(self._close)

    def abandon(self, error: BaseException) -> None:
        """Let `serve` return as soon as it can, and every `make` raise the error."""

        def stop() -> None:
            raise error

        self._events.put(stop)

    def make(self, names: Iterable[str]) -> None:
        """Make some nodes, and wait until each of them ended; what they need has to be asked for as well.

        Raises:
            BaseException: What ended `serve`.
        """
        request = _Request(set(names))
        if not request.left:
            return
        with self._lock:
            if self._broken is not None:
                raise self._broken
            self._open.append(request)
        self._events.put(lambda: self._ask(request))
        request.answer.result()

    @property
    def broken(self) -> BaseException | None:
        """What ended `serve` before everything was tried."""
        return self._broken

    @property
    def failures(self) -> list[JobFailure]:
        """Jobs that failed, the first one first."""
        return [end for end in self.ends.values() if isinstance(end, JobFailure)]

    # --- the loop --------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            self._look_up_ready()
            if self._start_next():
                continue  # carried out in this very thread: see what it made possible
            if self._closed and not self._in_flight:
                return
            try:
                self._events.get(timeout=_LOOK_EVERY if self._in_flight else None)()
            except Empty:
                self._look_after_workers()

    @without_collection()
    def _look_up_ready(self) -> None:
        """Find the keys of nodes whose inputs are there; those in the store are done, the others wait for a lane."""
        while self._sorter.is_active():
            self._ready += self._sorter.get_ready()
            now = [name for name in self._ready if name in self._wanted]
            if not now:
                return
            self._ready = [name for name in self._ready if name not in self._wanted]
            for name in now:
                self._look_up(self._nodes[name])

    def _look_up(self, node: Node) -> None:
        try:
            state = self.states[node.name] = self.resolver.look_up(node, self.states)
            self.check(node, self.states)
        except AtlasError as error:
            self._fail(JobFailure(node.name, str(error), ""))
            return
        if state.manifest is not None:
            self.observer.cached(node, state.manifest)
            self._settle(node, None)
            self._finish(node.name, "cached")
            return
        job = self.resolver.job(node, self.states)
        self.observer.queued(job)
        self._settle(node, job)

    def _settle(self, node: Node, job: Job | None) -> None:
        """A node needs making, or (without a job) does not; its unit is queued once that is known of all members."""
        stack = self.stacks.get(node.name)
        if stack is None and job is None:
            return
        unit = self._stacked[stack] if stack else _Unit(self._lanes[node.lane], {node.name})
        if node.name not in unit.members:
            return  # a job of the unit that failed, and had been queued
        unit.members.discard(node.name)
        if job is not None:
            unit.jobs.append(replace(job, stack=stack or ""))
            unit.priority = max(unit.priority, self._path(node.name))
        if unit.jobs and not unit.members:
            self._queue(unit)

    def _stacked_units(self) -> dict[str, _Unit]:
        units: dict[str, _Unit] = {}
        for name, stack in self.stacks.items():
            lane = self._lanes[self._nodes[name].lane]
            units.setdefault(stack, _Unit(lane, set())).members.add(name)
        return units

    def _path(self, name: str) -> float:
        """Expected seconds from a node's start to the end of the longest chain of nodes behind it."""
        if not self._paths:
            expected = self._expected or self._costs()
            for node in reversed(self.graph.nodes):
                behind = max((self._paths[each] for each in self._dependents[node.name]), default=0.0)
                self._paths[node.name] = behind + expected(node)
        return self._paths[name]

    def _costs(self) -> Callable[[Node], float]:
        return Costs.from_manifests(self.resolver.manifests(), device_class(self.placement.device)).seconds

    # --- lanes -----------------------------------------------------------------------------------------

    def _queue(self, unit: _Unit) -> None:
        self._number += 1
        heapq.heappush(self._queues.setdefault(id(unit.lane), []), (-unit.priority, self._number, unit))

    def _start_next(self) -> bool:
        """Hand units to the lanes that have room; whether one was carried out in this thread instead."""
        for queue in self._queues.values():
            while queue:
                lane = queue[0][-1].lane
                if len(self._running_in(lane)) >= lane.slots:
                    break
                unit = heapq.heappop(queue)[-1]
                if lane.submit is None:
                    self._take(unit, attempt_here(unit.jobs, self.placement))
                    return True
                self._submit(lane.submit, unit)
        return False

    def _running_in(self, lane: Lane) -> list[int]:
        return [number for number, unit in self._in_flight.items() if unit.lane is lane]

    def _submit(
        self, submit: Callable[[Sequence[Job], Placement], Future[list[Outcome]]], unit: _Unit
    ) -> None:
        self._number += 1
        number = self._number
        self._in_flight[number] = unit
        future = submit(unit.jobs, self.placement)
        future.add_done_callback(lambda done: self._events.put(lambda: self._ended(number, done)))

    def _ended(self, number: int, future: Future[list[Outcome]]) -> None:
        unit = self._in_flight.pop(number, None)
        if unit is None:
            return  # given up before
        try:
            outcomes = future.result()
        except Exception as error:  # the worker's, not the job's: a job's own is an outcome
            message, may_try_again = unit.lane.explain(error)
            if may_try_again and not unit.tried_again:
                unit.tried_again = True
                self._queue(unit)
                return
            outcomes = [JobFailure(job.name, message, "") for job in unit.jobs]
        self._take(unit, outcomes)

    def _look_after_workers(self) -> None:
        """Give up what lanes without any worker left will never finish."""
        for lane in {id(each): each for each in self._lanes.values()}.values():
            running = self._running_in(lane)
            message = lane.deserted() if running else None
            if message is not None:
                for number in running:
                    unit = self._in_flight.pop(number)
                    self._take(unit, [JobFailure(job.name, message, "") for job in unit.jobs])

    # --- ends ------------------------------------------------------------------------------------------

    def _take(self, unit: _Unit, outcomes: Sequence[Outcome]) -> None:
        for job, outcome in zip(unit.jobs, outcomes, strict=True):
            if isinstance(outcome, JobFailure):
                self._fail(outcome)
                continue
            manifest = self.resolver.store.lookup(job.stage, job.key)
            if manifest is None:
                where = self.resolver.store.root
                self._fail(
                    JobFailure(job.name, f"its artifact disappeared from {where} while the study ran", "")
                )
                continue
            self.states[job.name] = replace(self.states[job.name], status="fresh", manifest=manifest)
            self.observer.done(outcome)
            # Another study may have made it meanwhile.
            self._finish(job.name, "cached" if outcome.cached else "made")

    def _finish(self, name: str, end: Ending) -> None:
        self._sorter.done(name)
        self._end(name, end)

    def _fail(self, failure: JobFailure) -> None:
        self.observer.done(failure)
        self._settle(self._nodes[failure.name], None)
        self._end(failure.name, failure)
        waiting = list(self._dependents[failure.name])
        while waiting:
            name = waiting.pop()
            if name not in self.ends:
                self._settle(self._nodes[name], None)
                self._end(name, "not reached")
                waiting += self._dependents[name]

    def _end(self, name: str, end: Ending) -> None:
        self.ends[name] = end
        for request in self._requests.pop(name, ()):
            self._strike(request, name)

    # --- requests --------------------------------------------------------------------------------------

    def _ask(self, request: _Request) -> None:
        self._wanted |= request.left
        for name in list(request.left):
            if name in self.ends:
                self._strike(request, name)
            else:
                self._requests.setdefault(name, []).append(request)

    def _strike(self, request: _Request, name: str) -> None:
        request.left.discard(name)
        if not request.left:
            with self._lock:
                self._open.remove(request)
            request.answer.set_result(None)

    def _close(self) -> None:
        self._closed = True
