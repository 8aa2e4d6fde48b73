"""What Prefect costs: task runs that have nothing to do.

    python -m flows.overhead [--tasks 200]

Prints milliseconds by the clock for a task run with its state, and what that
comes to for a training at several sizes of a job group.
"""

from __future__ import annotations

import argparse
import time
from types import SimpleNamespace

from prefect import flow
from prefect.utilities.annotations import quote

from atlas_core.plan.groups import MAX_GROUP, Group
from tasks.stages import tune


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=200)
    tasks = parser.parse_args().tasks
    seconds = _submit_empty_groups(tasks)
    milliseconds = 1000 * seconds / tasks
    print(f"{tasks} task runs in {seconds:.2f} s: {milliseconds:.1f} ms each")
    for size in (1, 8, MAX_GROUP):
        print(f"  {milliseconds / size:6.2f} ms a training in groups of {size}")


@flow(name="overhead")
def _submit_empty_groups(tasks: int) -> float:
    """Seconds for task runs over groups of no jobs, from the first submission to the last result."""
    session = SimpleNamespace(scheduler=SimpleNamespace(make=list, ends={}, states={}))
    groups = [Group("tune", str(number), (), ()) for number in range(tasks)]
    started = time.perf_counter()
    for future in [tune.submit(quote(group), quote(session)) for group in groups]:
        future.wait()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
