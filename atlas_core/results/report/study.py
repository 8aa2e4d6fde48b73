"""A study's report from its store: results, plan, configuration and the reasons for every run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import yaml

from atlas_core.commands.study import explanation_lines
from atlas_core.config import StudyConfig
from atlas_core.errors import AtlasError
from atlas_core.manifest import Manifest
from atlas_core.placement import Placement
from atlas_core.plan.build import Graph, build_graph
from atlas_core.plan.explain import explain, when
from atlas_core.plan.records import last_started
from atlas_core.plan.resolve import NodeState, Resolver
from atlas_core.results.current import current_aggregates, folders_of
from atlas_core.results.database import connect
from atlas_core.results.report.write import PlanRow, write_report
from atlas_core.store import Store
from atlas_core.understanding.study import understand_study
from atlas_core.understanding.text import understanding_lines


def write_study_report(
    studies: Sequence[StudyConfig], placement: Placement, out_path: Path, *, title: str, named: str = ""
) -> Path:
    """Write the report of one study, or of a benchmark's studies together.

    Args:
        named: What `atlas run` takes for it, where that is not its title.

    Raises:
        AtlasError: None of the studies has results, or the file cannot be written.
    """
    store = Store(placement.store_path)
    plan: list[PlanRow] = []
    whys: dict[str, str] = {}
    aggregates: dict[str, Manifest] = {}
    by_status: dict[str, list[str]] = {}
    understood: dict[str, str] = {}
    for study in studies:
        graph = build_graph(study, placement)
        resolver = Resolver(graph, store)
        states = resolver.states()
        understood[study.name] = "\n".join(understanding_lines(understand_study(graph, states, placement)))
        plan += _plan_rows(study, graph, states, last_started(store, study))
        for node in graph.of_stage("tune"):
            lines = explanation_lines(explain(resolver, states, node))
            whys[node.name.removeprefix("tune/")] = "\n".join(lines)
        manifest = states[graph.aggregate.name].manifest or _older(store, study)
        if manifest is not None:
            aggregates[manifest.key] = manifest
        by_status.setdefault(states[graph.aggregate.name].status, []).append(study.name)
    if not aggregates:
        raise AtlasError(
            f"study {title} has no results in {store.root}",
            fix=f"run it first: `atlas run {shlex.quote(named or title)}`",
        )
    newest = max(aggregates.values(), key=lambda manifest: manifest.created)
    return write_report(
        connect(folders_of(store, list(aggregates.values()))),
        list(dict.fromkeys(plan)),
        {study.name: _as_yaml(study) for study in studies},
        newest.versions,
        whys,
        out_path,
        title=title,
        subtitle=_subtitle(newest, by_status),
        understood=understood,
    )


def _plan_rows(
    study: StudyConfig, graph: Graph, states: dict[str, NodeState], started: float
) -> list[PlanRow]:
    """Every artifact; what is older than the study's last start was found in the store: cached."""
    rows = []
    for node in graph.nodes:
        state = states[node.name]
        if state.manifest is None:
            rows.append(PlanRow(node.stage, node.name, state.status))
            continue
        made = state.manifest
        status = "cached" if made.created < started else "made"
        rows.append(PlanRow(node.stage, node.name, status, made.wall_seconds, made.bytes, when(made)))
    return rows


def _older(store: Store, study: StudyConfig) -> Manifest | None:
    """The study's last results, where the present ones do not exist."""
    named = {(each.key_parts["config"]["study"], each.key_parts["config"]["protocol"]): each
             for each in current_aggregates(store)}  # fmt: skip
    return named.get((study.name, study.protocol))


def _subtitle(newest: Manifest, studies: Mapping[str, Sequence[str]]) -> str:
    """When the results are of, and of which studies they are not current; studies by their aggregate's status."""
    sentences = [
        f"Results of {datetime.fromtimestamp(newest.created):%d %B %Y, %H:%M}, made on {newest.host}."
    ]
    old = [*studies.get("stale", ()), *studies.get("missing", ())]
    if old:
        sentences.append(
            f"Older than its configuration or code, run again for present results: {', '.join(old)}."
        )
    if unsure := studies.get("pending"):
        sentences.append(
            f"Run again to see whether they are current, an input has to be made first: {', '.join(unsure)}."
        )
    return " ".join(sentences)


def _as_yaml(study: StudyConfig) -> str:
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
