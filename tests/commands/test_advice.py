"""Every command that an error or a finding tells its reader to run is run here, and helps."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import Result
from typer.main import get_command
from typer.testing import CliRunner

import atlas_core
from atlas_core.cli import COMMANDS, app
from atlas_core.datasets.catalogue import DatasetSpec, dataset_spec
from atlas_core.datasets.items import DatasetIndex
from atlas_core.datasets.readers import read_dataset
from atlas_core.errors import AtlasError
from atlas_core.presets import load_studies, study_title
from tests.datasets.miniatures import jpeg, miniature
from tests.datasets.server import FileServer, serving
from tests.tiny_study import TinyWorld, make_world, write_yaml

PACKAGE = Path(atlas_core.__file__).parent
DOCUMENTS = [PACKAGE.parent / "README.md", *sorted((PACKAGE.parent / "docs").rglob("*.md"))]
A_COMMAND = re.compile(rf"\batlas (?:{'|'.join(map(re.escape, COMMANDS))})\b")
IN_BACKTICKS = re.compile(r"`(atlas [^`]+)`")

# Commands that take minutes, or need an account elsewhere: they are parsed, not run.
NOT_RUN = {"atlas demo", "atlas datasets fetch imagenet"}
# Named as the maker of something, not as what to do.
NOT_ADVICE = {"atlas export", "atlas run", "atlas store"}
FOLLOWED: set[str] = set()
Test = Callable[..., None]


def follows(*templates: str) -> Callable[[Test], Test]:
    """Marks the test that runs a command which the source code names so ({} for what is filled in)."""
    FOLLOWED.update(templates)
    return lambda test: test


def strings(tree: ast.AST) -> Iterator[str]:
    """The strings of a module but its docstrings; what is filled into one is {}."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    left_out = inside | {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.value


def advice() -> list[str]:
    """Every string of the package that names a command, but the page and the file that say what made them."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.name not in ("export_text.py", "write.py"):
            found += [each for each in strings(ast.parse(file.read_text())) if A_COMMAND.search(each)]
    return found


def invoke(command: str, home: Path) -> Result:
    """Run `atlas …` as it stands in an error."""
    program, *words = shlex.split(command.partition(" > ")[0])
    assert program == "atlas"
    return CliRunner().invoke(app, words, env={"ATLAS_HOME": str(home), "COLUMNS": "200"})


def helped(error: AtlasError, home: Path) -> list[Result]:
    """Run every command that an error names."""
    commands = IN_BACKTICKS.findall(str(error))
    assert commands, error
    return [invoke(command, home) for command in commands]


def check_parses(command: str) -> None:
    """Refuse what the command line would refuse: a command, option or argument that does not exist."""
    words = shlex.split(command.replace("{}", "X").partition(" > ")[0])
    parsed: Any = get_command(app)
    context = parsed.make_context(words[0], [], resilient_parsing=True)
    while hasattr(parsed, "get_command"):
        words = words[1:]
        parsed = parsed.get_command(context, words[0])
        assert parsed is not None, f"no command {words[0]!r}"
    parsed.make_context(words[0], words[1:])


def test_advice_stands_in_backticks() -> None:
    bare = [each for each in advice() if A_COMMAND.search(IN_BACKTICKS.sub("", each))]
    assert bare == []


def test_every_command_that_is_advised_is_followed_by_a_test() -> None:
    advised = {command for each in advice() for command in IN_BACKTICKS.findall(each)}
    assert advised - NOT_RUN - NOT_ADVICE == FOLLOWED


@pytest.mark.parametrize("command", sorted(NOT_RUN))
def test_what_is_not_run_is_parsed(command: str) -> None:
    check_parses(command)


def documented() -> list[str]:
    """Commands in the documents' blocks of code."""
    found = []
    for document in DOCUMENTS:
        for line in document.read_text(encoding="utf-8").splitlines():
            match = re.match(r"(?: {4}|\$ )(?:\.venv/bin/)?(atlas .*?)\s*(?:#.*)?$", line)
            found += [match[1]] if match else []
    return sorted(set(found))


@pytest.mark.parametrize("command", documented())
def test_documented_commands_and_their_presets_exist(command: str) -> None:
    if command.endswith("\\") or "…" in command:
        pytest.skip("goes on elsewhere")
    check_parses(command)
    words = shlex.split(command)
    if words[1] in ("run", "plan", "status", "report") and not re.search(r"STUDY|\.yaml", command):
        preset = words[words.index("--preset") + 1] if "--preset" in words else "demo"
        load_studies(study_title(words[2], preset), {})


# --- datasets ------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def served(name: str, server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetSpec:
    """A miniature of a published dataset, in a catalogue of its own whose addresses lead to the server."""
    write_yaml(
        folder / f"{name}.yaml", miniature(name).spec(server).model_dump(mode="json", exclude={"reference"})
    )
    monkeypatch.setenv("ATLAS_CATALOGUE", str(folder))
    return dataset_spec(name)


def mended(spec: DatasetSpec, root: Path, home: Path) -> DatasetIndex:
    """Read a dataset after what its error says was done."""
    with pytest.raises(AtlasError) as caught:
        read_dataset(spec, root)
    answers = helped(caught.value, home)
    assert answers[-1].exit_code == 0, answers[-1].output
    return read_dataset(spec, root)


@follows("atlas datasets {} {}{}")
@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("eurosat", "."),
        ("eurosat", "split_zhou_EuroSAT.json"),
        ("eurosat", "2750/Forest/Forest_1.jpg"),
        ("fgvc_aircraft", "variants.txt"),
        ("imagenet_a", "classnames.txt"),
    ],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_a_dataset_lacks_is_fetched(
    name: str, lost: str, elsewhere: bool, server: FileServer, home: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ATLAS_HOME", str(home))
    spec = served(name, server, tmp_path, monkeypatch)
    root = tmp_path / "my data" if elsewhere else home / "data"
    assert invoke(f"atlas datasets fetch {name} --root {shlex.quote(str(root))}", home).exit_code == 0
    whole = read_dataset(spec, root)
    gone = spec.path(root) / lost
    if lost.endswith(".jpg"):
        gone = spec.path(root) / whole.items[-1].path
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert mended(spec, root, home) == whole


@pytest.mark.parametrize("folder", ["birds", "my birds"])
def test_a_table_of_ones_own_is_verified_by_the_name_that_the_error_gives(
    folder: str, home: Path, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir()
    rows = [f"{number}.jpg,{'ab'[number % 2]}" for number in range(8)]
    (tmp_path / folder / "labels.csv").write_text("path,class\n" + "\n".join(rows))
    for number in range(7):
        (tmp_path / folder / f"{number}.jpg").write_bytes(jpeg())
    with pytest.raises(AtlasError, match="1 of 8 images are missing") as caught:
        read_dataset(dataset_spec(f"table:{tmp_path / folder / 'labels.csv'}"), home)
    (answer,) = helped(caught.value, home)
    assert "missing  7.jpg" in answer.output


def pets(folder: Path) -> Path:
    folder.mkdir(parents=True)
    table = pa.table({"image": [jpeg(number) for number in range(8)], "label": ["cat", "dog"] * 4})
    pq.write_table(table, folder / "pets.parquet")
    return folder


def test_images_of_parquet_files_are_taken_out_by_the_command_that_the_error_names(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_HOME", str(home))
    spec = dataset_spec(f"hf_parquet:{pets(tmp_path / 'my pets')}")
    assert len(mended(spec, home / "data", home).items) == 8
    # Something else in its place: reading and fetching say the same, and it helps.
    shutil.rmtree(spec.path(home / "data"))
    spec.path(home / "data").mkdir()
    (spec.path(home / "data") / "precious.jpg").write_bytes(b"somebody's")
    with pytest.raises(AtlasError) as reading:
        read_dataset(spec, home / "data")
    (fetching,) = helped(reading.value, home)
    assert isinstance(fetching.exception, AtlasError)
    assert fetching.exception.fix == reading.value.fix
    assert reading.value.fix.startswith("move ")
    shutil.move(spec.path(home / "data"), tmp_path / "away")
    (again,) = helped(reading.value, home)
    assert again.exit_code == 0
    assert len(read_dataset(spec, home / "data").items) == 8


def test_a_description_of_parquet_files_without_their_place_says_what_to_add(
    home: Path, tmp_path: Path
) -> None:
    pets(tmp_path / "pets")
    described = {"name": "pets", "layout": "hf_parquet", "folder": "./pets"}
    write_yaml(tmp_path / "pets.yaml", described)
    for command in ("fetch", "verify"):
        answer = invoke(f"atlas datasets {command} {tmp_path / 'pets.yaml'}", home)
        assert "add `source: {parquet: PATH}`" in f"{answer.output}{answer.exception}"
    # Followed, the error is about the folder, and followed again the images are there.
    write_yaml(tmp_path / "pets.yaml", {**described, "source": {"parquet": "pets"}})
    answer = invoke(f"atlas datasets fetch {tmp_path / 'pets.yaml'}", home)
    assert "another `folder`" in str(answer.exception)
    write_yaml(tmp_path / "pets.yaml", {**described, "folder": "./images", "source": {"parquet": "pets"}})
    assert invoke(f"atlas datasets fetch {tmp_path / 'pets.yaml'}", home).exit_code == 0


# --- studies and results -------------------------------------------------------------------------------------


@pytest.fixture
def world(home: Path) -> TinyWorld:
    return make_world(home, images=4)


def saved(world: TinyWorld, name: str) -> Path:
    """The tiny study as a file in a folder with a blank in its name."""
    path = world.home / "my studies" / f"{name}.yaml"
    path.parent.mkdir()
    raw = {**world.raw_study(), "name": name, "supervisions": ["one_hot"]}
    path.write_text(yaml.safe_dump(raw))
    return path


def refused(command: str, home: Path) -> AtlasError:
    answer = invoke(command, home)
    assert isinstance(answer.exception, AtlasError), answer.output
    return answer.exception


@follows("atlas run STUDY", "atlas run {}")
def test_what_has_no_results_is_run(world: TinyWorld) -> None:
    study = shlex.quote(str(saved(world, "slash")))
    report = f"atlas report {study} --output {shlex.quote(str(world.home / 'report.html'))}"
    nothing = (
        "atlas sql 'FROM runs'",
        "atlas table base-to-new",
        f"atlas figures --output {world.home / 'figures'}",
    )
    for command in nothing:
        assert "`atlas run STUDY`" in str(refused(command, world.home))
    (ran,) = helped(refused(report, world.home), world.home)
    assert ran.exit_code == 0, ran.output
    for command in (*nothing, report):
        assert invoke(command, world.home).exit_code == 0


@follows(
    'atlas sql "SHOW TABLES"',
    'atlas sql --format csv "SELECT ..." > answer.csv',
    "atlas gc",
    "atlas gc --delete",
    "atlas gc --empty-trash",
    "atlas plan STUDY",
)
def test_what_is_said_of_results_and_disks(world: TinyWorld) -> None:
    study = shlex.quote(str(saved(world, "study")))
    assert invoke(f"atlas run {study} --quiet", world.home).exit_code == 0
    error = refused("atlas sql 'COPY runs TO there'", world.home)
    (command,) = IN_BACKTICKS.findall(str(error))
    assert invoke(command.replace("SELECT ...", "SELECT 1 AS one"), world.home).output == "one\n1\n"
    error = refused("atlas sql \"FROM 'runs.csv'\"", world.home)
    answers = [
        invoke(each.replace("SELECT ...", "FROM runs"), world.home)
        for each in IN_BACKTICKS.findall(str(error))
    ]
    assert [each.exit_code for each in answers] == [0, 0]
    for command in ("atlas gc", "atlas gc --delete", "atlas gc --empty-trash", f"atlas plan {study}"):
        assert invoke(command, world.home).exit_code == 0


@follows("atlas store adopt --store {}")
def test_a_folder_that_holds_files_is_adopted(world: TinyWorld) -> None:
    study = shlex.quote(str(saved(world, "study")))
    (world.home / "my files").mkdir()
    (world.home / "my files" / "notes.txt").write_text("mine")
    run = f"atlas run {study} --quiet --store {shlex.quote(str(world.home / 'my files'))}"
    (adopted,) = helped(refused(run, world.home), world.home)
    assert adopted.exit_code == 0, adopted.output
    assert invoke(run, world.home).exit_code == 0


@follows("atlas store verify --delete-damaged")
def test_a_damaged_index_is_removed_and_read_again(world: TinyWorld) -> None:
    study = shlex.quote(str(saved(world, "study")))
    assert invoke(f"atlas run {study} --quiet", world.home).exit_code == 0
    for file in (world.home / "store" / "index").glob("*/dataset.json"):
        stat = file.stat()
        file.write_bytes(b"?" * stat.st_size)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (removed,) = helped(refused(f"atlas run {study} --quiet", world.home), world.home)
    assert "2 removed" in removed.output
    assert invoke(f"atlas run {study} --quiet", world.home).exit_code == 0


@follows("atlas doctor --backbone all", "atlas doctor --backbone {}")
def test_published_weights_are_listed(home: Path) -> None:
    (listed,) = helped(refused("atlas doctor --backbone ViT-Z-99", home), home)
    assert "ViT-B-16-quickgelu" in listed.output


@follows("atlas datasets fetch {}")
def test_a_dataset_that_is_not_here_is_brought_and_inspected(home: Path) -> None:
    (brought,) = helped(refused("atlas datasets inspect demo_digits", home), home)
    assert brought.exit_code == 0, brought.output
    assert invoke("atlas datasets inspect demo_digits", home).exit_code == 0


def test_messages_hold_no_terminal_codes() -> None:
    quoted = (
        "\x1b[1mbold\x1b[0m \x1b]8;;http://a\x07link\x1b]8;;\x07 \x1b[31;1mred\x1b[m\x07 tab\t line\n end"
    )
    error = AtlasError(f"it said {quoted}", expected=quoted, fix=quoted)
    assert "\x1b" not in str(error)
    assert "\x07" not in str(error)
    assert "bold link red tab\t line\n end" in error.what
