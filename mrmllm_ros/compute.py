# SPDX-License-Identifier: Apache-2.0
"""Where and in which precision models run."""

from __future__ import annotations

import ctypes
import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrmllm_ros.settings import SettingsError, Validated, setting

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ComputeSettings(Validated):
    """Device, precision and threads, shared by all models."""

    device: str = setting(
        "auto",
        "Where the models run: auto (CUDA if there is one, else cpu), cpu, cuda or cuda:N.",
    )
    precision: str = setting(
        "auto",
        "Floating point type: auto takes float16 on CUDA and float32 elsewhere.",
        choices=("auto", "float32", "float16", "bfloat16"),
    )
    threads: int = setting(
        0,
        "Processor threads for each of PyTorch and ONNX Runtime; 0 leaves it to them.",
        minimum=0,
        maximum=256,
    )
    batch_size: int = setting(
        8,
        "Most images that go through the models together: those of several cameras that wait "
        "together, or of a folder.",
        minimum=1,
        maximum=256,
    )


@dataclass(frozen=True)
class DeviceUse:
    """A device and how full its memory is, whichever process fills it.

    Attributes:
        name: Such as `cpu`, or `cuda:0` and what the driver calls it.
        used_bytes: Memory in use; None where it is not the device's own.
        total_bytes: All of its memory, likewise.
    """

    name: str
    used_bytes: int | None = None
    total_bytes: int | None = None

    @classmethod
    def of(cls, device: torch.device) -> DeviceUse:
        """Look at a device."""
        import torch

        if device.type != "cuda":
            return cls(str(device))
        free, total = torch.cuda.mem_get_info(device)
        index = torch.cuda.current_device() if device.index is None else device.index
        return cls(f"cuda:{index} {torch.cuda.get_device_name(index)}", total - free, total)


@dataclass(frozen=True)
class Compute:
    """A device and a floating point type that exist on this machine.

    Attributes:
        device: The device.
        dtype: Type of the models' weights and activations.
        threads: Processor threads for each library; 0 leaves it to them.
    """

    device: torch.device
    dtype: torch.dtype
    threads: int

    @classmethod
    def from_settings(cls, settings: ComputeSettings) -> Compute:
        """Resolve `auto` and bound PyTorch's threads.

        Raises:
            SettingsError: If the device is not known, not on this machine, or cannot compute in
                the precision.
        """
        import torch

        if settings.threads:
            torch.set_num_threads(settings.threads)
        device = _device(settings.device)
        precision = settings.precision
        if precision == "auto":
            precision = "float16" if device.type == "cuda" else "float32"
        if precision == "float16" and device.type == "cpu":
            raise SettingsError(
                "compute.precision: float16 needs CUDA; use auto, float32 or bfloat16"
            )
        return cls(device, getattr(torch, precision), settings.threads)


def free_memory() -> None:
    """Give back the memory of models that nobody holds any more."""
    import torch

    # Models are held by cycles of objects.
    gc.collect()
    torch.cuda.empty_cache()
    # The GNU C library keeps what was freed, a little more each time, until it is told; others
    # have no such function.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(
            f"compute.device: {name!r} is not one of auto, cpu, cuda, cuda:N"
        ) from error
    if device.type not in ("cpu", "cuda") or (device.type == "cpu" and device.index):
        raise SettingsError(f"compute.device: {name!r} is not one of auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"compute.device: {name!r} is not on this machine, which has "
            f"{torch.cuda.device_count()} CUDA devices; use auto or cpu, or check the driver"
        )
    return device
