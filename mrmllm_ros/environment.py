# SPDX-License-Identifier: Apache-2.0
"""Environment variables of the libraries: nobody is contacted, caches are in the package's home.

The package applies them when it is imported, because the libraries read them when they are loaded.
A variable that the user has set stays as it is.
"""

from __future__ import annotations

import atexit
import os
from functools import cache
from pathlib import Path

from mrmllm_ros.errors import MrmllmError

# Variables that keep libraries from contacting anybody.
NO_CONTACT = {
    # onnxruntime: uploads of usage data, and the device id that goes with them.
    "ORT_DISABLE_TELEMETRY": "1",
    # ultralytics: usage data, crash reports, update checks, downloads; installing packages.
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    # huggingface_hub and transformers: usage data.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # transformers: asks a service to convert pickled weights, with the user's token.
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    # transformers with the package kernels: compiled code from the hub, for a local model too.
    "USE_HUB_KERNELS": "no",
}

# Variables that name folders for what libraries write; relative to `cache_folder()`.
_CACHES = {
    "YOLO_CONFIG_DIR": "",  # ultralytics adds a folder of its name
    "MPLCONFIGDIR": "matplotlib",
    "TORCH_HOME": "torch",
    "PYTORCH_KERNEL_CACHE_PATH": "torch/kernels",
    "TORCHINDUCTOR_CACHE_DIR": "torchinductor",
    "TRITON_HOME": "",  # triton adds a folder of its name
    "CUDA_CACHE_PATH": "cuda",
}


# Every variable that may be set here.
VARIABLES = (
    *NO_CONTACT,
    *_CACHES,
    "YOLO_VERBOSE",
    "HF_HOME",
    "HF_TOKEN_PATH",
    "ROS_LOG_DIR",
)


class HomeError(MrmllmError):
    """No home folder is known; the message says which variable or path to set."""


def expand(path: str | Path) -> Path:
    """Replace a leading `~` or `~user` by the home folder.

    Raises:
        HomeError: If there is no such folder: HOME is not set and the user has no account, or
            there is no user of that name.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise HomeError(
            f"cannot expand {path}: no home folder is known for it (user id {os.getuid()}, HOME "
            "is not set or there is no such user); write the whole path"
        ) from error


def home() -> Path:
    """Folder for models and caches: `$MRMLLM_HOME`, or `~/.cache/mrmllm_ros` where it is not set.

    Raises:
        HomeError: If it is in a home folder that is not known.
    """
    chosen = os.environ.get("MRMLLM_HOME") or "~/.cache/mrmllm_ros"
    try:
        return expand(chosen).absolute()
    except HomeError as error:
        raise HomeError(
            f"no folder for models and caches: {chosen} needs a home folder, and none is known "
            f"(user id {os.getuid()}); set MRMLLM_HOME to a folder"
        ) from error


@cache
def cache_folder() -> Path:
    """Folder for what libraries write: in `home()`, or a temporary one where that is read-only."""
    try:
        folder = home() / "cache"
    except HomeError:
        return _temporary_folder()
    return folder if _is_writable(folder) else _temporary_folder()


def apply() -> None:
    """Set the variables of the libraries that the user has not set."""
    _set({**NO_CONTACT, "YOLO_VERBOSE": "false"})
    _set({name: str(cache_folder() / folder) for name, folder in _CACHES.items()})
    _apply_hub_cache()
    # Without a folder for its logs ROS does not start.
    if not (os.environ.get("HOME") and _is_writable(Path(os.environ["HOME"]) / ".ros" / "log")):
        apply_ros_log()


def apply_ros_log() -> None:
    """Have ROS write its logs to `cache_folder()`, unless the user has named a folder.

    For commands of the package; a node that a user starts keeps to ROS's own folder, ~/.ros/log.
    """
    if not os.environ.get("ROS_HOME"):
        _set({"ROS_LOG_DIR": str(cache_folder() / "ros_log")})


def print_shell_commands() -> None:
    """Print `NO_CONTACT` as commands of a shell that leave alone what is set."""
    for name, value in NO_CONTACT.items():
        print(f'export {name}="${{{name}:-{value}}}"')


def _apply_hub_cache() -> None:
    """Move the cache of the Hugging Face hub; a login stays where the hub's commands put it."""
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
    """Whether files can be written to a folder that need not exist yet."""
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)


def _temporary_folder() -> Path:
    """A folder for this process and its children."""
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="mrmllm_ros-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
