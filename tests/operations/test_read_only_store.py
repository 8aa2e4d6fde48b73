"""A store that may only be read answers what it holds, and says one sentence where it would have to be written to."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from atlas_core.errors import AtlasError
from tests.tiny_study import TinyWorld, make_world

Atlas = Callable[..., subprocess.CompletedProcess[str]]
SUPERVISIONS = ["one_hot"]
ATLAS = [sys.executable, "-m", "atlas_core.cli"]


@pytest.fixture(scope="module")
def finished() -> Iterator[TinyWorld]:
    with (
        TemporaryDirectory() as folder
    ):  # pytest's own are below one that it makes its user's alone at every start
        Path(folder).chmod(0o755)
        world = make_world(Path(folder) / "home")
        world.run(supervisions=SUPERVISIONS)
        (world.home / "study.yaml").write_text(yaml.safe_dump(world.raw_study(supervisions=SUPERVISIONS)))
        yield world


def on_a_read_only_mount(world: TinyWorld) -> list[str]:
    """The start of a command line under which the store is on a mount that is read-only."""
    store = str(world.placement.store_path)
    mounted = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", mounted, store]


def as_another_user(world: TinyWorld) -> list[str]:
    """The start of a command line under which the store belongs to another user."""
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture(params=[on_a_read_only_mount, as_another_user])
def atlas(request: pytest.FixtureRequest, finished: TinyWorld, tmp_path: Path) -> Atlas:
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("mounting and becoming another user need root, unshare and setpriv")
    (finished.home / "clip.safetensors").chmod(0o644)
    start = request.param(finished)
    allowed = subprocess.run(
        [*start, "cat", str(finished.home / "study.yaml")], capture_output=True, check=False
    )
    if allowed.returncode:
        pytest.skip(f"not possible here: {allowed.stderr.decode()}")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        options = ["--home", str(finished.home)]
        environment = os.environ | {"ATLAS_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
        return subprocess.run(
            [*start, *ATLAS, *words, *options], env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize(
    "words", [("run", "--workers", "0"), ("status",), ("plan",)], ids=lambda words: words[0]
)
def test_a_study_that_is_all_there_is_run_and_shown(
    atlas: Atlas, finished: TinyWorld, words: tuple[str, ...]
) -> None:
    done = atlas(words[0], str(finished.home / "study.yaml"), *words[1:])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words", [("table", "base-to-new"), ("sql", "SHOW TABLES"), ("gc",)], ids=lambda words: words[0]
)
def test_what_is_there_is_shown(atlas: Atlas, words: tuple[str, ...]) -> None:
    done = atlas(*words)
    assert done.returncode == 0, done.stderr


def test_weights_that_this_user_may_not_read_are_one_sentence(
    atlas: Atlas, finished: TinyWorld, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["atlas"] is not as_another_user:
        pytest.skip("the owner may read them")
    (finished.home / "clip.safetensors").chmod(0o600)
    done = atlas("status", str(finished.home / "study.yaml"))
    assert done.returncode == 1
    assert "clip.safetensors cannot be read: Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_study_that_lacks_something_is_one_sentence(atlas: Atlas, finished: TinyWorld) -> None:
    done = atlas("run", str(finished.home / "study.yaml"), "--workers", "0", "--set", "seeds=[2]")
    assert done.returncode == 1
    assert "cannot write to the store" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records cannot be written, whoever runs the test."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", refused)


def test_records_that_cannot_be_written_stop_no_study_that_is_all_there(
    finished: TinyWorld, unwritable: None
) -> None:
    assert finished.run(supervisions=SUPERVISIONS).made == []


def test_records_that_cannot_be_written_stop_a_study_before_its_first_job(
    finished: TinyWorld, unwritable: None
) -> None:
    with pytest.raises(AtlasError, match=r"cannot write to the store.*Read-only file system"):
        finished.run(supervisions=SUPERVISIONS, seeds=[3])


def test_results_that_cannot_become_the_current_ones_are_said(
    finished: TinyWorld, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    finished.run(supervisions=SUPERVISIONS, seeds=[4])
    request.getfixturevalue("unwritable")
    with pytest.raises(AtlasError, match="cannot write to the store"):
        finished.run(supervisions=SUPERVISIONS)
