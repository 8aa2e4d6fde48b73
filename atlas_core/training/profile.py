"""Where the time of a training goes: its first steps again, with every part timed."""

from __future__ import annotations

import cProfile
import pstats
import time
from dataclasses import dataclass, replace
from pathlib import Path

from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from atlas_core.errors import AtlasError
from atlas_core.labels.schedule import Supervisor
from atlas_core.methods.base import PromptMethod
from atlas_core.own_files import written_to
from atlas_core.training.data import TrainingData
from atlas_core.training.loop import Teacher, train
from atlas_core.training.recipe import Recipe

# Part → the functions whose time, with all that they call, is the part's: (end of the file's path, name). Functions of
# one part, and of two parts, never call one another, so the parts add up.
PARTS: dict[str, tuple[tuple[str, str], ...]] = {
    "text tower, forward": (("backbone/text.py", "encode_prompts"),),
    "image tower, forward": (
        ("backbone/image.py", "embed_patches"),
        ("backbone/image.py", "forward_embedded"),
    ),
    "backward pass": (("autograd/__init__.py", "backward"), ("autograd/__init__.py", "grad")),
    "supervision": tuple(("labels/schedule.py", name) for name in ("loss", "observe", "end_epoch")),
    "optimiser": (("optim/sgd.py", "step"), ("optim/adam.py", "step"), ("optim/optimizer.py", "zero_grad")),
    "batches, views and pixels": (("training/data.py", "epoch_batches"),),
}
REST = "everything else (logits, losses of the method, bookkeeping)"
_WHOLE = ("training/loop.py", "train")


@dataclass(frozen=True)
class Share:
    """A part of a training: CPU seconds of the process in all, and how often it was called."""

    part: str
    seconds: float
    calls: int


@dataclass(frozen=True)
class TrainingProfile:
    """Where the CPU seconds of `steps` steps went; `shares` add up to `seconds`."""

    steps: int
    seconds: float
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Profiled:
    """The run to profile: what `train` takes. Its method is trained a little, so give a fresh one."""

    method: PromptMethod
    data: TrainingData
    supervisor: Supervisor
    recipe: Recipe
    seed: int
    teacher: Teacher | None = None

    def train_briefly(self, steps: int) -> int:
        """Train on the first images for two epochs of `steps` steps; returns the steps taken.

        Two, so that a schedule of K = 2 trains with each of its targets.
        """
        images = steps * self.recipe.batch_size
        data = replace(self.data, labels=self.data.labels[:images], bank=self.data.bank[:images])
        # Stopped early on the run's own schedule: the first epochs as they are.
        recipe = self.recipe.model_copy(update={"stop_after": 2})
        train(self.method, data, self.supervisor, recipe, seed=self.seed, teacher=self.teacher)
        taken = max(1, len(data.labels) // recipe.batch_size)
        return taken * recipe.trained_epochs


def profile_training(run: Profiled, steps: int) -> TrainingProfile:
    """CPU seconds by part. Python's profiler adds some microseconds to each call; towers are hardly touched by it.

    Raises:
        AtlasError: The run has no step.
    """
    if run.recipe.epochs == 0:
        raise AtlasError(
            f"{type(run.method).__name__} trains for no step", expected="a run that learns something"
        )
    # What is made once (layouts of prompts, threads, the first backward pass) is no part of a step.
    run.train_briefly(1)
    profiler = cProfile.Profile(time.process_time)
    taken = profiler.runcall(run.train_briefly, steps)
    return TrainingProfile(taken, *_shares(pstats.Stats(profiler)))


def profile_operators(run: Profiled, steps: int, rows: int, trace: Path | None = None) -> str:
    """The torch operators that take the most time, as text; `trace` gets a timeline for chrome://tracing.

    The caller's run must have been profiled or trained before, so that first calls are over.
    """
    on_gpu = run.data.labels.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch_profile(activities=activities) as profiler:
        run.train_briefly(steps)
    if trace is not None:
        with written_to(trace.parent, fix="move it away, or choose another file with --trace") as folder:
            profiler.export_chrome_trace(str(folder / trace.name))
    by = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    table: str = profiler.key_averages().table(sort_by=by, row_limit=rows, max_name_column_width=40)
    return table


def _shares(stats: pstats.Stats) -> tuple[float, tuple[Share, ...]]:
    """All seconds, and each part's."""
    called: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = stats.stats  # type: ignore[attr-defined]

    def find(functions: tuple[tuple[str, str], ...]) -> tuple[float, int]:
        found = [
            (cumulative, count)
            for (file, _, name), (_, count, _, cumulative, _) in called.items()
            if any(name == wanted and file.replace("\\", "/").endswith(end) for end, wanted in functions)
        ]
        return sum(seconds for seconds, _ in found), sum(count for _, count in found)

    whole, _ = find((_WHOLE,))
    parts = [Share(part, *find(functions)) for part, functions in PARTS.items()]
    rest = Share(REST, whole - sum(share.seconds for share in parts), 0)
    return whole, tuple(share for share in (*parts, rest) if share.calls or share is rest)
