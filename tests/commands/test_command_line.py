"""Every command is there, and only the one that is asked for is imported."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from atlas_core.cli import COMMANDS, app


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_imported_and_explains_itself(name: str) -> None:
    answer = CliRunner().invoke(app, [name, "--help"], prog_name="atlas")
    assert answer.exit_code == 0
    assert answer.output.startswith(f"Usage: atlas {name}")


def test_the_help_names_every_command_in_order() -> None:
    lines = CliRunner().invoke(app, ["--help"]).output.split("Commands:")[1].splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "] == list(COMMANDS)


def test_a_command_that_does_not_exist_is_refused() -> None:
    answer = CliRunner().invoke(app, ["statuss"])
    assert answer.exit_code == 2
    assert "No such command 'statuss'" in answer.output


def test_listing_the_presets_imports_nothing_heavy() -> None:
    script = "import sys; from atlas_core.cli import app; app(['presets'], standalone_mode=False); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "pandas", "duckdb", "httpx", "atlas_core.operations.commands"} & set(said.split())
