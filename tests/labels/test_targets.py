"""Every label source's loss equals its formula, written out once more as plain Python loops in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_core.errors import AtlasError
from atlas_core.labels.base import (
    SOURCES,
    FrozenTargets,
    LabelBatch,
    LabelSource,
    TargetSource,
    soft_cross_entropy,
)
from atlas_core.labels.config import SupervisionConfig

torch.set_num_threads(1)

problems = st.tuples(
    st.integers(1, 6), st.integers(2, 7), st.sampled_from([0.3, 3.0, 20.0]), st.integers(0, 2**31 - 1)
)
mixes = st.floats(0.01, 1.0)
often = settings(max_examples=60)


def problem(B: int, C: int, scale: float, seed: int) -> tuple[torch.Tensor, LabelBatch, FrozenTargets]:
    """Random logits, a batch of 5 training images with 3 views each, and soft labels for them."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    batch = LabelBatch(
        labels=torch.randint(C, (B,), generator=rng),
        rows=torch.randint(5, (B,), generator=rng),
        views=torch.randint(3, (B,), generator=rng),
        teacher_logits=scale * normal(B, C),
    )
    frozen = FrozenTargets(C, csl=normal(C, C).softmax(-1), isl=normal(5, 3, C).softmax(-1))
    return scale * normal(B, C), batch, frozen


def source(name: str, frozen: FrozenTargets, **fields: object) -> LabelSource:
    config = SupervisionConfig.model_validate({"name": name, **fields})
    return SOURCES.get(name)(config, frozen)


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


def log_softmax(values: list[float]) -> list[float]:
    top = max(values)
    total = math.log(sum(math.exp(value - top) for value in values))
    return [value - top - total for value in values]


def slow_cross_entropy(logits: torch.Tensor, targets: list[list[float]]) -> float:
    losses = []
    for z, target in zip(logits.tolist(), targets, strict=True):
        losses.append(-sum(y * log_p for y, log_p in zip(target, log_softmax(z), strict=True)))
    return sum(losses) / len(losses)


def one_hot_rows(batch: LabelBatch, C: int) -> list[list[float]]:
    return [[1.0 if c == y else 0.0 for c in range(C)] for y in batch.labels.tolist()]


def mean_divergence(teachers: list[list[float]], log_students: list[list[float]]) -> float:
    """Σ_i Σ_c t·(log t − log p) / (B·C)."""
    terms = [
        t * (math.log(t) - log_p) if t > 0 else 0.0
        for teacher, log_student in zip(teachers, log_students, strict=True)
        for t, log_p in zip(teacher, log_student, strict=True)
    ]
    return sum(terms) / len(terms)


def close(value: torch.Tensor, expected: float) -> bool:
    return value.ndim == 0 and math.isclose(float(value), expected, rel_tol=1e-6, abs_tol=1e-6)


@given(problems)
@often
def test_one_hot_is_the_cross_entropy(case):
    logits, batch, frozen = problem(*case)
    plain = source("one_hot", frozen)
    assert close(plain.loss(logits, batch), slow_cross_entropy(logits, one_hot_rows(batch, case[1])))
    assert plain.target(batch).tolist() == one_hot_rows(batch, case[1])


@given(problems, mixes)
@often
def test_ls_spreads_the_mix_over_all_classes(case, mix):
    logits, batch, frozen = problem(*case)
    C = case[1]
    targets = [[(1 - mix) * hard + mix / C for hard in row] for row in one_hot_rows(batch, C)]
    assert close(source("ls", frozen, mix=mix).loss(logits, batch), slow_cross_entropy(logits, targets))


@given(problems, mixes)
@often
def test_the_tfkd_variant_of_ls_spreads_it_over_the_others(case, mix):
    logits, batch, frozen = problem(*case)
    C = case[1]
    targets = [[1 - mix if hard else mix / (C - 1) for hard in row] for row in one_hot_rows(batch, C)]
    others = source("ls", frozen, mix=mix, options={"variant": "tfkd"})
    assert close(others.loss(logits, batch), slow_cross_entropy(logits, targets))


@given(problems, mixes)
@often
def test_the_two_variants_of_ls_agree_at_a_mix_scaled_by_the_classes(case, mix):
    _, batch, frozen = problem(*case)
    C = case[1]
    uniform = source("ls", frozen, mix=mix)
    others = source("ls", frozen, mix=mix * (C - 1) / C, options={"variant": "tfkd"})
    torch.testing.assert_close(uniform.target(batch), others.target(batch))


@given(problems, mixes)
@often
def test_csl_blends_in_the_row_of_the_class(case, mix):
    logits, batch, frozen = problem(*case)
    targets = [
        [(1 - mix) * hard + mix * float(frozen.csl[y, c]) for c, hard in enumerate(row)]
        for y, row in zip(batch.labels.tolist(), one_hot_rows(batch, case[1]), strict=True)
    ]
    assert close(source("csl", frozen, mix=mix).loss(logits, batch), slow_cross_entropy(logits, targets))


@given(problems, mixes, st.booleans())
@often
def test_isl_blends_in_the_row_of_the_image_or_of_its_view(case, mix, a_row_a_view):
    logits, batch, frozen = problem(*case)
    table = frozen.isl if a_row_a_view else frozen.isl[:, 0]
    targets = []
    for i, row in enumerate(one_hot_rows(batch, case[1])):
        n, v = int(batch.rows[i]), int(batch.views[i])
        soft = table[n][v] if a_row_a_view else table[n]
        targets.append([(1 - mix) * hard + mix * float(soft[c]) for c, hard in enumerate(row)])
    instance = source("isl", FrozenTargets(case[1], isl=table), mix=mix)
    assert close(instance.loss(logits, batch), slow_cross_entropy(logits, targets))


@given(problems, st.floats(0, 1), st.floats(0.5, 40), st.floats(0, 100), st.floats(0.5, 0.999))
@often
def test_tfkd_pulls_towards_a_virtual_teacher(case, alpha, T, m, a):
    logits, batch, frozen = problem(*case)
    C = case[1]
    hard = one_hot_rows(batch, C)
    teachers = [softmax([(a if each else (1 - a) / (C - 1)) / T for each in row]) for row in hard]
    students = [log_softmax(row) for row in logits.tolist()]
    expected = (1 - alpha) * slow_cross_entropy(logits, hard) + alpha * m * mean_divergence(
        teachers, students
    )
    virtual = source("tfkd", frozen, options={"alpha": alpha, "T": T, "m": m, "a": a})
    assert close(virtual.loss(logits, batch), expected)


@given(problems, st.floats(0, 1), st.floats(0.5, 40), st.floats(0, 100))
@often
def test_tfkd_self_pulls_towards_the_teacher(case, alpha, T, m):
    logits, batch, frozen = problem(*case)
    teachers = [softmax([z / T for z in row]) for row in batch.teacher_logits.tolist()]
    students = [log_softmax([z / T for z in row]) for row in logits.tolist()]
    cross_entropy = slow_cross_entropy(logits, one_hot_rows(batch, case[1]))
    expected = (1 - alpha) * cross_entropy + alpha * m * T * T * mean_divergence(teachers, students)
    own = source("tfkd_self", frozen, options={"alpha": alpha, "T": T, "m": m})
    assert close(own.loss(logits, batch), expected)


def test_default_constants_are_the_published_ones():
    # Shared protocol, section 4: TF-KD's ResNet-18 values, OLS's CIFAR code, label smoothing's 0.1.
    options = {name: SupervisionConfig(name=name).options for name in ("tfkd", "tfkd_self", "ols")}
    assert options["tfkd"] == {"a": 0.99, "alpha": 0.1, "T": 20.0, "m": 100.0}
    assert options["tfkd_self"] == {"alpha": 0.95, "T": 6.0, "m": 50.0}
    assert options["ols"] == {
        "initial": "zeros",
        "hard_weight": 0.5,
        "soft_weight": 0.5,
        "freeze_above": None,
    }
    assert SupervisionConfig(name="ls").mix == 0.1


@pytest.mark.parametrize("name", ["ls", "csl", "isl"])
@given(case=problems)
@often
def test_a_vanishing_mix_is_one_hot(name, case):
    logits, batch, frozen = problem(*case)
    tiny = source(name, frozen, mix=1e-12).loss(logits, batch)
    torch.testing.assert_close(tiny, source("one_hot", frozen).loss(logits, batch), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["ls", "csl", "isl"])
@given(case=problems, mix=mixes)
@often
def test_targets_are_distributions(name, case, mix):
    _, batch, frozen = problem(*case)
    target = source(name, frozen, mix=mix).target(batch)
    assert bool((target >= 0).all())
    torch.testing.assert_close(target.sum(-1), torch.ones_like(target[:, 0]))


@pytest.mark.parametrize("name", ["one_hot", "ls", "csl", "isl"])
@given(case=problems)
@often
def test_the_gradient_of_a_target_source_is_prediction_minus_target(name, case):
    logits, batch, frozen = problem(*case)
    logits.requires_grad_()
    kind = source(name, frozen)
    assert isinstance(kind, TargetSource)
    kind.loss(logits, batch).backward()
    expected = (logits.detach().softmax(-1) - kind.target(batch)) / len(logits)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SOURCES.names())
def test_no_gradient_reaches_the_targets_and_half_precision_logits_are_raised(name):
    logits, batch, frozen = problem(4, 5, 20.0, 3)
    kind = source(name, frozen)
    single = kind.loss(logits.bfloat16().float(), batch)
    half = kind.loss(logits.bfloat16(), batch)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, single)
    student = logits.clone().requires_grad_()
    kind.observe(student, batch)
    kind.end_epoch()
    kind.loss(student, batch).backward()
    assert student.grad is not None
    assert all(not each.requires_grad for each in kind.state().values())


@given(problems)
@often
def test_soft_cross_entropy_takes_targets_of_any_sum(case):
    logits, batch, _ = problem(*case)
    targets = batch.teacher_logits.abs()
    assert close(soft_cross_entropy(logits, targets), slow_cross_entropy(logits, targets.tolist()))


@pytest.mark.parametrize("name", SOURCES.names())
def test_a_stacked_batch_has_the_mean_loss_of_its_halves(name):
    logits, batch, frozen = problem(3, 4, 3.0, 11)
    other = logits.flip(0)
    kind = source(name, frozen)
    stacked = kind.loss(torch.cat([logits, other]), batch.repeat(2))
    halves = (kind.loss(logits, batch) + kind.loss(other, batch)) / 2
    torch.testing.assert_close(stacked, halves)


@pytest.mark.parametrize(("name", "what"), [("csl", "class-wise"), ("isl", "instance-wise")])
def test_a_missing_table_is_named(name, what):
    with pytest.raises(AtlasError, match=f"label source '{name}' has no {what} soft labels"):
        source(name, FrozenTargets(3))


def test_missing_teacher_logits_are_named():
    batch = LabelBatch(torch.tensor([0]), torch.tensor([0]), torch.tensor([0]))
    with pytest.raises(AtlasError, match="'tfkd_self' has no teacher logits"):
        source("tfkd_self", FrozenTargets(3)).loss(torch.zeros(1, 3), batch)


@pytest.mark.parametrize(
    "tables",
    [
        {"csl": torch.full((2, 3), 1 / 3)},
        {"csl": torch.zeros(3, 3)},
        {"csl": torch.full((3, 3), float("nan"))},
        {"isl": torch.full((5, 2), 1 / 2)},
        {"isl": torch.tensor([[2.0, -1.0, 0.0]])},
        {"isl": torch.full((3,), 1 / 3)},
    ],
)
def test_tables_that_are_no_distributions_over_the_classes_are_refused(tables):
    with pytest.raises(AtlasError, match="soft labels"):
        FrozenTargets(3, **tables)


@pytest.mark.parametrize("name", ["tfkd", "ls"])
def test_sources_that_spread_over_the_other_classes_need_two(name):
    options = {"variant": "tfkd"} if name == "ls" else {}
    with pytest.raises(AtlasError, match="one class"):
        source(name, FrozenTargets(1), options=options)
