# SPDX-License-Identifier: Apache-2.0
"""Environment variables of the libraries: no network contact, caches in our home, waiting threads.

They are set when the package is imported, because the libraries read them when they are imported.
Variables that the user has set are kept.
"""

from __future__ import annotations

import atexit
import os
from functools import cache
from pathlib import Path

from mrmllm_ros.errors import MrmllmError

# Variables that disable network contact of libraries.
NO_CONTACT = {
    # onnxruntime: usage data with a device id.
    "ORT_DISABLE_TELEMETRY": "1",
    # ultralytics: usage data, crash reports, update checks, downloads; installation of packages.
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    # huggingface_hub and transformers: usage data.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # transformers: requests to a service that converts pickled weights, with the user's token.
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    # transformers with the package kernels: compiled code from the hub, even for local models.
    "USE_HUB_KERNELS": "no",
}

# Variables with folders that libraries write to, relative to `cache_folder()`.
_CACHES = {
    "YOLO_CONFIG_DIR": "",  # ultralytics appends a folder
    "MPLCONFIGDIR": "matplotlib",
    "TORCH_HOME": "torch",
    "PYTORCH_KERNEL_CACHE_PATH": "torch/kernels",
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "TRITON_HOME": "",  # triton appends a folder
    "CUDA_CACHE_PATH": "cuda",
}

# PyTorch's threads on the CPU (OpenMP of GCC) check this often for new work before they sleep. By
# default they wait much longer, and take the processor from the threads of ONNX Runtime.
SPINNING = {"GOMP_SPINCOUNT": "20000"}

# All variables that `apply` may set.
VARIABLES = (
    *NO_CONTACT,
    *SPINNING,
    *_CACHES,
    "YOLO_VERBOSE",
    "HF_HOME",
    "HF_TOKEN_PATH",
    "ROS_LOG_DIR",
)


class HomeError(MrmllmError):
    """The home folder is unknown."""


def expand(path: str | Path) -> Path:
    """Replace a leading `~` or `~user` by the home folder.

    Raises:
        HomeError: If HOME is not set and the user has no account, or the named user does not
            exist.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise HomeError(
            f"cannot expand {path}: the home folder is unknown (user id {os.getuid()}, HOME is "
            "not set or the user does not exist); write an absolute path"
        ) from error


def home() -> Path:
    """Folder of models and caches: `$MRMLLM_HOME`, by default `~/.cache/mrmllm_ros`.

    Raises:
        HomeError: If the path needs a home folder that is unknown.
    """
    chosen = os.environ.get("MRMLLM_HOME") or "~/.cache/mrmllm_ros"
    try:
        return expand(chosen).absolute()
    except HomeError as error:
        raise HomeError(
            f"no folder for models and caches: {chosen} needs a home folder, which is unknown "
            f"(user id {os.getuid()}); set MRMLLM_HOME to a folder"
        ) from error


@cache
def cache_folder() -> Path:
    """Folder for the libraries' files: in `home()`, or a temporary one if that is read-only."""
    try:
        folder = home() / "cache"
    except HomeError:
        return _temporary_folder()
    return folder if _is_writable(folder) else _temporary_folder()


def apply() -> None:
    """Set the libraries' variables that the user has not set."""
    _set({**NO_CONTACT, "YOLO_VERBOSE": "false"})
    if not os.environ.get("OMP_WAIT_POLICY"):
        _set(SPINNING)
    _set({name: str(cache_folder() / folder) for name, folder in _CACHES.items()})
    _apply_hub_cache()
    # ROS does not start without a writable folder for logs.
    if not (os.environ.get("HOME") and _is_writable(Path(os.environ["HOME"]) / ".ros" / "log")):
        apply_ros_log()


def apply_ros_log() -> None:
    """Write the logs of ROS to `cache_folder()`, unless the user has set a folder.

    Commands of the package call this; nodes that a user starts log to ~/.ros/log as usual.
    """
    if not os.environ.get("ROS_HOME"):
        _set({"ROS_LOG_DIR": str(cache_folder() / "ros_log")})


def print_shell_commands() -> None:
    """Print `NO_CONTACT` as shell commands that keep variables that are set."""
    for name, value in NO_CONTACT.items():
        print(f'export {name}="${{{name}:-{value}}}"')


def _apply_hub_cache() -> None:
    """Set the cache of the Hugging Face hub; the login token stays at its default path."""
    if os.environ.get("HF_HOME"):
        return
    try:
        folder = home() / "huggingface"
        token = expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface/token"
    except HomeError:
        _set({"HF_HOME": str(cache_folder() / "huggingface")})
        return
    _set({"HF_HOME": str(folder), "HF_TOKEN_PATH": str(token)})


def _set(values: dict[str, str]) -> None:
    for name, value in values.items():
        if not os.environ.get(name):
            os.environ[name] = value


def _is_writable(folder: Path) -> bool:
    """Whether a folder is writable, or can be created."""
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)


def _temporary_folder() -> Path:
    """Create a folder for this process and its children, removed at exit."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="mrmllm_ros-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
