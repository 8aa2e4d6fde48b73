"""What this program did not make it never deletes, wherever somebody put it."""

import json
import random
import shlex
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.datasets.catalogue import dataset_spec
from atlas_core.datasets.fetch import ensure_fetched
from atlas_core.errors import AtlasError
from atlas_core.own_files import LIST
from atlas_core.store import MARKER, Store
from tests.tiny_study import TinyWorld, draw_image_folder, make_world, write_yaml

SMALL = {"supervisions": ["one_hot", "atlas_csl"]}
RUN = "ponds coop one_hot"


@pytest.fixture
def world(tmp_path: Path) -> TinyWorld:
    world = make_world(tmp_path / "home")
    world.run(**SMALL)
    return world


def call(world: TinyWorld, *words: str) -> str:
    where = ("--root", str(world.home / "data")) if words[0] == "datasets" else ("--home", str(world.home))
    done = CliRunner().invoke(app, [*words, *where])
    assert done.exit_code in (0, 1), done.output
    assert done.exception is None or isinstance(done.exception, (SystemExit, AtlasError)), done.exception
    return done.output


def scatter(world: TinyWorld, seed: int) -> set[str]:
    """Put a file of known content everywhere: beside, above, and inside what the program made; its contents."""
    drawn = random.Random(seed)
    store = Store(world.placement.store_path)
    artifacts = list(store.folders())
    stages = sorted({folder.parent for folder in artifacts})
    places = [
        world.home,
        world.home / "data",
        world.home / "data" / "ponds",
        store.root,
        store.root / "photos" / "2024",
        store.root / "thesis" / ("a" * 64),
        *(stage / "chapter1" for stage in stages),
        *(stage / ("f" * 64) for stage in stages),
        *drawn.sample(artifacts, 6),
        store.root / ".tmp" / "mine",
        store.root / ".work" / "notes",
        store.root / ".trash" / "notes",
        store.root / ".studies",
    ]
    contents = set()
    for number, place in enumerate(places):
        place.mkdir(parents=True, exist_ok=True)
        content = f"somebody's {seed}/{number}"
        (place / f"note{number}.txt").write_text(content)
        contents.add(content)
    return contents


def found(world: TinyWorld) -> set[str]:
    return {path.read_text() for path in world.home.rglob("note*.txt")}


@pytest.mark.parametrize("seed", range(3))
def test_every_foreign_file_is_there_after_every_command(world: TinyWorld, seed: int) -> None:
    contents = scatter(world, seed)
    store = Store(world.placement.store_path)
    drawn = random.Random(seed)
    for folder in drawn.sample(list(store.folders()), 3):  # damaged, with files of somebody's beside
        for path in folder.glob("*.parquet"):
            path.write_bytes(b"")
    study = world.home / "tiny.yaml"
    for words in (
        ("gc",),
        ("store", "verify"),
        ("store", "verify", "--delete-damaged"),
        ("gc", "--delete"),
        ("gc", "--empty-trash"),
        ("store", "adopt"),
    ):
        call(world, *words)
        assert found(world) == contents, words
    assert not study.exists()
    world.run(**SMALL)
    world.run(supervisions=["ls"])
    call(world, "gc", "--delete")
    call(world, "gc", "--empty-trash")
    assert found(world) == contents


def test_a_folder_that_holds_other_things_is_refused_as_a_store_by_every_command(
    world: TinyWorld, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "photos" / "2024").mkdir(parents=True)
    (other / "photos" / "2024" / "note.jpg").write_text("a picture")
    for words in (
        ["gc", "--delete"],
        ["store", "verify"],
        ["status", "base-to-new"],
        ["plan", "base-to-new"],
    ):
        done = CliRunner().invoke(app, [*words, "--store", str(other)])
        assert isinstance(done.exception, AtlasError), (words, done.output)
        assert "is no store: it holds photos" in str(done.exception)
    assert (other / "photos" / "2024" / "note.jpg").read_text() == "a picture"
    assert not (other / MARKER).exists()


def test_the_advice_to_adopt_a_folder_works(world: TinyWorld, tmp_path: Path) -> None:
    root = world.placement.store_path
    (root / MARKER).unlink()  # as a store was before there were markers
    with pytest.raises(AtlasError, match="atlas store adopt --store") as refused:
        world.run(**SMALL)
    advice = shlex.split(refused.value.fix.partition("(`atlas ")[2].partition("`)")[0])
    assert CliRunner().invoke(app, advice).exit_code == 0
    assert world.run(**SMALL).made == []


def test_a_store_of_another_format_is_refused(world: TinyWorld) -> None:
    (world.placement.store_path / MARKER).write_text('{"format": 99}')
    with pytest.raises(AtlasError, match="format 99"):
        world.run(**SMALL)


def test_what_is_moved_to_the_trash_is_named_and_can_be_taken_back(world: TinyWorld) -> None:
    store = Store(world.placement.store_path)
    (store.root / ".studies" / "tiny.json").unlink()
    told = call(world, "gc", "--delete")
    assert "moved to the trash" in told
    assert "tune/ponds/base/2-shot/coop/one_hot/seed1: no study needs it" in told
    assert not list(store.manifests("tune"))
    for folder in (store.root / ".trash" / "tune").glob("*/*"):
        folder.rename(store.root / "tune" / folder.name)
    assert not [name for name in world.run(**SMALL).made if name.startswith("tune/")]
    (store.root / ".studies" / "tiny.json").unlink()
    call(world, "gc", "--delete")
    assert "tune/ponds/base/2-shot/coop/one_hot/seed1: in the trash" in call(world, "gc", "--empty-trash")
    assert not [path for path in (store.root / ".trash").rglob("*") if path.is_file()]


def scatter_anywhere(home: Path, seed: int) -> set[str]:
    """Put files into twenty folders drawn among all below the home, some into new folders there; their contents."""
    drawn = random.Random(seed)
    folders = [home, *sorted(path for path in home.rglob("*") if path.is_dir())]
    contents = set()
    for number, folder in enumerate(drawn.sample(folders, 20)):
        place = folder / "mine" if drawn.random() < 0.3 else folder
        place.mkdir(exist_ok=True)
        contents.add(content := f"anywhere {seed}/{number}")
        (place / f"note-{seed}-{number}.txt").write_text(content)
    return contents


@pytest.mark.parametrize("seed", range(4))
def test_files_in_any_folder_below_the_home_are_there_after_every_command(
    seed: int, world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(name: str, folder: Path) -> None:
        draw_image_folder(folder, images=6, side=40, seed=number)

    monkeypatch.setattr("atlas_core.datasets.demo.generate", generate)
    drawn = world.home / "drawn.yaml"
    source = {"generator": "demo"}
    write_yaml(drawn, {"name": "drawn", "layout": "image_folder", "folder": "drawn", "source": source})
    study = dict(SMALL, datasets=[str(world.home / "ponds.yaml"), str(drawn)])
    contents: set[str] = set()
    for number in range(2):  # the second time the generator draws other images
        spec = dataset_spec(str(drawn))
        ensure_fetched(spec, world.placement.data_path, again=True)
        with suppress(AtlasError):  # a folder of notes among the class folders is refused
            world.run(**study)
        assert found(world) == contents
        contents |= scatter_anywhere(world.home, 10 * seed + number)
        out = world.home / "out"
        for words in (
            *output_commands(world, out),
            ("datasets", "verify", str(drawn)),
            ("datasets", "fetch", str(drawn), "--again"),
            ("store", "verify", "--delete-damaged"),
            ("gc", "--delete"),
            ("gc", "--empty-trash"),
        ):
            call(world, *words)
            assert found(world) == contents, words


def output_commands(world: TinyWorld, out: Path) -> list[tuple[str, ...]]:
    """Every command that writes files where a user says."""
    study = world.home / "study.yaml"
    study.write_text(json.dumps(world.raw_study(**SMALL)))
    to = ("--output", str(out))
    return [
        ("report", str(study), "--output", str(out / "report.html")),
        ("figures", *to),
        ("case-study", RUN, "--count", "1", *to),
        ("convergence", RUN, "--schedule", "one_hot", "--every", "3", *to),
        ("profile", RUN, "--steps", "1", "--trace", str(out / "trace.json")),
    ]


def test_outputs_replace_what_they_wrote_and_nothing_else(world: TinyWorld, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("somebody's")
    for words in output_commands(world, out):
        before = {path.name for path in out.iterdir()} | {LIST}
        for _ in range(2):  # the second time over its own files
            done = CliRunner().invoke(app, [*words, "--home", str(world.home)])
            assert done.exit_code == 0, (words, done.output, done.exception)
        files = {path.name for path in out.iterdir()} - before
        assert files, words
        assert (out / "note.txt").read_text() == "somebody's"
        taken = out / min(files)
        taken.write_text("retouched")
        others = {path.name: path.read_bytes() for path in out.iterdir()}
        done = CliRunner().invoke(app, [*words, "--home", str(world.home)])
        assert isinstance(done.exception, AtlasError), words
        assert f"{taken} is there, and is not what this program wrote" in str(done.exception)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == others
        taken.unlink()


@pytest.mark.parametrize("kind", ["file", "full", "dead link"])
def test_an_export_needs_a_folder_of_its_own(kind: str, world: TinyWorld, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    if kind == "file":
        folder.write_text("somebody's")
    elif kind == "full":
        folder.mkdir()
        (folder / "note.txt").write_text("somebody's")
    else:
        folder.symlink_to(tmp_path / "unmounted")
    done = CliRunner().invoke(app, ["export", RUN, str(folder), "--home", str(world.home)])
    assert isinstance(done.exception, AtlasError)
    assert "is there and not empty" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["exported"]
    assert (
        folder.is_symlink() or (folder if kind == "file" else folder / "note.txt").read_text() == "somebody's"
    )
