"""One tiny study, run once, for everything that uses finished runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world

METHODS = (
    {"name": "coop", "options": {"n_ctx": 2, "ctx_init": ""}},
    {"name": "cocoop", "options": {"n_ctx": 2, "ctx_init": ""}},
    {"name": "kgcoop", "options": {"n_ctx": 2, "ctx_init": ""}},
    {"name": "dept_coop", "options": {"n_ctx": 2, "ctx_init": ""}},
    "maple",
    "zero_shot",
)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    made = make_world(tmp_path_factory.mktemp("world"))
    # Two seeds, and float32 features: what is stored equals what is computed here.
    made.run(
        datasets=[str(made.home / "ponds.yaml")],
        methods=list(METHODS),
        supervisions=["one_hot", "atlas_csl"],
        training={"epochs": 2, "batch_size": 4},
        views={"per_image": 2, "dtype": "float32"},
    )
    return made


@pytest.fixture(scope="session")
def store(world: TinyWorld) -> Store:
    return Store(world.placement.store_path)


@pytest.fixture
def image(world: TinyWorld) -> Path:
    return world.home / "data" / "ponds" / "red fox" / "00.png"
