"""The benchmark of `atlas status` measures commands on a store that they find whole."""

from atlas_core.bench.status import rows


def test_a_quick_run_has_both_commands_find_all_that_was_made_up() -> None:
    found = list(rows(repeats=1, quick=True))
    assert [row["name"] for row in found] == [
        f"atlas {command}, 813 artifacts, all of them fresh" for command in ("status", "run")
    ]
    assert all(float(str(row["cpu_seconds"])) > 0 and row["clock"] == "wall" for row in found)
