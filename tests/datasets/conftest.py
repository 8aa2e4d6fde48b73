"""Fixtures of the dataset tests."""

from collections.abc import Iterator

import pytest

from atlas_core.datasets import download
from tests.datasets.server import FileServer, serving


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.001)
    monkeypatch.delenv("ATLAS_CATALOGUE", raising=False)
