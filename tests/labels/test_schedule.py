"""The ATLaS schedule: e mod K, its two limits, what is observed, resuming, and sources from outside."""

import pytest
import torch
from torch import Tensor

from atlas_core.errors import AtlasError
from atlas_core.labels.base import SOURCES, FrozenTargets, LabelBatch, TargetSource
from atlas_core.labels.config import SupervisionConfig, supervision_names
from atlas_core.labels.schedule import Supervisor

torch.set_num_threads(1)

EPOCHS = range(1, 15)


def frozen_targets() -> FrozenTargets:
    rng = torch.Generator().manual_seed(1)
    csl = torch.randn(4, 4, generator=rng).softmax(-1)
    return FrozenTargets(4, csl=csl, isl=torch.randn(8, 2, 4, generator=rng).softmax(-1))


def supervisor(written: object) -> Supervisor:
    return Supervisor.from_config(SupervisionConfig.model_validate(written), frozen_targets())


def a_step(epoch: int) -> tuple[Tensor, LabelBatch]:
    rng = torch.Generator().manual_seed(epoch)
    labels, rows, views = (torch.randint(top, (16,), generator=rng) for top in (4, 8, 2))
    logits, teacher = (3 * torch.randn(16, 4, generator=rng) for _ in range(2))
    return logits, LabelBatch(labels, rows, views, teacher)


def losses(run: Supervisor, epochs: range = EPOCHS) -> list[float]:
    values = []
    for epoch in epochs:
        run.begin_epoch(epoch)
        logits, batch = a_step(epoch)
        values.append(run.loss(logits, batch).item())
        run.observe(logits, batch)
        run.end_epoch()
    return values


@pytest.mark.parametrize("period", range(1, 8))
def test_the_source_is_used_in_the_epochs_that_the_period_divides(period):
    run = supervisor({"name": "atlas", "source": "csl", "period": period})
    used = [epoch for epoch in EPOCHS if run.target_name(epoch) == "csl"]
    assert used == list(range(period, 15, period))
    assert {run.target_name(epoch) for epoch in EPOCHS if epoch not in used} <= {"one_hot"}


@pytest.mark.parametrize("source", ["ls", "tfkd", "tfkd_self", "csl", "isl"])
@pytest.mark.parametrize("period", range(1, 8))
def test_losses_alternate_between_those_of_source_and_one_hot(source, period):
    mixed = losses(supervisor({"name": "atlas", "source": source, "period": period}))
    soft, hard = losses(supervisor(source)), losses(supervisor("one_hot"))
    assert mixed == [soft[e - 1] if e % period == 0 else hard[e - 1] for e in EPOCHS]


@pytest.mark.parametrize("source", ["ls", "tfkd", "tfkd_self", "ols", "csl", "isl"])
def test_without_a_period_losses_are_bitwise_those_of_one_hot(source):
    assert losses(supervisor({"name": "atlas", "source": source, "period": None})) == losses(
        supervisor("one_hot")
    )


def test_a_supervisor_built_with_no_period_is_bitwise_one_hot_with_any_source():
    frozen = frozen_targets()
    plain, soft = (SOURCES.get(name)(SupervisionConfig(name=name), frozen) for name in ("one_hot", "csl"))
    assert losses(Supervisor(plain, soft, None)) == losses(supervisor("one_hot"))


def test_period_one_is_the_source_alone():
    assert losses(supervisor({"name": "atlas", "source": "ols", "period": 1})) == losses(supervisor("ols"))


def test_ols_observes_every_epoch_so_that_its_turn_finds_the_epoch_before():
    alternating = losses(supervisor({"name": "atlas", "source": "ols", "period": 3}))
    alone = losses(supervisor("ols"))
    assert [alternating[e - 1] for e in (3, 6, 9, 12)] == [alone[e - 1] for e in (3, 6, 9, 12)]


@pytest.mark.parametrize("name", supervision_names())
@pytest.mark.parametrize("stop", [1, 4, 5])
def test_a_resumed_run_goes_on_with_the_same_losses(name, stop):
    whole = losses(supervisor(name))
    first, second = supervisor(name), supervisor(name)
    losses(first, range(1, stop + 1))
    second.load_state(first.state())
    assert losses(second, range(stop + 1, 15)) == whole[stop:]


def test_a_run_resumed_inside_an_epoch_knows_its_epoch():
    first, second = supervisor("atlas_csl"), supervisor("atlas_csl")
    first.begin_epoch(5)
    second.load_state(first.state())
    assert torch.equal(second.loss(*a_step(5)), supervisor_at("csl", 5).loss(*a_step(5)))


def supervisor_at(name: str, epoch: int) -> Supervisor:
    run = supervisor(name)
    run.begin_epoch(epoch)
    return run


def test_the_state_of_another_supervision_is_refused():
    with pytest.raises(AtlasError, match="label source 'csl'"):
        supervisor("atlas_csl").load_state(supervisor("atlas_ols").state())
    with pytest.raises(AtlasError, match="without 'epoch'"):
        supervisor("csl").load_state({})


def test_a_loss_before_the_first_epoch_is_a_mistake():
    with pytest.raises(ValueError, match="begin_epoch"):
        supervisor("csl").loss(*a_step(1))


def test_observed_logits_are_detached():
    run = supervisor_at("ols", 1)
    logits, batch = a_step(1)
    run.observe(logits.requires_grad_(), batch)
    assert not any(each.requires_grad for each in run.state().values())


@pytest.fixture
def toy():
    @SOURCES.register("toy", summary="all classes alike")
    class Toy(TargetSource):
        def target(self, batch: LabelBatch) -> Tensor:
            return torch.full((len(batch.labels), self.n_classes), 1 / self.n_classes)

    yield Toy
    del SOURCES._entries["toy"]


@pytest.mark.usefixtures("toy")
def test_a_source_registered_from_outside_alternates_like_the_others():
    assert {"toy", "atlas_toy"} <= set(supervision_names())
    config = SupervisionConfig.model_validate({"name": "atlas", "source": "toy", "period": 2})
    assert config.label == "atlas_toy"
    run = Supervisor.from_config(config, frozen_targets())
    mixed, hard = losses(run), losses(supervisor("one_hot"))
    logits, _ = a_step(2)
    assert mixed[1] == pytest.approx(-logits.log_softmax(-1).mean().item(), rel=1e-6)
    assert mixed[0::2] == hard[0::2]
