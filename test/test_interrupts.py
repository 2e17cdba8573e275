# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C during imports."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mrmllm_ros import interrupts

ROOT = Path(__file__).parents[1]
# Takes the place of a library and waits while it is imported. As extension modules do, it makes
# an ImportError of whatever happens meanwhile.
WAITING = """
import signal
print("importing", flush=True)
try:
    signal.pause()
except BaseException as error:
    raise ImportError("initialization failed") from error
"""
PROGRAMS = {
    "command": ("yaml", [sys.executable, "-m", "mrmllm_ros.cli.main", "models", "list"]),
    "command of a workspace": ("yaml", [sys.executable, str(ROOT / "scripts/mrmllm"), "--help"]),
    "late import of a command": (
        "cv2",
        [sys.executable, "-m", "mrmllm_ros.cli.main", "detect", "--image", "image.jpg"],
    ),
    **{
        node: ("rclpy", [sys.executable, "-m", f"mrmllm_ros.ros.nodes.{node}"])
        for node in ("mrmllm_node", "camera_player_node", "localizer_node", "visualizer_node")
    },
    "installed node": ("rclpy", [sys.executable, "executable"]),
}


def press_ctrl_c_when_it_imports(command, folder):
    paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        assert process.stdout.readline() == "importing\n", process.stderr.read()
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)
    return process.returncode, output


@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_during_imports_ends_quietly_with_status_130(program, tmp_path):
    library, command = PROGRAMS[program]
    (tmp_path / f"{library}.py").write_text(WAITING)
    template = (ROOT / "cmake" / "executable.py.in").read_text()
    (tmp_path / "executable").write_text(template.replace("@node@", "mrmllm_node"))
    assert press_ctrl_c_when_it_imports(command, tmp_path) == (130, ("", ""))


def test_outside_of_imports_ctrl_c_is_raised():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with interrupts.ending_while_importing(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.ending_while_importing():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
