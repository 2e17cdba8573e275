# SPDX-License-Identifier: Apache-2.0
"""The demo as a user runs it."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

os.environ.setdefault("ROS_DOMAIN_ID", "1")
pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")


def processes_in_domain(domain):
    """Command lines of this machine's processes in a ROS domain."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes().split(b"\0")
            if f"ROS_DOMAIN_ID={domain}".encode() in environment:
                found.append((process / "cmdline").read_text())
    return found


def test_the_demo_answers_saves_pictures_and_leaves_no_process_behind(tmp_path):
    # A separate domain, because the names of the topics are fixed.
    domain = str(int(os.environ["ROS_DOMAIN_ID"]) + 100)
    environment = {**os.environ, "ROS_DOMAIN_ID": domain}
    output = tmp_path / "out"
    command = [sys.executable, "-m", "mrmllm_ros.cli.main", "demo", "--output", str(output)]
    demo = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    records = json.loads((output / "summary.json").read_text())
    assert len(records) >= 6
    assert {record["source"] for record in records} == {"photograph", "video"}
    assert "" in {record["question"] for record in records}
    for record in records:
        assert record["success"], record
        assert record["answer"]
        assert record["latency_s"] > 0
    pictures = [cv2.imread(str(output / r["picture"])) for r in records if r["picture"]]
    assert len(pictures) == len(records)
    assert all(picture is not None for picture in pictures)
    assert processes_in_domain(domain) == []
