"""One worker process, one GPU."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_core.plan import devices
from atlas_core.plan.devices import VISIBLE, gpus_to_share, may_have_gpus, see_one_gpu, shared_gpus


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_several_gpus_are_shared_out(device: str) -> None:
    assert gpus_to_share(device, 4, None) == ("0", "1", "2", "3")


def test_gpus_that_a_cluster_lent_are_named_as_it_names_them() -> None:
    assert gpus_to_share("auto", 2, "5, 7") == ("5", "7")
    assert gpus_to_share("cuda", 2, "GPU-a1,GPU-b2") == ("GPU-a1", "GPU-b2")


def test_names_behind_one_that_cuda_does_not_know_are_left_out() -> None:
    assert gpus_to_share("auto", 2, "0,1,-1,2") == ("0", "1")


@pytest.mark.parametrize(
    ("device", "count"), [("cpu", 4), ("cuda:1", 4), ("auto", 1), ("auto", 0), ("cuda", 1)]
)
def test_a_named_device_or_a_single_one_is_left_as_it_is(device: str, count: int) -> None:
    assert gpus_to_share(device, count, None) == ()


@given(st.integers(2, 16), st.integers(1, 64))
def test_workers_are_spread_evenly(count: int, workers: int) -> None:
    gpus = gpus_to_share("auto", count, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VISIBLE, "before")
        seen = []
        for number in range(workers):
            see_one_gpu(gpus, number)
            seen.append(os.environ[VISIBLE])
    loads = [seen.count(gpu) for gpu in gpus]
    assert sum(loads) == workers
    assert max(loads) - min(loads) <= 1


def test_without_several_gpus_the_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "before")
    see_one_gpu((), 3)
    assert os.environ[VISIBLE] == "before"


def test_a_machine_without_a_driver_of_a_gpu_is_not_asked_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "GPU_NODES", ("/dev/no-such-node",))
    monkeypatch.setattr("torch.cuda.device_count", lambda: pytest.fail("asked"))
    monkeypatch.setattr(devices.sys, "platform", "linux")
    assert not may_have_gpus()
    assert shared_gpus("auto") == ()


@pytest.mark.parametrize(
    ("device", "platform", "node"),
    [("auto", "linux", "/dev/null"), ("auto", "win32", "/none"), ("cuda", "linux", "/none")],
)
def test_where_there_may_be_gpus_torch_is_asked(
    monkeypatch: pytest.MonkeyPatch, device: str, platform: str, node: str
) -> None:
    monkeypatch.setattr(devices, "GPU_NODES", (node,))
    monkeypatch.setattr(devices.sys, "platform", platform)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.delenv(VISIBLE, raising=False)
    assert shared_gpus(device) == ("0", "1", "2")
