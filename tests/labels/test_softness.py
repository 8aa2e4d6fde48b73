"""What soft labels are said to be: against a slow computation, row by row."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.errors import AtlasError
from atlas_core.labels.softness import SOFTNESS_FILE, Softness, read_softness, softness, write_softness


def slow(rows: np.ndarray, labels: list[int]) -> tuple[float, float, float]:
    entropies, true, top = [], [], []
    for row, label in zip(rows.tolist(), labels, strict=True):
        entropies.append(-math.fsum(p * math.log(p) for p in row if p > 0))
        true.append(row[label])
        others = sorted((p for c, p in enumerate(row) if c != label), reverse=True)
        top.append(math.fsum(others[:3]))
    return tuple(math.fsum(each) / len(each) for each in (entropies, true, top))  # type: ignore[return-value]


@given(st.integers(1, 6), st.integers(1, 7), st.floats(0.1, 100), st.integers(0, 99))
def test_the_means_are_those_of_a_slow_computation(n: int, classes: int, sharp: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    weights = np.exp(sharp * chance.random((n, classes)))
    rows = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    labels = chance.integers(0, classes, n)
    found = softness(rows, labels, 50.0)
    expected = slow(rows, labels.tolist())
    assert (found.entropy, found.true_mass, found.top3_mass) == pytest.approx(expected, abs=1e-6)
    assert found.temperature == 50.0


def test_uniform_and_one_hot_rows() -> None:
    uniform = softness(np.full((2, 8), 1 / 8), np.array([0, 5]), 1.0)
    assert uniform.entropy == pytest.approx(math.log(8))
    assert (uniform.true_mass, uniform.top3_mass) == pytest.approx((1 / 8, 3 / 8))
    one_hot = softness(np.eye(4), np.arange(4), 1.0)
    assert (one_hot.entropy, one_hot.true_mass, one_hot.top3_mass) == (0, 1, 0)
    wrong = softness(np.eye(4), np.array([1, 2, 3, 0]), 1.0)
    assert (wrong.entropy, wrong.true_mass, wrong.top3_mass) == (0, 0, 1)


@pytest.mark.parametrize(
    ("true_mass", "mix", "nearly"),
    [(0.991, 1.0, True), (0.99, 1.0, False), (0.95, 0.1, True), (0.8, 0.1, False)],
)
def test_a_target_is_nearly_one_hot_below_one_percent_of_mass_on_other_classes(
    true_mass: float, mix: float, nearly: bool
) -> None:
    measured = Softness(100.0, 0.1, true_mass, 1 - true_mass)
    assert measured.mass_off_class(mix) == pytest.approx(mix * (1 - true_mass))
    assert measured.nearly_one_hot(mix) is nearly


def test_it_is_read_as_it_was_written_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    measured = softness(np.eye(3) * 0.7 + 0.1, np.arange(3), 20.0)
    write_softness(tmp_path, measured)
    assert read_softness(tmp_path) == measured
    (tmp_path / SOFTNESS_FILE).write_text('{"entropy": 1')
    with pytest.raises(AtlasError, match=SOFTNESS_FILE):
        read_softness(tmp_path)


def test_reading_it_loads_no_torch() -> None:
    code = "import sys, atlas_core.plan.soft_labels; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
