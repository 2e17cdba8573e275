# SPDX-License-Identifier: Apache-2.0
"""Child processes for nodes, which end with the parent process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from mrmllm_ros.errors import MrmllmError

_END_TIMEOUT_S = 15.0
_PR_SET_PDEATHSIG = 1


class ProcessError(MrmllmError):
    """A child process has ended early; the message names its log."""


def ros_arguments(
    *, params_file: Path | None = None, namespace: str = "", **parameters: object
) -> list[str]:
    """Return the command-line arguments that configure a node.

    Args:
        params_file: Parameter file.
        namespace: Namespace of the node.
        parameters: Parameters that override the file.
    """
    arguments = ["--ros-args"]
    if namespace:
        arguments += ["-r", f"__ns:={namespace}"]
    if params_file is not None:
        arguments += ["--params-file", str(params_file)]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={value}"]
    return arguments


def node_command(node: str, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs a node of the package with this Python."""
    return [sys.executable, "-m", f"mrmllm_ros.ros.nodes.{node}", *arguments]


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command within a `with` block; end it and its children with SIGINT.

    Args:
        command: Program and arguments.
        log: File for standard output and standard error.
    """
    with log.open("wb") as output:
        # A process group of its own: `_end` reaches all children, Ctrl-C does not.
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        try:
            yield process
        finally:
            _end(process)


def check_running(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raise `ProcessError` if the process has ended."""
    if process.poll() is not None:
        last_lines = log.read_text(errors="replace").splitlines()[-5:]
        raise ProcessError(
            f"{process.args[0]} ended with status {process.returncode}; see {log}:\n"
            + "\n".join(last_lines)
        )


@contextmanager
def interruptible() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, which also ends the child processes."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with_parent() -> None:
    """Have Linux send SIGINT to this process when its parent ends, even if killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the process group, then kill the remaining processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_TIMEOUT_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
