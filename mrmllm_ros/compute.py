# SPDX-License-Identifier: Apache-2.0
"""Device, precision and threads of the models."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrmllm_ros.settings import SettingsError, Validated, setting

if TYPE_CHECKING:
    import onnxruntime
    import torch

# Threads of ONNX Runtime wait actively for this time, in microseconds, before they sleep. This
# bridges the gaps between operators. With the default they wait between images too, and take the
# processor from other models.
_SPIN_DURATION_US = "300"
# In malloc.h of glibc.
_M_ARENA_MAX = -8
# Context of a named step of a computation; it may wait before the step, while the processor has
# more urgent work.
Step = Callable[[str], AbstractContextManager[None]]


def at_once(name: str) -> AbstractContextManager[None]:
    """Run a step without waiting; see `Step`."""
    return nullcontext()


@dataclass(frozen=True)
class ComputeSettings(Validated):
    """Device, precision and threads of all models."""

    device: str = setting(
        "auto",
        "Device of the models: auto (cuda if available, otherwise cpu), cpu, cuda or cuda:N.",
    )
    precision: str = setting(
        "auto",
        "Floating point type; auto selects float16 on CUDA and float32 on the CPU.",
        choices=("auto", "float32", "float16", "bfloat16"),
    )
    threads: int = setting(
        0,
        "Number of CPU threads of PyTorch and of ONNX Runtime; 0 keeps their defaults.",
        minimum=0,
        maximum=256,
    )
    batch_size: int = setting(
        8,
        "Maximum number of images in a batch, from several cameras or from a folder.",
        minimum=1,
        maximum=256,
    )


@dataclass(frozen=True)
class DeviceUse:
    """A device and its memory use by all processes.

    Attributes:
        name: `cpu`, or `cuda:N` and the name from the driver.
        used_bytes: Memory in use; None for the CPU.
        total_bytes: Size of the memory; None for the CPU.
    """

    name: str
    used_bytes: int | None = None
    total_bytes: int | None = None

    @classmethod
    def of(cls, device: torch.device) -> DeviceUse:
        """Query a device."""
        import torch

        if device.type != "cuda":
            return cls(str(device))
        free, total = torch.cuda.mem_get_info(device)
        index = torch.cuda.current_device() if device.index is None else device.index
        return cls(f"cuda:{index} {torch.cuda.get_device_name(index)}", total - free, total)


@dataclass(frozen=True)
class Compute:
    """Device and floating point type, available on this machine.

    Attributes:
        device: Device of the models.
        dtype: Type of weights and activations.
        threads: Number of CPU threads of each library; 0 keeps their defaults.
    """

    device: torch.device
    dtype: torch.dtype
    threads: int

    @classmethod
    def from_settings(cls, settings: ComputeSettings) -> Compute:
        """Resolve `auto` and set the number of PyTorch's threads.

        Raises:
            SettingsError: If the device is unknown or missing, or does not support the precision.
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


def onnx_session_options(threads: int) -> onnxruntime.SessionOptions:
    """Settings of a session of ONNX Runtime.

    Args:
        threads: Number of threads; 0 for the default of ONNX Runtime.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Older versions ignore it.
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_DURATION_US)
    return options


def free_memory() -> None:
    """Free the memory of unreferenced models."""
    import torch

    # Models contain reference cycles.
    gc.collect()
    torch.cuda.empty_cache()
    # glibc keeps freed memory until it is trimmed; other C libraries lack the function.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def share_heap() -> None:
    """Let all threads of the process allocate from one heap; call it before threads start.

    Otherwise glibc keeps freed memory in a heap for each thread, for the node about 100 MiB.
    """
    # Other C libraries lack the function.
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_ARENA_MAX, 1)


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
            f"compute.device: {name!r} does not exist; this machine has "
            f"{torch.cuda.device_count()} CUDA devices. Use auto or cpu, or check the driver"
        )
    return device
