"""Batches: what a step is given, wherever the features lie."""

from __future__ import annotations

import pytest
import torch

from atlas_core.training.data import TrainingData, epoch_batches, resident

BANK = torch.randn(10, 3, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(10) % 2


def test_a_bank_that_fits_lies_on_the_device() -> None:
    assert resident(BANK, torch.device("cpu")) is BANK
    assert resident(BANK, torch.device("meta")).device.type == "meta"


def test_a_bank_that_is_too_large_for_a_gpu_stays_in_main_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * BANK.nbytes - 1, 10**9))
    assert resident(BANK, torch.device("cuda")) is BANK


@pytest.mark.parametrize("per_step", [1, 2])
def test_rows_of_a_bank_in_main_memory_are_copied_to_the_device_of_the_labels(per_step: int) -> None:
    elsewhere = TrainingData(LABELS.to("meta"), BANK)
    batches = list(epoch_batches(elsewhere, epoch=1, epochs=9, batch_size=4, seed=1, views_per_step=per_step))
    assert len(batches) == 2
    for batch in batches:
        assert batch.features.device.type == "meta"
        assert batch.features.shape == (4, 4)
        assert (batch.second_features is not None) == (per_step == 2)


def test_a_step_is_given_the_features_of_its_rows_and_views() -> None:
    for batch in epoch_batches(TrainingData(LABELS, BANK), epoch=2, epochs=9, batch_size=4, seed=1):
        assert torch.equal(batch.features, BANK[batch.rows, batch.views])
        assert torch.equal(batch.labels, LABELS[batch.rows])
