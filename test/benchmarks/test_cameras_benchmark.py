# SPDX-License-Identifier: Apache-2.0
import os
from types import SimpleNamespace

import pytest

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 here")

from mrmllm_ros.benchmarks import cameras_benchmark as cameras
from mrmllm_ros.benchmarks.fusion_benchmark import BenchmarkError


def test_every_camera_gets_detections_and_is_counted():
    figures = cameras.run(cameras=2, rate_hz=4.0, seconds=5.0, progress=lambda line: None)
    assert list(figures["cameras"]) == ["camera_1", "camera_2"]
    for camera in figures["cameras"].values():
        assert camera["published"] == 20
        assert 0 < camera["processed"] <= 20
        assert 0 < camera["age_s"]["median"] <= camera["age_s"]["p95"]
    assert 0 < figures["ratio"] <= 1
    assert figures["longest_run"] >= 1


def test_a_camera_that_gets_nothing_is_named():
    idle = SimpleNamespace(results=[], published=3)
    with pytest.raises(BenchmarkError, match="no detections of rear"):
        cameras._figures({"rear": idle})
