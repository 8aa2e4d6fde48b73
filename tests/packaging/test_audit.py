"""The audit fails on a known vulnerability, and says when nothing was asked: pip-audit and a stand-in service."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer  # unlike HTTPServer it looks up no name
from threading import Thread

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "audit.py"
PINS = "broken==1.0\nwhole==2.0\n"
FLAW = {
    "id": "PYSEC-2026-1",
    "summary": "runs whatever it is told",
    "affected": [
        {
            "package": {"name": "broken", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


@contextmanager
def service(status: int = 200, body: str | None = None) -> Iterator[str]:
    """An OSV service that knows one flaw of `broken`; or one that answers everything with this."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = {"vulns": [FLAW]} if asked["package"]["name"] == "broken" else {}
            self.send_response(status)
            self.end_headers()
            self.wfile.write((json.dumps(known) if body is None else body).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = TCPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def audit(tmp_path: Path, pins: str, *options: str, path: Path | None = None) -> tuple[int, str]:
    """The script's status and all it says."""
    file = tmp_path / "pins.txt"
    file.write_text(pins)
    environment = {"HOME": str(tmp_path)} | ({"PYTHONPATH": str(path)} if path else {})
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), str(file), *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_a_known_vulnerability_fails_and_is_named(tmp_path: Path) -> None:
    with service() as url:
        status, text = audit(tmp_path, PINS, "--osv-url", url)
    assert status == 1
    assert "broken 1.0: PYSEC-2026-1, fixed in 1.1" in text


def test_packages_without_one_pass(tmp_path: Path) -> None:
    with service() as url:
        status, text = audit(tmp_path, "whole==2.0\n", "--osv-url", url)
    assert status == 0
    assert "knows 1 of 1 packages and 0 vulnerabilities" in text


def test_a_service_that_cannot_be_reached_is_said_in_one_line_and_fails_nothing(tmp_path: Path) -> None:
    status, text = audit(tmp_path, PINS, "--osv-url", "http://127.0.0.1:9/v1/query")
    assert status == 0
    assert text.startswith("audit: NOT AUDITED, no vulnerability service can be asked (http://127.0.0.1:9")
    assert text.count("\n") == 1


@pytest.mark.parametrize(("status", "body"), [(503, None), (403, None), (200, "<html>Please log in</html>")])
def test_a_service_that_is_out_of_order_counts_as_not_reached(
    tmp_path: Path, status: int, body: str | None
) -> None:
    with service(status, body) as url:
        ended, text = audit(tmp_path, PINS, "--osv-url", url)
    assert ended == 0
    assert "NOT AUDITED" in text


def test_a_mistake_in_the_pins_fails_and_is_not_called_a_network_fault(tmp_path: Path) -> None:
    with service() as url:
        status, text = audit(tmp_path, "broken>=1.0\n", "--osv-url", url)
    assert status == 2
    assert "not pinned to an exact version" in text
    assert "NOT AUDITED" not in text


def stand_in(folder: Path, program: str) -> Path:
    """A folder with a `pip_audit` that runs this instead."""
    (folder / "pip_audit").mkdir(parents=True)
    (folder / "pip_audit" / "__init__.py").touch()
    (folder / "pip_audit" / "__main__.py").write_text(f"import sys\n{program}\n")
    return folder


SKIPS = {"dependencies": [{"name": name, "skip_reason": "not found"} for name in ("broken", "whole")]}


def test_an_index_that_knows_none_of_the_packages_has_not_audited_them(tmp_path: Path) -> None:
    fake = stand_in(tmp_path / "fake", f"print({json.dumps(SKIPS)!r})")
    status, text = audit(tmp_path, PINS, path=fake)
    assert status == 0
    assert "NOT AUDITED" in text
    assert "PyPI: knows none of the 2 packages; OSV: knows none of the 2 packages" in text


def test_where_pypi_cannot_be_asked_osv_is(tmp_path: Path) -> None:
    flaw = {"id": "PYSEC-2026-1", "fix_versions": []}
    found = {"dependencies": [{"name": "broken", "version": "1.0", "vulns": [flaw]}]}
    program = f"print({json.dumps(found)!r} if 'osv' in sys.argv else {json.dumps(SKIPS)!r})"
    status, text = audit(tmp_path, PINS, path=stand_in(tmp_path / "fake", program))
    assert status == 1
    assert "broken 1.0: PYSEC-2026-1, fixed in no version yet" in text


def test_an_audit_that_breaks_for_another_reason_fails(tmp_path: Path) -> None:
    fake = stand_in(tmp_path / "fake", "raise TypeError('something of its own')")
    status, text = audit(tmp_path, PINS, path=fake)
    assert status == 2
    assert "something of its own" in text
