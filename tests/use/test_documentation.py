"""The commands and the loader in docs/using-a-trained-run.md are those of the program."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from atlas_core.cli import app
from atlas_core.use.export_text import classify_script

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("using-a-trained-run.md", "convergence.md")


def commands() -> list[str]:
    blocks = [
        block for page in PAGES for block in re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.S)
    ]
    return [line for block in blocks for line in block.splitlines() if line.startswith("atlas ")]


def test_there_are_commands() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("line", commands())
def test_documented_commands_are_understood(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    group = get_command(app)
    command = group.get_command(group.make_context("atlas", ["--help"], resilient_parsing=True), name)  # type: ignore
    assert command.make_context(name, arguments).params


def test_the_loader_is_the_one_that_is_exported() -> None:
    at = {"model": "ViT-B-16-quickgelu", "pretrained": "openai", "architecture": None}
    page = (DOCS / "using-a-trained-run.md").read_text()
    assert f"```python\n{classify_script({'open_clip': at})}```" in page
