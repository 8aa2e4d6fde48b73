"""What was measured when, and on which machine: one Parquet file a run of `atlas bench`, never rewritten."""

from __future__ import annotations

import json
import os
import platform
import re
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from atlas_core.bench.collect import Measurement

HISTORY = pa.schema(
    [
        ("date", pa.timestamp("us", tz="UTC")),
        ("cpu", pa.string()),
        ("cores", pa.int32()),
        ("load", pa.float64()),
        ("accelerator", pa.string()),
        ("python", pa.string()),
        ("torch", pa.string()),
        ("atlas", pa.string()),
        ("benchmark", pa.string()),
        ("name", pa.string()),
        ("ours_seconds", pa.float64()),
        ("baseline", pa.string()),
        ("baseline_seconds", pa.float64()),
        ("ratio", pa.float64()),
        ("goal", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("peak_gigabytes", pa.float64()),
        ("clock", pa.string()),
        ("details", pa.string()),
    ]
)


@dataclass(frozen=True)
class Machine:
    """What a measurement depends on besides the code.

    Attributes:
        load: The load average (1 minute) when the measurements began: how busy the machine was with other work.
        accelerator: The GPU's name, or empty.
    """

    cpu: str
    cores: int
    load: float
    accelerator: str
    python: str
    torch: str
    atlas: str

    def __str__(self) -> str:
        gpu = self.accelerator or "no GPU"
        return f"{self.cpu}, {self.cores} cores, {gpu}; torch {self.torch}, Python {self.python}, load {self.load:.1f}"


def this_machine() -> Machine:
    """The machine that this process runs on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    try:
        own = version("atlas-prompt-tuning")
    except PackageNotFoundError:
        own = "not installed"
    python = platform.python_version()
    return Machine(_cpu_model(), os.cpu_count() or 1, load, gpu, python, str(torch.__version__), own)


def write_history(folder: Path, measured: Sequence[Measurement], machine: Machine) -> Path:
    """Add a run's measurements to the history; `folder` as a whole is one table.

    Returns:
        The file that was added.
    """
    now = datetime.now(UTC)
    facts = {"date": now, **asdict(machine)}
    rows = [{**facts, **asdict(row), "details": json.dumps(row.details, sort_keys=True)} for row in measured]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}.parquet"
    partial = path.with_suffix(".partial")
    pq.write_table(pa.Table.from_pylist(rows, schema=HISTORY), partial, compression="zstd")
    os.replace(partial, path)
    return path


def read_history(folder: Path) -> pa.Table:
    """Everything measured so far, oldest first; an empty table where nothing was."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        return HISTORY.empty_table()
    return pa.concat_tables([pq.read_table(path, schema=HISTORY) for path in files])


def _cpu_model() -> str:
    """The CPU's model, and on x86 family and model number, since a hypervisor's name for it says little."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found: dict[str, str] = dict(
        re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, flags=re.MULTILINE)
    )
    if "model name" not in found:
        return platform.machine()
    numbers = f" (family {found['cpu family']}, model {found['model']})" if "cpu family" in found else ""
    return found["model name"].strip() + numbers
