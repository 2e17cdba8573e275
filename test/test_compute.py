# SPDX-License-Identifier: Apache-2.0
import gc
import subprocess
import sys
import weakref

import pytest
import torch

from mrmllm_ros import compute
from mrmllm_ros.compute import Compute, ComputeSettings, DeviceUse, free_memory
from mrmllm_ros.settings import SettingsError


@pytest.fixture(autouse=True)
def _restored_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cuda(monkeypatch):
    """Simulate a number of CUDA devices."""

    def have(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


@pytest.mark.parametrize(
    ("count", "device", "dtype"), [(0, "cpu", torch.float32), (1, "cuda", torch.float16)]
)
def test_auto_takes_cuda_in_half_precision_where_there_is_one(count, device, dtype, cuda):
    cuda(count)
    compute = Compute.from_settings(ComputeSettings())
    assert (compute.device, compute.dtype) == (torch.device(device), dtype)


def test_the_processor_can_be_chosen_where_there_is_cuda(cuda):
    cuda(1)
    compute = Compute.from_settings(ComputeSettings(device="cpu"))
    assert (compute.device, compute.dtype) == (torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "float32"),
        ("cpu", "bfloat16"),
        ("cuda", "float32"),
        ("cuda", "float16"),
        ("cuda", "bfloat16"),
    ],
)
def test_a_chosen_precision_is_kept(precision, device, cuda):
    cuda(1)
    compute = Compute.from_settings(ComputeSettings(device=device, precision=precision))
    assert compute.dtype is getattr(torch, precision)


def test_half_precision_on_the_processor_is_rejected():
    with pytest.raises(SettingsError, match="float16 needs CUDA"):
        Compute.from_settings(ComputeSettings(device="cpu", precision="float16"))


def test_one_of_several_cuda_devices_can_be_chosen(cuda):
    cuda(2)
    assert Compute.from_settings(ComputeSettings(device="cuda:1")).device.index == 1


@pytest.mark.parametrize(("count", "device"), [(0, "cuda"), (0, "cuda:0"), (2, "cuda:2")])
def test_cuda_that_is_not_there_is_an_error_and_not_the_processor(count, device, cuda):
    cuda(count)
    message = f"compute.device: '{device}' does not exist; this machine has {count} CUDA devices"
    with pytest.raises(SettingsError, match=message):
        Compute.from_settings(ComputeSettings(device=device))


@pytest.mark.parametrize("device", ["", "gpu", "cuda:x", "cuda:-1", "CPU"])
def test_an_unknown_device_is_rejected_with_the_known_ones(device):
    with pytest.raises(SettingsError, match="is not one of auto, cpu, cuda, cuda:N"):
        Compute.from_settings(ComputeSettings(device=device))


def test_pytorch_gets_the_threads_that_are_asked_for():
    compute = Compute.from_settings(ComputeSettings(device="cpu", threads=3))
    assert (compute.threads, torch.get_num_threads()) == (3, 3)


def test_zero_threads_leaves_pytorchs_own_number():
    torch.set_num_threads(2)
    compute = Compute.from_settings(ComputeSettings(device="cpu"))
    assert (compute.threads, torch.get_num_threads()) == (0, 2)


@pytest.mark.parametrize(
    "values",
    [
        {"precision": "float64"},
        {"threads": -1},
        {"threads": 257},
        {"batch_size": 0},
        {"batch_size": 257},
    ],
)
def test_invalid_values_are_rejected(values):
    with pytest.raises(SettingsError):
        ComputeSettings(**values)


def test_a_processor_has_no_memory_of_its_own():
    assert DeviceUse.of(torch.device("cpu")) == DeviceUse("cpu", None, None)


@pytest.mark.parametrize(("device", "index"), [("cuda", 1), ("cuda:0", 0)])
def test_a_card_is_named_with_the_memory_that_anybody_uses(device, index, monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"Card {i}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (30, 100))
    expected = DeviceUse(f"cuda:{index} Card {index}", used_bytes=70, total_bytes=100)
    assert DeviceUse.of(torch.device(device)) == expected


def test_unreferenced_cycles_are_freed():
    class Model:
        def __init__(self):
            self.part = self

    gc.disable()
    model = weakref.ref(Model())
    free_memory()
    gc.enable()
    assert model() is None


def test_memory_is_freed_without_malloc_trim(monkeypatch):
    monkeypatch.setattr(compute.ctypes, "CDLL", lambda name: object())
    free_memory()


def test_all_threads_allocate_from_one_heap():
    code = """
import ctypes, re, threading
from mrmllm_ros.compute import share_heap
share_heap()
def allocate():
    ctypes.CDLL(None).malloc(1000)
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
ctypes.CDLL(None).malloc_stats()
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    assert result.stderr.count("Arena ") == 1
