"""`atlas profile RUN`: where the time of a training goes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atlas_core.commands.options import (
    DataOption,
    DeviceOption,
    HomeOption,
    PresetOption,
    SetOption,
    StoreOption,
    placement_from,
    studies_from,
)
from atlas_core.config import StudyConfig
from atlas_core.errors import AtlasError
from atlas_core.placement import Placement
from atlas_core.plan.build import build_graph
from atlas_core.plan.explain import find_node
from atlas_core.plan.records import recorded_studies
from atlas_core.plan.resolve import Resolver
from atlas_core.stages.stage import Job, StageContext
from atlas_core.store import Store

out = Console(highlight=False)


def profile(
    run_name: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, its name, or words that only its name has.")
    ],
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps an epoch, in two epochs.")] = 10,
    operators: Annotated[
        int,
        typer.Option("--operators", min=0, help="List this many torch operators by their own time as well."),
    ] = 0,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Write a timeline of all operators for chrome://tracing.")
    ] = None,
    study: Annotated[
        str | None,
        typer.Option("--study", help="The study it belongs to (default: those run on this store)."),
    ] = None,
    preset: PresetOption = "demo",
    assignments: SetOption = None,
    device: DeviceOption = "auto",
    home: HomeOption = None,
    store: StoreOption = None,
    data_root: DataOption = None,
) -> None:
    """Train a run's first steps again and say where the time goes; nothing is stored."""
    placement = placement_from(home, store, data_root, device=device)
    artifacts = Store(placement.store_path)
    studies = studies_from(study, preset, assignments) if study else recorded_studies(artifacts)
    job = find_job(run_name, studies, placement)
    show_profile(job, placement, steps, operators, trace)


def find_job(run_name: str, studies: list[StudyConfig], placement: Placement) -> Job:
    """The tune job of a run whose inputs are in the store.

    Raises:
        AtlasError: No study was run, no run or several answer to the name, or the run's inputs are missing.
    """
    artifacts = Store(placement.store_path)
    failure = AtlasError(f"no study was run on the store {artifacts.root}", fix="name one with --study")
    for each in studies:
        graph = build_graph(each, placement)
        resolver = Resolver(graph, artifacts)
        states = resolver.states()
        try:
            node = find_node(graph, states, run_name)
        except AtlasError as error:
            failure = error
            continue
        if node.stage != "tune":
            raise AtlasError(f"{node.name} is no training", expected="a run's id or its name")
        if states[node.name].key_parts is None:
            missing = ", ".join(states[node.name].waits_for[:4])
            raise AtlasError(f"{node.name} waits for {missing}", fix="run the study first")
        return resolver.job(node, states)
    raise failure


def show_profile(job: Job, placement: Placement, steps: int, operators: int, trace: Path | None) -> None:
    """Profile a tune job and print its parts."""
    # Here, because they import torch, which the command line's help need not wait for.
    import torch

    from atlas_core.backbone.load import load_backbone
    from atlas_core.stages.runtime import backbone_config
    from atlas_core.stages.trained_method import build_method
    from atlas_core.stages.tune import prepare_run
    from atlas_core.training.profile import Profiled, profile_operators, profile_training

    torch.set_num_threads(placement.threads)
    inputs = {role: Store(placement.store_path).path(ref.stage, ref.key) for role, ref in job.inputs.items()}
    with TemporaryDirectory() as folder:
        work = Path(folder)
        context = StageContext(job.config, inputs, work, work, job.key, job.runtime, placement)
        clip = load_backbone(backbone_config(context), context.placement.device)
        method = build_method(clip, job.config, inputs, trained=True, cost=job.runtime["cost"])
        if not method.learns:
            raise AtlasError(f"{job.name} trains nothing", expected="a run of a method that learns")
        prepared = prepare_run(context, clip, method)
        run = Profiled(
            prepared.method,
            prepared.data,
            prepared.supervisor,
            prepared.recipe,
            prepared.seed,
            prepared.teacher,
        )
        measured = profile_training(run, steps)
        out.print(f"[bold]{job.name}[/bold]", soft_wrap=True)
        each = measured.seconds / measured.steps
        out.print(
            f"{measured.steps} steps, {each * 1e3:.3g} ms of CPU time each, {placement.threads} thread(s)"
        )
        table = Table("part", "ms a step", "share", "calls a step", box=None, pad_edge=False)
        for share in measured.shares:
            calls = f"{share.calls / measured.steps:.3g}" if share.calls else "·"
            milliseconds = f"{1e3 * share.seconds / measured.steps:.3g}"
            table.add_row(share.part, milliseconds, f"{share.seconds / measured.seconds:.1%}", calls)
        out.print(table)
        if operators or trace is not None:
            text = profile_operators(run, steps, max(1, operators), trace)
            if operators:
                print(text)
