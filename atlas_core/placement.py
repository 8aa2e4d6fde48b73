"""Where a study runs and where its results go: no part of any key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, field_validator


def default_home() -> Path:
    """`$ATLAS_HOME`, else the user's cache folder."""
    given = os.environ.get("ATLAS_HOME")
    return Path(given) if given else Path(platformdirs.user_cache_dir("atlas"))


class Placement(BaseModel):
    """Where a study runs; no part of any key.

    Attributes:
        home: Folder that holds the store and fetched data unless they are given.
        workers: Processes that train at the same time; 0 trains in this process.
        dask: Address of a Dask scheduler whose workers train instead, or "local": a cluster of `workers` processes
            on this machine. None uses no Dask.
        threads: Torch threads a process.
        stack: Runs that train in one batch, at most; "auto" takes as many as `stack_gigabytes` hold. 1 trains each
            alone, so that its bits depend on nothing but its own configuration.
        strict: Whether what is odd about the data (`atlas_core.understanding`) is an error.
        stack_gigabytes: What the activations of a stack may take (of a GPU's memory, if there is one).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    home: Path = Field(default_factory=default_home)
    store: Path | None = None
    data_root: Path | None = None
    workers: int = Field(default_factory=lambda: max(1, os.cpu_count() or 1), ge=0)
    dask: str | None = Field(default=None, min_length=1)
    threads: int = Field(default=1, ge=1)
    device: str = "auto"
    stack: Literal["auto"] | int = 1
    strict: bool = False
    stack_gigabytes: float = Field(default=2.0, gt=0)

    @field_validator("stack")
    @classmethod
    def _one_run_or_more(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 1:
            raise ValueError("stack must be 1 (each run alone) or more, or 'auto'")
        return value

    @property
    def in_process(self) -> bool:
        """Whether jobs run in this very process, one after the other."""
        return self.workers == 0 and self.dask is None

    @property
    def store_path(self) -> Path:
        return (self.store or self.home / "store").expanduser().absolute()

    @property
    def data_path(self) -> Path:
        return (self.data_root or self.home / "data").expanduser().absolute()
