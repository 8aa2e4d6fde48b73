"""`atlas datasets list | fetch | verify | inspect | info`: which datasets there are, and what of them is here."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atlas_core.datasets.archive_content import provided
from atlas_core.datasets.catalogue import DatasetSpec, dataset_names, dataset_spec
from atlas_core.datasets.console import reporting
from atlas_core.datasets.fetch import Fetched, fetch_all
from atlas_core.datasets.verify import VerifyReport, verify
from atlas_core.errors import AtlasError
from atlas_core.shown import shown_in_markup

app = typer.Typer(name="datasets", help="List, fetch, verify and describe datasets.", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        "--data-root",
        help="Folder that holds the datasets' folders; one that exists is used as it is. "
        "Default: $ATLAS_HOME/data.",
    ),
]
NamesArgument = Annotated[list[str], typer.Argument(help="Names, `all`, YAML files or LAYOUT:PATH.")]
FAMILIES = ("coop", "kgcoop", "prograd", "tcp", "tcp_prompt")


@app.command("list")
def list_datasets(
    root: RootOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the catalogue, and what of it is here."""
    folder = _root(root)
    specs = [dataset_spec(name) for name in dataset_names()]
    if as_json:
        rows = [{"name": s.name, "title": s.title, "state": state(s, folder), **s.counts} for s in specs]
        print(json.dumps(rows, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("name", "title", "state", "classes", "train", "val", "test"):
        text = column in ("name", "title", "state")
        table.add_column(column, justify="left" if text else "right", no_wrap=column != "title")
    for spec in specs:
        numbers = (f"{n:,}" if (n := spec.counts.get(k)) else "" for k in ("classes", "train", "val", "test"))
        table.add_row(spec.name, spec.title, state(spec, folder), *numbers)
    out.print(table)
    out.print(f"data root: {shown_in_markup(str(folder))}")


@app.command()
def fetch(
    names: NamesArgument,
    root: RootOption = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Datasets at a time.")] = 4,
    again: Annotated[
        bool, typer.Option("--again", help="Get the archives again and add every file that is not there.")
    ] = False,
) -> None:
    """Fetch datasets; what is there already is used, and a broken-off fetch goes on where it stopped."""
    specs = _specs(names)
    with reporting(err) as progress:
        outcomes = fetch_all(specs, _root(root), progress, jobs=jobs, again=again)
    for outcome in outcomes:
        if outcome.folder is not None:
            out.print(f"{outcome.spec.name}: {shown_in_markup(str(outcome.folder))}")
    _raise_failures(outcomes)


@app.command("verify")
def verify_datasets(
    names: NamesArgument,
    root: RootOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not decode the images.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Name every file, however many.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
) -> None:
    """Say what is missing or damaged; nothing is changed. The exit status is 1 when something is."""
    with reporting(err) as progress:
        reports = [verify(s, _root(root), decode=not quick, progress=progress) for s in _specs(names)]
    if as_json:
        rows = [{**asdict(r), "folder": str(r.folder), "ok": r.ok} for r in reports]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for report in reports:
            _print_report(report, most=None if every else 20)
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


@app.command()
def inspect(
    path: Annotated[
        str, typer.Argument(help="A folder, table, Parquet file, YAML file, name or LAYOUT:PATH.")
    ],
    root: RootOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not decode the images.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Make everything that is odd an error.")] = False,
) -> None:
    """Say what a study would understand of a dataset; nothing is changed."""
    from atlas_core.understanding.inspect import inspect_dataset, reference_of
    from atlas_core.understanding.text import understanding_lines

    with reporting(err) as progress:
        spec = dataset_spec(reference_of(path))
        understanding = inspect_dataset(spec, _root(root), decode=not quick, progress=progress)
    for line in understanding_lines(understanding):
        out.print(line, markup=False)
    if strict:
        understanding.check_strict()


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="Name, YAML file or LAYOUT:PATH.")], root: RootOption = None
) -> None:
    """Describe a dataset: where it is, its prompts, where it comes from and on what terms."""
    spec, folder = dataset_spec(name), _root(root)
    rows = [
        ("name", f"{spec.name} ({spec.title})" if spec.title else spec.name),
        ("folder", f"{spec.path(folder)} ({state(spec, folder)})"),
        ("layout", f"{spec.layout}, images in {spec.image_folder}"),
        ("split file", spec.split_file or ""),
        ("class names", spec.class_name_source),
        ("images", ", ".join(f"{n:,} {kind}" for kind, n in spec.counts.items())),
        *((f"prompt, {family}", spec.template(family)) for family in _families(spec)),
        ("licence", spec.licence),
        ("paper", spec.paper),
        ("homepage", spec.homepage),
        *_source_rows(spec),
    ]
    width = max(len(key) for key, value in rows if value)
    for key, value in rows:
        if value:
            out.print(f"[bold]{key.ljust(width)}[/bold]  {shown_in_markup(value)}")


def state(spec: DatasetSpec, root: Path) -> str:
    """ "here", "partly here" or "not here", by a look at the folder alone (`verify` looks closely)."""
    folder = spec.path(root)
    if not os.path.isdir(folder):
        return "not here"
    archives = spec.source.archives if spec.source else ()
    paths = [spec.image_folder, *(path for archive in archives for path in provided(archive))]
    return "here" if all((folder / path).exists() for path in paths) else "partly here"


def _root(given: Path | None) -> Path:
    from atlas_core.placement import Placement

    return Placement(data_root=given).data_path


def _specs(names: list[str]) -> list[DatasetSpec]:
    wanted = [each for name in names for each in (dataset_names() if name == "all" else [name])]
    return [dataset_spec(name) for name in dict.fromkeys(wanted)]


def _families(spec: DatasetSpec) -> list[str]:
    """The method families whose prompt is another one than CoOp's."""
    own = [each for each in FAMILIES[1:] if spec.template(each) != spec.template("coop")]
    return ["coop", *own]


def _source_rows(spec: DatasetSpec) -> list[tuple[str, str]]:
    if spec.source is None:
        return []
    rows = [("made by", spec.source.generator or ""), ("images from", spec.source.parquet or "")]
    for archive in spec.source.archives:
        for number, candidate in enumerate(archive.candidates()):
            checks = [f"{k} {v}" for k, v in (("md5", candidate.md5), ("sha256", candidate.sha256)) if v]
            kind = archive.name if number == 0 else "  or from"
            rows.append((kind, f"{candidate.url}{' (' + ', '.join(checks) + ')' if checks else ''}"))
    rows.append(("to do by hand", " ".join((spec.source.gated or "").split())))
    return rows


def _raise_failures(outcomes: list[Fetched]) -> None:
    errors = {outcome.spec.name: outcome.error for outcome in outcomes if outcome.error is not None}
    for error in errors.values():
        if not isinstance(error, AtlasError):
            raise error
    if len(errors) == 1:
        raise next(iter(errors.values()))
    for error in errors.values():
        err.print(f"[bold red]error[/bold red] {shown_in_markup(str(error))}")
    if errors:
        raise AtlasError(f"{len(errors)} of {len(outcomes)} datasets are not here: {', '.join(errors)}")


def _print_report(report: VerifyReport, most: int | None) -> None:
    verdict = "whole" if report.ok else "not whole"
    where = shown_in_markup(str(report.folder))
    out.print(f"[bold]{report.dataset}[/bold]: {verdict}, {report.n_images:,} images listed, in {where}")
    lines = [
        *(("problem", text) for text in report.problems),
        *(("missing", path) for path in report.missing),
        *(("damaged", f"{path}: {reason}") for path, reason in report.damaged),
        *(("note", text) for text in report.notes),
    ]
    for kind, text in lines[:most]:
        out.print(f"  {kind}  {shown_in_markup(text)}")
    if most is not None and len(lines) > most:
        out.print(f"  and {len(lines) - most:,} more (--all names every one)")
