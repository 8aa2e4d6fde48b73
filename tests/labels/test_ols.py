"""Online label smoothing equals a loop over single samples, over several epochs and through a checkpoint."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_core.errors import AtlasError
from atlas_core.labels.base import FrozenTargets, LabelBatch
from atlas_core.labels.config import SupervisionConfig
from atlas_core.labels.ols import OnlineSmoothing

torch.set_num_threads(1)


def online(C: int, **options: object) -> OnlineSmoothing:
    return OnlineSmoothing(SupervisionConfig(name="ols", options=options), FrozenTargets(C))


def batch_of(labels: torch.Tensor) -> LabelBatch:
    rows = torch.arange(len(labels))
    return LabelBatch(labels, rows, torch.zeros_like(rows))


class LoopedOnlineSmoothing:
    """The definition, a sample and a class at a time, on Python lists."""

    def __init__(self, C: int, initial: str, hard: float, soft: float, freeze_above: float | None) -> None:
        self.C, self.hard, self.soft, self.freeze_above = C, hard, soft, freeze_above
        self.matrix = [[1 / C if initial == "uniform" else 0.0] * C for _ in range(C)]
        self.begin()

    def begin(self) -> None:
        self.sums = [[0.0] * self.C for _ in range(self.C)]
        self.counts = [0] * self.C

    def step(self, logits: list[list[float]], labels: list[int]) -> float:
        total = 0.0
        for z, y in zip(logits, labels, strict=True):
            powers = [math.exp(value - max(z)) for value in z]
            p = [power / sum(powers) for power in powers]
            if z.index(max(z)) == y:
                self.counts[y] += 1
                for c in range(self.C):
                    self.sums[y][c] += p[c]
            total -= self.hard * math.log(p[y])
            total -= self.soft * sum(self.matrix[y][c] * math.log(p[c]) for c in range(self.C))
        return total / len(labels)

    def end(self) -> None:
        for y in range(self.C):
            if self.counts[y] == 0:
                self.matrix[y] = [1 / self.C] * self.C
            elif self.freeze_above is None or max(self.matrix[y]) < self.freeze_above:
                self.matrix[y] = [each / self.counts[y] for each in self.sums[y]]
        self.begin()


@given(
    C=st.integers(2, 5),
    seed=st.integers(0, 2**31 - 1),
    initial=st.sampled_from(["zeros", "uniform"]),
    weights=st.sampled_from([(0.5, 0.5), (1.0, 1.0), (0.2, 0.7)]),
    freeze_above=st.sampled_from([None, 0.6, 0.88]),
)
@settings(max_examples=60)
def test_losses_and_matrix_follow_the_loop_over_samples(C, seed, initial, weights, freeze_above):
    rng = torch.Generator().manual_seed(seed)
    fast = online(
        C, initial=initial, hard_weight=weights[0], soft_weight=weights[1], freeze_above=freeze_above
    )
    slow = LoopedOnlineSmoothing(C, initial, *weights, freeze_above)
    for _epoch in range(5):
        for size in (4, 7, 1):
            labels = torch.randint(C, (size,), generator=rng)
            logits = 2 * torch.randn(size, C, generator=rng, dtype=torch.float64)
            batch = batch_of(labels)
            expected = slow.step(logits.tolist(), labels.tolist())
            assert math.isclose(float(fast.loss(logits, batch)), expected, rel_tol=1e-6, abs_tol=1e-6)
            fast.observe(logits, batch)
        fast.end_epoch()
        slow.end()
        assert fast.state()["matrix"].tolist() == [pytest.approx(row, abs=1e-9) for row in slow.matrix]


def test_the_first_epoch_of_the_default_is_half_the_cross_entropy():
    logits, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4
    half = online(4).loss(logits, batch_of(labels))
    torch.testing.assert_close(half, torch.nn.functional.cross_entropy(logits, labels) / 2)


def test_targets_use_the_epoch_before_and_not_the_running_one():
    source, batch = online(3), batch_of(torch.tensor([0, 1]))
    before = source.target(batch)
    source.observe(torch.tensor([[5.0, 0, 0], [0, 5.0, 0]]), batch)
    assert torch.equal(source.target(batch), before)
    source.end_epoch()
    assert not torch.equal(source.target(batch), before)


def test_rows_after_an_epoch_are_distributions_and_unseen_classes_uniform():
    source = online(3)
    source.observe(torch.tensor([[2.0, 1, 0], [3.0, 0, 0]]), batch_of(torch.tensor([0, 1])))
    source.end_epoch()
    matrix = source.state()["matrix"]
    torch.testing.assert_close(matrix.sum(-1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(matrix[0], torch.tensor([2.0, 1, 0], dtype=torch.float64).softmax(-1))
    assert matrix[1].tolist() == matrix[2].tolist() == [1 / 3] * 3


def test_a_frozen_row_stays_until_its_class_is_never_right():
    source, batch = online(2, freeze_above=0.88), batch_of(torch.tensor([0]))
    sure, unsure, wrong = torch.tensor([[9.0, 0]]), torch.tensor([[0.1, 0]]), torch.tensor([[0.0, 1]])
    rows = []
    for logits in (unsure, sure, unsure, wrong, unsure):
        source.observe(logits, batch)
        source.end_epoch()
        rows.append(source.state()["matrix"][0, 0].item())
    at_sure, at_unsure = 1 / (1 + math.exp(-9)), 1 / (1 + math.exp(-0.1))
    assert rows == pytest.approx([at_unsure, at_sure, at_sure, 0.5, at_unsure], abs=1e-7)


@pytest.mark.parametrize("between_epochs", [True, False])
def test_a_resumed_run_goes_on_as_if_never_stopped(between_epochs):
    rng = torch.Generator().manual_seed(5)
    batch = batch_of(torch.randint(4, (32,), generator=rng))
    steps = [torch.randn(32, 4, generator=rng) for _ in range(4)]
    whole, first, second = online(4), online(4), online(4)
    for source in (whole, first):
        for logits in steps[:2]:
            source.observe(logits, batch)
        if between_epochs:
            source.end_epoch()
    second.load_state(first.state())
    first.observe(steps[3], batch)  # what the interrupted run does afterwards must not reach its copy
    for source in (whole, second):
        source.observe(steps[2], batch)
        source.end_epoch()
    assert torch.equal(whole.loss(steps[3], batch), second.loss(steps[3], batch))


def test_the_state_of_other_classes_is_refused():
    with pytest.raises(AtlasError, match="resume with the supervision and the classes"):
        online(4).load_state(online(3).state())
