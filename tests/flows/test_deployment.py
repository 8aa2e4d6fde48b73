"""The documented sequence: `make serve`'s command, then `prefect deployment run` from some other folder."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atlas_core.store import Store
from tests.flows.serving import run_deployment, served, tiny_parameters
from tests.tiny_study import make_world


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with served(tmp_path_factory.mktemp("prefect")) as environment:
        yield environment


def test_deployments_run_from_any_folder_and_refuse_unknown_names(
    serving: dict[str, str], tmp_path: Path
) -> None:
    world = make_world(tmp_path / "world")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    listed = subprocess.run(
        [sys.executable, "-m", "prefect", "deployment", "ls"],
        env=serving,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for flow in ("base-to-new", "cross-dataset", "few-shot", "ablation", "benchmark"):
        assert f"{flow}/demo" in listed
        assert f"{flow}/full" in listed
    # Longer names are cut in the listing.
    assert "domain-general" in listed
    assert "supervision-com" in listed

    status, printed = run_deployment("base-to-new/demo", tiny_parameters(world), serving, elsewhere)
    assert status == 0, printed
    store = Store(world.placement.store_path)
    assert len(list(store.manifests("aggregate"))) == 1
    assert len(list(store.manifests("evaluate"))) == 20
    assert list(elsewhere.iterdir()) == []

    wrong = {**tiny_parameters(world), "datasets": ["demo_shape"]}
    status, _ = run_deployment("base-to-new/demo", wrong, serving, elsewhere)
    assert status != 0
