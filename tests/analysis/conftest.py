"""One tiny study with CoOp under one-hot labels and ISL."""

from __future__ import annotations

import pytest

from atlas_core.store import Store
from tests.tiny_study import TinyWorld, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> TinyWorld:
    made = make_world(tmp_path_factory.mktemp("world"))
    made.run(
        datasets=[str(made.home / "ponds.yaml")],
        methods=[{"name": "coop", "options": {"n_ctx": 4, "ctx_init": "a photo of a"}}, "zero_shot"],
        supervisions=["one_hot", "atlas_isl"],
        shots=[4],
        training={"epochs": 3, "batch_size": 4},
        views={"per_image": 3, "dtype": "float32"},
    )
    return made


@pytest.fixture(scope="session")
def store(world: TinyWorld) -> Store:
    return Store(world.placement.store_path)
