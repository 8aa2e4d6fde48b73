"""`atlas doctor`: what would make a study fail is found before it does."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from atlas_core.cli import app
from atlas_core.operations.doctor import examine, hub_finding, server_finding
from atlas_core.operations.finding import Finding
from atlas_core.operations.hardware import (
    WORKER_BYTES,
    available_memory,
    device_findings,
    gpu_finding,
    memory_finding,
    unseen_gpu,
)
from atlas_core.operations.versions import (
    BAD_PAIRS,
    PACKAGES,
    import_findings,
    installed_version,
    package_findings,
    python_finding,
)
from atlas_core.placement import Placement

HERE = {name: installed_version(name) for name in PACKAGES}


def about_versions(
    installed: Mapping[str, str | None], declared: Mapping[str, list[str]] | None = None
) -> list[Finding]:
    needs = declared or {}
    found = package_findings(installed.get, lambda package: needs.get(package, []))
    return [each for each in found if each.subject == "versions"]


def test_this_machine_is_able_to_run_a_study(tmp_path: Path) -> None:
    findings = list(examine(Placement(home=tmp_path), network=False))
    looked_at = {"python", "packages", "imports", "device", "store", "disk of the store", "disk of the data"}
    assert {each.subject for each in findings} >= looked_at
    assert [each for each in findings if each.state == "bad"] == []
    assert list(tmp_path.iterdir()) == []


def test_the_command_ends_with_1_when_something_is_bad(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["doctor", "--offline", "--home", str(tmp_path)]).exit_code == 0
    bad = CliRunner().invoke(app, ["doctor", "--offline", "--home", str(tmp_path), "--device", "cuda:99"])
    assert bad.exit_code == 1
    assert "cuda:99" in bad.output


# --- versions ------------------------------------------------------------------------------------------


def test_pairs_that_are_known_not_to_work_together_are_named() -> None:
    installed = {"prefect": "3.8.8", "fastapi": "0.151.0"}
    [found] = about_versions(installed)
    assert found.state == "bad"
    assert found.fix == BAD_PAIRS[0].fix
    assert about_versions({**installed, "prefect": "3.9.0"}) == []
    assert about_versions({**installed, "fastapi": "0.150.0"}) == []


@pytest.mark.parametrize(
    ("torch", "torchvision", "fits"),
    [
        ("2.14.1", "0.29.1", True),
        ("2.14.1+cpu", "0.29.1+cpu", True),
        ("2.14.1+cu130", "0.29.1", True),
        ("2.14.1+cpu", "0.29.1", False),
        ("2.14.1", "0.29.1+cpu", False),
    ],
)
def test_torch_and_torchvision_of_different_builds_are_bad(torch: str, torchvision: str, fits: bool) -> None:
    found = about_versions({"torch": torch, "torchvision": torchvision})
    assert [each.state for each in found] == ([] if fits else ["bad"])


def test_a_package_that_is_too_old_for_this_project_is_bad() -> None:
    [found] = about_versions({"torch": "2.3.0"}, {"atlas-prompt-tuning": ["torch>=2.4"]})
    assert found == Finding(
        "versions",
        "bad",
        "atlas-prompt-tuning needs torch>=2.4; torch 2.3.0 is installed",
        "pip install 'torch>=2.4'",
    )


def test_what_packages_need_of_one_another_is_followed_all_the_way() -> None:
    declared = {
        "atlas-prompt-tuning": ["prefect[fast]>=3", "distributed>=1; extra == 'dask'"],
        "prefect": ["httpx>=1", "uvloop>=2; extra == 'fast'", "gpu>=1; extra == 'gpu'"],
        "httpx": ["h11<1", "prefect"],
    }
    installed = {"prefect": "3.8", "httpx": "1.0", "h11": "1.2"}
    found = about_versions(installed, declared)
    assert {(each.state, each.message) for each in found} == {
        ("note", "httpx needs h11<1; h11 1.2 is installed"),
        ("note", "prefect needs uvloop>=2; uvloop is not installed"),
    }


def test_the_requirements_of_this_environment_are_met() -> None:
    assert [each for each in package_findings(installed_version) if each.state == "bad"] == []


def test_a_package_that_is_not_installed_is_bad() -> None:
    [found] = [
        each for each in package_findings({**HERE, "duckdb": None}.get, lambda _: []) if each.state == "bad"
    ]
    assert "duckdb not installed" in found.message


def test_a_package_that_is_broken_shows_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_extension.py").write_text("raise ImportError('libsomething.so.1: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    bad, fine = import_findings(["broken_extension", "json"])
    assert (bad.state, fine.state, fine.message) == ("bad", "ok", "json")
    assert "broken_extension cannot be imported (ImportError: libsomething.so.1" in bad.message


def test_a_python_that_the_tests_were_not_run_on_is_noted() -> None:
    assert python_finding((3, 11)).state == "ok"
    assert python_finding((3, 99)).state == "note"


# --- device and memory ---------------------------------------------------------------------------------


def test_a_device_that_is_not_there_is_bad(tmp_path: Path) -> None:
    [found] = device_findings(Placement(home=tmp_path, device="cuda:99"))
    assert found.state == "bad"
    assert found.fix


@pytest.mark.parametrize(
    ("built_for", "state"),
    [
        (["sm_80", "sm_90"], "ok"),
        (["sm_80", "sm_86"], "ok"),  # machine code of the same major version
        (["sm_75", "compute_75"], "ok"),  # translated by the driver
        (["sm_75", "sm_90"], "bad"),
        (["sm_100", "compute_100"], "bad"),
    ],
)
def test_a_gpu_that_this_build_of_torch_has_no_code_for_is_bad(built_for: list[str], state: str) -> None:
    capability = (9, 0) if built_for == ["sm_80", "sm_90"] else (8, 9)
    assert gpu_finding("A GPU", capability, built_for).state == state


def test_a_gpu_that_torch_does_not_see_is_noted() -> None:
    assert "built for CPUs alone" in unseen_gpu("2.14.1+cpu", None).message
    assert "built for CUDA 13.0" in unseen_gpu("2.14.1", "13.0").message


def test_too_little_memory_for_the_workers_is_noted() -> None:
    enough, little = memory_finding(2, 2 * WORKER_BYTES), memory_finding(2, 2 * WORKER_BYTES - 1)
    assert enough is not None
    assert little is not None
    assert (enough.state, little.state) == ("ok", "note")
    assert memory_finding(2, None) is None


def test_the_memory_of_a_container_is_its_limit_and_not_the_machines(tmp_path: Path) -> None:
    system, group = tmp_path / "meminfo", tmp_path / "group"
    system.write_text("MemTotal: 32000000 kB\nMemAvailable: 16000000 kB\n")
    group.mkdir()
    assert available_memory(system, group) == 16000000 * 1024
    for name, text in (("max", "4000"), ("current", "3500"), ("stat", "anon 1\ninactive_file 500\n")):
        (group / f"memory.{name}").write_text(text)
    assert available_memory(system, group) == 1000
    (group / "memory.max").write_text("max\n")
    assert available_memory(system, group) == 16000000 * 1024
    assert available_memory(tmp_path / "none", tmp_path / "none") is None


# --- store, server, hub --------------------------------------------------------------------------------


def about_the_store(placement: Placement) -> list[Finding]:
    return [each for each in examine(placement, network=False) if each.subject == "store"]


def test_a_store_that_cannot_be_written_to_is_bad(tmp_path: Path) -> None:
    [found] = about_the_store(Placement(home=tmp_path, store=Path("/proc/store")))
    assert found.state == "bad"
    assert "cannot be written to" in found.message


def test_a_store_on_a_file_system_without_locks_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    note, fine = about_the_store(Placement(home=tmp_path))
    assert (note.state, fine.state) == ("note", "ok")
    assert "keeps no locks" in note.message


@contextmanager
def answering(answers: Mapping[str, tuple[int, object]]) -> Iterator[str]:
    """A server with these answers (status, JSON) by path."""

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            status, content = answers.get(self.path, (404, None))
            self.send_response(status)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(json.dumps(content).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = TCPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("server", "state"), [("3.8.8", "ok"), ("3.9.0", "ok"), ("3.8.7", "note")])
def test_a_prefect_server_older_than_its_client_is_noted(server: str, state: str) -> None:
    with answering({"/api/health": (200, True), "/api/admin/version": (200, server)}) as url:
        found = server_finding(f"{url}/api", "3.8.8")
    assert found.state == state
    assert f"version {server}" in found.message


def test_a_server_or_a_hub_that_does_not_answer_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    notes = {each.subject for each in examine(Placement(home=tmp_path)) if each.state == "note"}
    assert {"prefect server", "model hub"} <= notes


def test_a_hub_that_refuses_is_not_called_reachable() -> None:
    with answering({"/": (200, None), "/closed": (403, None)}) as url:
        assert hub_finding(url, "").state == "ok"
        assert hub_finding(f"{url}/closed", "").state == "note"
        assert "HF_HUB_OFFLINE" in hub_finding(url, "1").message
