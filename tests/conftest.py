"""Fixtures that many tests share."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder of shared real images beside this checkout")
    return folder


@pytest.fixture(scope="session")
def shared_inputs() -> Path:
    """The folder of small inputs that were misunderstood, beside the checkout, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "failing-inputs"
    if not folder.is_dir():
        pytest.skip("no folder of misunderstood inputs beside this checkout")
    return folder
