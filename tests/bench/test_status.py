"""The benchmark of `atlas status` measures the command on a store that it finds whole."""

from atlas_core.bench.status import rows


def test_a_quick_run_has_the_command_find_all_that_was_made_up() -> None:
    (row,) = rows(repeats=1, quick=True)
    assert row["name"] == "atlas status, 813 artifacts, all fresh"
    assert float(str(row["cpu_seconds"])) > 0
    assert row["clock"] == "wall"
