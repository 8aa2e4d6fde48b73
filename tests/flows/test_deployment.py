"""The documented sequence: `make serve`'s command, then `prefect deployment run` from some other folder."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from atlas_core.store import Store
from flows.roots import ALLOWED_ROOTS
from tests.flows.serving import CHECKOUT, run_deployment, served, tiny_parameters
from tests.tiny_study import make_world


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with pytest.MonkeyPatch.context() as operator:
        # The server and its clients need a password, and the worker opens nothing but what these tests make.
        operator.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:secret")
        operator.setenv("PREFECT_API_AUTH_STRING", "admin:secret")
        operator.setenv(ALLOWED_ROOTS, str(tmp_path_factory.getbasetemp()))
        with served(tmp_path_factory.mktemp("prefect")) as environment:
            yield environment


def test_everything_that_is_served_listens_on_this_machine_only(serving: dict[str, str]) -> None:
    port = urlsplit(serving["PREFECT_API_URL"]).port
    sockets = [each for each in psutil.net_connections(kind="inet") if each.status == psutil.CONN_LISTEN]
    server = next(each.pid for each in sockets if each.laddr.port == port)
    serve = next(each for each in psutil.Process(server).parents() if "flows.serve" in each.cmdline())
    started = {serve.pid, *(each.pid for each in serve.children(recursive=True))}
    assert {each.laddr.ip for each in sockets if each.pid in started} == {"127.0.0.1"}


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

    far = {**tiny_parameters(world), "placement": {"home": str(CHECKOUT / "elsewhere"), "workers": 1}}
    status, _ = run_deployment("base-to-new/demo", far, serving, elsewhere)
    assert status != 0
    assert not (CHECKOUT / "elsewhere").exists()


def test_a_client_without_the_password_is_turned_away(serving: dict[str, str]) -> None:
    answer = httpx.post(f"{serving['PREFECT_API_URL']}/deployments/filter", json={})
    assert answer.status_code == 401
