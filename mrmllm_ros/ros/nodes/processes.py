# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes of their own, ended with the command that started them."""

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
    """A process that was started has ended early; the message names its log."""


def ros_arguments(
    *, params_file: Path | None = None, namespace: str = "", **parameters: object
) -> list[str]:
    """Command line arguments that configure a node.

    Args:
        params_file: Parameter file.
        namespace: Namespace of the node.
        parameters: Single parameters, which win over the file.
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
    """Command that runs one of the package's nodes in this Python."""
    return [sys.executable, "-m", f"mrmllm_ros.ros.nodes.{node}", *arguments]


@contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command, its output in a log file, and end it and its children with SIGINT.

    Args:
        command: Program and arguments.
        log: File for both its outputs.
    """
    with log.open("wb") as output:
        # In a group of its own, so that children are ended too and Ctrl-C comes from us alone.
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
    """Let SIGTERM end the command as Ctrl-C does, with its processes."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_with_parent() -> None:
    """Have Linux interrupt this process when its parent ends, even if that is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the whole group, and kill what is left of it, the leader gone or not."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_TIMEOUT_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
