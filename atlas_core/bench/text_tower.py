"""The fast text tower beside the plain one: time, share of the matmul peak, and memory at 1,000 classes.

    python -m atlas_core.bench.text_tower [--rounds 5]

`rows()` gives the same measurements to `atlas bench`. The tower has the size of ViT-B/16's with random weights: their
values do not change the cost. Times are CPU seconds of one thread for the features of all classes and the gradient of
the context, medians over rounds in which the plain tower, the fast tower and the matmul alternate; ratios are medians
of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import open_clip
import torch
from torch import Tensor

from atlas_core.backbone.text import (
    PromptLayout,
    TextTower,
    build_layout,
    embed_tokens,
    encode_prompts,
    end_positions,
    extract_text_tower,
)
from atlas_core.bench.clocks import cpu_seconds, one_thread

Row = dict[str, object]

_MODEL: Final = "ViT-B-16-quickgelu"
_PEAK_SIZE: Final = 1536
_CHUNK: Final = 256

FLOWERS: Final = (
    *("pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea", "english marigold"),
    *(
        "tiger lily",
        "moon orchid",
        "bird of paradise",
        "monkshood",
        "globe thistle",
        "snapdragon",
        "colt's foot",
    ),
    *("king protea", "spear thistle", "yellow iris", "globe-flower", "purple coneflower", "peruvian lily"),
    *(
        "balloon flower",
        "giant white arum lily",
        "fire lily",
        "pincushion flower",
        "fritillary",
        "red ginger",
    ),
    *("grape hyacinth", "corn poppy", "prince of wales feathers", "stemless gentian", "artichoke"),
    *("sweet william", "carnation", "garden phlox", "love in the mist", "mexican aster", "alpine sea holly"),
    *(
        "ruby-lipped cattleya",
        "cape flower",
        "great masterwort",
        "siam tulip",
        "lenten rose",
        "barbeton daisy",
    ),
    *("daffodil", "sword lily", "poinsettia", "bolero deep blue", "wallflower", "marigold", "buttercup"),
    *("oxeye daisy", "common dandelion"),
)
"""The first 50 class names of Oxford Flowers: 4.7 tokens each with full stop and end token."""

LAND_USE: Final = (
    *("Annual Crop Land", "Forest", "Herbaceous Vegetation Land", "Highway or Road", "Industrial Buildings"),
    *("Pasture Land", "Permanent Crop Land", "Residential Buildings", "River", "Sea or Lake"),
)
"""The class names of EuroSAT."""


def rows(rounds: int = 5) -> list[Row]:
    """Every measurement of this module, about three minutes of CPU time."""
    bench = random_tower()
    with one_thread():
        cases = ((FLOWERS, 4, 16.0), (FLOWERS, 16, 14.0), (LAND_USE, 4, 12.0))
        found = [compare(bench, names, n_ctx, goal, rounds) for names, n_ctx, goal in cases]
    return [*found, *(memory_row(classes) for classes in (100, 1_000))]


@dataclass(frozen=True, eq=False)
class BenchTower:
    """An open_clip model with random weights, and its text tower as the fast one reads it."""

    model: Any
    tower: TextTower


def random_tower() -> BenchTower:
    """ViT-B/16's text tower; the image tower is as small as open_clip builds one."""
    config = open_clip.get_model_config(_MODEL)
    config["vision_cfg"] = {"image_size": 32, "patch_size": 32, "layers": 1, "width": 64, "head_width": 64}
    torch.manual_seed(0)
    model: Any = open_clip.CLIP(**config)
    model.eval().requires_grad_(False)
    return BenchTower(model, extract_text_tower(model, torch.float32, torch.device("cpu")))


def compare(bench: BenchTower, names: Sequence[str], n_ctx: int, goal: float, rounds: int) -> Row:
    """Features and the context's gradient, by the plain tower and by the fast one."""
    task = Task.of(bench, names, n_ctx)
    fast, plain = partial(task.fast, bench), partial(task.plain, bench)
    square = torch.randn(_PEAK_SIZE, _PEAK_SIZE)
    difference = _relative_difference(fast(), plain())
    ours, theirs, peaks = [], [], []
    for _ in range(rounds):
        peaks.append(
            2 * _PEAK_SIZE**3 / median(cpu_seconds(lambda: torch.mm(square, square)) for _ in range(3))
        )
        ours.append(median(cpu_seconds(fast) for _ in range(3)))
        theirs.append(cpu_seconds(plain))
    arithmetic = task.arithmetic(bench.tower)
    narrow = narrow_peak(bench.tower, task.layout.n_tokens + task.layout.n_prefix)
    return {
        "name": f"text tower, {len(names)} classes, {n_ctx} context tokens",
        "baseline": "plain 77-token tower",
        "baseline_seconds": median(theirs),
        "ours_seconds": median(ours),
        "ratio": median(slow / quick for slow, quick in zip(theirs, ours, strict=True)),
        "goal": goal,
        "gradient_difference": difference,
        "tokens": task.layout.n_tokens + task.layout.n_prefix,
        "plain_tokens": task.ids.numel(),
        "gigaflop": arithmetic / 1e9,
        "peak_gigaflops": median(peaks) / 1e9,
        "share_of_peak": median(arithmetic / quick / peak for quick, peak in zip(ours, peaks, strict=True)),
        "share_of_peak_with_so_few_rows": arithmetic / median(ours) / narrow,
    }


def narrow_peak(tower: TextTower, rows: int) -> float:
    """Operations a second of products of so many rows with every block's widest matrix, one after the other.

    Each matrix is read from memory for `rows` rows alone, so with few of them reading takes longer than computing: no
    tower over these weights can be faster, however little it does beside its products.
    """
    x = torch.randn(rows, tower.width)
    matrices = [each.fc for each in tower.text_blocks]
    seconds = median(cpu_seconds(lambda: [torch.mm(x, each) for each in matrices]) for _ in range(9))
    return 2.0 * rows * sum(each.numel() for each in matrices) / seconds


@dataclass(frozen=True, eq=False)
class Task:
    """Prompts with a learned context in front of the class name, and a direction to differentiate along."""

    ids: Tensor
    layout: PromptLayout
    start: Tensor
    suffix: Tensor
    context: Tensor
    direction: Tensor

    @classmethod
    def of(cls, bench: BenchTower, names: Sequence[str], n_ctx: int) -> Task:
        tower = bench.tower
        placeholder = " ".join(["X"] * n_ctx)
        ids = open_clip.SimpleTokenizer()([f"{placeholder} {name}." for name in names])
        layout = build_layout(tower, ids, 1 + n_ctx)
        generator = torch.Generator().manual_seed(1)
        features = tower.width if tower.projection is None else tower.projection.shape[1]
        return cls(
            ids=ids,
            layout=layout,
            start=embed_tokens(tower, ids[0, :1]),
            suffix=embed_tokens(tower, layout.token_ids),
            context=(0.02 * torch.randn(n_ctx, tower.width, generator=generator)).requires_grad_(),
            direction=torch.randn(len(names), features, generator=generator),
        )

    def fast(self, bench: BenchTower, chunks: int | None = None) -> Tensor:
        prefix = torch.cat([self.start, self.context])
        return self._gradient(encode_prompts(bench.tower, self.layout, prefix, self.suffix, chunks=chunks))

    def plain(self, bench: BenchTower) -> Tensor:
        """As CoOp's published text encoder: every class, all 77 positions, through open_clip's own modules."""
        model, after = bench.model, 1 + len(self.context)
        embedded = model.token_embedding(self.ids)
        context = self.context.expand(len(self.ids), -1, -1)
        x = torch.cat([embedded[:, :1], context, embedded[:, after:]], dim=1) + model.positional_embedding
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
        ends = end_positions(bench.tower, self.ids)
        return self._gradient(x[torch.arange(len(self.ids)), ends] @ model.text_projection)

    def arithmetic(self, tower: TextTower) -> float:
        """Operations that the fast tower's linears need, forward and backward; attention itself is left out.

        A block has 12 W² multiplications a row each way; the first takes its input's gradient for the prefix alone,
        the last carries on only the end rows, for which 10 W² remain.
        """
        (chunk,), _ = self.layout.chunks(1, None)
        count, ends = chunk.rows.count, chunk.rows.ends.shape[0]
        each_way = 12 * (tower.layers - 1) * count + 2 * count + 10 * ends
        return 2.0 * tower.width**2 * (2 * each_way - 3 * (count - self.layout.n_prefix))

    def _gradient(self, features: Tensor) -> Tensor:
        (found,) = torch.autograd.grad((features * self.direction).sum(), [self.context])
        return found


def memory_row(classes: int) -> Row:
    """Peak memory of a process that computes one gradient with chunks of 256 classes, weights included."""
    command = [sys.executable, "-m", "atlas_core.bench.text_tower", "--memory", str(classes)]
    measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {"name": f"text tower, {classes} classes, 4 context tokens, chunks of {_CHUNK}", **measured}


def measure_memory(classes: int) -> Row:
    """What `memory_row` reports, measured in this process."""
    bench = random_tower()
    names = [f"{FLOWERS[index % 50]} {LAND_USE[index // 50 % 10]} {index // 500}" for index in range(classes)]
    task = Task.of(bench, names, 4)
    before = _peak_gigabytes()
    with one_thread():
        seconds = cpu_seconds(lambda: task.fast(bench, chunks=_CHUNK))
    return {
        "ours_seconds": seconds,
        "tokens": task.layout.n_tokens + task.layout.n_prefix,
        "peak_gigabytes": _peak_gigabytes(),
        "gigabytes_before": before,
        "goal_gigabytes": 3.0,
    }


def _peak_gigabytes() -> float:
    """Most memory this process ever held.

    Linux says it for this program alone; `ru_maxrss` there counts the parent's memory at the fork as well.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, flags=re.MULTILINE)
    return int(kilobytes) * 1024 / 1e9


def _relative_difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, metavar="CLASSES", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(measure_memory(arguments.memory)))
        return
    for row in rows(arguments.rounds):
        print(json.dumps({key: round(v, 7) if isinstance(v, float) else v for key, v in row.items()}))


if __name__ == "__main__":
    main()
