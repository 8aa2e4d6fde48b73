"""`atlas datasets …` on the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from atlas_core.datasets import commands
from atlas_core.datasets.catalogue import DatasetSpec
from atlas_core.datasets.console import reporting
from atlas_core.datasets.progress import Progress
from atlas_core.datasets.readers import read_dataset
from atlas_core.errors import AtlasError
from tests.datasets.miniatures import FIFTEEN, images, miniature
from tests.datasets.server import FileServer


def atlas(*arguments: str, home: Path) -> Result:
    return CliRunner().invoke(commands.app, list(arguments), env={"ATLAS_HOME": str(home), "COLUMNS": "200"})


@pytest.fixture
def served(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, DatasetSpec]:
    """The catalogue, with every address leading to this machine."""
    specs = {name: miniature(name).spec(server) for name in FIFTEEN}
    monkeypatch.setattr(commands, "dataset_spec", lambda name: specs[name])
    monkeypatch.setattr(commands, "dataset_names", lambda: sorted(specs))
    return specs


def test_list_names_every_dataset_and_what_is_here(served: dict[str, DatasetSpec], tmp_path: Path) -> None:
    atlas("fetch", "dtd", "eurosat", home=tmp_path)
    (tmp_path / "data/eurosat/split_zhou_EuroSAT.json").unlink()
    rows = {row["name"]: row["state"] for row in json.loads(atlas("list", "--json", home=tmp_path).stdout)}
    assert set(rows) == set(FIFTEEN)
    assert {name: rows[name] for name in ("dtd", "eurosat", "sun397")} == {
        "dtd": "here",
        "eurosat": "partly here",
        "sun397": "not here",
    }
    text = atlas("list", home=tmp_path).stdout
    assert all(name in text for name in FIFTEEN)
    assert str(tmp_path / "data") in text


def test_fetch_puts_datasets_below_the_root_and_says_where(
    served: dict[str, DatasetSpec], tmp_path: Path
) -> None:
    result = atlas("fetch", "dtd", "fgvc_aircraft", "--root", str(tmp_path / "my data"), home=tmp_path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"dtd: {tmp_path / 'my data' / 'dtd'}",
        f"fgvc_aircraft: {tmp_path / 'my data' / 'fgvc_aircraft'}",
    ]
    assert "dtd: downloading dtd-r1.0.1.tar.gz" in result.stderr
    assert len(read_dataset(served["dtd"], tmp_path / "my data").items) == 18


def test_fetching_all_gets_fourteen_and_explains_the_gated_one(
    served: dict[str, DatasetSpec], tmp_path: Path
) -> None:
    result = atlas("fetch", "all", home=tmp_path)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 14
    assert isinstance(result.exception, AtlasError)
    assert "image-net.org" in str(result.exception)


def test_failures_are_listed_together(
    served: dict[str, DatasetSpec], server: FileServer, tmp_path: Path
) -> None:
    del server.files["dtd/dtd-r1.0.1.tar.gz"]
    result = atlas("fetch", "dtd", "imagenet", "eurosat", home=tmp_path)
    assert "2 of 3 datasets are not here: dtd, imagenet" in str(result.exception)
    assert "HTTP 404" in result.stderr
    assert "image-net.org" in result.stderr


def test_an_existing_folder_is_adopted_and_stays_as_it_is(
    served: dict[str, DatasetSpec], server: FileServer, tmp_path: Path
) -> None:
    atlas("fetch", "dtd", "--root", str(tmp_path / "coop"), home=tmp_path)
    server.requests.clear()
    result = atlas("fetch", "dtd", "--root", str(tmp_path / "coop"), home=tmp_path)
    assert result.stdout == f"dtd: {tmp_path / 'coop' / 'dtd'}\n"
    assert server.requests == []
    assert not (tmp_path / "data").exists()


def test_verify_names_the_files_and_fails(served: dict[str, DatasetSpec], tmp_path: Path) -> None:
    atlas("fetch", "dtd", home=tmp_path)
    assert atlas("verify", "dtd", home=tmp_path).exit_code == 0
    folder = tmp_path / "data/dtd/images"
    (folder / "banded/banded_0001.jpg").unlink()
    (folder / "banded/banded_0002.jpg").write_bytes(b"")
    result = atlas("verify", "dtd", home=tmp_path)
    assert result.exit_code == 1
    assert "missing  images/banded/banded_0001.jpg" in result.stdout
    assert "damaged  images/banded/banded_0002.jpg: the file is empty" in result.stdout
    report = json.loads(atlas("verify", "dtd", "--json", home=tmp_path).stdout)[0]
    assert report["missing"] == ["images/banded/banded_0001.jpg"]
    assert report["ok"] is False


def test_verify_names_twenty_files_unless_asked_for_all(
    served: dict[str, DatasetSpec], tmp_path: Path
) -> None:
    atlas("fetch", "dtd", home=tmp_path)
    split = tmp_path / "data/dtd/split_zhou_DescribableTextures.json"
    content = json.loads(split.read_text())
    content["test"] += [[f"banded/none_{n}.jpg", 0, "banded"] for n in range(50)]
    split.write_text(json.dumps(content))
    short = atlas("verify", "dtd", home=tmp_path).stdout
    assert short.count("missing  ") == 20
    assert "and 31 more (--all names every one)" in short
    assert atlas("verify", "dtd", "--all", home=tmp_path).stdout.count("missing  ") == 50


def test_verify_of_what_is_not_here_says_so(served: dict[str, DatasetSpec], tmp_path: Path) -> None:
    result = atlas("verify", "dtd", home=tmp_path)
    assert result.exit_code == 1
    assert f"there is no folder {tmp_path / 'data' / 'dtd'}" in result.stdout


def test_fetch_again_brings_back_images_that_class_folders_cannot_miss(
    served: dict[str, DatasetSpec], tmp_path: Path
) -> None:
    atlas("fetch", "imagenet_r", home=tmp_path)
    gone = next((tmp_path / "data/imagenet-rendition/imagenet-r").rglob("*.jpg"))
    gone.unlink()
    assert "test: 5 here, 6 published" in atlas("verify", "imagenet_r", home=tmp_path).stdout
    atlas("fetch", "imagenet_r", home=tmp_path)
    assert not gone.exists()
    atlas("fetch", "imagenet_r", "--again", home=tmp_path)
    assert gone.exists()


@pytest.mark.parametrize("name", FIFTEEN)
def test_info_says_what_a_dataset_is(name: str, tmp_path: Path) -> None:
    text = atlas("info", name, home=tmp_path).stdout
    for part in ("licence", "paper", "homepage", "prompt, coop", "not here"):
        assert part in text


def test_info_shows_the_prompts_that_differ_and_every_address(tmp_path: Path) -> None:
    text = atlas("info", "dtd", home=tmp_path).stdout
    assert "a texture of {}." in text
    assert "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz (md5 fff73e5086ae" in text
    assert "gdrive:1u3_QfB467jqHgNXC00UIzbLZRQCg2S7x" in text


def test_own_data_goes_through_the_same_commands(tmp_path: Path) -> None:
    birds = images(f"{name}/{n}.jpg" for name in ("robin [x]", "wren") for n in range(4))
    for path, content in birds.items():
        (tmp_path / "birds" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "birds" / path).write_bytes(content)
    name = f"image_folder:{tmp_path / 'birds'}"
    assert atlas("verify", name, home=tmp_path).exit_code == 0
    (tmp_path / "birds/robin [x]/0.jpg").write_bytes(b"no image")
    assert "damaged  robin [x]/0.jpg" in atlas("verify", name, home=tmp_path).stdout
    assert f"{tmp_path / 'birds'} (here)" in atlas("info", name, home=tmp_path).stdout


def test_an_unknown_name_is_one_error(tmp_path: Path) -> None:
    result = atlas("fetch", "caltech", home=tmp_path)
    assert isinstance(result.exception, AtlasError)
    assert "did you mean 'caltech101'" in str(result.exception)


def test_a_terminal_sees_bars_with_bytes_and_files() -> None:
    screen = io.StringIO()
    with reporting(Console(file=screen, force_terminal=True, width=120)) as tell:
        tell(Progress("dtd", "downloading a.tar", 1_500_000, 3_000_000))
        tell(Progress("dtd", "unpacking a.tar", 500, None))
        tell(Progress("eurosat", "checking images", 1000, 2800))
    text = screen.getvalue()
    assert "eurosat: checking images" in text
    assert "1,000 of 2,800" in text
