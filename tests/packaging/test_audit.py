"""The audit of pinned packages fails on a known vulnerability, and says when nothing could be asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "audit.py"
FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["1.1"]}


def audit(tmp_path: Path, printed: str, status: int = 0, complaint: str = "") -> tuple[int, str]:
    """The script beside a `pip-audit` that prints this."""
    fake = tmp_path / "pip-audit"
    lines = (
        f"#!{sys.executable}",
        "import sys",
        f"print({printed!r})",
        f"print({complaint!r}, file=sys.stderr)",
        f"sys.exit({status})",
    )
    fake.write_text("\n".join(lines))
    fake.chmod(0o755)
    ended = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def answer(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": list(packages)})


def test_a_known_vulnerability_fails_and_is_named(tmp_path: Path) -> None:
    status, text = audit(tmp_path, answer({"name": "broken", "version": "1.0", "vulns": [FLAW]}), status=1)
    assert status == 1
    assert "broken 1.0: PYSEC-2026-1, fixed in 1.1" in text


def test_packages_without_one_pass(tmp_path: Path) -> None:
    status, text = audit(tmp_path, answer({"name": "whole", "version": "1.0", "vulns": []}))
    assert status == 0
    assert "1 of 1 pinned packages are known to the index, 0 vulnerable" in text


def test_packages_that_the_index_does_not_know_are_not_called_sound(tmp_path: Path) -> None:
    status, text = audit(tmp_path, answer({"name": "unknown", "skip_reason": "not found"}))
    assert status == 0
    assert "0 of 1 pinned packages are known" in text


@pytest.mark.parametrize("printed", ["", "{}"])
def test_an_index_that_cannot_be_asked_is_said(tmp_path: Path, printed: str) -> None:
    status, text = audit(tmp_path, printed, status=1, complaint="ConnectionError: no route to host")
    assert status == 0
    assert "could not be asked (ConnectionError: no route to host)" in text
